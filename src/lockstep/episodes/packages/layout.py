"""The layout of packages that are kept in columns: symbols, and names and types of every field's columns.

A package of a layout has fields of these widths and types; the numbers of rows may differ from package to package.
Each field is kept in a *pool*: one table of rows in which every package has a range, so that rows which many packages
share (the last 64 bars of two consecutive minutes) are kept once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from lockstep.core.errors import DataError
from lockstep.core.units import parse_timeframe

OHLCV_COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")
TICK_COLUMNS: Final = ("trade_id", "timestamp", "price", "quantity", "side")
COB_COLUMNS: Final = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
PIVOT_COLUMNS: Final = ("timestamp", "price", "kind")
_SEPARATOR: Final = "-"


class Shape(StrEnum):
    """The form of a field in a package; in a pool all three are rows of a table."""

    TABLE = "table"  # an array (rows, columns)
    VECTOR = "vector"  # an array (columns,)
    MAPPING = "mapping"  # one number by column


@dataclass(frozen=True, kw_only=True)
class Pool:
    """One field's columns: what they are called, their little-endian dtype, and the form a package has them in."""

    columns: tuple[str, ...]
    dtype: str
    shape: Shape


@dataclass(frozen=True, kw_only=True)
class PackageLayout:
    """Symbols and columns of a set of packages.

    symbols        values that `symbol` may have; packages hold an index into them
    timeframes     timeframes of `ohlcv_data` in any order; the shortest is the base
    indicators     names of `technical_indicators`, sorted
    features       names of the columns of `cnn_features`
    state          names of the entries of `rl_state`
    feature_dtype  "<f4" or "<f8", of `cnn_features` and `rl_state`

    Raises DataError when names repeat, or a timeframe is none.
    """

    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]
    indicators: tuple[str, ...]
    features: tuple[str, ...]
    state: tuple[str, ...]
    feature_dtype: str = "<f4"

    def __post_init__(self) -> None:
        for name in ("symbols", "timeframes", "indicators", "features", "state"):
            values = getattr(self, name)
            if len(set(values)) != len(values) or not values:
                raise DataError(f"a layout's {name} are one or more different names; found {values!r}.")
        for timeframe in self.timeframes:
            parse_timeframe(timeframe)
        if list(self.indicators) != sorted(self.indicators):
            raise DataError(f"a layout's indicators are sorted by name; found {self.indicators!r}. Sort them.")
        if self.feature_dtype not in ("<f4", "<f8"):
            raise DataError(f"feature_dtype is '<f4' or '<f8'; found {self.feature_dtype!r}.")

    @property
    def base(self) -> str:
        """The shortest timeframe, such as "1m": its bars set the moments of decision."""
        return min(self.timeframes, key=parse_timeframe)

    def pools(self) -> dict[str, Pool]:
        """The pools by name, in the order in which the canonical form of a package has their bytes."""
        wide = self.feature_dtype
        return {
            "cnn_features": Pool(columns=self.features, dtype=wide, shape=Shape.TABLE),
            "cob_data": Pool(columns=COB_COLUMNS, dtype="<f8", shape=Shape.TABLE),
            **{
                pool_of(timeframe): Pool(columns=OHLCV_COLUMNS, dtype="<f8", shape=Shape.TABLE)
                for timeframe in sorted(self.timeframes)
            },
            "pivot_points": Pool(columns=PIVOT_COLUMNS, dtype="<f8", shape=Shape.TABLE),
            "rl_state": Pool(columns=self.state, dtype=wide, shape=Shape.VECTOR),
            "technical_indicators": Pool(columns=self.indicators, dtype="<f8", shape=Shape.MAPPING),
            "tick_data": Pool(columns=TICK_COLUMNS, dtype="<f8", shape=Shape.TABLE),
        }

    def to_json(self) -> dict[str, Any]:
        """Names and dtype as JSON values, as `store.json` has them."""
        return {
            "features": list(self.features),
            "feature_dtype": self.feature_dtype,
            "indicators": list(self.indicators),
            "state": list(self.state),
            "symbols": list(self.symbols),
            "timeframes": list(self.timeframes),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PackageLayout:
        """The layout that `to_json` wrote. Raises DataError when names repeat, or a timeframe is none."""
        columns: dict[str, Any] = {
            name: tuple(item) if isinstance(item, list) else item for name, item in value.items()
        }
        return cls(**columns)


def pool_of(timeframe: str) -> str:
    """The pool that holds the bars of a timeframe."""
    return f"ohlcv_data{_SEPARATOR}{timeframe}"


def timeframe_of(pool: str) -> str | None:
    """The timeframe whose bars a pool holds, or None for the pool of another field."""
    field, _, timeframe = pool.partition(_SEPARATOR)
    return timeframe if field == "ohlcv_data" else None
