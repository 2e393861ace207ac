"""What a figure shows, as arrays and words; `draw` makes a picture of it.

Series come in bins (`low`, `y`, `high` along `x`), so that a figure of a million steps is as large as one of a
hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line.

    x, y        float64 (n,)
    low, high   float64 (n,), the limits of a band around the line; None without a band
    marks       whether points are drawn instead of a line
    dashed      for lines that others are compared with
    """

    name: str
    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None
    marks: bool = False
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A horizontal line with a name, such as a usual value or a boundary."""

    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines over one axis.

    x_kind       "time" for x in days since 1970 (`times`)
    log          whether the y axis is logarithmic
    references   horizontal lines
    y_range      limits of the y axis; default: those of the lines
    diagonal     whether a line joins the corners: a calibrated forecast lies on it
    """

    series: Sequence[Series]
    y_label: str
    x_label: str = "step"
    x_kind: Literal["number", "time"] = "number"
    log: bool = False
    references: Sequence[Reference] = ()
    y_range: tuple[float, float] | None = None
    diagonal: bool = False


@dataclass(frozen=True, kw_only=True)
class Panels:
    """Panels one above the other, sharing the x axis."""

    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Rows over steps, coloured by powers of ten.

    rows     names
    edges    float64 (bins + 1,), along x
    values   float64 (rows, bins)
    label    of the colour scale
    centre   the value in the middle of a scale with two sides; None for a scale with one
    """

    rows: Sequence[str]
    edges: Array
    values: Array
    label: str
    x_label: str = "step"
    centre: float | None = None


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Counts of samples by true class (rows) and predicted class (columns), coloured by their share of the row.

    counts   int64 (n, n)
    """

    classes: Sequence[str]
    counts: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """A point with an interval for each name.

    centre      points (n,)
    low, high   ends of the intervals (n,); None for a point without one
    reference   where a vertical line is drawn
    """

    names: Sequence[str]
    centre: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]
    x_label: str
    reference: float = 0.0


Chart: TypeAlias = Panels | HeatMap | Matrix | Intervals


def times(milliseconds: NDArray[np.int64] | Sequence[int]) -> NDArray[np.float64]:
    """Milliseconds since 1970, UTC, as the days since 1970 that a time axis counts in; float64 (n,)."""
    return np.asarray(milliseconds, np.float64) / 86_400_000.0
