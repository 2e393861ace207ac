"""Why there are no trades, or too few: told apart by what is counted anyway."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.engine.few_trades import Reason, cure, in_words, reasons
from lockstep.engine.metrics import COLUMN, Metric

ZERO = dict.fromkeys(("total_trades", "refused_signals", "unfilled_signals", "open_at_end", "ruined"), 0.0)


def table(*sets: dict[str, float]) -> NDArray[np.float64]:
    metrics = np.full((len(sets), len(Metric)), np.nan)
    for row, values in enumerate(sets):
        for name, value in (ZERO | values).items():
            metrics[row, COLUMN[Metric(name)]] = value  # type: ignore[call-arg]
    return metrics


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, Reason.NO_SIGNAL),
        ({"refused_signals": 3}, Reason.REFUSED),
        ({"unfilled_signals": 1}, Reason.UNFILLED),
        ({"total_trades": 1, "open_at_end": 1}, Reason.NEVER_LEFT),
        ({"total_trades": 2, "open_at_end": 1}, Reason.FEW),
        ({"total_trades": 1, "ruined": 1, "open_at_end": 1}, Reason.RUINED),
    ],
)
def test_each_kind_of_too_few_trades_has_its_reason(values: dict[str, float], reason: Reason) -> None:
    assert reasons(table(values), np.array([True])) == {reason: 1}


def test_only_the_chosen_sets_are_counted_and_the_commonest_is_said_first() -> None:
    counts = reasons(table({}, {"refused_signals": 1}, {"refused_signals": 2}, {}), np.array([True, True, True, False]))
    assert counts == {Reason.REFUSED: 2, Reason.NO_SIGNAL: 1}
    assert in_words(counts).startswith("In 2 every signal was refused: its stop or target lies on the wrong side")
    assert in_words(counts).endswith("; in 1 the strategy gave no signal in any bar")
    assert "a stop is a price" in str(cure(counts)).lower()


def test_few_trades_alone_have_no_cure_but_more_of_them() -> None:
    assert cure({Reason.FEW: 3}) is None
    assert cure({}) is None
