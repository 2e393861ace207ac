"""Prices that break: splits, changes of unit, and ticks that nobody traded, told from crashes by what a market does.

A split happens between two bars: the next bar opens at an exact fraction of the last close, moves as much as any other
and trades no more. A crash happens within bars, with a range and a volume out of the ordinary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.scalar_math import log
from lockstep.core.types import Float
from lockstep.market.clock import HOUR_MS
from lockstep.market.gaps import missing_before
from lockstep.market.quality_report import BadTick, PriceBreak

# Bars over which a range or a volume is called usual.
_BLOCK: Final = 100
# Exact ratios of splits, consolidations and units; smaller ones are moves that markets make overnight.
_RATIOS: Final = (1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 100, 1_000, 10_000)
_LEAST_RATIO: Final = 1.45
# A break is this many usual ranges, and its bar's own range no more than that many.
_BREAK_RANGES: Final = 8.0
_CALM_RANGES: Final = 4.0
# How far a ratio is from an exact one, by the move that the market makes anyway: usual ranges, and never more than 4 %.
_RATIO_RANGES: Final = 1.5
_RATIO_SLACK: Final = 0.04
# An unexplained change of this factor between two bars needs no exact ratio.
_TENFOLD: Final = 9.0
# A wick of so many usual ranges is a bad tick where its bar trades as usual, and of so many where there is no volume.
_TICK_RANGES: Final = 12.0
_TICK_RANGES_WITHOUT_VOLUME: Final = 20.0
# A storm is seen in the bars beside it, and in what is traded.
_NEIGHBOUR_RANGES: Final = 2.0
_USUAL_VOLUMES: Final = 3.0
# A bar takes back a break when it makes up for this share of it.
_TAKEN_BACK: Final = 0.8
# A gap of months has moves of its own.
_LONGEST_GAP_MS: Final = 14 * 24 * HOUR_MS


def find_breaks(
    columns: Mapping[str, NDArray[Any]], timeframe_ms: int, numbers: NDArray[np.int64]
) -> tuple[PriceBreak, ...]:
    """Changes of price between two bars that look like a split or another unit, in order of time.

    columns       timestamp int64 (n,), strictly ascending; open, high, low, close, volume float64 (n,)
    timeframe_ms  bar length in milliseconds
    numbers       int64 (n,), the rows' numbers in the source
    """
    time, volume = columns["timestamp"], columns["volume"]
    sound = _sound(columns)
    if time.size < 2:
        return ()
    ranges = _ranges(columns, sound)
    usual, quiet = _usual(ranges), trades_as_usual(volume)
    # A split multiplies volumes as it divides prices. Where less than a block of bars follows, what is usual after it
    # is not known yet; the value that is traded goes on as it was.
    value = np.where(sound, volume, 0.0) * np.where(sound, columns["close"], 0.0)
    quiet[-_BLOCK:] |= trades_as_usual(value)[-_BLOCK:]
    both = sound[:-1] & sound[1:]
    before = np.where(both, columns["close"][:-1], 1.0)
    after = np.where(both, columns["open"][1:], 1.0)
    ratio = after / before
    # Ratios first: they are cheap, and nearly all rows end here.
    size = np.maximum(ratio, 1.0 / ratio)
    rows = np.flatnonzero(size >= _LEAST_RATIO) + 1
    missing = missing_before(time, timeframe_ms)
    breaks = []
    for row in rows.tolist():
        change = float(size[row - 1])
        calm = float(usual[row]) * float(np.sqrt(missing[row] + 1.0))
        if change - 1.0 < _BREAK_RANGES * calm or int(time[row] - time[row - 1]) > _LONGEST_GAP_MS + timeframe_ms:
            continue
        move = log(float(ratio[row - 1]))
        following = log(float(columns["close"][row + 1]) / float(before[row - 1])) if _has(sound, row + 1) else move
        taken_back = 1.0 - following / move >= _TAKEN_BACK
        # The way back from one bad close is counted as its spike.
        if row >= 2 and sound[row - 2]:
            rest = log(float(after[row - 1]) / float(columns["close"][row - 2]))
            taken_back |= abs(rest) <= (1.0 - _TAKEN_BACK) * abs(move)
        exact = _exact_ratio(change, min(_RATIO_SLACK, _RATIO_RANGES * calm))
        calmly = quiet[row] and ranges[row] <= _CALM_RANGES * usual[row]
        if not taken_back and ((exact is not None and calmly) or change >= _TENFOLD):
            breaks.append(
                PriceBreak(
                    row=int(numbers[row]), timestamp=int(time[row]), ratio=float(ratio[row - 1]), exact=exact or 0.0
                )
            )
    return tuple(breaks)


def find_bad_ticks(columns: Mapping[str, NDArray[Any]], numbers: NDArray[np.int64]) -> tuple[BadTick, ...]:
    """Highs and lows far beyond anything beside them that the volume does not explain, in order of time.

    columns  as for `find_breaks`
    numbers  int64 (n,), the rows' numbers in the source
    """
    time, volume = columns["timestamp"], columns["volume"]
    sound = _sound(columns)
    if not sound.any():
        return ()
    ranges = _ranges(columns, sound)
    # A quiet stretch of an illiquid market is no measure for its wicks.
    usual = np.maximum(_usual(ranges), _median(ranges[ranges > 0]))
    inner_high = np.where(sound, np.maximum(columns["open"], columns["close"]), 1.0)
    inner_low = np.where(sound, np.minimum(columns["open"], columns["close"]), 1.0)
    up = np.where(sound, columns["high"], 1.0) / inner_high - 1.0
    down = inner_low / np.where(sound, columns["low"], 1.0) - 1.0
    wick = np.maximum(up, down)
    padded = np.pad(ranges, 1)
    beside = np.maximum(padded[:-2], padded[2:])
    has_volume = bool(np.any(volume > 0))
    least = _TICK_RANGES if has_volume else _TICK_RANGES_WITHOUT_VOLUME
    far = (usual > 0) & (wick > least * usual) & (wick > _NEIGHBOUR_RANGES * beside)
    # Where bars usually trade nothing, one that trades is out of the ordinary.
    far &= trades_as_usual(volume)
    ticks = []
    for row in np.flatnonzero(far).tolist():
        column, inner = ("high", inner_high) if up[row] >= down[row] else ("low", inner_low)
        value = float(columns[column][row])
        ticks.append(
            BadTick(
                row=int(numbers[row]),
                timestamp=int(time[row]),
                column=column,
                price=value,
                ratio=value / float(inner[row]),
            )
        )
    return tuple(ticks)


def trades_as_usual(volume: Float) -> NDArray[np.bool_]:
    """Which bars trade no more than thrice what is usual around them, so that no storm explains a price: bool (n,)."""
    quiet: NDArray[np.bool_] = volume <= _USUAL_VOLUMES * _usual(volume)
    return quiet


def _sound(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Rows whose prices can be compared: finite, positive, high the highest and low the lowest. bool (n,)."""
    high, low = columns["high"], columns["low"]
    sound: NDArray[np.bool_] = np.isfinite(columns["volume"])
    for name in ("open", "high", "low", "close"):
        value = columns[name]
        sound &= np.isfinite(value) & (value > 0) & (value <= high) & (value >= low)
    return sound


def _ranges(columns: Mapping[str, NDArray[Any]], sound: NDArray[np.bool_]) -> Float:
    """high / low - 1, float64 (n,); 0 where a row is not sound. No logarithm: libraries differ in its last digit."""
    spread: Float = np.where(sound, columns["high"], 1.0) / np.where(sound, columns["low"], 1.0) - 1.0
    return spread


def _usual(values: Float) -> Float:
    """The usual value around each row, float64 (n,): the greatest median of its block of bars and those beside it.

    Not below a quarter of the median of all values that are not zero: a market that stands still for a day is quiet,
    and the first trade after it no outlier.
    """
    n = values.shape[0]
    blocks = max(1, n // _BLOCK)
    edges = np.arange(blocks + 1) * n // blocks
    medians = np.array([_median(values[edges[i] : edges[i + 1]]) for i in range(blocks)])
    padded = np.pad(medians, 1)
    around = np.maximum(np.maximum(padded[:-2], medians), padded[2:])
    positive = values[values > 0]
    if around.max() > 0 and positive.size:
        around = np.maximum(around, 0.25 * _median(positive))
    return np.repeat(around, np.diff(edges))


def _median(values: Float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else 0.0


def _has(sound: NDArray[np.bool_], row: int) -> bool:
    return row < sound.size and bool(sound[row])


def _exact_ratio(change: float, slack: float) -> float | None:
    """The exact ratio that a change by a factor >= 1 is within the share `slack` of; None where there is none."""
    nearest = min(_RATIOS, key=lambda ratio: abs(change / ratio - 1.0))
    return float(nearest) if abs(change / nearest - 1.0) <= slack else None
