"""State of a user's network that no checkpoint keeps: attributes, what its file holds, generators of random numbers.

Read as digests, place by place, so that two readings show what a forward pass has changed. A module that declares its
state (`learning.gradients.module_state`) is not read: its declaration is compared instead.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from lockstep.learning.gradients.module_state import declares_state
from lockstep.validation.held_values import digest_of_data, is_data, is_users

NUMPY: Final = "NumPy's generator (np.random)"
PYTHON: Final = "Python's generator (random)"
_OF_MODULES: Final = frozenset(vars(nn.Module())) | {"training"}
_DEPTH: Final = 6
_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes, np.generic, np.ndarray)


def read(module: nn.Module) -> dict[str, str]:
    """Digest of each value that `module`, its parts and its file hold, by place."""
    places = {NUMPY: digest_of_data(np.random.get_state()), PYTHON: digest_of_data(random.getstate())}  # noqa: NPY002
    seen: set[int] = set()
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
        for name, value in vars(base).items():
            if not name.startswith("__") and is_data(value):
                places |= _values(f"{base.__name__}.{name}", value, seen, 0)
    for name in sorted({base.__module__ for base in users if base.__module__.startswith("lockstep_user_")}):
        for key, value in vars(sys.modules[name]).items():
            if not key.startswith("__") and is_data(value):
                places |= _values(f"{key} (of the file)", value, seen, 0)
    return places


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    """The first place of `before` whose value is another one, or is gone, in `after`; None when there is none.

    Places that are new are not looked at: a cache that grows with each shape of input holds nothing that is lost.
    """
    return next((place for place, digest in before.items() if after.get(place) != digest), None)


def _values(place: str, value: Any, seen: set[int], depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, nn.Module | nn.Parameter) or depth > _DEPTH:
        return  # read with the modules, and with the weights
    if isinstance(value, _PLAIN):
        yield place, digest_of_data(value)
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        whole = value.detach().cpu()
        yield place, digest_of_data(whole.float() if whole.dtype.is_floating_point else whole)
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
    elif isinstance(value, list | tuple | set | frozenset):
        yield f"len({place})", str(len(value))
        for number, item in enumerate(value):
            yield from _values(f"{place}[{number}]", item, seen, depth + 1)
    elif is_users(type(value).__module__):
        for name, item in list(getattr(value, "__dict__", {}).items()):
            yield from _values(f"{place}.{name}", item, seen, depth + 1)
