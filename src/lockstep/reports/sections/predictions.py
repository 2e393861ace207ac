"""Sections of what predictions came to out of sample: scores beside baselines, advantage, calibration.

Shown for every run whose summary has them under the keys that `learning.patterns.judgement` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lockstep.reports.page import Block, Figure, Section, Table
from lockstep.reports.sections.common import in_words, plain_name
from lockstep.reports.words import NOTHING, number

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

_PARTS: Final = ("test", "validation")
_CONFUSION: Final = "confusion"
_OWN: Final = "network"


def sections(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Nothing where the summary has neither scores nor a confusion matrix."""
    summary = result.summary
    blocks: list[Block] = []
    scores = summary.get("scores")
    if isinstance(scores, Mapping):
        for part in _PARTS:
            found = scores.get(part)
            if isinstance(found, Mapping) and all(isinstance(item, Mapping) for item in found.values()):
                blocks.append(_scores(part, found))
        blocks += _advantage(summary.get("advantage"))
        blocks += _reliability(scores)
    blocks += _confusion(summary)
    return [Section(title="Out of sample", blocks=blocks)] if blocks else []


def _scores(part: str, found: Mapping[str, Mapping[str, Any]]) -> Table:
    who = _own_first(found)
    names = [name for name, value in found[who[0]].items() if not isinstance(value, list | Mapping)]
    rows = [(plain_name(name), *(in_words(found[item].get(name)) or NOTHING for item in who)) for name in names]
    seen = "never looked at before" if part == "test" else "used to choose"
    header = ("", *(plain_name(item) for item in who))
    return Table(caption=f"Scores on {part} samples, {seen}", header=header, rows=rows)


def _own_first(found: Mapping[str, Any]) -> list[str]:
    """What was trained, then what it is compared with."""
    return sorted(found, key=lambda name: name != _OWN)


def _advantage(found: Any) -> list[Block]:
    from lockstep.reports.charts import Intervals

    if not isinstance(found, Mapping) or not found:
        return []
    names = list(found)
    told = [
        f"over {plain_name(name)} {number(item['mean'])} ({_span(item)}): {'beaten' if item['beats'] else 'not beaten'}"
        for name, item in found.items()
    ]
    figure = Figure(
        name="advantage",
        title="Advantage over the baselines",
        alt=f"Mean advantage in log loss per test sample: {'; '.join(told)}.",
        chart=Intervals(
            names=[plain_name(name) for name in names],
            centre=[float(found[name]["mean"]) for name in names],
            low=[found[name]["low"] for name in names],
            high=[found[name]["high"] for name in names],
            x_label="advantage in log loss (right is better)",
        ),
        text=(
            "Mean over test samples. Bars are 95 % intervals by a block bootstrap. A baseline is beaten where the "
            "whole bar lies right of 0."
        ),
    )
    return [figure]


def _span(item: Mapping[str, Any]) -> str:
    if item["low"] is None or item["high"] is None:
        return "too few independent samples for an interval"
    return f"{number(item['low'])} to {number(item['high'])}"


def _reliability(scores: Mapping[str, Any]) -> list[Block]:
    import numpy as np

    from lockstep.reports.charts import Panel, Panels, Series

    part = next((name for name in _PARTS if isinstance(scores.get(name), Mapping)), None)
    if part is None:
        return []
    series: list[Series] = []
    told = []
    for who in _own_first(scores[part]):
        values = scores[part][who]
        rows = [row for row in values.get("reliability") or () if row["samples"]]
        # A predictor that always says the same has a point, not a curve.
        if len(rows) < 2:
            continue
        x = np.array([row["confidence"] for row in rows])
        y = np.array([row["accuracy"] for row in rows])
        series.append(Series(name=plain_name(who), x=x, y=y, dashed=who != _OWN))
        told.append(f"{plain_name(who)} {in_words(values.get('calibration_error'))}")
    if not series:
        return []
    panel = Panel(
        series=series,
        x_label="probability of the class decided",
        y_label="share that was right",
        y_range=(0.0, 1.0),
        diagonal=True,
    )
    return [
        Figure(
            name="calibration",
            title="Calibration",
            alt=f"Reliability curves on {part} samples. Calibration error: {', '.join(told)}.",
            chart=Panels(panels=[panel]),
            text="On the diagonal a probability means what it says; below it the predictor is too sure of itself.",
        )
    ]


def _confusion(summary: Mapping[str, Any]) -> list[Block]:
    """A confusion matrix at the top of the summary or one level below: {"classes": [...], "confusion": [[...]]}."""
    import numpy as np

    from lockstep.reports.charts import Matrix

    places = [("", summary), *((name, value) for name, value in summary.items() if isinstance(value, Mapping))]
    blocks: list[Block] = []
    for name, value in places:
        rows, classes = value.get(_CONFUSION), value.get("classes")
        if not isinstance(rows, list) or not isinstance(classes, list) or len(rows) != len(classes):
            continue
        counts = np.array(rows, np.int64)
        right = int(np.trace(counts))
        blocks.append(
            Figure(
                name="confusion" if not name else f"confusion-{len(blocks)}",
                title="Confusion matrix" + (f", {plain_name(name)}" if name else ""),
                alt=f"{right:,} of {int(counts.sum()):,} samples on the diagonal, which is right.",
                chart=Matrix(classes=[str(item) for item in classes], counts=counts),
            )
        )
    return blocks
