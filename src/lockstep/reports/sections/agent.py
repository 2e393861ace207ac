"""The section of an agent that walked through bars it never trained on: its trades beside doing nothing clever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.reports.page import Block, Section, Table, Text
from lockstep.reports.sections.search import luck
from lockstep.reports.words import METRICS, counted, metric

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult


def sections(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Nothing for a run whose summary has no test part with trades."""
    found = result.summary.get("test")
    if not isinstance(found, Mapping) or not {"metrics", "baselines"} <= found.keys():
        return []
    baselines = found["baselines"]
    columns: dict[str, Mapping[str, Any]] = {"agent": found["metrics"]}
    columns |= {name.replace("_", " "): baselines[name] for name in ("buy_and_hold", "always_flat") if baselines[name]}
    rows = [
        (label, *(metric(name, values[name]) if name in values else "" for values in columns.values()))
        for name, (label, _) in METRICS.items()
        if name in found["metrics"]
    ]
    caption = f"The test part, {counted(found['bars'], 'bar')}: never trained on, walked through once"
    blocks: list[Block] = [Table(caption=caption, header=("", *columns), rows=rows)]
    blocks += [Text(text=line) for line in luck(baselines.get("random_entries"))]
    return [Section(title="Out of sample", blocks=blocks)]
