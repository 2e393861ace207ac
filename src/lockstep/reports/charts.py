"""What a figure shows: arrays and words. `draw` turns one into a picture.

Series come in bins (`low`, `y`, `high` along `x`), so that a figure of a million steps is as large as one of a
hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line: `y` float64 (n,) over `x` (n,); `low` and `high` (n,), where given, are drawn as a band around it.

    `marks` draws points instead of a line; `dashed` is for what it is compared with.
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
    """A horizontal line with a name: a usual value, a boundary."""

    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines over one axis. `x_kind` "time" reads x as milliseconds UTC. `log` is for the y axis."""

    series: Sequence[Series]
    y_label: str
    x_label: str = "step"
    x_kind: Literal["number", "time"] = "number"
    log: bool = False
    references: Sequence[Reference] = ()
    y_range: tuple[float, float] | None = None
    diagonal: bool = False
    """A line from corner to corner: where a calibrated forecast lies."""


@dataclass(frozen=True, kw_only=True)
class Panels:
    """Panels one above the other, sharing the x axis."""

    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Rows over steps: `values` float64 (rows, bins), `edges` (bins + 1,) along x. Colours are by power of ten.

    `centre`, where given, is the value in the middle of a two-sided scale.
    """

    rows: Sequence[str]
    edges: Array
    values: Array
    label: str
    x_label: str = "step"
    centre: float | None = None


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Counts of true class (rows) by predicted class (columns), int (n, n), coloured by share of the row."""

    classes: Sequence[str]
    counts: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """A point and a bar per name: `centre`, and `low` to `high` where they are known (None where not)."""

    names: Sequence[str]
    centre: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]
    x_label: str
    reference: float = 0.0


Chart: TypeAlias = Panels | HeatMap | Matrix | Intervals
