"""A verdict as a value: one form for every kind, and the forms of older runs."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep.core import canonical
from lockstep.validation.verdict import NOT_JUDGED, Comparison, Decision, Verdict, beats_all, listed

BOTH = (
    Comparison(name="hold", words="buy and hold", beats=True, reason="by 2 %", figures={"excess_pct": 2.0}),
    Comparison(name="luck", words="random entries", beats=False, reason="in 40 % of draws", figures={"share": None}),
)


def test_a_verdict_of_comparisons_has_its_reasons_in_words_and_in_figures() -> None:
    verdict = Verdict.of_comparisons(BOTH, test="an interval above 0", sentence="no", decision=Decision.REJECT)
    assert verdict.reasons == ("buy and hold: by 2 %", "random entries: in 40 % of draws")
    assert verdict.evidence == {
        "test": "an interval above 0",
        "beats": ["hold"],
        "does_not_beat": ["luck"],
        "compared": {"hold": {"excess_pct": 2.0}, "luck": {"share": None}},
    }


@pytest.mark.parametrize(
    "verdict",
    [
        NOT_JUDGED,
        Verdict.of_comparisons(BOTH, test="t", sentence="s", decision=None),
        Verdict(sentence="s", decision=Decision.ACCEPT, reasons=("a", "b")),
    ],
)
def test_what_a_summary_holds_is_read_back(verdict: Verdict) -> None:
    """Through the bytes of result.json: lists stay lists, the decision is text or null."""
    stored = canonical.loads(canonical.dumps({"verdict": verdict.to_json()}))
    assert stored["verdict"].keys() == {"decision", "sentence", "reasons", "evidence"}
    assert Verdict.of_summary(stored) == verdict


def test_the_forms_of_older_runs_are_read() -> None:
    assert Verdict.of_summary({"verdict": None}) == NOT_JUDGED
    network = {"beats_all": False, "beats": [], "does_not_beat": ["logistic"], "sentence": "no"}
    advantage = {"majority": {"low": None}, "logistic": {"low": -0.1}}
    assert Verdict.of_summary({"verdict": network, "advantage": advantage}) == Verdict(
        sentence="no",
        decision=Decision.REJECT,
        evidence={"beats_all": False, "beats": [], "does_not_beat": ["logistic"]},
    )
    agent = {"beats_baselines": True, "sentence": "yes", "test": {}}
    assert Verdict.of_summary(agent) == Verdict(sentence="yes", decision=Decision.CAUTION)
    assert Verdict.of_summary({"scores": {}}) is None


def test_an_older_network_with_too_few_samples_for_any_interval_was_not_decided() -> None:
    network = {"beats_all": False, "beats": [], "does_not_beat": ["logistic"], "sentence": "too few"}
    verdict = Verdict.of_summary({"verdict": network, "advantage": {"logistic": {"low": None}}})
    assert verdict is not None
    assert verdict.decision is None


@pytest.mark.parametrize(
    "summary",
    [
        {"verdict": "good"},
        {"verdict": {"sentence": "x"}},
        {"verdict": {"decision": "MAYBE", "sentence": "", "reasons": [], "evidence": {}}},
        {"verdict": {"decision": "ACCEPT"}},
        {"beats_baselines": True},
        {"beats_baselines": "yes", "sentence": "x"},
    ],
)
def test_what_no_release_wrote_is_no_verdict(summary: dict[str, Any]) -> None:
    """A kind of another package may call something else by these names, and a list of runs has to go on."""
    assert Verdict.of_summary(summary) is None


def test_an_unknown_decision_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="MAYBE"):
        Verdict.from_json({"decision": "MAYBE", "sentence": "", "reasons": [], "evidence": {}})


def test_beating_plain_baselines_once_asks_for_more_evidence() -> None:
    assert (beats_all(True), beats_all(False)) == (Decision.CAUTION, Decision.REJECT)


def test_items_are_listed_as_a_person_would() -> None:
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"], "or")] == ["a", "a and b", "a, b or c"]
