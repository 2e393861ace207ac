"""What every run says first: verdict, notes, and what was trained on what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lockstep.reports.page import Text
from lockstep.reports.sections import overview
from lockstep.runs.folder import RunFolder
from lockstep.runs.results import TrainResult

FOLDER = RunFolder(Path("r1"))
MARKET = {"exchange": None, "symbol": "EUR/USD", "timeframe": "1h", "start": "Monday", "end": "Friday"}


def result(status: str = "complete", notes: tuple[str, ...] = (), **summary: Any) -> TrainResult:
    facts: dict[str, Any] = {"run_id": "r1", "folder": Path("r1"), "fingerprint": "f" * 64, "seed": 1}
    return TrainResult(**facts, status=status, journal_hash=None, data_hash=None, notes=notes, summary=summary)


def verdict(**summary: Any) -> list[tuple[str, str]]:
    """Words and tones of the section."""
    (section,) = overview.verdict(FOLDER, result(**summary))
    return [(block.text, block.tone) for block in section.blocks if isinstance(block, Text)]


@pytest.mark.parametrize(("decision", "tone"), [("ACCEPT", "good"), ("CAUTION", "note"), ("REJECT", "bad")])
def test_a_decision_stands_before_its_sentence_and_its_reasons_below(decision: str, tone: str) -> None:
    form = {"decision": decision, "sentence": "it is so", "reasons": ["because", "it is so"], "evidence": {}}
    assert verdict(verdict=form) == [(f"{decision}: it is so", tone), ("Because", "plain")]


def test_what_nobody_judged_is_no_praise_and_no_blame() -> None:
    assert verdict(verdict=None) == [("Not judged yet (the best of many trials looks better than it is)", "note")]


def test_older_releases_are_told_alike() -> None:
    old_network = {"sentence": "it beats all", "beats_all": True, "beats": ["majority"], "does_not_beat": []}
    advantage = {"majority": {"low": 0.1}}
    assert verdict(verdict=old_network, advantage=advantage) == [("CAUTION: it beats all", "note")]
    assert verdict(sentence="It does not beat flat.", beats_baselines=False) == [
        ("REJECT: It does not beat flat.", "bad")
    ]


def test_a_run_that_nothing_judges_has_no_verdict() -> None:
    assert overview.verdict(FOLDER, result(observations=3)) == []
    assert overview.verdict(FOLDER, result(status="interrupted")) == []


def test_notes_are_remarks_and_of_a_failed_run_the_failure() -> None:
    (remarks,) = overview.notes(FOLDER, result(notes=("a checkpoint was skipped",)))
    (failure,) = overview.notes(FOLDER, result(status="failed", notes=("DataError: a gap",)))
    assert [(block.text, block.tone) for block in (*remarks.blocks, *failure.blocks) if isinstance(block, Text)] == [
        ("A checkpoint was skipped", "note"),
        ("DataError: a gap", "bad"),
    ]
    assert overview.notes(FOLDER, result()) == []


def test_a_market_is_told_by_the_facts_that_there_are() -> None:
    assert overview.market(result(data=MARKET)) == [("data", "EUR/USD 1h, Monday to Friday")]
    assert overview.market(result(session={"symbol": "EUR/USD"})) == [("market", "EUR/USD")]
    assert overview.market(result()) == []
    part = {"bars": 1, "start": "Monday", "end": "Monday"}
    facts = {"search_bars": 5025, "holdout_bars": 1200, "purge_bars": 16, "parts": {"test": part, "training": part}}
    quality = {"quality_score": 99.744, "gaps": 1, "bars_missing": 2463}
    assert overview.market(result(data={**facts, **quality})) == [
        ("bars", "5,025 searched, 1,200 held out"),
        ("training", "1 bar, Monday to Monday"),
        ("test", "1 bar, Monday to Monday"),
        ("purged", "16 bars between two parts"),
        ("quality", "99.74 of 100; 1 gap, 2,463 bars missing, never filled"),
    ]
