"""A verdict as a value: what a result is worth, in one form for every kind of training.

    decision   ACCEPT, CAUTION or REJECT; None where nothing was judged, or nothing can be
    sentence   the one sentence that a person reads first
    reasons    why, each a sentence or a phrase of its own
    evidence   the figures behind it, by name

It stands in a run's summary under "verdict"; a kind that judges nothing (a network trained on episodes, a classifier,
whose scores stand for themselves) writes none. `Verdict.of_summary` also reads the forms of older runs.

Where a result was compared with baselines, the evidence has the same four entries for every kind: `test`, what "beats"
means there; `beats` and `does_not_beat`, names of baselines; `compared`, the figures of each.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final


class Decision(enum.StrEnum):
    """What to do with a result. REJECT cannot be activated; CAUTION needs more evidence first."""

    ACCEPT = "ACCEPT"
    CAUTION = "CAUTION"
    REJECT = "REJECT"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A result beside one baseline, on bars that neither was chosen on.

    name     of the baseline, as the summary has it: buy_and_hold
    words    for a person: buy and hold
    beats    whether the result is better by the test that is stated with it
    reason   by how much, and how sure that is, as a phrase
    figures  the same as numbers, by name
    """

    name: str
    words: str
    beats: bool
    reason: str
    figures: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What may be said of a result; fields as in the module's docstring."""

    sentence: str
    decision: Decision | None = None
    reasons: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_comparisons(
        cls, comparisons: Sequence[Comparison], *, test: str, sentence: str, decision: Decision | None
    ) -> Verdict:
        """The verdict of a result that was compared with baselines; `test` says what "beats" means."""
        return cls(
            sentence=sentence,
            decision=decision,
            reasons=tuple(f"{item.words}: {item.reason}" for item in comparisons),
            evidence={
                "test": test,
                "beats": [item.name for item in comparisons if item.beats],
                "does_not_beat": [item.name for item in comparisons if not item.beats],
                "compared": {item.name: dict(item.figures) for item in comparisons},
            },
        )

    def to_json(self) -> dict[str, Any]:
        """As a summary holds it; the inverse of `from_json`."""
        return {
            "decision": None if self.decision is None else str(self.decision),
            "sentence": self.sentence,
            "reasons": list(self.reasons),
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_json` wrote. Raises KeyError, ValueError for anything else."""
        decision = value["decision"]
        return cls(
            decision=None if decision is None else Decision(decision),
            sentence=value["sentence"],
            reasons=tuple(value["reasons"]),
            evidence=dict(value["evidence"]),
        )

    @classmethod
    def of_summary(cls, summary: Mapping[str, Any]) -> Verdict | None:
        """The verdict of a run's summary, whichever release wrote it; None where the kind judges nothing.

        Before there was one form, a search wrote None, a network {"sentence", "beats_all", "beats", "does_not_beat"},
        and an agent wrote "sentence" and "beats_baselines" beside its other figures.
        """
        value, sentence = summary.get("verdict"), summary.get("sentence")
        if isinstance(value, Mapping):
            # A kind of another package writes what it likes: what no release wrote is no verdict, and ends no list.
            with contextlib.suppress(KeyError, TypeError, ValueError):
                return cls.from_json(value) if "decision" in value else cls._of_network(value, summary)
        elif isinstance(summary.get("beats_baselines"), bool) and isinstance(sentence, str):
            return cls(decision=beats_all(summary["beats_baselines"]), sentence=sentence)
        elif value is None and "verdict" in summary:
            return NOT_JUDGED
        return None

    @classmethod
    def _of_network(cls, value: Mapping[str, Any], summary: Mapping[str, Any]) -> Verdict:
        """The verdict that a network's summary had before there was one form."""
        advantages = [item["low"] for item in summary["advantage"].values()]
        # Too few independent samples for an interval: nothing was decided, whatever "beats_all" says.
        undecided = all(low is None for low in advantages)
        evidence = {name: item for name, item in value.items() if name != "sentence"}
        decision = None if undecided else beats_all(bool(value["beats_all"]))
        return cls(decision=decision, sentence=str(value["sentence"]), evidence=evidence)


def beats_all(beats: bool) -> Decision:
    """The decision where a result was compared with plain baselines on one held-out part, and with nothing else.

    Beating all of them on one stretch of one market is no proof, so it never says more than CAUTION.
    """
    return Decision.CAUTION if beats else Decision.REJECT


NOT_JUDGED: Final = Verdict(sentence="not judged yet (the best of many trials looks better than it is)")


def listed(items: Sequence[str], last: str = "and") -> str:
    """One or more items as a person lists them: "a", "a and b", "a, b and c"; `last` is the word before the last."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"
