"""A section on the journal: the scalars of each step, over steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.reports.charts import Panel, Panels, Series
from lockstep.reports.page import Figure, Section
from lockstep.reports.words import counted, plain_name
from lockstep.runs.journal import read_lines
from lockstep.runs.sealed import require_sealed
from lockstep.storage.segments import SegmentReader

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

BINS: Final = 400
"""Points of a line: more would not be told apart on a screen."""
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

    The journal is read twice, line by line, so that memory is needed for the bins alone.
    """
    steps = sum(line.type == "step" for line in read_lines(folder.journal))
    bins = min(steps, BINS)
    names: list[str] = []
    sums = low = high = np.empty((0, 0))
    counts = np.zeros(bins)
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
        place = index * bins // steps
        values = np.array([value if isinstance(value := scalars.get(name), int | float) else np.nan for name in names])
        sums[:, place] += values
        # fmin and fmax skip NaN, which stands for a scalar that this line lacks.
        low[:, place] = np.fmin(low[:, place], values)
        high[:, place] = np.fmax(high[:, place], values)
        counts[place] += 1
    if not names:
        return None
    x = (np.arange(bins) + 0.5) * steps / bins - 0.5
    return steps, {name: (x, low[row], sums[row] / counts, high[row]) for row, name in enumerate(names)}
