"""DataCleaner: leaves out bars in which nothing was traded, and says which and why (R1.16).

One classification in NumPy; the faces take `Candles` or a pandas frame and give back the same kind. What is
removed becomes a gap: nothing is filled.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError
from lockstep.core.near_names import did_you_mean
from lockstep.market.candles import Candles
from lockstep.market.checks import PRICES, flat_bars

Frame = TypeVar("Frame")

SINGLE_PRICE_VOLUME: Final = 1.0  # base currency; from here on a one-price bar is a trade, not a filler
FEW_ROWS: Final = 100
_LOW_VOLUME: Final = 0.1
_MICRO_PCT: Final = 0.01
_NEEDED: Final = (*PRICES, "volume")


class Reason(IntEnum):
    """What a bar is, in the order of the rules; the first that fits decides."""

    ZERO_VOLUME = 0
    INSUFFICIENT_VOLUME = 1
    VALID_SINGLE_PRICE = 2
    FLAT_LOW_VOLUME = 3
    INSUFFICIENT_MOVEMENT = 4
    VALID = 5

    @property
    def label(self) -> str:
        """Lower-case name, as statistics have it: "zero_volume"."""
        return self.name.lower()


_VALID: Final = (Reason.VALID, Reason.VALID_SINGLE_PRICE)


class FewCandlesWarning(UserWarning):
    """Cleaning left fewer than 100 candles."""


@dataclass(frozen=True, kw_only=True)
class DataFilterConfig:
    """`data_filter_config`: what counts as a bar without trading.

    enable_filtering                   False keeps every bar
    min_volume_threshold               least volume, base currency, >= 0
    min_price_movement_pct             least range (high - low) / open, percent (0.01 is 0.01 %), >= 0
    filter_flat_candles                apply the rules about flat bars and small movement
    preserve_high_volume_single_price  keep bars of one price whose volume is at least 1.0

    Raises DataError when a value is of the wrong type, negative or not finite.
    """

    enable_filtering: bool = True
    min_volume_threshold: float = 0.1
    min_price_movement_pct: float = 0.01
    filter_flat_candles: bool = True
    preserve_high_volume_single_price: bool = True

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(item.default, bool):
                if not isinstance(value, bool):
                    raise DataError(f"data_filter_config: {item.name} is true or false; found {value!r}.")
            elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise DataError(f"data_filter_config: {item.name} is a number >= 0; found {value!r}.")
            else:
                object.__setattr__(self, item.name, float(value))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any] | None) -> DataFilterConfig:
        """The configuration of a JSON object or spec table; None gives the defaults. Unknown keys: DataError."""
        names = [item.name for item in fields(cls)]
        for key in values or {}:
            if key not in names:
                hint = did_you_mean(str(key), names) or f" Known are {', '.join(names)}."
                raise DataError(f"data_filter_config has no key {key!r}.{hint}")
        return cls(**(values or {}))

    @classmethod
    def preset(cls, name: str) -> DataFilterConfig:
        """One of `PRESETS`. Raises DataError on another name."""
        if name not in PRESETS:
            raise DataError(f"presets are {', '.join(PRESETS)}; found {name!r}.")
        return PRESETS[name]

    def to_dict(self) -> dict[str, bool | float]:
        """Plain values by name, as they travel in a job (R1.14); `from_mapping` reads them back."""
        return asdict(self)


PRESETS: Final[Mapping[str, DataFilterConfig]] = {
    "conservative": DataFilterConfig(),
    "strict": DataFilterConfig(min_volume_threshold=0.5, min_price_movement_pct=0.05),
    "minimal": DataFilterConfig(min_volume_threshold=0.01, min_price_movement_pct=0.001, filter_flat_candles=False),
    "disabled": DataFilterConfig(enable_filtering=False),
}


def movement_pct(columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """(high - low) / open in percent, float64 (n,); 0 where open is not positive."""
    start = columns["open"]
    positive = start > 0
    out = np.zeros(start.shape[0])
    np.divide(columns["high"] - columns["low"], start, out=out, where=positive)
    out *= 100.0
    return out


def classify(columns: Mapping[str, NDArray[np.float64]], config: DataFilterConfig) -> NDArray[np.int8]:
    """The `Reason` of every bar, int8 (n,); `enable_filtering` takes no part.

    The first rule that fits decides: volume = 0; volume < threshold; open = high = low = close (kept when preserved and
    volume >= 1.0, else flat, if flat bars are filtered); range below the least movement, if flat bars are
    filtered; else valid.

    columns  open, high, low, close, volume: finite float64 (n,)
    config   the thresholds
    """
    volume = columns["volume"]
    one_price = flat_bars(columns)
    preserved = one_price & (volume >= SINGLE_PRICE_VOLUME) & config.preserve_high_volume_single_price
    small = (columns["open"] <= 0) | (movement_pct(columns) < config.min_price_movement_pct)
    reasons = [
        (volume == 0, Reason.ZERO_VOLUME),
        (volume < config.min_volume_threshold, Reason.INSUFFICIENT_VOLUME),
        (preserved, Reason.VALID_SINGLE_PRICE),
        # The earlier implementation removed flat bars even with the switch off; here the switch decides.
        (one_price & config.filter_flat_candles, Reason.FLAT_LOW_VOLUME),
        (small & config.filter_flat_candles, Reason.INSUFFICIENT_MOVEMENT),
    ]
    chosen = np.select([rule for rule, _ in reasons], [int(reason) for _, reason in reasons], int(Reason.VALID))
    return chosen.astype(np.int8)


class DataCleaner:
    """Filters bars by `data_filter_config` and reports what it removed, by reason.

    config  a `DataFilterConfig`, a mapping of its keys, or None for the defaults

    Raises DataError when the configuration has an unknown key or an unusable value.
    """

    def __init__(self, config: DataFilterConfig | Mapping[str, Any] | None = None) -> None:
        self.config = config if isinstance(config, DataFilterConfig) else DataFilterConfig.from_mapping(config)

    def clean(self, data: Frame) -> tuple[Frame, dict[str, Any]]:
        """The bars that are kept, and statistics.

        data  `Candles`, or a pandas frame with columns open, high, low, close, volume (others are carried along)

        Returns the same kind as `data` (a copy; a frame keeps its index), and a dict of plain values:
        filtering_enabled, config, original_count, filtered_count, removed_count, removed_pct, and where filtering is
        enabled also removal_breakdown (count by reason, all six), removal_breakdown_pct and data_quality_score = (valid
        + valid_single_price) / total x 100. Raises DataError when there are no rows, a column is missing, or a value is
        not a finite number. Warns FewCandlesWarning when fewer than 100 rows are left.
        """
        columns = _columns(data)
        n = columns["open"].shape[0]
        statistics: dict[str, Any] = {
            "filtering_enabled": self.config.enable_filtering,
            "config": self.config.to_dict(),
            "original_count": n,
        }
        keep = np.ones(n, dtype=np.bool_)
        if self.config.enable_filtering:
            reasons = classify(columns, self.config)
            keep = np.isin(reasons, [int(reason) for reason in _VALID])
        valid = int(keep.sum())
        statistics |= {"filtered_count": valid, "removed_count": n - valid, "removed_pct": (n - valid) / n * 100.0}
        if self.config.enable_filtering:
            counts = {reason.label: int(np.count_nonzero(reasons == reason)) for reason in Reason}
            statistics["removal_breakdown"] = counts
            statistics["removal_breakdown_pct"] = {label: count / n * 100.0 for label, count in counts.items()}
            statistics["data_quality_score"] = valid / n * 100.0
        if valid < FEW_ROWS:
            warnings.warn(
                f"{valid} of {n:,} candles are left, fewer than {FEW_ROWS}. Backfill, or loosen data_filter_config.",
                FewCandlesWarning,
                stacklevel=2,
            )
        return _select(data, keep), statistics

    def validate_sample(self, data: Any, sample_size: int = 10, *, random_state: int = 42) -> dict[str, Any]:
        """A sample of rows with what the rules make of them, for a look by eye (R1.13).

        data          as for `clean`
        sample_size   rows to draw, without repetition; all rows when there are fewer
        random_state  seed of the draw: the same seed and number of rows give the same rows

        Returns sample_size, and inspections in order of time: timestamp, open, high, low, close, volume, is_valid,
        reason, price_range, price_movement_pct.
        """
        columns = _columns(data)
        n = columns["open"].shape[0]
        if sample_size < 1:
            raise DataError(f"a sample has at least one row; found sample_size {sample_size}.")
        generator = np.random.Generator(np.random.Philox(random_state))
        rows = np.sort(generator.choice(n, size=min(sample_size, n), replace=False)).tolist()
        reasons = classify(columns, self.config)
        movement = movement_pct(columns)
        inspections = []
        for row in rows:
            reason = Reason(int(reasons[row]))
            values = {name: float(columns[name][row]) for name in _NEEDED}
            inspections.append(
                {
                    "timestamp": _time_of(data, row),
                    **values,
                    "is_valid": reason in _VALID,
                    "reason": reason.label,
                    "price_range": values["high"] - values["low"],
                    "price_movement_pct": float(movement[row]),
                }
            )
        return {"sample_size": len(rows), "inspections": inspections}

    @staticmethod
    def analyze_data_quality(data: Any) -> dict[str, Any]:
        """Counts and means that tell whether filtering is needed; nothing is removed.

        Returns total_candles; zero_volume, flat_candles (one price), low_volume (< 0.1), micro_movements (range < 0.01
        %), each with _pct; avg_volume, median_volume, avg_price_movement_pct; quality_estimate = 100 - (zero_volume +
        flat_candles) / n x 100 (a bar that is both counts twice, so it can be negative).
        """
        columns = _columns(data)
        n = columns["open"].shape[0]
        volume = columns["volume"]
        movement = movement_pct(columns)
        counts = {
            "zero_volume": int(np.count_nonzero(volume == 0)),
            "flat_candles": int(np.count_nonzero(flat_bars(columns))),
            "low_volume": int(np.count_nonzero(volume < _LOW_VOLUME)),
            "micro_movements": int(np.count_nonzero(movement < _MICRO_PCT)),
        }
        result: dict[str, Any] = {"total_candles": n}
        for name, count in counts.items():
            result[name] = count
            result[f"{name}_pct"] = count / n * 100.0
        return result | {
            "avg_volume": float(np.mean(volume)),
            "median_volume": float(np.median(volume)),
            "avg_price_movement_pct": float(np.mean(movement)),
            "quality_estimate": 100.0 - (counts["zero_volume"] + counts["flat_candles"]) / n * 100.0,
        }


def quick_clean(data: Frame, **config: Any) -> Frame:
    """`DataCleaner(config).clean(data)` without the statistics; `config` are the keys of `DataFilterConfig`."""
    return DataCleaner(config).clean(data)[0]


def _columns(data: Any) -> dict[str, NDArray[np.float64]]:
    """open ... volume of candles or a frame, float64 (n,) each; checked to be there and finite."""
    if isinstance(data, Candles):
        if len(data) == 0:
            raise DataError("there are no candles to clean. Load or backfill some.")
        return {name: getattr(data, name) for name in _NEEDED}
    if not (hasattr(data, "columns") and hasattr(data, "iloc")):
        raise DataError(f"the cleaner takes Candles or a pandas frame; found {type(data).__name__}.")
    missing = [name for name in _NEEDED if name not in data.columns]
    if missing:
        names = ", ".join(map(str, data.columns))
        raise DataError(f"the frame lacks columns {', '.join(missing)}; found {names}. Rename its columns.")
    if len(data) == 0:
        raise DataError("the frame has no rows to clean. Load or backfill some.")
    try:
        columns = {name: data[name].to_numpy(dtype=np.float64) for name in _NEEDED}
    except (TypeError, ValueError) as error:
        raise DataError(f"open, high, low, close and volume are numbers; the frame holds others: {error}.") from error
    bad = np.zeros(len(data), dtype=np.bool_)
    for value in columns.values():
        bad |= ~np.isfinite(value)
    if bad.any():
        row = int(np.argmax(bad))
        values = " ".join(f"{name}={float(columns[name][row])!r}" for name in _NEEDED)
        raise DataError(
            f"prices and volumes are finite; {int(bad.sum()):,} rows are not, first row {row} ({values}). "
            "Drop them first: the cleaner judges trading, not damage."
        )
    return columns


def _select(data: Any, keep: NDArray[np.bool_]) -> Any:
    return data.take(keep) if isinstance(data, Candles) else data.loc[keep].copy()


def _time_of(data: Any, row: int) -> int | str:
    if isinstance(data, Candles):
        return int(data.timestamp[row])
    value = data["timestamp"].iloc[row] if "timestamp" in data.columns else data.index[row]
    return int(value) if isinstance(value, int | np.integer) else str(value)
