"""Canonical JSON: one value, one sequence of bytes.

Keys are sorted, nothing is indented, text is UTF-8, floats are written in their shortest form that reads
back to the same bits (Python's `repr`). JSON has no NaN and no infinities, so they are coded as
`{"$float": "nan" | "inf" | "-inf"}`. NumPy scalars are written as the Python numbers they equal.
Integers stay exact at any size. `loads(dumps(x)) == x` for everything that `dumps` accepts, except that tuples
come back as lists.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

FLOAT_KEY = "$float"
_CODED = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def plain(value: Any) -> Any:
    """`value` as dicts, lists, str, int, float, bool and None, with odd floats coded. Raises TypeError on others."""
    # Exact types first: this runs once per step and per trial, and most values are exact.
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else {FLOAT_KEY: _code(value)}
    if kind is dict:
        result = {}
        for key, item in value.items():
            if type(key) is not str or key == FLOAT_KEY:
                key = _key(key)
            of = type(item)
            # The leaves here: a call for each would take most of the time.
            if of is float:
                # Only finite numbers differ from themselves by 0.
                result[key] = item if item - item == 0.0 else {FLOAT_KEY: _code(item)}
            else:
                result[key] = item if of is str or of is int else plain(item)
        return result
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str):  # a StrEnum member
        return str(value)
    if isinstance(value, int):  # an IntEnum member
        return int(value)
    if getattr(value, "ndim", None) == 0 and getattr(value, "dtype", None) is not None:
        item = value.item()
        # Not times, whose numbers depend on their unit, nor what no Python number equals.
        if isinstance(item, bool | int | float) and value.dtype.kind in "biuf":
            return plain(item)
    if isinstance(value, float):
        return plain(float(value))
    raise TypeError(
        f"canonical JSON holds objects, lists, text, numbers, booleans and null; found {kind.__name__}: {value!r:.80}"
    )


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys of canonical JSON are text; found {type(key).__name__}: {key!r:.80}")
    if key == FLOAT_KEY:
        raise TypeError(f"the key {FLOAT_KEY!r} is reserved for coded floats")
    return str(key)


def _code(value: float) -> str:
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _decode(pairs: dict[str, Any]) -> Any:
    if len(pairs) == 1 and FLOAT_KEY in pairs:
        code = pairs[FLOAT_KEY]
        if code not in _CODED:
            raise ValueError(f"a coded float is one of {sorted(_CODED)}; found {code!r}")
        return _CODED[code]
    return pairs


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"canonical JSON has no {text}; it is written as {{{FLOAT_KEY!r}: ...}}")


# Made once: `json.loads` and `json.dumps` make them anew for each call that sets an option, and journals are long.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_CODED_DECODER = json.JSONDecoder(object_hook=_decode, parse_constant=_refuse_constant)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def dumps(value: Any) -> bytes:
    """The canonical bytes of `value`. Raises TypeError when it holds something that JSON cannot."""
    return _ENCODER.encode(plain(value)).encode("utf-8")


def loads(data: bytes | str) -> Any:
    """The value of canonical JSON. Raises ValueError when `data` is not JSON, RecursionError when it nests too deep."""
    text = data if isinstance(data, str) else bytes(data).decode("utf-8")
    # A hook costs a call for each object, and few values have a coded float. The key may also be spelled in escapes.
    return (_CODED_DECODER if "$" in text or "\\" in text else _DECODER).decode(text)


def loads_canonical(data: bytes) -> Any:
    """The value of canonical JSON. Raises ValueError when `data` is not JSON, or is another spelling of its value."""
    text = data.decode("utf-8")
    value = _DECODER.decode(text)
    # Written anew, with coded floats as they stand, and compared: all of it runs in C, which long journals need.
    if _ENCODER.encode(value) != text:
        raise ValueError("not the canonical spelling of its value")
    return loads(text) if "$" in text or "\\" in text else value
