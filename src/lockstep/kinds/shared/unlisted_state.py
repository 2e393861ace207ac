"""State of a user's network or agent that no checkpoint keeps: attributes, what its file holds, own generators.

Read as digests, place by place, so that two readings show what a pass has changed. A module that declares its state
(`learning.gradients.module_state`) is not read: its declaration is compared instead.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from lockstep.learning.gradients.module_state import declares_state
from lockstep.validation.held_values import digest_of_data, is_data, is_users, names_in

_OF_MODULES: Final = frozenset(vars(nn.Module())) | {"training"}
_DEPTH: Final = 6
_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes, np.generic, np.ndarray)


def read(module: nn.Module) -> dict[str, str]:
    """Digest of each value that `module`, its parts and its file hold, by place."""
    return _of_module(module, _listed_in(module))


def read_agent(agent: object, module: nn.Module) -> dict[str, str]:
    """Digest of each value that an agent holds, by place.

    module   the one that it trains, whose weights and buffers are listed state

    Modules and optimisers beside `module` are read too: nothing but `get_state` of the agent lists them.
    """
    places: dict[str, str] = {}
    seen = _listed_in(module)
    for name, value in getattr(agent, "__dict__", {}).items():
        places |= _values(name, value, seen, 0)
    places |= _of_module(module, seen)
    for base in (base for base in type(agent).__mro__ if is_users(base.__module__)):
        places |= _of_class(base, seen)
        holder = vars(sys.modules.get(base.__module__, base))
        functions = [item for item in vars(base).values() if isinstance(item, FunctionType)]
        # Of a notebook, what the class uses: the rest may be large, and is none of its state.
        for key in sorted({name for function in functions for name in names_in(function.__code__)} & holder.keys()):
            if is_data(holder[key]):
                places |= _values(f"{key} (of the file)", holder[key], seen, 0)
    return places


def _listed_in(module: nn.Module) -> set[int]:
    """Ids of the modules, weights and buffers that a learner of `module` keeps."""
    return {id(item) for item in (*module.modules(), *module.parameters(), *module.buffers())}


def _of_module(module: nn.Module, seen: set[int]) -> dict[str, str]:
    places: dict[str, str] = {}
    users = set()
    for prefix, inner in module.named_modules():
        kind = type(inner)
        if kind.__module__.startswith("torch._") or declares_state(inner):
            continue  # torch's compiler keeps books of its own
        own = {name: value for name, value in vars(inner).items() if name not in _OF_MODULES}
        dot = f"{prefix}." if prefix else ""
        for name, value in own.items():
            places |= _values(f"{dot}{name}", value, seen, 0)
        users |= {base for base in kind.__mro__ if is_users(base.__module__)}
    for base in sorted(users, key=lambda kind: kind.__qualname__):
        places |= _of_class(base, seen)
    for name in sorted({base.__module__ for base in users if base.__module__.startswith("lockstep_user_")}):
        for key, value in vars(sys.modules[name]).items():
            if not key.startswith("__") and is_data(value):
                places |= _values(f"{key} (of the file)", value, seen, 0)
    return places


def _of_class(base: type, seen: set[int]) -> dict[str, str]:
    places: dict[str, str] = {}
    for name, value in vars(base).items():
        if not name.startswith("__") and is_data(value):
            places |= _values(f"{base.__name__}.{name}", value, seen, 0)
    return places


def _values(place: str, value: Any, seen: set[int], depth: int) -> Iterator[tuple[str, str]]:
    if depth > _DEPTH:
        return
    if isinstance(value, _PLAIN):
        yield place, digest_of_data(value)
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, nn.Module):
        # One that is no part of the network: torch does not register what stands in a list.
        seen |= _listed_in(value)
        for name, item in value.state_dict().items():
            if isinstance(item, torch.Tensor):
                yield f"{place}.{name}", _of_tensor(item)
    elif isinstance(value, torch.Tensor):
        yield place, _of_tensor(value)
    elif isinstance(value, torch.optim.Optimizer):
        yield place, digest_of_data(value.state_dict())
    elif isinstance(value, torch.Generator):
        yield place, digest_of_data(value.get_state())
    elif isinstance(value, np.random.Generator):
        yield place, digest_of_data(value.bit_generator.state)
    elif isinstance(value, np.random.RandomState):
        yield place, digest_of_data(value.get_state())
    elif isinstance(value, random.Random):
        yield place, digest_of_data(value.getstate())
    elif isinstance(value, Mapping):
        for key, item in list(value.items()):
            yield from _values(f"{place}[{key!r}]", item, seen, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset | deque):
        yield f"len({place})", str(len(value))
        for number, item in enumerate(value):
            yield from _values(f"{place}[{number}]", item, seen, depth + 1)
    elif is_users(type(value).__module__):
        for name, item in list(getattr(value, "__dict__", {}).items()):
            yield from _values(f"{place}.{name}", item, seen, depth + 1)


def _of_tensor(value: torch.Tensor) -> str:
    whole = value.detach().cpu()
    return digest_of_data(whole.float() if whole.dtype.is_floating_point else whole)
