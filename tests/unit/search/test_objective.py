"""Which trials may win: objective, constraints, fewest trades, causes, ties, and the error without a winner."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from lockstep.core import canonical
from lockstep.core.errors import InputError, NoValidTrialError, UnknownNameError
from lockstep.engine.metrics import COLUMN, Metric
from lockstep.search.objective import Cause, Constraint, Direction, Judge, Judged, Reach, Tally, no_valid_trial


def table(**columns: list[float]) -> NDArray[np.float64]:
    """Metrics (n, M): the columns named, 100 trades each unless said otherwise, everything else undefined."""
    n = len(next(iter(columns.values())))
    metrics = np.full((n, len(Metric)), np.nan)
    metrics[:, COLUMN[Metric.TOTAL_TRADES]] = 100.0
    for name, values in columns.items():
        metrics[:, COLUMN[Metric(name)]] = values  # type: ignore[call-arg]
    return metrics


def causes(judged: Judged) -> list[Cause]:
    return [Cause(int(cause)) for cause in judged.cause]


@pytest.mark.parametrize("objective", ["sharpe_ratio", "net_profit_pct"])
def test_the_objective_is_any_metric(objective: str) -> None:
    """R4.29."""
    judged = Judge.make(objective).judge(table(**{objective: [0.5, 2.0, 1.0]}))
    assert judged.best == 1
    assert judged.score.tolist() == [0.5, 2.0, 1.0]


def test_minimising_turns_the_score_but_not_the_value() -> None:
    judged = Judge.make("cost_share", direction="minimize").judge(table(cost_share=[0.5, 0.1, 0.2]))
    assert judged.best == 1
    assert judged.value.tolist() == [0.5, 0.1, 0.2]
    assert judged.score.tolist() == [-0.5, -0.1, -0.2]


def test_fewer_trades_than_min_trades_never_win() -> None:
    """R4.31: such trials are counted but never best."""
    judged = Judge.make(min_trades=10).judge(table(sharpe_ratio=[1.0, 9.0, 5.0], total_trades=[10, 9, 0]))
    assert causes(judged) == [Cause.VALID, Cause.TOO_FEW_TRADES, Cause.TOO_FEW_TRADES]
    assert judged.best == 0


def test_min_trades_zero_lets_a_trial_without_trades_be_judged_by_its_objective() -> None:
    judged = Judge.make("net_profit_pct", min_trades=0).judge(table(net_profit_pct=[-1.0, 0.0], total_trades=[5, 0]))
    assert judged.best == 1


def test_constraints_are_bounds_and_an_undefined_metric_breaks_them() -> None:
    judge = Judge.make(constraints=["max_drawdown_pct >= -20", "profit_factor > 1"])
    judged = judge.judge(
        table(
            sharpe_ratio=[1.0, 2.0, 3.0, 4.0],
            max_drawdown_pct=[-20.0, -20.1, -5.0, -5.0],
            profit_factor=[1.1, 1.1, 1.0, math.nan],
        )
    )
    assert causes(judged) == [Cause.VALID, Cause.CONSTRAINT, Cause.CONSTRAINT, Cause.CONSTRAINT]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("exposure < 1", False),
        ("exposure <= 1", True),
        ("exposure > 1", False),
        ("exposure>=1.0", True),
        ("exposure > .9", True),
        ("exposure < 1_0.5E-1", True),
    ],
)
def test_each_operator_means_what_it_says_at_its_bound(text: str, holds: bool) -> None:
    assert Constraint.parse(text).holds(table(exposure=[1.0])).tolist() == [holds]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_drawdown_pct => -20", "a constraint is a metric"),
        ("max_drawdown_pct == -20", "a constraint is a metric"),
        ("-20 <= max_drawdown_pct", "a constraint is a metric"),
        ("max_drawdown_pct >= x", "a constraint is a metric"),
        ("max_drawdown_pct >= -20 and 1", "a constraint is a metric"),
        ("__import__('os') > 1", "a constraint is a metric"),
        ("", "a constraint is a metric"),
        ("drawdown >= -20", "no metric is called 'drawdown'"),
        ("exposure < 1_", "a constraint is a metric"),
        ("exposure < 1__0", "a constraint is a metric"),
        ("exposure < .", "a constraint is a metric"),
        ("exposure < 1e999", "a finite number"),
    ],
)
def test_a_constraint_that_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Constraint.parse(text)


def test_a_constraint_writes_itself_back() -> None:
    constraint = Constraint.parse(" max_drawdown_pct>=-2e1 ")
    assert str(constraint) == "max_drawdown_pct >= -20.0"
    assert Constraint.parse(str(constraint)) == constraint


def test_an_undefined_or_infinite_objective_is_not_valid() -> None:
    judged = Judge.make().judge(table(sharpe_ratio=[math.nan, math.inf, 0.1]))
    assert causes(judged) == [Cause.UNDEFINED_OBJECTIVE, Cause.UNDEFINED_OBJECTIVE, Cause.VALID]


def test_of_several_causes_the_strongest_is_counted() -> None:
    judge = Judge.make(constraints=["exposure > 0.5"])
    judged = judge.judge(
        table(sharpe_ratio=[math.nan] * 4, total_trades=[0, 0, 0, 50], exposure=[0.0] * 4),
        errors={0: "boom"},
        not_evaluated=np.array([False, True, False, False]),
    )
    assert causes(judged) == [Cause.STRATEGY_ERROR, Cause.NOT_EVALUATED, Cause.TOO_FEW_TRADES, Cause.CONSTRAINT]


def test_a_function_of_the_metrics_is_an_objective() -> None:
    def profit_per_drawdown(metrics: Mapping[str, float | int | None]) -> float | None:
        profit, trades = metrics["net_profit_pct"], metrics["total_trades"]
        assert isinstance(trades, int)  # counts are whole numbers, undefined ratios None
        return None if profit is None else profit / trades

    judged = Judge.make(profit_per_drawdown).judge(table(net_profit_pct=[50.0, math.nan, 10.0]))
    assert judged.value[[0, 2]].tolist() == [50.0 / 100, 10.0 / 100]
    assert causes(judged) == [Cause.VALID, Cause.UNDEFINED_OBJECTIVE, Cause.VALID]


def test_an_exception_in_an_objective_belongs_to_its_trial() -> None:
    def broken(metrics: Mapping[str, float | int | None]) -> float:
        raise KeyError("sharp")

    judged = Judge.make(broken).judge(table(sharpe_ratio=[1.0, 2.0]))
    assert causes(judged) == [Cause.OBJECTIVE_ERROR, Cause.OBJECTIVE_ERROR]
    assert judged.messages[0] == "objective broken: KeyError: 'sharp'"


def test_rules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"no metric is called 'sharp'.*file\.py:function"):
        Judge.make("sharp")
    with pytest.raises(InputError, match='"maximize" or "minimize"; found \'up\''):
        Judge.make(direction="up")
    with pytest.raises(InputError, match="min_trades is a whole number"):
        Judge.make(min_trades=-1)
    with pytest.raises(InputError, match="put it in a list"):
        Judge.make(constraints="exposure < 1")
    with pytest.raises(InputError, match="a function of the metrics"):
        Judge.make(3)  # type: ignore[arg-type]
    assert Judge.make(direction="minimize").direction is Direction.MINIMIZE


def tally_of(judge: Judge, *batches: NDArray[np.float64], errors: dict[int, str] | None = None) -> Tally:
    tally = Tally()
    start = 0
    for metrics in batches:
        columns = {"p": np.arange(start, start + len(metrics))}
        tally.add(start, columns, metrics, judge.judge(metrics, errors=errors))
        start += len(metrics)
    return tally


def test_of_equal_scores_the_lowest_index_wins_within_and_across_batches() -> None:
    """Ties are broken by index, so that best does not depend on scheduling."""
    judge = Judge.make()
    tally = tally_of(judge, table(sharpe_ratio=[0.0, 1.0, 1.0]), table(sharpe_ratio=[1.0, 0.5]))
    assert tally.best is not None
    assert tally.best["index"] == 1
    assert tally.best["parameters"] == {"p": 1}


def test_the_tally_counts_causes_keeps_the_first_message_and_survives_storage() -> None:
    judge = Judge.make()
    tally = tally_of(judge, table(sharpe_ratio=[1.0, 2.0, math.nan], total_trades=[3, 50, 50]), errors={})
    tally.add(
        3,
        {"p": np.array([3, 4])},
        table(sharpe_ratio=[1.0, 1.0]),
        judge.judge(table(sharpe_ratio=[1.0, 1.0]), errors={1: "first"}),
    )
    assert (tally.total, tally.valid) == (5, 2)
    assert {name: count for name, count in tally.causes.items() if count} == {
        "too_few_trades": 1,
        "undefined_objective": 1,
        "strategy_error": 1,
    }
    assert tally.first_error == {"trial": 4, "message": "first"}
    assert Tally.from_json(canonical.loads(canonical.dumps(tally.to_json()))) == tally


def test_no_valid_trial_gives_counts_by_cause_the_first_message_and_a_cure() -> None:
    """R4.32."""
    judge = Judge.make(min_trades=10)
    tally = tally_of(judge, table(sharpe_ratio=[1.0] * 3, total_trades=[1, 2, 3]), errors={2: "division by zero"})
    error = no_valid_trial(tally, judge)
    assert isinstance(error, NoValidTrialError)
    assert isinstance(error, ValueError)
    text = str(error)
    assert "none of 3 trials may win: 1 strategy_error, 2 too_few_trades" in text
    assert "First error, trial 2: division by zero" in text
    assert "lower min_trades (now 10)" in text


def test_no_valid_trial_says_what_the_trials_lack() -> None:
    """R4.32."""
    judge = Judge.make(min_trades=10)
    zero = {name: [0.0, 0.0, 0.0] for name in ("unfilled_signals", "ruined")}
    metrics = table(total_trades=[0, 0, 1], refused_signals=[0, 0, 0], open_at_end=[0, 0, 1], **zero)
    tally = tally_of(judge, metrics)
    text = str(no_valid_trial(tally, judge))
    assert "In 2 the strategy gave no signal in any bar; in 1 the only trade was never left" in text
    assert "its condition may never hold" in text
    assert Tally.from_json(canonical.loads(canonical.dumps(tally.to_json()))) == tally
    short = str(no_valid_trial(tally, judge, Reach(bars=100, shortest=31, longest=151)))
    assert "There are 100 bars to search, but the warm-up takes 31 to 151 of them. Take more candles" in short
    assert "31 to 151" not in str(no_valid_trial(tally, judge, Reach(bars=152, shortest=31, longest=151)))


def test_a_failing_objective_is_not_blamed_on_the_strategy() -> None:
    def mine(metrics: Mapping[str, float | int | None]) -> float:
        raise TypeError("None + 1")

    judge = Judge.make(mine)
    text = str(no_valid_trial(tally_of(judge, table(sharpe_ratio=[1.0, 2.0])), judge))
    assert "none of 2 trials may win: 2 objective_error. First error, trial 0: objective mine: TypeError" in text
    assert "Correct the objective mine" in text
    assert "Correct the strategy" not in text


def test_a_tally_of_an_older_release_is_read() -> None:
    """It knows no `objective_error`: nothing was counted under it."""
    stored = Tally(total=3).to_json()
    del stored["causes"]["objective_error"]
    assert Tally.from_json(stored) == Tally(total=3)


def test_ruined_accounts_are_named_with_what_prevents_them() -> None:
    judge = Judge.make()
    tally = tally_of(judge, table(sharpe_ratio=[math.nan] * 3, ruined=[1, 1, 0]))
    text = str(no_valid_trial(tally, judge))
    assert "none of 3 trials may win: 3 undefined_objective. In 2 of them the account was ruined" in text
    assert "smaller risk_per_trade" in text
    assert "costs" in text
    assert Tally.from_json(canonical.loads(canonical.dumps(tally.to_json()))) == tally


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.VALID])
def test_every_cause_has_a_cure(cause: Cause) -> None:
    tally = Tally(total=1)
    tally.causes[cause.label] = 1
    assert f"1 {cause.label}." in str(no_valid_trial(tally, Judge.make(constraints=["exposure < 1"])))
