"""Cut candles into three parts of samples in order of time, purged: train, validation, test. No torch.

A sample is a bar whose window and label are whole. The parts are cut by bar and purged by `market.splits`, eq. (1): for
every sample i of an earlier part and j of a later one, last(i) + embargo < j - reach, where last(i) is the last bar
that the label of i needs and the window of j reads bars j - reach ... j. So no window of a later part sees a bar that a
training label depends on.

Means and standard deviations of channels come from the bars of training windows, scale of returns and class weights
from training samples, never from later rows. Sums are exact (`math.fsum`), so their order does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import DataError, InputError
from lockstep.learning.patterns.labels import UNKNOWN, Labels, LabelSettings, labels_of
from lockstep.learning.patterns.windows import WindowSettings, channel_series, covered_bars, require_finite, unbroken
from lockstep.market.splits import cuts_from_end, purged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.market.candles import Candles

    Bars = NDArray[np.int64]

PARTS: Final = ("train", "validation", "test")
BALANCED: Final = "balanced"


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """Shares of the samples for validation and test, at the end of the data; `embargo` in bars."""

    validation: float = 0.15
    test: float = 0.15
    embargo: int = 0

    def __post_init__(self) -> None:
        if not (self.validation > 0.0 and self.test > 0.0 and self.validation + self.test < 1.0) or self.embargo < 0:
            raise InputError(
                "validation and test are shares above 0 that leave something to train on, embargo is not negative; "
                f"found {self.validation}, {self.test}, {self.embargo}"
            )


@dataclass(frozen=True, kw_only=True)
class BarParts:
    """Decision bars of each part, int64, ascending; `purged` counts the samples that are in no part."""

    train: Bars
    validation: Bars
    test: Bars
    purged: int


def split(bars: Bars, last: Bars, *, reach: int, settings: SplitSettings) -> BarParts:
    """Cut samples into parts and purge them (`market.splits`, eq. 1).

    bars   int64 (samples,), decision bars, ascending
    last   int64 (samples,), the last bar that each label needs
    reach  bars that a window reads before its decision bar

    Raises DataError when a part is left empty.
    """
    n = len(bars)
    sizes = [math.floor(n * share) for share in (settings.validation, settings.test)]
    parts = purged(bars, last, cuts_from_end(n, sizes), reach=reach, embargo=settings.embargo)
    for name, rows in reversed(list(zip(PARTS, parts, strict=True))):
        if not len(rows):
            raise DataError(
                f"{n:,} samples leave none for {name} (shares {settings.validation} and {settings.test}; windows reach "
                f"back {reach} bars, labels {int((last - bars).max())} ahead, embargo {settings.embargo}). Give more "
                "candles, smaller windows or other shares; where data have gaps, allow them with max_gap."
            )
    train, validation, test = (bars[rows] for rows in parts)
    return BarParts(train=train, validation=validation, test=test, purged=n - sum(map(len, parts)))


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Numbers that normalise every row, taken from training rows only.

    mean, std     float64 (channels,)
    return_scale  standard deviation of returns, a fraction
    clip          normalised values are cut off at -clip and clip
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    return_scale: float
    clip: float

    def normalised(self, series: NDArray[np.float64]) -> NDArray[np.float32]:
        """(series - mean) / std within ±clip, float32 (channels, n), C-contiguous; 0 where a channel is unknown."""
        out = (series - self.mean[:, None]) / self.std[:, None]
        np.clip(out, -self.clip, self.clip, out=out)
        out[np.isnan(out)] = 0.0
        return np.ascontiguousarray(out, np.float32)

    def to_json(self, channels: tuple[str, ...]) -> dict[str, Any]:
        """The statistics by channel name, as JSON values: enough to normalise new bars.

        `order` names the channels as the network's input has them: keys of JSON are sorted.
        """
        return {
            "order": list(channels),
            "channels": {
                name: {"mean": float(mean), "std": float(std)}
                for name, mean, std in zip(channels, self.mean, self.std, strict=True)
            },
            "clip": self.clip,
            "return_scale": self.return_scale,
        }


def statistics_of(
    series: NDArray[np.float64], returns: NDArray[np.float64], train: Bars, *, window: int, clip: float
) -> Statistics:
    """The statistics of `train`; a channel or return that never moves gets scale 1, so that nothing divides by 0.

    series   float64 (channels, n), not normalised
    returns  float64 (n,), fractions
    """
    covered = covered_bars(train, window, series.shape[1])
    moments = [_moments(row[covered]) for row in series]
    _, spread = _moments(returns[train])
    return Statistics(
        mean=np.array([mean for mean, _ in moments]),
        std=np.array([std or 1.0 for _, std in moments]),
        return_scale=spread or 1.0,
        clip=clip,
    )


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((values - mean) ** 2) / len(values))


def class_weights(classes: Bars, names: tuple[str, ...], rule: str | tuple[float, ...]) -> NDArray[np.float32] | None:
    """Weights float32 (names,) of training classes: n / (names n_c) for "balanced", the list itself, None for "none".

    Raises DataError for a class that training rows lack, InputError for a list of another length.
    """
    count = len(names)
    samples = np.bincount(classes, minlength=count)
    if (samples == 0).any():
        counts = mapping_of(dict(zip(names, samples.tolist(), strict=True)))
        raise DataError(
            f"every class has a training sample; found {counts}. Give more candles (prices that never move have no "
            "other class), or labels that are less rare."
        )
    if isinstance(rule, tuple):
        if len(rule) != count or min(rule) <= 0.0:
            raise InputError(f"class_weights lists {count} numbers above 0; found {list(rule)}")
        return np.array(rule, np.float32)
    if rule == BALANCED:
        return (len(classes) / (count * samples)).astype(np.float32)
    return None


@dataclass(frozen=True, kw_only=True)
class DataModule:
    """Samples of one market by the number of their decision bar.

    series      float32 (channels, n), normalised
    labels      labels of every bar
    parts       decision bars of train, validation and test
    statistics  those of training rows, which normalised the series
    """

    windows: WindowSettings
    label_settings: LabelSettings
    series: NDArray[np.float32]
    labels: Labels
    parts: BarParts
    statistics: Statistics

    def bars(self, part: str) -> Bars:
        """Decision bars of a part by name, int64, ascending."""
        bars: Bars = getattr(self.parts, part)
        return bars

    def inputs(self, bars: Bars) -> NDArray[np.float32]:
        """Windows that end at `bars`, float32 (len(bars), channels, window), copied."""
        view = np.lib.stride_tricks.sliding_window_view(self.series, self.windows.window, axis=1)
        return np.ascontiguousarray(view[:, bars - self.windows.window + 1].transpose(1, 0, 2))

    def counts(self) -> dict[str, Any]:
        """Number of samples by part and class name, for the summary."""
        names = self.label_settings.classes
        return {
            part: dict(
                zip(
                    names, np.bincount(self.labels.classes[self.bars(part)], minlength=len(names)).tolist(), strict=True
                )
            )
            for part in PARTS
        }


def data_module(
    candles: Candles, windows: WindowSettings, labels: LabelSettings, splits: SplitSettings, *, clip: float = 8.0
) -> DataModule:
    """Windows, labels, parts and statistics of one market. Raises DataError when the candles leave too few samples."""
    table = labels_of(candles, labels)
    reach = max(windows.reach, labels.before)
    whole = unbroken(candles, back=reach, ahead=labels.ahead, max_gap=windows.max_gap)
    bars = np.flatnonzero(whole & (table.classes != UNKNOWN))
    if not len(bars):
        raise DataError(
            f"no bar of {len(candles):,} has a whole window and label: a window reads {reach + 1} bars and a label "
            f"{labels.ahead} more, without a gap of more than {windows.max_gap} bars. Give more candles, smaller "
            "windows, or allow gaps (max_gap; a weekend of 1h bars misses about 48)."
        )
    series = channel_series(candles, windows.channels)
    require_finite(series, bars, windows)
    parts = split(bars, table.last[bars], reach=reach, settings=splits)
    statistics = statistics_of(series, table.returns, parts.train, window=windows.window, clip=clip)
    return DataModule(
        windows=windows,
        label_settings=labels,
        series=statistics.normalised(series),
        labels=table,
        parts=parts,
        statistics=statistics,
    )


def mapping_of(counts: Mapping[str, int]) -> str:
    """Counts as one line of text: low 310, none 2,900, high 305."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
