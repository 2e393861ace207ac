"""What a strategy holds between two calls: read as values that can be compared, and put back.

A strategy can hold something on itself, its class, its module, a default argument, a function's attribute, a variable
of an enclosing function, a cache of `functools`, a module that it imports, a library that it writes to. All of these
are followed from the strategy and its code; whatever is there has a *place* in words and the digest of its value.

    holder = Holder(strategy)       the state of birth is read, and copied
    holder.read()                   what is held now
    holder.restore()                as at birth again

What a view holds is no business of this: a view belongs to one question. Random generators of NumPy and Python that
everybody shares are left out too, since seeding them inside `signals` is allowed.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import itertools
import os
import random
import sys
import types
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lockstep.core.hashing import blake3_hex
from lockstep.engine.signals import Signals
from lockstep.market.candles import Candles
from lockstep.strategies.base import Strategy
from lockstep.strategies.view import Aligned, MarketView
from lockstep.validation.held_values import (
    CACHED_FUNCTION,
    cached_by_functools,
    digest_of_array,
    digest_of_data,
    has_attributes,
    is_data,
    is_users,
    label,
    names_in,
    numbers_of,
)

MOST_NODES: Final = 50_000
"""Values that are followed; what lies beyond is taken as unchanged. A count, so that no answer depends on time."""
MOST_DEPTH: Final = 30
_PROTECTED: Final = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__abstractmethods__", "_abc_impl"})
_SHARED: Final = (Strategy, MarketView, Signals, Candles)
"""Classes that every strategy can reach, and could hang something on."""


@dataclass(frozen=True, kw_only=True)
class HeldState:
    """What is held: how often each (place, digest of the value) is there.

    own      of the strategy's code: nothing else changes it
    shared   of libraries and of the process, which may change by themselves
    files    that were written; what an honest cache writes (times, an index) depends on more than the data
    """

    own: Counter[tuple[str, str]]
    shared: Counter[tuple[str, str]]
    files: Counter[tuple[str, str]] = field(default_factory=Counter)

    def changes(self, before: HeldState) -> list[str]:
        """Places of the strategy's own that are not as they were, sorted."""
        return sorted({place for place, _ in (self.own - before.own) + (before.own - self.own)})

    def suspects(self, before: HeldState) -> list[str]:
        """Shared places and files that are not as they were, sorted: to be named only where answers differ."""
        ours, theirs = self.shared + self.files, before.shared + before.files
        return sorted({place for place, _ in (ours - theirs) + (theirs - ours)})

    def lacking(self, other: HeldState, apart: HeldState) -> list[str]:
        """Places at which this state has not what `other` has, sorted.

        Shared ones count where both have something, and `apart`, the state after a third question, something else
        again: what libraries change by themselves is the same whatever was asked.
        """
        own = {place for place, _ in other.own - self.own}
        here = {place for place, _ in self.shared}
        alike = other.shared & apart.shared
        return sorted(own | {place for place, _ in other.shared - self.shared - alike if place in here})


class Holder:
    """Everything that a strategy and its code can reach and change."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self.libraries: dict[int, tuple[str, Any, dict[str, Any]]] = {}
        self.born: dict[int, set[str]] = {}
        for kind in _SHARED:
            self.follow_library(kind.__name__, kind)
        self.follow_library("builtins", builtins)
        self._environment = dict(os.environ)
        walk = _Walk(self, remember=True)
        walk.start(strategy)
        self._undo = walk.undo
        self.birth = self._state(walk)

    def read(self) -> HeldState:
        """What is held now, each place with a digest."""
        walk = _Walk(self, remember=False)
        walk.start(self._strategy)
        return self._state(walk)

    def restore(self) -> None:
        """Put back what was held at birth, wherever Python lets it be put back."""
        for undo in self._undo:
            # A class may refuse to be written to; the fresh module of the next test makes up for it.
            with contextlib.suppress(Exception):
                undo()
        for _, owner, before in self.libraries.values():
            _put_back(owner, before, only_data=True)
        if dict(os.environ) != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)

    def follow_library(self, name: str, owner: Any) -> None:
        """From now on, see what is hung on the module or class `owner`, which is not the user's."""
        if id(owner) not in self.libraries:
            self.libraries[id(owner)] = (name, owner, dict(vars(owner)))

    def _state(self, walk: _Walk) -> HeldState:
        shared: Counter[tuple[str, str]] = Counter()
        for name, owner, before in self.libraries.values():
            # None stands for "not there" as well: a library that is given a None holds nothing.
            changed = [(key, value) for key, value in vars(owner).items() if before.get(key) is not value]
            for key, value in changed:
                if is_data(value):
                    shared[f"{name}.{key}", digest_of_data(value)] += 1
        for key, text in os.environ.items():
            if self._environment.get(key) != text:
                shared[f"os.environ[{key!r}]", text] += 1
        return HeldState(own=walk.entries, shared=shared)


class _Walk:
    """One pass over what is held; with `remember`, also the way back to it."""

    def __init__(self, holder: Holder, *, remember: bool) -> None:
        self.entries: Counter[tuple[str, str]] = Counter()
        self.undo: list[Callable[[], Any]] = []
        self._holder = holder
        self._remember = remember
        self._nodes = 0
        self._above: set[int] = set()
        self._seen: set[Any] = set()

    def start(self, strategy: Strategy) -> None:
        """Follow the strategy itself, then its classes, whose code leads to the rest."""
        self._attributes("self", strategy)
        for kind in type(strategy).__mro__:
            if is_users(kind.__module__):
                self._class(kind)

    def _put(self, place: str, digest: str) -> None:
        self.entries[place, digest] += 1

    def _first(self, key: Any) -> bool:
        """Whether code or a name comes up for the first time in this pass."""
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _visit(self, place: str, value: Any) -> None:
        """Enter `value` under `place`, and what it holds under places made from it."""
        self._nodes += 1
        if self._nodes > MOST_NODES or len(self._above) > MOST_DEPTH or id(value) in self._above:
            return
        self._above.add(id(value))
        try:
            if not (self._code(place, value) or self._container(place, value)):
                self._object(place, value)
        finally:
            self._above.discard(id(value))

    def _code(self, place: str, value: Any) -> bool:
        """Enter what is code or leads to it; False for anything else."""
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, type):
            if is_users(value.__module__):
                self._class(value)
        elif isinstance(value, types.ModuleType):
            self._module(value)
        elif isinstance(value, CACHED_FUNCTION):
            self._cached_function(value)
        elif isinstance(value, staticmethod | classmethod):
            self._visit(place, value.__func__)
        elif isinstance(value, property):
            self._visit(place, value.fget)
        elif isinstance(value, functools.cached_property):
            self._visit(place, value.func)
        elif isinstance(value, functools.partial):
            self._visit(place, value.func)
            self._visit(f"an argument of {place}", [*value.args, *value.keywords.values()])
        elif isinstance(value, types.MethodType):
            self._visit(place, value.__func__)
            self._visit(f"the object of {place}", value.__self__)
        elif isinstance(value, types.BuiltinMethodType):
            if not isinstance(value.__self__, types.ModuleType | type(None)):
                self._visit(f"the object of {place}", value.__self__)
        elif isinstance(value, types.GeneratorType):
            frame = value.gi_frame
            self._put(place, "ended" if frame is None else str(frame.f_lasti))
            self._visit(f"a variable of {place}", {} if frame is None else dict(frame.f_locals))
        else:
            return False
        return True

    def _container(self, place: str, value: Any) -> bool:
        """Enter a collection or an array; False for anything else."""
        if isinstance(value, dict | types.MappingProxyType):
            self._put(place, type(value).__name__)
            # Not a subclass's own `items`, which may do anything.
            for key, item in list(dict.items(value) if isinstance(value, dict) else value.items()):
                self._visit(f"{place}[{label(key)}]", item)
            if self._remember and isinstance(value, dict):
                self.undo.append(functools.partial(_refill, value, dict(value)))
        elif isinstance(value, list | set | deque):
            self._put(place, type(value).__name__)
            self._items(place, value)
            if self._remember:
                self.undo.append(functools.partial(_refill, value, list(value)))
        elif isinstance(value, tuple | frozenset):
            self._items(place, value)
        elif isinstance(value, bytearray | array):
            self._put(place, blake3_hex(bytes(value)))
            if self._remember:
                self.undo.append(functools.partial(value.__setitem__, slice(None), value[:]))
        elif isinstance(value, np.ndarray):
            if value.dtype == object:
                self._items(place, value.ravel().tolist())
            else:
                self._put(place, digest_of_array(value))
            if self._remember and value.flags.writeable:
                self.undo.append(functools.partial(np.copyto, value, value.copy()))
        else:
            return False
        return True

    def _items(self, place: str, values: Any) -> None:
        # Without their numbers: a list of results may hold them in the order in which they were asked for.
        numbers = numbers_of(values)
        if numbers is not None:
            self._put(place, digest_of_array(numbers))
            return
        for item in list(values):
            self._visit(f"{place}[]", item)

    def _object(self, place: str, value: Any) -> None:
        """Enter a number, a text, a generator of random numbers, a frame, or an object by its attributes."""
        if isinstance(value, np.random.Generator | np.random.BitGenerator):
            bits: Any = value if isinstance(value, np.random.BitGenerator) else value.bit_generator
            self._put(place, digest_of_data(bits.state))
            self._put_back_later(setattr, bits, "state", bits.state)
        elif isinstance(value, np.random.RandomState):
            self._put(place, digest_of_data(value.get_state(legacy=False)))
            self._put_back_later(value.set_state, value.get_state(legacy=False))
        elif isinstance(value, random.Random):
            self._put(place, digest_of_data(value.getstate()))
            self._put_back_later(value.setstate, value.getstate())
        elif isinstance(value, itertools.count | itertools.repeat):
            self._put(place, repr(value))
        elif isinstance(value, ContextVar):
            self._visit(f"{place}.get()", value.get(None))
        elif isinstance(value, MarketView):
            self._put(place, value.candles.digest)
        elif isinstance(value, Candles):
            self._put(place, value.digest)
        elif isinstance(value, Aligned):
            self._put(place, digest_of_array(value.index))
        elif type(value).__module__.partition(".")[0] == "numba":
            if isinstance(value, Mapping | Sequence):
                self._put(place, digest_of_data(value))
            # Compiling changes a jitted function and nothing that it answers; its Python code may hold something.
            self._visit(place, getattr(value, "py_func", None))
        elif type(value).__module__.partition(".")[0] == "cachetools":
            # Its entries; the rest counts them and orders them by use.
            self._visit(place, vars(value).get("_Cache__data"))
        elif has_attributes(value):
            self._put(place, type(value).__qualname__)
            self._attributes(place, value)
            if is_users(type(value).__module__):
                self._class(type(value))
        elif hasattr(value, "__length_hint__"):  # an iterator of Python's, by what is left of it
            self._put(place, str(value.__length_hint__()))
        else:
            self._put(place, digest_of_data(value))

    def _put_back_later(self, function: Callable[..., Any], *arguments: Any) -> None:
        if self._remember:
            self.undo.append(functools.partial(function, *arguments))

    def _attributes(self, place: str, value: Any) -> None:
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            for name, item in list(attributes.items()):
                self._visit(f"{place}.{name}", item)
            self._put_back_later(_refill, attributes, dict(attributes))
        for kind in type(value).__mro__:
            slots = vars(kind).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in _PROTECTED and hasattr(value, name):
                    item = getattr(value, name)
                    self._visit(f"{place}.{name}", item)
                    self._put_back_later(object.__setattr__, value, name, item)

    def _class(self, kind: type) -> None:
        if not self._first(id(kind)):
            return
        for name, item in list(vars(kind).items()):
            if name not in _PROTECTED:
                self._visit(f"{kind.__qualname__}.{name}", item)
        self._put_back_later(_put_back, kind, dict(vars(kind)))
        module = sys.modules.get(kind.__module__)
        if hasattr(module, "__lockstep_source__"):
            # A strategy's file is followed whole; of a script or a notebook only what the code names.
            self._variables(vars(module), None)
        if is_users(type(kind).__module__):
            self._class(type(kind))

    def _function(self, function: types.FunctionType) -> None:
        if not is_users(function.__module__) or not self._first(id(function)):
            return
        name = function.__qualname__
        for default in function.__defaults__ or ():
            self._visit(f"a default argument of {name}", default)
        for key, default in (function.__kwdefaults__ or {}).items():
            self._visit(f"the default argument {key} of {name}", default)
        for key, item in list(vars(function).items()):
            self._visit(f"{name}.{key}", item)
        self._put_back_later(_refill, vars(function), dict(vars(function)))
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # nothing was assigned yet
                continue
            self._visit(f"the variable {variable} around {name}", content)
            self._put_back_later(setattr, cell, "cell_contents", content)
        self._variables(function.__globals__, names_in(function.__code__))

    def _cached_function(self, function: Any) -> None:
        if not self._first(id(function)):
            return
        place = f"the cache of {function.__qualname__}"
        for key, digest in cached_by_functools(function):
            self._put(f"{place}[]" if key is None else f"{place}[{label(key)}]", digest)
        self._put_back_later(function.cache_clear)
        self._visit(place, function.__wrapped__)

    def _module(self, module: types.ModuleType) -> None:
        if is_users(module.__name__):
            self._variables(vars(module), None)
        else:
            self._holder.follow_library(module.__name__, module)

    def _variables(self, variables: dict[str, Any], names: Iterable[str] | None) -> None:
        """Enter variables of a module: those named, or all; and those that were not there at birth."""
        born = self._holder.born.setdefault(id(variables), set(variables))
        whole = set(variables) if names is None else set(names) & variables.keys()
        for name in sorted(whole | (variables.keys() - born)):
            if not name.startswith("__") and self._first((id(variables), name)):
                self._visit(name, variables[name])
                self._put_back_later(_assign, variables, name, variables[name])
        for name in sorted(set(names or ()) - variables.keys()):
            if name in sys.modules and is_users(name):  # imported inside a function
                self._module(sys.modules[name])
        if self._first((id(variables), "")):
            self._put_back_later(_forget_new, variables, born)


def _assign(variables: dict[str, Any], name: str, value: Any) -> None:
    variables[name] = value


def _forget_new(variables: dict[str, Any], born: set[str]) -> None:
    for name in variables.keys() - born:
        if is_data(variables[name]):
            del variables[name]


def _refill(container: Any, content: Any) -> None:
    """Make a dict, list, set or deque hold `content` again."""
    if isinstance(container, dict):
        if container.keys() == content.keys() and all(container[key] is content[key] for key in content):
            return
        container.clear()
        container.update(content)
    elif isinstance(container, list):
        container[:] = content
    else:
        container.clear()
        container.update(content) if isinstance(container, set) else container.extend(content)


def _put_back(owner: Any, before: dict[str, Any], *, only_data: bool = False) -> None:
    """Make a class or module have the attributes that it had; with `only_data`, leave what a library loaded."""
    for name, value in list(vars(owner).items()):
        if name in _PROTECTED or before.get(name) is value or (only_data and not is_data(value)):
            continue
        if name in before:
            setattr(owner, name, before[name])
        else:
            delattr(owner, name)
    for name in before.keys() - vars(owner).keys() - _PROTECTED:
        setattr(owner, name, before[name])
