"""The optimizer classes (R4.1), over the bundled sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import lockstep as ls
from lockstep.core.errors import InputError, NoValidTrialError, SpaceError
from lockstep.engine.metrics import Metric
from lockstep.faces.backtest import BacktestEngine, LiquiditySweepStrategy
from lockstep.faces.importance import importance
from lockstep.faces.optimizers import (
    GridSearchOptimizer,
    GridTooLargeWarning,
    ParameterOptimizer,
    RandomSearchOptimizer,
    usable_workers,
)

pd = pytest.importorskip("pandas")

ENGINE = BacktestEngine(fee_rate=0.0, slippage_rate=0.00001)
SPACE: dict[str, Any] = {
    "pierce_depth": (0.0001, 0.001),
    "volume_spike_threshold": (1.0, 2.5),
    "reversal_candles": [1, 2],
    "min_level_touches": (2, 3),
}
CANDLES = ls.sample_candles().head(2500)


def random_search(seed: int | None = 42, **options: Any) -> dict[str, Any]:
    settings = {"n_iterations": 40, "min_trades": 5, "n_jobs": 1} | options
    return RandomSearchOptimizer(seed).optimize(ENGINE, CANDLES, LiquiditySweepStrategy, SPACE, **settings)


def test_the_result_has_every_key_of_the_specification() -> None:
    """R4.33."""
    found = random_search()
    assert set(found) >= {
        "best_parameters",
        "best_score",
        "best_metrics",
        "all_results",
        "search_stats",
        "optimizer",
        "total_evaluations",
        "valid_evaluations",
    }
    assert set(found["search_stats"]) >= {
        "total_iterations",
        "valid_configurations",
        "best_objective",
        "worst_objective",
        "mean_objective",
        "median_objective",
        "std_objective",
        "top_10_pct_threshold",
        "configurations_above_threshold",
        "convergence_curve",
    }
    assert found["optimizer"] == "random_search"
    table = found["all_results"]
    assert len(table) == found["total_evaluations"] == 40
    assert {*SPACE, "objective_value", *(f"metric_{metric}" for metric in Metric)} <= set(table.columns)


def test_the_statistics_follow_from_the_table() -> None:
    found = random_search()
    table, stats = found["all_results"], found["search_stats"]
    valid = table[table["cause"] == "valid"]["objective_value"]
    assert stats["best_objective"] == valid.max() == found["best_score"]
    assert stats["worst_objective"] == valid.min()
    assert stats["median_objective"] == valid.median()
    assert stats["std_objective"] == pytest.approx(valid.std(ddof=0))
    assert stats["configurations_above_threshold"] == int((valid >= np.percentile(valid, 90)).sum())
    curve = [value for value in stats["convergence_curve"] if value is not None]
    assert curve == sorted(curve)
    assert curve[-1] == found["best_score"]


def test_the_winner_run_as_a_backtest_gives_the_same_metrics_to_the_last_bit() -> None:
    found = random_search()
    again = ls.backtest(
        CANDLES,
        "liquidity_sweep",
        found["best_parameters"],
        costs=ls.Costs(fee_rate=0.0, slippage_rate=0.00001),
        execution=ls.Execution(),
    )
    assert {str(metric): value for metric, value in again.metrics.items()} == found["best_metrics"]


def test_the_same_seed_tests_the_same_combinations_and_finds_the_same_best() -> None:
    """R4.13, R4.14, R4.36: twice on one instance, with NumPy's global state moved in between and left alone."""
    optimizer = RandomSearchOptimizer(seed=42)
    results = []
    for shift in (1, 2):
        np.random.seed(shift)  # noqa: NPY002
        before = np.random.get_state()[1].tolist()  # noqa: NPY002
        results.append(
            optimizer.optimize(ENGINE, CANDLES, "liquidity_sweep", SPACE, n_iterations=30, min_trades=5, n_jobs=1)
        )
        assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    pd.testing.assert_frame_equal(results[0]["all_results"], results[1]["all_results"], check_exact=True)
    assert results[0]["best_parameters"] == results[1]["best_parameters"]
    assert results[0]["best_score"] == results[1]["best_score"]


def test_seeds_42_and_99_explore_different_sets_and_both_return_valid_results() -> None:
    """R4.15."""
    one, other = random_search(42), random_search(99)
    assert one["all_results"]["pierce_depth"].tolist() != other["all_results"]["pierce_depth"].tolist()
    assert one["valid_evaluations"] > 0
    assert other["valid_evaluations"] > 0


def test_no_seed_is_seed_42_and_seed_zero_is_zero() -> None:
    """R4.16, R4.28."""
    sets = {seed: random_search(seed)["all_results"]["pierce_depth"].tolist() for seed in (None, 42, 0)}
    assert sets[None] == sets[42]
    assert sets[0] != sets[42]


def test_the_same_seed_samples_the_same_sets_on_another_market() -> None:
    """R4.38."""
    early, late = (
        RandomSearchOptimizer(7).optimize(
            ENGINE, part, "liquidity_sweep", SPACE, n_iterations=25, min_trades=0, n_jobs=1
        )
        for part in (CANDLES, ls.sample_candles().tail(2000))
    )
    for name in SPACE:
        assert early["all_results"][name].tolist() == late["all_results"][name].tolist()


def test_workers_do_not_change_the_result() -> None:
    """R4.30."""
    alone, shared = random_search(n_jobs=1), random_search(n_jobs=2)
    pd.testing.assert_frame_equal(alone["all_results"], shared["all_results"], check_exact=True)
    assert alone["best_parameters"] == shared["best_parameters"]


def test_grid_tests_every_combination() -> None:
    """R4.2."""
    space = {"pierce_depth": [0.0001, 0.0003], "reversal_candles": (1, 3)}
    found = GridSearchOptimizer(verbose=False).optimize(ENGINE, CANDLES, "liquidity_sweep", space, min_trades=1)
    assert found["optimizer"] == "grid_search"
    assert found["search_stats"]["total_combinations_tested"] == 2 * 3
    pairs = found["all_results"][["pierce_depth", "reversal_candles"]].apply(tuple, axis=1).tolist()
    assert pairs == [(d, r) for d in (0.0001, 0.0003) for r in (1, 2, 3)]


def test_grid_refuses_a_continuous_range_and_names_the_parameter() -> None:
    with pytest.raises(SpaceError, match="'pierce_depth'"):
        GridSearchOptimizer().optimize(ENGINE, CANDLES, "liquidity_sweep", SPACE)


def test_grid_warns_above_ten_thousand_combinations() -> None:
    """R4.35."""
    space = {"key_level_lookback": (20, 120), "max_holding_periods": (1, 100)}  # 101 x 100 = 10,100
    with pytest.warns(GridTooLargeWarning, match="10,100 combinations"):
        GridSearchOptimizer().optimize(ENGINE, CANDLES.head(300), "liquidity_sweep", space, "net_profit_pct", 0)


def test_one_signature_serves_all_optimizers() -> None:
    """R4.1."""
    assert issubclass(GridSearchOptimizer, ParameterOptimizer)
    assert issubclass(RandomSearchOptimizer, ParameterOptimizer)
    with pytest.raises(TypeError, match="abstract"):
        ParameterOptimizer()  # type: ignore[abstract]


def test_the_docstring_cites_bergstra_and_bengio() -> None:
    """R4.3."""
    assert "Bergstra and Bengio" in str(RandomSearchOptimizer.__doc__)


def test_no_valid_configuration_raises_a_value_error_with_counts() -> None:
    """R4.32."""
    with pytest.raises(NoValidTrialError, match="none of 40 trials may win: 40 too_few_trades") as caught:
        random_search(min_trades=10_000)
    assert isinstance(caught.value, ValueError)


class Foreign:
    """A strategy class of somebody else: only generate_signals, made from a dict."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = dict(params)

    @classmethod
    def get_parameter_space(cls) -> dict[str, Any]:
        return {"every": [40, 60], "fail": [False, True]}

    def generate_signals(self, data: Any) -> Any:
        if self.params["fail"]:
            raise RuntimeError("told to fail")
        side = np.where(np.arange(len(data)) % self.params["every"] == 0, "BUY", "HOLD")
        close = data["close"].to_numpy()
        return pd.DataFrame(
            {"timestamp": data["timestamp"], "signal": side, "stop_loss": close * 0.99, "take_profit": close * 1.01}
        )


def test_a_class_that_only_generates_signals_is_searched_too_and_its_failures_are_counted() -> None:
    frame = CANDLES.to_frame().assign(atr=0.001)
    found = GridSearchOptimizer().optimize(ENGINE, frame, Foreign, objective="net_profit_pct", min_trades=5)
    assert found["valid_evaluations"] == 2
    assert found["search_stats"]["invalid_configurations"]["strategy_error"] == 2
    assert found["first_error"]["trial"] == 1
    assert "told to fail" in found["first_error"]["message"]


def test_a_frame_and_candles_give_the_same_result() -> None:
    frame = CANDLES.to_frame()
    found = RandomSearchOptimizer(42).optimize(
        ENGINE, frame, LiquiditySweepStrategy, SPACE, n_iterations=40, min_trades=5, n_jobs=1
    )
    assert found["best_metrics"] == random_search()["best_metrics"]


def test_custom_objective_direction_and_constraints() -> None:
    def least_trades(metrics: Mapping[str, Any]) -> float:
        return float(metrics["total_trades"])

    found = random_search(objective=least_trades, direction="minimize", constraints=["net_profit_pct > -50"])
    table = found["all_results"]
    assert found["best_score"] == table[table["cause"] == "valid"]["metric_total_trades"].min()
    assert found["search_stats"]["worst_objective"] == table[table["cause"] == "valid"]["metric_total_trades"].max()


def test_top_configurations_come_best_first() -> None:
    optimizer = RandomSearchOptimizer(42)
    with pytest.raises(InputError, match="call optimize first"):
        optimizer.get_top_n_configs()
    found = optimizer.optimize(ENGINE, CANDLES, "liquidity_sweep", SPACE, n_iterations=40, min_trades=5, n_jobs=1)
    top = optimizer.get_top_n_configs(5)
    assert [config["objective_value"] for config in top] == sorted(
        (config["objective_value"] for config in top), reverse=True
    )
    assert top[0]["parameters"] == found["best_parameters"]
    assert top[0]["metrics"] == found["best_metrics"]
    assert optimizer.get_top_n_configs(0) == []


def test_progress_is_told_from_zero_to_all() -> None:
    calls: list[tuple[int, int, str]] = []
    random_search(progress_callback=lambda *call: calls.append(call))
    assert calls[0] == (0, 40, "optimization")
    assert calls[-1] == (40, 40, "optimization")


@pytest.mark.parametrize("taken", ["score", "cause", "objective_value", "metric_exposure"])
def test_a_parameter_cannot_be_called_like_a_column_of_the_table(taken: str) -> None:
    with pytest.raises(SpaceError, match=f"parameter '{taken}': the table of results has a column of that name"):
        GridSearchOptimizer().optimize(ENGINE, CANDLES, LiquiditySweepStrategy, {taken: [1, 2]})


def test_a_parameter_called_value_keeps_its_values() -> None:
    """And candles serve a class that reads frames: they become one, ATR included."""
    space = {"value": [1, 2], "every": [40], "fail": [False]}
    found = GridSearchOptimizer().optimize(ENGINE, CANDLES, Foreign, space, min_trades=1)
    assert found["all_results"]["value"].tolist() == [1, 2]


def test_importance_is_a_share() -> None:
    """R4.37."""
    optimizer = RandomSearchOptimizer(42)
    optimizer.optimize(ENGINE, CANDLES, "liquidity_sweep", SPACE, n_iterations=40, min_trades=5, n_jobs=1)
    shares = optimizer.analyze_parameter_importance()
    assert set(shares) == set(SPACE)
    assert all(share >= 0.0 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(1.0)


def test_importance_finds_the_parameter_that_matters() -> None:
    x = np.arange(50.0)
    text = np.array(["a", "b"] * 25, dtype=object)
    shares = importance({"matters": x, "constant": np.ones(50), "text": text}, 3.0 * x)
    assert shares["matters"] > 0.9
    assert shares["constant"] == 0.0
    # y = 10 where the text is "b": all variance lies between the two groups.
    assert importance({"text": text}, np.where(text == "b", 10.0, 0.0)) == {"text": 1.0}


def test_importance_is_shared_equally_where_nothing_can_be_said() -> None:
    nothing = importance({"a": np.ones(5), "b": np.arange(5)}, np.zeros(5))
    assert nothing == {"a": 0.5, "b": 0.5}
    assert importance({"a": np.ones(1)}, np.ones(1)) == {"a": 1.0}


def test_convergence_data_has_one_row_per_trial() -> None:
    optimizer = RandomSearchOptimizer(42)
    optimizer.optimize(ENGINE, CANDLES, "liquidity_sweep", SPACE, n_iterations=40, min_trades=5, n_jobs=1)
    data = optimizer.convergence()
    assert len(data["trial"]) == len(data["objective"]) == len(data["best_so_far"]) == 40


def test_workers_none_leaves_a_reserve() -> None:
    assert usable_workers(3) == 3
    assert usable_workers(None) == usable_workers(-1) >= 1
    for wrong in (0, -2, 1.5, True):
        with pytest.raises(InputError, match="n_jobs is a whole number"):
            usable_workers(wrong)  # type: ignore[arg-type]


def test_what_is_no_strategy_and_no_engine_is_refused() -> None:
    with pytest.raises(InputError, match="a class with generate_signals"):
        GridSearchOptimizer().optimize(ENGINE, CANDLES, dict, SPACE)
    with pytest.raises(InputError, match="backtest_engine is a BacktestEngine"):
        GridSearchOptimizer().optimize(None, CANDLES, "liquidity_sweep", SPACE)
