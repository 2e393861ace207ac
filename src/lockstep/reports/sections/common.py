"""Sections that every run has: how it stands, what its summary says, how to repeat it; and series of its journal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lockstep.reports.page import Block, Facts, Figure, Folded, Section, Table, Text
from lockstep.reports.words import NOTHING, count, counted, number, size
from lockstep.runs.folder import RunStatus
from lockstep.runs.journal import read_lines
from lockstep.runs.store import reproduction
from lockstep.storage.segments import SegmentReader

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

BINS: Final = 400
"""Points of a line: more than a screen shows beside each other."""
_FACTS: Final = 40
_SHOWN: Final = 6
"""Series of a journal that a page shows."""
_TOLD: Final = frozenset(
    {"best", "baselines", "holdout", "blocks", "bounds", "verdict", "scores", "advantage", "session"}
)
"""Keys of a summary that other sections show."""

_SESSION: Final = frozenset(
    {
        "steps",
        "ended",
        "level",
        "segment_bytes",
        "state",
        "first_loss",
        "last_loss",
        "best_loss",
        "best_step",
        "value",
        "top_quarter",
        "profitable",
        "convergence",
        "converged",
    }
)
"""Those of a gradient training that the section of the session shows."""


def status_in_words(result: TrainResult) -> str:
    """As the page's head says it."""
    words = {
        RunStatus.COMPLETE: "complete",
        RunStatus.INTERRUPTED: "interrupted: what follows is as far as it went",
        RunStatus.FAILED: "failed: what follows is as far as it went",
        RunStatus.RUNNING: "still running: what follows is as far as it went",
    }
    return words[RunStatus(result.status)]


def born(result: TrainResult) -> str:
    """When the run was begun: the run's time, so that the same run gives the same page."""
    created = result.environment.get("created_ms")
    if not isinstance(created, int):
        return "begun at an unknown time"
    return f"begun {datetime.fromtimestamp(created / 1000, tz=UTC):%Y-%m-%d %H:%M} UTC"


def outcome(folder: RunFolder, result: TrainResult) -> list[Section]:
    """What to know first: a verdict where there is one, a failure, notes."""
    blocks: list[Block] = []
    verdict = result.summary.get("verdict")
    if isinstance(verdict, Mapping) and isinstance(verdict.get("sentence"), str):
        blocks.append(
            Text(text=f"{_capital(verdict['sentence'])}.", tone="good" if verdict.get("beats_all") else "bad")
        )
    elif isinstance(sentence := result.summary.get("sentence"), str):
        blocks.append(Text(text=sentence, tone="good" if result.summary.get("beats_baselines") else "bad"))
    elif "strategy" in result.summary:
        blocks.append(Text(text="Not judged yet: the best of many trials always looks good.", tone="note"))
    blocks += [
        Text(text=_capital(note), tone="bad" if result.status == RunStatus.FAILED else "note") for note in result.notes
    ]
    return [Section(title="In short", blocks=blocks)] if blocks else []


def summary(folder: RunFolder, result: TrainResult) -> list[Section]:
    """What the kind says of its result, as far as no other section shows it, and the files that it left."""
    told = _TOLD | (_SESSION if "session" in result.summary else frozenset())
    if "sentence" in result.summary:
        told |= {"sentence", "beats_baselines", "test"}
    rows = _flat_words({name: value for name, value in result.summary.items() if name not in told})
    blocks: list[Block] = [Facts(rows=rows[:_FACTS])] if rows else []
    if rows[_FACTS:]:
        blocks.append(Folded(title=f"{count(len(rows) - _FACTS)} more", facts=Facts(rows=rows[_FACTS:])))
    if left := _artifacts(folder):
        blocks.append(Table(caption="Files that the run left", header=("file", "size"), rows=left))
    return [Section(title="Summary", blocks=blocks)] if blocks else []


def _flat_words(value: Mapping[str, Any], front: str = "") -> list[tuple[str, str]]:
    """Names and values of a summary, tables within it joined to the names."""
    rows = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            rows += _flat_words(item, f"{front}{plain_name(name)}, ")
        elif (figure := in_words(item)) is not None:
            rows.append((f"{front}{plain_name(name)}", figure))
    return rows


def in_words(value: Any) -> str | None:
    """A value of a summary for display; None for what is no single value."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) <= 12 and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(in_words(item) or "" for item in value) or "none"
    return None


def plain_name(name: str) -> str:
    """A key as a person reads it."""
    return name.replace("_", " ")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _artifacts(folder: RunFolder) -> list[tuple[str, str]]:
    if not folder.artifacts.is_dir():
        return []
    return [(path.name, size(path.stat().st_size)) for path in sorted(folder.artifacts.iterdir()) if path.is_file()]


def repetition(folder: RunFolder, result: TrainResult) -> list[Section]:
    """The lines that reproduce the run (decision D20), its spec, and the versions that decide its numbers.

    Hosts, paths and the working tree's diff stay at home: a page is made to be passed on.
    """
    again = reproduction(folder)
    command = again["command"] if result.status == RunStatus.COMPLETE else f"lockstep resume {result.run_id}"
    rows = [
        ("seed", str(again["seed"])),
        ("fingerprint", again["fingerprint"]),
        ("data hash", again["data_hash"] or NOTHING),
        ("journal", result.journal_hash or NOTHING),
        ("command", command),
    ]
    if isinstance(state := result.summary.get("state"), str):
        rows.insert(4, ("final state", state))
    commit = (result.environment.get("git") or {}).get("commit")
    if commit:
        rows.append(("git commit", str(commit)))
    spec = _flat(result.environment.get("spec") or result.spec)
    numerics = [(name, str(value)) for name, value in sorted(folder.read("numerics").items())]
    text = (
        "The same spec, data, code and versions give the same fingerprint, and the same fingerprint gives the same "
        "result, bit for bit. Elsewhere: export the run, import it there, and run the command."
    )
    blocks: list[Block] = [
        Text(text=text),
        Facts(rows=rows, code=True),
        Folded(title="The whole spec, defaults included", facts=Facts(rows=spec, code=True)),
        Folded(title="Versions and CPU features that decide the last bits", facts=Facts(rows=numerics, code=True)),
    ]
    return [Section(title="To repeat this", blocks=blocks)]


def _flat(value: Mapping[str, Any], front: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            rows += _flat(item, f"{front}{name}.")
        else:
            rows.append((f"{front}{name}", NOTHING if item is None else str(item)))
    return rows


def journal_figures(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Numbers of each step's line over steps, for kinds whose segments no other section knows."""
    from lockstep.reports.charts import Panel, Panels, Series

    if not folder.journal.exists() or {"steps", "trials"} & set(SegmentReader(folder.segments).names()):
        return []
    found = _scalars_in_bins(folder)
    if found is None:
        return []
    steps, series = found
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
    """The numbers that every line has, binned while the journal is read: memory for the bins alone."""
    import numpy as np

    steps = sum(line.type == "step" for line in read_lines(folder.journal))
    bins = min(steps, BINS)
    names: list[str] = []
    sums = low = high = np.empty((0, 0))
    counts = np.zeros(bins)
    for line in read_lines(folder.journal):
        if line.type != "step":
            continue
        scalars, index = line.content["scalars"], line.content["index"]
        if index == 0:
            names = [
                name
                for name, value in scalars.items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            ][:_SHOWN]
            sums, low, high = (
                np.zeros((len(names), bins)),
                np.full((len(names), bins), np.inf),
                -np.full((len(names), bins), np.inf),
            )
        place = index * bins // steps
        values = np.array([value if isinstance(value := scalars.get(name), int | float) else np.nan for name in names])
        sums[:, place] += values
        low[:, place] = np.fmin(low[:, place], values)
        high[:, place] = np.fmax(high[:, place], values)
        counts[place] += 1
    if not names:
        return None
    x = (np.arange(bins) + 0.5) * steps / bins - 0.5
    return steps, {name: (x, low[row], sums[row] / counts, high[row]) for row, name in enumerate(names)}
