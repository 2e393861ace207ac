"""Sections of a parameter search: the winner's parameters and metrics beside its baselines, equity, and the trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lockstep.core import files
from lockstep.core.errors import IntegrityError
from lockstep.reports.draw import times
from lockstep.reports.page import Block, Facts, Figure, Section, Table, Text
from lockstep.reports.words import METRICS, count, counted, instant, metric, number, parameter
from lockstep.storage.segments import SegmentReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lockstep.reports.charts import Series
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

    Array = NDArray[np.float64]

BINS: Final = 400
_EQUITY: Final = "best_equity.csv"
_TRIALS: Final = "trials"


def sections(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Nothing for a run without trials."""
    blocks: list[Block] = []
    if result.best is not None:
        blocks += _best(result)
    equity = folder.artifacts / _EQUITY
    if equity.is_file():
        blocks.append(_equity(equity.name, files.read_bytes(equity)))
    found = [Section(title="The best trial", blocks=blocks)] if blocks else []
    if _TRIALS in SegmentReader(folder.segments).names():
        found.append(_trials(folder, result))
    return found


def _best(result: TrainResult) -> list[Block]:
    best = result.best
    if best is None:
        return []
    searched = result.summary.get("best", {}).get("searched", best.parameters)
    rows = [
        (name, parameter(value) + ("" if name in searched else " (fixed)")) for name, value in best.parameters.items()
    ]
    baselines = result.summary.get("baselines") or {}
    holdout = result.summary.get("holdout") or {}
    columns: dict[str, Mapping[str, Any]] = {"best trial": best.metrics}
    if baselines.get("buy_and_hold"):
        columns["buy and hold"] = baselines["buy_and_hold"]
    if holdout:
        columns["held-out bars"] = holdout["metrics"]
        columns["hold, held-out"] = holdout["buy_and_hold"]
    metrics = [
        (label, *(metric(name, values[name]) if name in values else "" for values in columns.values()))
        for name, (label, _) in METRICS.items()
        if name in best.metrics
    ]
    blocks: list[Block] = [
        Table(caption=f"Parameters of trial {count(best.index)}", header=("parameter", "value"), rows=rows),
        Table(caption="Result, beside what had to be beaten", header=("", *columns), rows=metrics),
    ]
    blocks += [Text(text=line) for line in luck(baselines.get("random_entries"))]
    if holdout:
        text = f"Held out: {counted(holdout['bars'], 'bar')} from {holdout['start']}, which the search never saw."
        blocks.append(Text(text=text, tone="note"))
    return blocks


def luck(luck: Any) -> list[str]:
    """Where the result stands among the same trades made at random times."""
    if not isinstance(luck, Mapping):
        return []
    told = []
    for name, label in (("net_profit_pct", "Net profit"), ("sharpe_ratio", "Sharpe ratio")):
        found = luck[name]
        if found["percentile"] is not None:
            span = f"{metric(name, found['p05'])} to {metric(name, found['p95'])}"
            told.append(
                f"{label} is above that of {found['percentile']:.1f} % of {count(luck['draws'])} draws of the same "
                f"trades at random times (nine in ten: {span})."
            )
    return told


def _equity(name: str, data: bytes) -> Figure:
    """Equity at each bar's close, and how far it lies below its last peak."""
    import numpy as np

    from lockstep.reports.charts import Panel, Panels

    lines = data.decode().splitlines()
    if not lines or lines[0] != "timestamp,equity":
        raise IntegrityError(
            f"{name}: not the equity curve that a search leaves. `lockstep runs check` names the damage."
        )
    rows = np.array([line.split(",") for line in lines[1:]], dtype=np.float64).reshape(-1, 2)
    timestamp, equity = rows[:, 0], rows[:, 1]
    peak = np.maximum.accumulate(equity)
    fall = np.divide(100.0 * (equity - peak), peak, out=np.zeros_like(equity), where=peak > 0.0)
    panels = [
        Panel(series=[_binned("equity", timestamp, equity)], y_label="equity", x_label="time (UTC)", x_kind="time"),
        Panel(series=[_binned("fall", timestamp, fall)], y_label="below peak, %", x_label="time (UTC)", x_kind="time"),
    ]
    first, last = (instant(int(timestamp[place])) for place in (0, -1))
    return Figure(
        name="equity",
        title="Equity of the best trial",
        alt=(
            f"Equity from {number(float(equity[0]))} to {number(float(equity[-1]))} between {first} and {last}; "
            f"deepest fall from a peak {number(float(fall.min()))} %."
        ),
        chart=Panels(panels=panels),
        text="At bar closes, on the bars that were searched: the best of many trials always looks good here.",
    )


def _binned(name: str, timestamp: Array, values: Array) -> Series:
    import numpy as np

    from lockstep.reports.charts import Series

    count_ = min(len(values), BINS)
    starts = np.arange(count_) * len(values) // count_
    ends = np.append(starts[1:], len(values)) - 1
    return Series(
        name=name,
        x=times(timestamp[ends]),
        y=values[ends],
        low=np.minimum.reduceat(values, starts),
        high=np.maximum.reduceat(values, starts),
    )


def _trials(folder: RunFolder, result: TrainResult) -> Section:
    import numpy as np

    from lockstep.reports.charts import Panel, Panels, Series

    objective = result.summary.get("objective", {})
    name = objective.get("name") or result.spec.get("search", {}).get("objective") or "objective"
    sign = -1.0 if objective.get("direction") == "minimize" else 1.0
    values = SegmentReader(folder.segments).read(_TRIALS, ["objective"])["objective"].astype(np.float64)
    known = np.isfinite(values)
    facts = Facts(rows=[("trials", count(len(values))), ("with a value", count(int(known.sum())))])
    if not known.any():
        return Section(title="Trials", blocks=[facts])
    place, found = np.flatnonzero(known).astype(np.float64), values[known]
    best = sign * np.maximum.accumulate(sign * found)
    bins = min(len(found), BINS)
    starts = np.arange(bins) * len(found) // bins
    ends = np.append(starts[1:], len(found)) - 1
    middle = np.add.reduceat(found, starts) / np.diff(np.append(starts, len(found)))
    shared = len(found) > bins
    each = Series(
        name="mean of neighbouring trials" if shared else "trial",
        x=place[(starts + ends) // 2],
        y=middle,
        low=np.minimum.reduceat(found, starts) if shared else None,
        high=np.maximum.reduceat(found, starts) if shared else None,
        marks=not shared,
    )
    so_far = Series(name="best so far", x=place[ends], y=best[ends])
    label = str(name).replace("_", " ")
    figure = Figure(
        name="trials",
        title="Objective over trials",
        alt=(
            f"{label} of {counted(len(found), 'trial')}: best {number(float(best[-1]))}, mean "
            f"{number(float(found.mean()))}."
        ),
        chart=Panels(panels=[Panel(series=[each, so_far], y_label=label, x_label="trial")]),
        text="Trials whose objective is undefined, or that a rule made invalid, are not drawn.",
    )
    return Section(title="Trials", blocks=[facts, figure])
