"""Values that a strategy holds, as digests; and which code is the user's own."""

from __future__ import annotations

import dataclasses
import functools
import gc
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from lockstep.core.hashing import blake3_hex
from lockstep.strategies.base import Strategy

MOST_BYTES: Final = 1 << 26
"""Bytes of an array that are read whole; of a larger one every k-th element, so that a question stays short."""
LONG_SEQUENCE: Final = 2_000
"""Numbers in a list that is taken as one value."""
_MOST_DEPTH: Final = 12
_LABEL: Final = 40
"""Characters of a key that a message shows."""
_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes, np.generic)
_FOLLOWED_OF_PYTHON: Final = frozenset({"types", "collections", "_thread", "argparse"})
_USERS: Final[dict[str, bool]] = {}


def is_users(name: str | None) -> bool:
    """Whether the module `name` is the user's: not Python's, not Lockstep's and not an installed package's."""
    if name is None:
        return False
    if name not in _USERS:
        module = sys.modules.get(name)
        top = name.partition(".")[0]
        if name == "__main__" or top.startswith("lockstep_user_"):
            return True
        if top in sys.stdlib_module_names or top == "lockstep":
            _USERS[name] = False
        elif module is None:  # it was made by hand, or has gone again
            return True
        else:
            file = getattr(module, "__file__", None)
            _USERS[name] = not (file and {"site-packages", "dist-packages"} & set(Path(file).parts))
    return _USERS[name]


def names_in(code: types.CodeType) -> set[str]:
    """Names that a function and the functions within it use of their module."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= names_in(constant)
    return names


def has_attributes(value: Any) -> bool:
    """Whether an object is followed by its attributes: a user's, a package's, a plain record of values."""
    module = type(value).__module__
    top = module.partition(".")[0]
    if top == "lockstep":
        return dataclasses.is_dataclass(value) or isinstance(value, Strategy)
    if top in sys.stdlib_module_names:
        return module in _FOLLOWED_OF_PYTHON and hasattr(value, "__dict__")
    return top not in {"pandas", "polars", "pyarrow", "torch"} and _as_arrays(value) is None


def label(key: Any) -> str:
    """A key of a mapping, short, and other for each other key."""
    text = repr(key) if isinstance(key, _PLAIN) else ""
    return text if 0 < len(text) <= _LABEL else f"{type(key).__name__} {digest_of_data(key)[:12]}"


def digest_of_array(array: np.ndarray[Any, Any]) -> str:
    """The digest of an array of numbers: type, shape and bytes."""
    head = f"{array.dtype.str}{array.shape}".encode()
    if array.nbytes > MOST_BYTES:
        array = array.reshape(-1)[:: 1 + array.nbytes // MOST_BYTES]
    return blake3_hex(head + np.ascontiguousarray(array).tobytes())


def digest_of_data(value: Any, depth: int = 0) -> str:
    """The digest of numbers, texts, arrays, frames, tensors and collections of them; of anything else, of its type."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _PLAIN):
        return blake3_hex(f"{type(value).__name__}:{value!r}".encode(errors="backslashreplace"))
    if isinstance(value, np.ndarray) and value.dtype != object:
        return digest_of_array(value)
    parts: list[str] = []
    if depth < _MOST_DEPTH:
        if isinstance(value, Mapping):
            parts = sorted(digest_of_data(key, depth + 1) + digest_of_data(value[key], depth + 1) for key in value)
        elif isinstance(value, set | frozenset):
            parts = sorted(digest_of_data(item, depth + 1) for item in value)
        elif isinstance(value, Sequence):
            numbers = numbers_of(value)
            parts = [digest_of_array(numbers)] if numbers is not None else [digest_of_data(v, depth + 1) for v in value]
        else:
            parts = [digest_of_data(array, depth + 1) for array in _as_arrays(value) or ()]
    return blake3_hex(" ".join([type(value).__qualname__, *parts]).encode())


def numbers_of(value: Any) -> np.ndarray[Any, Any] | None:
    """A long list or tuple of numbers as an array; None for another value."""
    if not isinstance(value, list | tuple) or len(value) < LONG_SEQUENCE:
        return None
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _as_arrays(value: Any) -> list[Any] | None:
    """The columns of a frame, or a tensor, as arrays or lists; None for what is neither."""
    top = type(value).__module__.partition(".")[0]
    try:
        if top == "pandas":
            columns = [value[name] for name in value.columns] if hasattr(value, "columns") else [value]
            arrays = [np.asarray(column) for column in columns]
            if hasattr(value, "index") and not callable(value.index):
                arrays.append(np.asarray(value.index))
            return [array.tolist() if array.dtype == object else array for array in arrays]
        if top == "torch" and hasattr(value, "detach"):
            return [value.detach().cpu().numpy()]
        if top == "polars":
            return [column.to_numpy() for column in (value.get_columns() if hasattr(value, "get_columns") else [value])]
    except Exception:  # noqa: BLE001 - a value that cannot be read is taken by its type
        return None
    return None


def cached_by_functools(function: Any) -> Iterator[tuple[Any, str]]:
    """What `functools.lru_cache` and `cache` hold: key and digest of the result; the key None where there are bounds.

    Python shows the content of such a cache to the collector of garbage alone.
    """
    for item in gc.get_referents(function):
        if isinstance(item, dict) and item is not getattr(function, "__dict__", None):
            if any(type(link).__name__ == "_lru_list_elem" for link in item.values()):
                return
            for key, result in list(item.items()):
                yield key, digest_of_data(result)
            return
        if not isinstance(item, type) and item is not function.__wrapped__:
            yield None, digest_of_data(item)


def is_data(value: Any) -> bool:
    """Whether a value is something other than code, which libraries load at first use."""
    return not (callable(value) or isinstance(value, types.ModuleType | staticmethod | classmethod | property))


CACHED_FUNCTION: Final = type(functools.lru_cache(maxsize=1)(len))
"""The type of a function that `functools` keeps the results of."""
