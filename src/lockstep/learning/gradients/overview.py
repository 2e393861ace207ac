"""Read a run for lists and figures, without torch: its steps as columns, in bins when there are many.

    overview = Overview(folder)
    steps, best = overview.steps_and_best(400, 10)
    steps["loss.total"].mean                              at most 400 numbers, however many steps the run has
    overview.norms_in_bins(400).ratio["trunk.0"].high

It works on a run of any status, up to the last whole line of its journal, and at every level: what a level does not
keep is None. Memory holds the rows of one bin at a time, and the bins.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import RefusedError
from lockstep.learning.gradients.record_integrity import every_row, is_record
from lockstep.learning.gradients.segment_names import NORMS, STEPS
from lockstep.runs.journal import read_lines
from lockstep.runs.sealed import require_lengths
from lockstep.storage.segments import SegmentReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.folder import RunFolder

    Array = NDArray[np.float64]

MAX_LAYERS: Final = 40
"""In a figure of more rows the eye cannot tell neighbours apart."""
_FEWEST: Final = 8
"""Fewer groups than this hide the layers; then neighbours are joined instead."""


@dataclass(frozen=True, kw_only=True)
class Binned:
    """Lowest, mean and highest value of each bin of a series, float64 (bins,); not finite where a value is not."""

    low: Array
    mean: Array
    high: Array


@dataclass(frozen=True, kw_only=True)
class NormsInBins:
    """Norms by layer over steps, in bins.

    gradient  L2 norm of the gradient as applied
    ratio     L2 norm of the update, as a share of that of the weights; NaN where all weights are zero
    """

    gradient: Mapping[str, Binned]
    ratio: Mapping[str, Binned]


class Overview:
    """The recorded steps of one run.

    Raises RefusedError for a run without a step of a gradient training, IntegrityError for damage.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        require_lengths(folder, is_record)
        lines = read_lines(folder.journal) if folder.journal.exists() else iter(())
        first = next((line for line in lines if line.type == "step"), None)
        if first is None or "record" not in first.content["scalars"]:
            raise RefusedError(f"{folder.path}: holds no step of a gradient training.")
        self.description: Mapping[str, Any] = first.content["scalars"]["record"]
        last = first
        if folder.has("manifest"):
            self.steps = int(folder.read("manifest")["steps"])
        else:
            # A run that has not ended has no manifest: its steps are the whole lines of its journal.
            self.steps = 1
            for line in lines:
                self.steps, last = (self.steps + 1, line) if line.type == "step" else (self.steps, last)
        # Only for a run that has not ended: in a complete one `last` is the first line, and result.json has the level.
        self.last_level = str(last.content["scalars"]["level"])
        self._reader = SegmentReader(folder.segments, stop_step=self.steps)

    @property
    def level(self) -> str:
        """Recording level of the spec: full, norms or none. A byte limit may have lowered it later."""
        return str(self.description["recording"]["level"])

    @property
    def parameters(self) -> list[str]:
        """Names of the trained parameters, in the order of the layout."""
        return [str(slot[0]) for slot in self.description["layout"]["parameters"]]

    def columns(self, start: int = 0, stop: int | None = None) -> dict[str, NDArray[Any]]:
        """Columns of the segment `steps`, (stop - start,) each. Raises IntegrityError when steps are missing."""
        return every_row(self.folder, self._reader, STEPS, start, self.steps if stop is None else stop)

    def edges(self, bins: int) -> NDArray[np.int64]:
        """Borders of at most `bins` bins over the steps, int64 (bins + 1,); no bin is empty."""
        return edges(self.steps, bins)

    def steps_and_best(self, bins: int, best: int) -> tuple[dict[str, Binned], list[dict[str, float]]]:
        """Each column in bins, and the `best` most valuable steps as rows with their "step"; one pass over the file."""
        top: list[dict[str, float]] = []

        def read(start: int, stop: int) -> dict[str, NDArray[Any]]:
            columns = self.columns(start, stop)
            places = np.argsort(-columns["value"], kind="stable")[:best].tolist() if best else []
            rows = [{"step": start + row, **{name: float(columns[name][row]) for name in columns}} for row in places]
            top[:] = sorted([*top, *rows], key=lambda row: (-row["value"], row["step"]))[:best]
            return columns

        return _in_bins(self.edges(bins), read), top

    def norms_in_bins(self, bins: int) -> NormsInBins | None:
        """Norms of each layer in bins; None at level "none", which keeps no norms."""
        if self.level == "none":
            return None
        members = layers(self.parameters)

        def read(start: int, stop: int) -> dict[str, Array]:
            columns = every_row(self.folder, self._reader, NORMS, start, stop)
            series = {}
            for place, rows in members.items():
                gradient, weight, update = (_norm(columns[name][:, rows]) for name in ("gradient", "weight", "update"))
                series[f"gradient:{place}"] = gradient
                ratio = np.full(len(weight), np.nan)
                series[f"ratio:{place}"] = np.divide(update, weight, out=ratio, where=weight > 0.0)
            return series

        binned = _in_bins(self.edges(bins), read)
        return NormsInBins(
            gradient={place: binned[f"gradient:{place}"] for place in members},
            ratio={place: binned[f"ratio:{place}"] for place in members},
        )


def edges(steps: int, bins: int) -> NDArray[np.int64]:
    """Borders of at most `bins` bins over `steps` steps, int64 (bins + 1,); no bin is empty."""
    count = min(steps, bins)
    return np.arange(count + 1, dtype=np.int64) * steps // max(count, 1)


def layers(parameters: list[str]) -> dict[str, list[int]]:
    """Map each layer to the indices of its parameters. A layer is a parameter's name up to its last dot.

    More than MAX_LAYERS are joined by the first parts of their names; where that leaves fewer than _FEWEST groups,
    neighbours are joined instead.
    """
    depth = max((name.count(".") for name in parameters), default=0)
    finer = groups = _fronts(parameters, depth)
    while len(groups) > MAX_LAYERS and depth > 1:
        depth -= 1
        finer, groups = groups, _fronts(parameters, depth)
    return groups if _FEWEST <= len(groups) <= MAX_LAYERS or len(finer) <= MAX_LAYERS else _neighbours(finer)


def _fronts(parameters: list[str], depth: int) -> dict[str, list[int]]:
    fronts: dict[str, list[int]] = {}
    for place, name in enumerate(parameters):
        front = name.rpartition(".")[0] or name
        fronts.setdefault(".".join(front.split(".")[: max(depth, 1)]), []).append(place)
    return fronts


def _neighbours(fronts: dict[str, list[int]]) -> dict[str, list[int]]:
    names = list(fronts)
    joined: dict[str, list[int]] = {}
    bounds = edges(len(names), MAX_LAYERS).tolist()
    for start, stop in itertools.pairwise(bounds):
        first, last = names[start], names[stop - 1]
        places = [place for name in names[start:stop] for place in fronts[name]]
        joined[first if first == last else f"{first} to {last}"] = places
    return joined


def _norm(norms: NDArray[Any]) -> Array:
    """L2 norm of a layer (steps,) from those of its parameters (steps, parameters)."""
    return np.sqrt(np.sum(np.square(norms.astype(np.float64)), axis=1))


def _in_bins(bounds: NDArray[np.int64], read: Callable[[int, int], Mapping[str, NDArray[Any]]]) -> dict[str, Binned]:
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        for name, values in read(start, stop).items():
            rows.setdefault(name, []).append((float(values.min()), float(values.mean()), float(values.max())))
    return {
        name: Binned(**dict(zip(("low", "mean", "high"), np.array(column).T.copy(), strict=True)))
        for name, column in rows.items()
    }
