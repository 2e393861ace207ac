"""Draw charts with matplotlib. The only module that imports it; `draw` loads it.

Heat maps use cividis (Nuñez, Anderton, Renslow 2018) and PuOr, which all kinds of colour vision read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps, font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image

from lockstep.reports.charts import Chart, HeatMap, Intervals, Matrix, Panel, Panels, Series
from lockstep.reports.themes import Theme, Width
from lockstep.reports.words import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DASHES: Final = ("-", (0, (5, 2)), (0, (1, 1.5)))
_ROUND: Final = (1, 2, 2.5, 5, 10)
"""A scale has labels at multiples of these."""
_ROW: Final = 0.24
"""Inches of a row of a heat map."""


def png(chart: Chart, theme: Theme, size: Width) -> bytes:
    """The chart as PNG bytes."""
    with _settings(theme, size):
        # A figure and canvas of our own, not pyplot's, which keeps every figure in a global list.
        figure = Figure(figsize=(size.inches, _height(chart, size)), layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        if isinstance(chart, Panels):
            _panels(figure, chart, theme, size)
        elif isinstance(chart, HeatMap):
            _heat_map(figure, chart, theme, size)
        elif isinstance(chart, Matrix):
            _matrix(figure, chart, size)
        else:
            _intervals(figure, chart, theme, size)
        canvas.figure.set_dpi(size.dpi)
        canvas.draw()
        return _png(np.asarray(canvas.buffer_rgba()), size.dpi)


def _png(pixels: NDArray[np.uint8], dpi: int) -> bytes:
    """Pixels uint8 (rows, columns, 4) as a PNG of 256 colours: a third of the bytes, and a page holds dozens."""
    # Alpha is dropped: the ground is opaque. No dithering: its noise would undo the compression.
    image = Image.fromarray(np.ascontiguousarray(pixels[:, :, :3]))
    image = image.quantize(colors=256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, dpi=(dpi, dpi))
    return buffer.getvalue()


def _height(chart: Chart, size: Width) -> float:
    if isinstance(chart, Panels):
        # A calibration curve is read against its diagonal, so its panel is nearly square.
        square = any(panel.diagonal for panel in chart.panels)
        one = (5.2 if square else 3.6) if size.inches > 6.0 else (4.4 if square else 3.3)
        return one + (len(chart.panels) - 1) * 0.62 * one
    if isinstance(chart, HeatMap):
        return max(2.4, 1.3 + _ROW * len(chart.rows))
    if isinstance(chart, Matrix):
        return min(size.inches, 6.2)
    return 1.2 + 0.4 * len(chart.names)


@contextmanager
def _settings(theme: Theme, size: Width) -> Iterator[None]:
    # A user's own matplotlibrc would change the figure.
    defaults: dict[Any, Any] = {
        name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")
    }
    own = {
        "font.family": ["DejaVu Sans"],
        "font.size": size.points,
        # Else matplotlib takes the dollar signs in a user's name for a formula.
        "text.parse_math": False,
        "text.color": theme.ink,
        "axes.labelcolor": theme.soft,
        "axes.edgecolor": theme.soft,
        "axes.facecolor": theme.back,
        "figure.facecolor": theme.back,
        "savefig.facecolor": theme.back,
        "xtick.color": theme.soft,
        "ytick.color": theme.soft,
        "xtick.labelsize": size.points - 1,
        "ytick.labelsize": size.points - 1,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "legend.fontsize": size.points - 1,
        "lines.linewidth": 1.5,
    }
    with mpl.rc_context(defaults | own):
        yield


def _panels(figure: Any, chart: Panels, theme: Theme, size: Width) -> None:
    heights = [1.0] + [0.62] * (len(chart.panels) - 1)
    axes = figure.subplots(len(chart.panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, panel in zip(axes, chart.panels, strict=True):
        _panel(axis, panel, theme, size)
    figure.align_ylabels(axes)
    last = chart.panels[-1]
    axes[-1].set_xlabel(last.x_label)
    _x_axis(axes[-1], last, size)


def _panel(axis: Any, panel: Panel, theme: Theme, size: Width) -> None:
    if panel.log:
        axis.set_yscale("log", nonpositive="mask")
    axis.margins(x=0.01)
    if panel.diagonal:
        axis.plot([0.0, 1.0], [0.0, 1.0], color=theme.soft, linewidth=1.0, linestyle=_DASHES[1])
        axis.set_xlim(0.0, 1.0)
    for place, series in enumerate(panel.series):
        _line(axis, series, theme.lines[place % len(theme.lines)], place // len(theme.lines), size)
    for reference in panel.references:
        axis.axhline(reference.value, color=theme.soft, linewidth=1.0, linestyle=_DASHES[1], label=reference.name)
    axis.set_ylabel(panel.y_label)
    if panel.y_range is not None:
        axis.set_ylim(*panel.y_range)
    _y_axis(axis, panel)
    named = len(panel.series) + len(panel.references)
    if named > 1:
        columns = min(named, 4 if size.inches > 6.0 else 2)
        axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, handlelength=1.8, columnspacing=1.4)


def _line(axis: Any, series: Series, colour: str, turn: int, size: Width) -> None:
    style = _DASHES[1] if series.dashed else _DASHES[turn % len(_DASHES)]
    name = drawable(series.name, size.letters)
    if series.low is not None and series.high is not None:
        axis.fill_between(series.x, series.low, series.high, color=colour, alpha=0.22, linewidth=0.0)
    # A line through one point is invisible.
    if series.marks or len(series.x) == 1:
        axis.plot(series.x, series.y, linestyle="none", marker="o", markersize=3.5, color=colour, label=name)
    else:
        axis.plot(series.x, series.y, linestyle=style, color=colour, label=name)


def _x_axis(axis: Any, panel: Panel, size: Width) -> None:
    many = 9 if size.inches > 6.0 else 5
    if panel.x_kind == "time":
        locator = AutoDateLocator(maxticks=many)  # type: ignore[no-untyped-call]
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        return
    # Steps, trials and bars are whole numbers; the probabilities under a diagonal are not.
    whole = not panel.diagonal
    axis.xaxis.set_major_locator(MaxNLocator(nbins=many, integer=whole, steps=_ROUND))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _y_axis(axis: Any, panel: Panel) -> None:
    if not panel.log:
        axis.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=_ROUND))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        return
    low, high = axis.get_ylim()
    decades = np.log10(high / low) if low > 0.0 else 9.0
    # Powers of ten alone leave an axis of one decade with a single number on it.
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.0 else (1.0,), numticks=8))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _heat_map(figure: Any, chart: HeatMap, theme: Theme, size: Width) -> None:
    axis = figure.subplots()
    axis.grid(visible=False)
    # Zero and NaN have no logarithm; they stay masked and show the colour of the grid.
    powers = np.full(chart.values.shape, np.nan)
    positive = np.isfinite(chart.values) & (chart.values > 0.0)
    powers[positive] = np.log10(chart.values[positive])
    logarithms = powers[positive]
    low, high = (float(logarithms.min()), float(logarithms.max())) if logarithms.size else (-1.0, 0.0)
    # Symmetric, at least a decade each way: the neutral colour of the scale stands at `centre`.
    if chart.centre is not None:
        middle = float(np.log10(chart.centre))
        reach = max(high - middle, middle - low, 1.0)
        low, high = middle - reach, middle + reach
    # Below a factor of 2 in all, a full colour scale would show noise as structure.
    elif high - low < 0.3:
        low, high = low - 0.3, high + 0.3
    colours = colormaps["cividis" if chart.centre is None else "PuOr"].with_extremes(bad=theme.grid)
    rows = len(chart.rows)
    mesh = axis.pcolormesh(
        chart.edges, np.arange(rows + 1), np.ma.masked_invalid(powers), cmap=colours, norm=Normalize(low, high)
    )
    axis.invert_yaxis()
    axis.set_yticks(np.arange(rows) + 0.5, [drawable(name, size.letters) for name in chart.rows])
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=9 if size.inches > 6.0 else 4, integer=True, steps=_ROUND))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_xlabel(chart.x_label)
    bar = figure.colorbar(mesh, ax=axis, location="top", aspect=50, shrink=1.0, pad=0.02)
    ticks = _decades(low, high, 8 if size.inches > 6.0 else 4)
    bar.set_ticks(ticks, labels=[number(10.0**value) for value in ticks])
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label(chart.label)


def _decades(low: float, high: float, many: int) -> list[float]:
    """Labels of a scale from 10**low to 10**high, as powers of ten, at most `many`.

    They stand at 1, 2 and 5 of each decade; at 1 and 3; at 1; or at 1 of every n-th decade: the first that fits.
    """
    # From fine to coarse: a narrow colour bar has room for few labels.
    for digits in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        marks = [power + float(np.log10(digit)) for power in powers for digit in digits]
        marks = [float(f"{value:.12g}") for value in marks if low - 1e-9 <= value <= high + 1e-9]
        if len(marks) <= many:
            return marks
    return marks[:: -(-len(marks) // many)]


def _matrix(figure: Any, chart: Matrix, size: Width) -> None:
    axis = figure.subplots()
    axis.grid(visible=False)
    totals = chart.counts.sum(axis=1, keepdims=True)
    shares = chart.counts / np.where(totals > 0, totals, 1)
    axis.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    places = range(len(chart.classes))
    names = [drawable(name, size.letters) for name in chart.classes]
    turned = len(names) > 4 or size.inches < 6.0
    axis.set_xticks(places, names, rotation=45 if turned else 0, ha="right" if turned else "center")
    axis.set_yticks(places, names)
    axis.tick_params(length=0)
    for row in places:
        for column in places:
            axis.text(
                column,
                row,
                f"{int(chart.counts[row, column]):,}\n{100 * shares[row, column]:.0f} %",
                ha="center",
                va="center",
                fontsize=size.points - (2 if len(names) > 5 else 1),
                color="white" if shares[row, column] > 0.55 else "#1c2530",
            )
    axis.set(xlabel="predicted", ylabel="true")


def _intervals(figure: Any, chart: Intervals, theme: Theme, size: Width) -> None:
    axis = figure.subplots()
    axis.grid(visible=False, axis="y")
    for place, (centre, low, high) in enumerate(zip(chart.centre, chart.low, chart.high, strict=True)):
        if low is not None and high is not None:
            axis.plot([low, high], [place, place], color=theme.lines[0], linewidth=3.0, solid_capstyle="butt")
        axis.plot([centre], [place], marker="o", color=theme.lines[0], markersize=7.0)
    axis.axvline(chart.reference, color=theme.soft, linewidth=1.0, linestyle=_DASHES[1])
    axis.set_yticks(range(len(chart.names)), [drawable(name, size.letters) for name in chart.names])
    axis.set_ylim(len(chart.names) - 0.5, -0.5)
    axis.set_xlabel(chart.x_label)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=7 if size.inches > 6.0 else 4))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def drawable(text: str, letters: int) -> str:
    """`text` cut to `letters` letters; those that the font lacks, which it would draw as boxes, are replaced."""

    font = FT2Font(font_manager.findfont("DejaVu Sans"))
    seen = "".join(
        item if item.isprintable() and font.get_char_index(ord(item)) else "\N{REPLACEMENT CHARACTER}" for item in text
    )
    if len(seen) <= letters:
        return seen
    # The middle is cut out: names of layers differ at both ends.
    front = (letters - 1) // 2
    return f"{seen[:front]}\N{HORIZONTAL ELLIPSIS}{seen[len(seen) - (letters - 1 - front) :]}"
