"""Sections on any run: its verdict, its notes, and what was trained on what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from lockstep.reports.page import Block, Facts, Section, Text, Tone
from lockstep.reports.sections import agent, predictions, search
from lockstep.reports.words import capital, count, counted, number
from lockstep.runs.folder import RunStatus
from lockstep.validation.verdict import Decision, Verdict

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

Rows = list[tuple[str, str]]

_TONES: Final[Mapping[Decision | None, Tone]] = {
    Decision.ACCEPT: "good",
    Decision.CAUTION: "note",
    Decision.REJECT: "bad",
    None: "note",
}
_PARTS: Final = ("training", "validation", "test")


def status_in_words(result: TrainResult) -> str:
    """The status, and how far the report of an incomplete run goes."""
    words = {
        RunStatus.COMPLETE: "complete",
        RunStatus.INTERRUPTED: "interrupted: what follows is as far as it went",
        RunStatus.FAILED: "failed: what follows is as far as it went",
        RunStatus.RUNNING: "still running: what follows is as far as it went",
    }
    return words[RunStatus(result.status)]


def birth(result: TrainResult) -> str:
    """When the run was begun. Not when the page was written: the same run gives the same page."""
    created = result.environment.get("created_ms")
    if not isinstance(created, int):
        return "begun at an unknown time"
    return f"begun {datetime.fromtimestamp(created / 1000, tz=UTC):%Y-%m-%d %H:%M} UTC"


def verdict(folder: RunFolder, result: TrainResult) -> list[Section]:
    """The decision, its sentence and reasons; no section for a run without a verdict."""
    judgement = Verdict.of_summary(result.summary)
    if judgement is None:
        return []
    sentence = judgement.sentence
    text = capital(sentence) if judgement.decision is None else f"{judgement.decision}: {sentence}"
    blocks: list[Block] = [Text(text=text, tone=_TONES[judgement.decision])]
    blocks += [Text(text=capital(reason)) for reason in judgement.reasons if reason != sentence]
    return [Section(title="Verdict", blocks=blocks)]


def notes(folder: RunFolder, result: TrainResult) -> list[Section]:
    """The notes of the run; those of a failed run say why it failed."""
    tone: Tone = "bad" if result.status == RunStatus.FAILED else "note"
    blocks = [Text(text=capital(note), tone=tone) for note in result.notes]
    return [Section(title="Notes", blocks=blocks)] if blocks else []


def training(folder: RunFolder, result: TrainResult) -> list[Section]:
    """What was trained on what: the rows that the summary has facts for."""
    name = result.environment.get("spec", {}).get("name")
    rows: Rows = [
        ("run", f"{result.run_id} ({', '.join([result.status, *result.tags])})"),
        ("kind", str(result.spec.get("kind")) + (f", {name}" if name else "")),
    ]
    for facts in FACTS:
        rows += facts(result)
    return [Section(title="What was trained", blocks=[Facts(rows=rows)])]


def market(result: TrainResult) -> Rows:
    """Rows: the candles, the parts they were split into, and how complete they are."""
    data = result.summary.get("data")
    if not isinstance(data, Mapping):
        symbol = result.summary.get("session", {}).get("symbol")
        return [("market", str(symbol))] if symbol else []
    rows: Rows = []
    name = " ".join(str(data[key]) for key in ("exchange", "symbol", "timeframe") if data.get(key))
    if {"start", "end"} <= data.keys():
        rows.append(("data", f"{name}, {data['start']} to {data['end']}"))
    if {"search_bars", "holdout_bars"} <= data.keys():
        rows.append(("bars", f"{count(data['search_bars'])} searched, {count(data['holdout_bars'])} held out"))
    if isinstance(parts := data.get("parts"), Mapping):
        rows += [(part, _part(parts[part])) for part in _PARTS if part in parts]
    if "purge_bars" in data:
        rows.append(("purged", f"{counted(data['purge_bars'], 'bar')} between two parts"))
    if {"quality_score", "gaps", "bars_missing"} <= data.keys():
        missing = f"{counted(data['gaps'], 'gap')}, {counted(data['bars_missing'], 'bar')} missing, never filled"
        rows.append(("quality", f"{number(data['quality_score'])} of 100; {missing}"))
    return rows


def _part(part: Mapping[str, Any]) -> str:
    return f"{counted(part['bars'], 'bar')}, {part['start']} to {part['end']}"


FACTS: Final[tuple[Callable[[TrainResult], Rows], ...]] = (
    search.strategy_facts,
    market,
    predictions.network_facts,
    agent.agent_facts,
    predictions.sample_facts,
    search.trial_facts,
    agent.experience_facts,
)
"""In the order of the rows; each function gives none when the summary lacks its keys."""
