"""A result says what every run has; trials stand apart, and a run without them says so instead of counting none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lockstep.core.errors import RefusedError
from lockstep.runs.results import Best, Headline, SearchView, TrainResult, read_result

VERDICT = {"decision": "REJECT", "sentence": "it does not beat holding", "reasons": [], "evidence": {}}


def result(**values: Any) -> TrainResult:
    facts: dict[str, Any] = {"run_id": "r1", "folder": Path("runs/r1"), "status": "complete", "fingerprint": "f" * 64}
    return TrainResult(**{**facts, "journal_hash": "a" * 64, "data_hash": None, "seed": 1, **values})


def search(best: Best | None) -> SearchView:
    return SearchView(folder=Path("runs/r1"), best=best, counts={"total": 1000, "valid": 815})


def test_a_search_gives_its_trials_as_ever() -> None:
    best = Best(index=7, parameters={"depth": 0.5}, metrics={"sharpe_ratio": 2.0})
    one = result(search=search(best))
    assert (one.best, one.trial_counts) == (best, {"total": 1000, "valid": 815})
    assert one.to_json()["best"] == {"index": 7, "parameters": {"depth": 0.5}, "metrics": {"sharpe_ratio": 2.0}}
    assert one.to_json()["trials"] == {"total": 1000, "valid": 815}
    assert "  best trial 7: depth=0.5" in repr(one).splitlines()


def test_a_search_without_a_winner_yet_counts_its_trials() -> None:
    one = result(status="interrupted", search=search(None))
    assert one.best is None
    assert repr(one).splitlines()[0] == "run r1: interrupted, 1,000 trials"


def test_a_run_without_trials_has_no_best_one_and_refuses_to_count_them() -> None:
    one = result(headline=Headline(name="log_loss", value=0.488, text="log loss 0.4880 on test samples"))
    assert one.search is None
    assert one.best is None
    with pytest.raises(RefusedError, match=r"run r1 has no trials: only a search .* `lockstep report r1`"):
        _ = one.trial_counts
    with pytest.raises(RefusedError, match="run r1 has no trials"):
        one.trials()
    document = one.to_json()
    assert (document["best"], document["trials"]) == (None, None)
    assert "trial" not in repr(one)


def test_the_representation_begins_with_the_headline_and_holds_the_verdict() -> None:
    line = Headline(name="log_loss", value=0.488, text="log loss 0.4880 on test samples", verdict=VERDICT)
    assert repr(result(headline=line, alarm="beware")).splitlines() == [
        "run r1: complete, log loss 0.4880 on test samples",
        "  ALARM: beware",
        "  verdict: REJECT: it does not beat holding",
        f"  fingerprint {'f' * 16}, journal {'a' * 16}, seed 1",
        "  runs/r1",
    ]
    assert repr(result(headline=Headline(verdict={**VERDICT, "decision": None}))).splitlines()[:2] == [
        "run r1: complete",
        "  verdict: it does not beat holding",
    ]


def test_json_has_the_headline_and_the_verdict_beside_each_other() -> None:
    document = result(headline=Headline(name="log_loss", value=0.488, text="so", verdict=VERDICT)).to_json()
    assert document["headline"] == {"name": "log_loss", "value": 0.488, "text": "so"}
    assert document["verdict"] == VERDICT
    bare = result().to_json()
    assert (bare["headline"], bare["verdict"]) == (None, None)


def test_a_run_that_records_no_trial_is_read_as_none(home: Any) -> None:
    one = read_result(home.train(steps=3))
    assert (one.status, one.search) == ("complete", None)
