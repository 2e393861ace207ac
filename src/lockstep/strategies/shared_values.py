"""Indicators and features that all parameter sets of a process share, within a bound of memory.

    owner                       whose values they are: the digests of the columns that an indicator is a function of, or
                                one view, for what a strategy computes by `view.once`
    key                         which value of that owner, such as ("sma", 20)

An indicator is a function of the bytes it is computed from, so those bytes name it. A view cut at an earlier bar has
other bytes and can never be served a value of the whole series; two sweeps over one market share theirs. What a
strategy computes by a key of its own belongs to the view it asked: nobody else knows what that key means.

Each process has one such store, worker processes too. It never holds more than LIMIT bytes; the value used least
recently goes first, and is computed again when it is asked for. So the bound decides time, never a number.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np

LIMIT: Final = 256 << 20
"""Bytes of shared values in one process: about 270 indicators of 120,000 bars."""


class _Place(NamedTuple):
    owner: Hashable
    key: Hashable


class SharedValues:
    """Values by owner and key, at most `limit` bytes of them. Safe to use from several threads."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._values: OrderedDict[_Place, tuple[Any, int]] = OrderedDict()
        self._places: dict[Hashable, set[_Place]] = {}
        self._nbytes = 0
        self._orphans: deque[Hashable] = deque()
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._nbytes

    def value(self, owner: Hashable, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The value of `key`, computed where it is not here. Arrays, alone or in a tuple, are read-only.

        A value larger than the limit is returned and not held. Raises whatever `compute` raises.
        """
        place = _Place(owner, key)
        with self._lock:
            entry = self._values.get(place)
            if entry is not None:
                self._values.move_to_end(place)
                return entry[0]
        # Outside the lock: it may take long, and may ask for other values itself.
        value = compute()
        for array in value if isinstance(value, tuple) else (value,):
            if isinstance(array, np.ndarray):
                array.setflags(write=False)
        with self._lock:
            self._drop_orphans()
            self._hold(place, value, nbytes_of(value))
        return value

    def forget(self, owner: Hashable) -> None:
        """Let go of all values of `owner`, at the latest when the next one comes."""
        # Called when a view is collected, at any moment, even while this thread holds the lock: so nothing is locked.
        self._orphans.append(owner)

    def clear(self) -> None:
        """Let go of everything: 0 bytes are held."""
        with self._lock:
            self._values.clear()
            self._places.clear()
            self._orphans.clear()
            self._nbytes = 0

    def _hold(self, place: _Place, value: Any, size: int) -> None:
        # Another thread may have computed it meanwhile.
        if size > self.limit or place in self._values:
            return
        self._values[place] = value, size
        self._places.setdefault(place.owner, set()).add(place)
        self._nbytes += size
        while self._nbytes > self.limit:
            self._drop(next(iter(self._values)))

    def _drop(self, place: _Place) -> None:
        self._nbytes -= self._values.pop(place)[1]
        places = self._places[place.owner]
        places.remove(place)
        if not places:
            del self._places[place.owner]

    def _drop_orphans(self) -> None:
        while self._orphans:
            for place in tuple(self._places.get(self._orphans.popleft(), ())):
                self._drop(place)


def nbytes_of(value: Any) -> int:
    """Bytes that `value` keeps in memory, arrays inside tuples, lists, mappings and dataclasses included."""
    whole = {id(part): size for part, size in _parts(value, set())}
    return sum(whole.values())


def _parts(value: Any, visited: set[int]) -> Iterator[tuple[Any, int]]:
    if id(value) in visited:
        return
    visited.add(id(value))
    if isinstance(value, np.ndarray):
        # A slice keeps alive all of the array it was cut from.
        while isinstance(value.base, np.ndarray):
            value = value.base
        yield value, int(value.nbytes) + sys.getsizeof(np.ndarray)
        return
    yield value, sys.getsizeof(value)
    inner: Any = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, tuple | list | set | frozenset):
        inner = value
    elif is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, field.name) for field in fields(value)]
    for item in inner:
        yield from _parts(item, visited)


SHARED: Final = SharedValues()
"""The store of this process."""
