"""Packages: everything a model may see at one moment, with its hashes, its completeness and its validation flags.

A `ModelInputPackage` has ten fields (R9.2). Two hashes name its content, both over one canonical form:

    tag      "lockstep-package-1" and a zero byte
    length   of the head, unsigned 64 bits, little-endian
    head     canonical JSON of the payload with sorted keys, each number or array standing as {"$array": [dtype, shape]}
    bodies   the little-endian bytes of those numbers and arrays, in the order in which the head names them

so that no two payloads share a form and any changed byte changes both hashes. What is derived (hashes, completeness,
flags) is not part of the form. `batch` computes the same bytes and flags for many packages at once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core import canonical
from lockstep.core.errors import DataError, InputError
from lockstep.core.hashing import blake3_hex
from lockstep.core.units import parse_timeframe
from lockstep.market.checks import MAX_TIMESTAMP

FIELDS: Final = (
    "timestamp",
    "symbol",
    "current_price",
    "ohlcv_data",
    "tick_data",
    "cob_data",
    "technical_indicators",
    "pivot_points",
    "cnn_features",
    "rl_state",
)
"""The ten fields whose presence is the completeness of a package."""
PAYLOAD: Final = (*FIELDS, "is_rapid_change")
"""What the hashes cover: the ten fields and the mark of a premium example."""
FLAGS: Final = (
    "valid_timestamp",
    "valid_ohlcv",
    "valid_cnn_features",
    "valid_rl_state",
    "consistent_price",
    "integrity",
)
MANDATORY: Final = ("valid_timestamp", "valid_ohlcv", "integrity")
STAMPED: Final = {"tick_data": (5, 1), "pivot_points": (3, 0)}
"""Tables whose rows bear a time: how many columns they have, and which it is."""
DIGEST_PREFIX: Final = "blake3:"
ARRAY_KEY: Final = "$array"
_TAG: Final = b"lockstep-package-1\0"
_KINDS: Final = "biuf"


@dataclass(frozen=True, kw_only=True)
class PackageRules:
    """What a package has to be before it may teach anything.

    min_completeness     least share of the ten fields, in [0, 1] (R9.4)
    future_tolerance_ms  how far ahead of the clock a timestamp may be, milliseconds
    max_package_age_s    how old a package may be, seconds; None, as in historical collection, accepts any age
    price_tolerance      how far the last close may be from `current_price`, as a fraction of the latter
    cnn_shape            expected shape of `cnn_features`; None accepts any two-dimensional one
    rl_shape             expected shape of `rl_state`; None accepts any one-dimensional one

    Raises InputError when a value is outside of its range.
    """

    min_completeness: float = 0.8
    future_tolerance_ms: int = 5_000
    max_package_age_s: float | None = None
    price_tolerance: float = 0.05
    cnn_shape: tuple[int, int] | None = None
    rl_shape: tuple[int] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_completeness <= 1.0:
            raise InputError(
                f"min_completeness is a share in [0, 1]; found {self.min_completeness!r}. The default is .8."
            )
        if self.future_tolerance_ms < 0:
            raise InputError(f"future_tolerance_ms is not negative; found {self.future_tolerance_ms!r}.")
        if self.max_package_age_s is not None and not self.max_package_age_s > 0.0:
            raise InputError(
                f"max_package_age_s is a positive number of seconds, or None to accept any age; "
                f"found {self.max_package_age_s!r}."
            )
        if not 0.0 < self.price_tolerance < 1.0:
            raise InputError(f"price_tolerance is a fraction in (0, 1); found {self.price_tolerance!r}. Default: .05.")


DEFAULT_RULES: Final = PackageRules()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ModelInputPackage:
    """What was known about one market at one moment: ten fields, read-only; any of them may be None.

    Hashes are computed at birth unless they are given, as they are for a package that was stored: then the flag
    `integrity` says whether both still fit (the BLAKE3 `digest` is the one that decides; MD5 is kept
    for readers of the older format). Content that breaks a rule makes a flag false; a package is never repaired.

    timestamp             milliseconds since 1970 UTC; a datetime with a zone is converted (whole milliseconds, rounded
                          down). One without a zone is kept, and `valid_timestamp` is false: it names no moment.
    symbol                such as "BTC/USDT"
    current_price         last price known, quote currency
    ohlcv_data            by timeframe, float64 (rows, 6): open time in milliseconds, open, high, low, close, volume;
                          closed bars only, oldest first
    tick_data             float64 (rows, 5): trade id, time in milliseconds, price, quantity, side of the aggressor (1
                          or -1)
    cob_data              float64 (levels, 4), the order book, best level first: bid price and quantity, ask price and
                          quantity
    technical_indicators  values by name
    pivot_points          float64 (rows, 3), confirmed swings, oldest first: open time of the bar, price, 1 high or -1
                          low
    cnn_features          (bars, features), oldest bar first
    rl_state              (features,)
    is_rapid_change       whether the market changed rapidly: a premium example (R9.13)
    data_hash             MD5 of the canonical form, 32 hex digits
    digest                "blake3:" and the 64 hex digits of the same form
    completeness_score    share of the ten fields that are present, in [0, 1]
    validation_flags      the flags of `FLAGS` by name

    Raises DataError when a value has no canonical form: objects, ragged lists, keys that are not text.
    """

    timestamp: int | datetime | None = None
    symbol: str | None = None
    current_price: float | None = None
    ohlcv_data: Mapping[str, NDArray[np.float64]] | None = None
    tick_data: NDArray[np.float64] | None = None
    cob_data: NDArray[np.float64] | None = None
    technical_indicators: Mapping[str, float] | None = None
    pivot_points: NDArray[np.float64] | None = None
    cnn_features: NDArray[np.floating[Any]] | None = None
    rl_state: NDArray[np.floating[Any]] | None = None
    is_rapid_change: bool = False
    data_hash: str = ""
    digest: str = ""
    completeness_score: float = field(default=0.0, init=False)
    validation_flags: Mapping[str, bool] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for name in PAYLOAD:
            object.__setattr__(self, name, _frozen(getattr(self, name), name))
        # 100 and 100.0 are one price; they must not be two packages.
        object.__setattr__(self, "current_price", _as_float(self.current_price))
        if isinstance(self.technical_indicators, Mapping):
            values = {name: _as_float(value) for name, value in self.technical_indicators.items()}
            object.__setattr__(self, "technical_indicators", MappingProxyType(values))
        if not self.data_hash and not self.digest:
            data_hash, digest = package_hashes(canonical_form(self.payload()))
            object.__setattr__(self, "data_hash", data_hash)
            object.__setattr__(self, "digest", digest)
        object.__setattr__(self, "completeness_score", self._calculate_completeness())
        object.__setattr__(self, "validation_flags", self._validate_data())

    def payload(self) -> dict[str, Any]:
        """The fields that the hashes cover, by name."""
        return {name: getattr(self, name) for name in PAYLOAD}

    def evolve(self, **changes: Any) -> ModelInputPackage:
        """A copy with some fields changed and with the hashes of its new content."""
        return ModelInputPackage(**{**self.payload(), **changes})

    def present_fields(self) -> tuple[str, ...]:
        """The fields that count as present: not None, not empty, and finite where they are numbers."""
        return tuple(name for name in FIELDS if is_present(getattr(self, name)))

    def _calculate_completeness(self) -> float:
        """Share of the ten required fields that are present, in [0, 1] (R9.2)."""
        return len(self.present_fields()) / len(FIELDS)

    def _validate_data(self, rules: PackageRules = DEFAULT_RULES, *, now_ms: int | None = None) -> Mapping[str, bool]:
        """The flags by name (R9.3).

        rules   tolerances and expected shapes
        now_ms  the clock, milliseconds UTC; None for historical packages, which are always older than today's clock
        """
        flags = {
            "valid_timestamp": timestamp_is_valid(self.timestamp, rules, now_ms) and not self._sees_later_rows(),
            "valid_ohlcv": _ohlcv_is_valid(self.ohlcv_data, self.timestamp),
            "valid_cnn_features": _has_shape(self.cnn_features, 2, rules.cnn_shape),
            "valid_rl_state": _has_shape(self.rl_state, 1, rules.rl_shape),
            "consistent_price": self._price_is_consistent(rules),
            "integrity": (self.data_hash, self.digest) == package_hashes(canonical_form(self.payload())),
        }
        return MappingProxyType(flags)

    def _sees_later_rows(self) -> bool:
        """Whether a trade or a pivot is stamped after the package: its timestamp is not when it was known."""
        for name, (columns, time) in STAMPED.items():
            table, moment = getattr(self, name), self.timestamp
            stamped = isinstance(table, np.ndarray) and table.shape[1:] == (columns,) and isinstance(moment, int)
            if stamped and bool((table[:, time] > moment).any()):
                return True
        return False

    def _price_is_consistent(self, rules: PackageRules) -> bool:
        price, bars = self.current_price, self.ohlcv_data
        if not isinstance(price, float) or not math.isfinite(price) or price <= 0.0 or not isinstance(bars, Mapping):
            return False
        timeframes = [name for name in bars if timeframe_or_none(name) is not None]
        if not timeframes:
            return False
        table = bars[min(timeframes, key=parse_timeframe)]
        if not _is_bars(table):
            return False
        return abs(float(table[-1, 4]) - price) <= rules.price_tolerance * price

    def judged(self, rules: PackageRules, *, now_ms: int | None = None) -> ModelInputPackage:
        """The same package with the flags that these rules and this clock give."""
        other = ModelInputPackage(**self.payload(), data_hash=self.data_hash, digest=self.digest)
        object.__setattr__(other, "validation_flags", self._validate_data(rules, now_ms=now_ms))
        return other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ModelInputPackage):
            return NotImplemented
        return canonical_form(self.payload()) == canonical_form(other.payload())

    def __hash__(self) -> int:
        return hash(canonical_form(self.payload()))

    def __repr__(self) -> str:
        return (
            f"<ModelInputPackage {self.symbol} at {self.timestamp}: {self.completeness_score:.0%} complete, "
            f"{self.data_hash[:8]}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Read-only mappings cannot be copied as they are; they are made anew on arrival in a worker.
        payload = {name: dict(value) if isinstance(value, Mapping) else value for name, value in self.payload().items()}
        return _rebuilt, (payload, self.data_hash, self.digest)


def _rebuilt(payload: Mapping[str, Any], data_hash: str, digest: str) -> ModelInputPackage:
    return ModelInputPackage(**payload, data_hash=data_hash, digest=digest)


def canonical_form(payload: Mapping[str, Any]) -> bytes:
    """The bytes that are hashed. `payload` holds text, numbers, arrays, None and mappings of such."""
    head, bodies = canonical_parts(payload)
    return b"".join([head, *bodies])


def canonical_parts(payload: Mapping[str, Any]) -> tuple[bytes, list[bytes]]:
    """The canonical form in pieces: everything up to the bodies, which depends on dtypes and shapes only, and these."""
    bodies: list[bytes] = []
    head = canonical.dumps(_described(payload, bodies))
    # The length of the head stands first: without it a head could end in what another package has as a body.
    return _TAG + len(head).to_bytes(8, "little") + head, bodies


def package_hashes(form: bytes | memoryview) -> tuple[str, str]:
    """`data_hash` and `digest` of a canonical form."""
    return hashlib.md5(form, usedforsecurity=False).hexdigest(), DIGEST_PREFIX + blake3_hex(form)


def _described(value: Any, bodies: list[bytes]) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return {"$naive": value.isoformat()}
    if isinstance(value, Mapping):
        return {key: _described(value[key], bodies) for key in sorted(value)}
    array = _little_endian(np.asarray(value))
    bodies.append(array.tobytes())
    return {ARRAY_KEY: [array.dtype.str, list(array.shape)]}


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.dtype.byteorder in "=<|" and np.little_endian else array.astype(array.dtype.newbyteorder("<"))


def _frozen(value: Any, place: str) -> Any:
    """`value` as a package holds it, read-only. Raises DataError where it has no canonical form."""
    if value is None or isinstance(value, str | bool | int | float):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise DataError(f"{place}: whole numbers fit 64 signed bits; found {value}. Check the unit.")
        return value
    if isinstance(value, datetime):
        # Whole milliseconds since 1970, without going through a float.
        return value if value.tzinfo is None else _milliseconds(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise DataError(f"{place}: keys are text that does not begin with '$'; found {key!r}. Rename it.")
        return MappingProxyType({key: _frozen(value[key], f"{place}.{key}") for key in sorted(value)})
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in _KINDS or array.dtype.itemsize > 8:
        raise DataError(
            f"{place}: a field holds text, numbers, arrays of numbers of up to 64 bits, or mappings of such; "
            f"found {type(value).__name__} of dtype {array.dtype}. Convert it to an array of numbers."
        )
    if array.ndim == 0:
        return array.item()
    # Someone may still write through the array that was given, so it is copied.
    copy = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True)
    copy.setflags(write=False)
    return copy


def _milliseconds(moment: datetime) -> int:
    from datetime import UTC, timedelta

    since: timedelta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)


def is_present(value: Any) -> bool:
    """Whether a field counts as there: not None, not empty, all numbers finite; a mapping when all its values are."""
    if value is None:
        return False
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, datetime):
        return True
    if isinstance(value, Mapping):
        return len(value) > 0 and all(is_present(item) for item in value.values())
    array = np.asarray(value)
    return bool(array.size) and bool(np.isfinite(array).all())


def _as_float(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def timeframe_or_none(text: str) -> int | None:
    """Milliseconds of a timeframe, or None where the text is none."""
    try:
        return parse_timeframe(text)
    except InputError:
        return None


def timestamp_is_valid(timestamp: Any, rules: PackageRules, now_ms: int | None) -> bool:
    """Whether a timestamp is a moment (UTC), not ahead of the clock and not too old for the rules."""
    if isinstance(timestamp, bool) or not isinstance(timestamp, int) or not 0 <= timestamp <= MAX_TIMESTAMP:
        return False
    if now_ms is None:
        return True
    if timestamp > now_ms + rules.future_tolerance_ms:
        return False
    return rules.max_package_age_s is None or now_ms - timestamp <= rules.max_package_age_s * 1_000.0


def _is_bars(table: Any) -> bool:
    return isinstance(table, np.ndarray) and table.ndim == 2 and table.shape[1] == 6 and table.shape[0] > 0


def _ohlcv_is_valid(data: Any, timestamp: Any) -> bool:
    if not isinstance(data, Mapping) or not data:
        return False
    return all(_table_is_valid(timeframe_or_none(name), table, timestamp) for name, table in data.items())


def _table_is_valid(timeframe_ms: int | None, table: Any, timestamp: Any) -> bool:
    """Rows of bars that obey the rules of candles and had closed by `timestamp`."""
    if timeframe_ms is None or not _is_bars(table) or not np.isfinite(table).all():
        return False
    time, first, high, low, close, volume = table.T
    prices = (high >= np.maximum(first, close)) & (low <= np.minimum(first, close)) & (low > 0.0) & (volume >= 0.0)
    if not prices.all() or not (time[1:] > time[:-1]).all():
        return False
    # A bar that had not closed yet holds the future of the package.
    return not isinstance(timestamp, int) or bool(time[-1] + timeframe_ms <= timestamp)


def _has_shape(value: Any, dimensions: int, expected: tuple[int, ...] | None) -> bool:
    if not isinstance(value, np.ndarray) or value.ndim != dimensions or not is_present(value):
        return False
    return expected is None or value.shape == tuple(expected)
