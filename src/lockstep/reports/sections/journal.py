"""A section on the journal: the scalars of each step, over steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.reports.charts import Panel, Panels, Series
from lockstep.reports.page import Figure, Section
from lockstep.reports.words import counted, plain_name
from lockstep.runs.form import read_formed
from lockstep.runs.journal import read_lines
from lockstep.runs.sealed import require_sealed
from lockstep.storage.segments import SegmentReader

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

BINS: Final = 400
"""Points of a line: more would not be told apart on a screen."""
_BLOCK: Final = 4096
_SERIES: Final = 6
"""Number of scalars that a page shows."""


def course(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Scalars over steps; no section for a run whose segments another section draws."""
    require_sealed(folder, lambda name: name == "journal.jsonl")
    if not folder.journal.exists() or {"steps", "trials"} & set(SegmentReader(folder.segments).names()):
        return []
    scalars = _scalars_in_bins(folder)
    if scalars is None:
        return []
    steps, series = scalars
    panels = [
        Panel(series=[Series(name=plain_name(name), x=x, y=mean, low=low, high=high)], y_label=plain_name(name))
        for name, (x, low, mean, high) in series.items()
    ]
    names = ", ".join(plain_name(name) for name in series)
    figure = Figure(
        name="journal",
        title="Each step's numbers",
        alt=f"{names} over {counted(steps, 'step')}.",
        chart=Panels(panels=panels),
        text="From the journal. Where many steps share a point, the line is their mean and the band their range.",
    )
    return [Section(title="Course", blocks=[figure])]


def _scalars_in_bins(folder: RunFolder) -> tuple[int, dict[str, Any]] | None:
    """Number of steps, and the scalars in bins: name -> x, low, mean, high, float64 (bins,) each.

    The journal is read line by line, so that memory is needed for the bins and a block of lines alone.
    """
    steps = _steps(folder)
    bins = min(steps, BINS)
    names: list[str] = []
    sums = low = high = np.empty((0, 0))
    counts = np.zeros(bins)
    places: list[int] = []
    block: list[list[float]] = []

    def take() -> None:
        """Add the lines of the block, in their order, to the bins."""
        if block and names:
            values = np.array(block, dtype=np.float64)
            np.add.at(sums.T, places, values)
            # fmin and fmax skip NaN, which stands for a scalar that a line lacks.
            np.fmin.at(low.T, places, values)
            np.fmax.at(high.T, places, values)
            np.add.at(counts, places, 1)
        places.clear()
        block.clear()

    for line in read_lines(folder.journal):
        if line.type != "step":
            continue
        scalars, index = line.content["scalars"], line.content["index"]
        # The first step decides which scalars are drawn: a later one that appears for some steps only has no curve.
        if index == 0:
            names = [
                name
                for name, value in scalars.items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            ][:_SERIES]
            sums, low, high = (
                np.zeros((len(names), bins)),
                np.full((len(names), bins), np.inf),
                -np.full((len(names), bins), np.inf),
            )
        places.append(index * bins // steps)
        block.append([value if isinstance(value := scalars.get(name), int | float) else np.nan for name in names])
        if len(block) == _BLOCK:
            take()
    take()
    if not names:
        return None
    x = (np.arange(bins) + 0.5) * steps / bins - 0.5
    return steps, {name: (x, low[row], sums[row] / counts, high[row]) for row, name in enumerate(names)}


def _steps(folder: RunFolder) -> int:
    """Number of step lines: as sealed, or counted in a run that has not ended."""
    if folder.has("manifest"):
        return int(read_formed(folder, "manifest")["steps"])
    return sum(line.type == "step" for line in read_lines(folder.journal))
