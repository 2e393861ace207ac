"""The search as a training: its steps, its segment, its state; and the contract every kind keeps."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.kinds.builders import EVERY, finished, plan_from, spec_of, training_from

import lockstep as ls
from lockstep.clusters.in_process import InProcessExecutor
from lockstep.core import canonical
from lockstep.core.errors import InputError, NotEqualError, NoValidTrialError
from lockstep.core.hashing import digest_columns
from lockstep.engine.metrics import Metric
from lockstep.kinds.strategy.result import require_same
from lockstep.kinds.strategy.training import StrategyTraining
from lockstep.runs.kind import PrepareContext
from lockstep.runs.loop import execute
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Step, Training
from lockstep.search.objective import Cause
from lockstep.search.trial_columns import decoded
from lockstep.storage.segments import SegmentReader
from lockstep.strategies.window import trade_window
from lockstep.testing.contracts.training_kind import TrainingContract, fingerprint, new_folder
from lockstep.validation.verdict import NOT_JUDGED


def steps_of(training: StrategyTraining) -> list[Step]:
    """All steps, their arrays copied as the loop would have written them."""
    return list(training.steps())


def digests(steps: list[Step]) -> list[str]:
    return [digest_columns(step.segments["trials"]) for step in steps]


class TestContract(TrainingContract):
    def make(self, seed: int) -> Training:
        home = Path(tempfile.mkdtemp(prefix="lockstep-test-"))
        return training_from(home, seed=seed, data={"last": 600}, search={"n_iterations": 20, "batch_size": 6})


class TestContractOfAGrid(TrainingContract):
    def make(self, seed: int) -> Training:
        # A grid has no seed; another seed is another market here, so that its journal differs.
        home = Path(tempfile.mkdtemp(prefix="lockstep-test-"))
        space = {"pierce_depth": [0.0001, 0.0002, 0.0004], "reversal_candles": (1, 2), "min_level_touches": [2, 3]}
        return training_from(
            home,
            data={"last": 600 + 10 * seed},
            strategy={"space": space},
            search={"optimizer": "grid", "batch_size": 5, "min_trades": 1},
        )


def test_each_step_tells_counts_and_the_best_so_far(tmp_path: Path) -> None:
    steps = steps_of(training_from(tmp_path))
    assert [step.index for step in steps] == [0, 1, 2]  # 24 trials in batches of 8
    assert [step.scalars["total"] for step in steps] == [8, 16, 24]
    last = steps[-1].scalars
    assert last["valid"] + sum(last["invalid"].values()) == 24
    rows = [step.segments["trials"] for step in steps]
    objective = np.concatenate([row["objective"] for row in rows])
    cause = np.concatenate([row["cause"] for row in rows])
    best = int(np.nanargmax(np.where(cause == Cause.VALID, objective, np.nan)))
    assert last["best"] == {"index": best, "objective": float(objective[best])}


def test_every_trial_is_a_row_with_parameters_metrics_and_block_sums(tmp_path: Path) -> None:
    plan = plan_from(tmp_path)
    step = next(iter(training_from(tmp_path).steps()))
    rows = step.segments["trials"]
    assert rows["index"].tolist() == list(range(8))
    assert {f"metric.{metric}" for metric in Metric} <= set(rows)
    assert rows["block_r1"].shape == rows["block_r2"].shape == (8, 16)
    # Any row, run alone as a backtest, gives that row.
    columns = decoded(plan.space, rows)
    parameters = {name: column[3].item() for name, column in columns.items()}
    again = plan.evaluator().one(parameters)
    assert rows["metric.sharpe_ratio"][3] == again.metrics[Metric.SHARPE_RATIO]
    assert rows["metric.total_trades"][3] == again.metrics[Metric.TOTAL_TRADES]
    assert rows["block_r1"][3].tolist() == again.simulation.blocks.r1.tolist()
    assert rows["block_r2"][3].tolist() == again.simulation.blocks.r2.tolist()


def test_the_batch_size_moves_journal_lines_but_no_trial(tmp_path: Path) -> None:
    small = steps_of(training_from(tmp_path, search={"batch_size": 3}))
    large = steps_of(training_from(tmp_path, search={"batch_size": 24}))
    for name in large[0].segments["trials"]:
        joined = np.concatenate([step.segments["trials"][name] for step in small])
        np.testing.assert_array_equal(joined, large[0].segments["trials"][name])


def test_a_state_is_small_whatever_the_number_of_trials(tmp_path: Path) -> None:
    few, many = training_from(tmp_path), training_from(tmp_path, search={"n_iterations": 400})
    for training in (few, many):
        steps_of(training)
    sizes = [len(canonical.dumps(training.get_state())) for training in (few, many)]
    assert sizes[1] < sizes[0] + 200 < 6000


def test_text_choices_are_stored_as_their_place_and_read_back(tmp_path: Path) -> None:
    (tmp_path / "every.py").write_text(EVERY)
    context = PrepareContext(blobs=FolderRunStore(tmp_path).blobs, base=tmp_path)
    strategy = {"name": "every.py:Every", "space": None, "parameters": {"stop": 0.004}}
    training = training_from(tmp_path, context, strategy=strategy)
    rows = next(iter(training.steps())).segments["trials"]
    assert rows["parameter.mood"].dtype == np.int64
    assert "parameter.stop" not in rows  # fixed
    plan = plan_from(tmp_path, context, strategy=strategy)
    assert set(decoded(plan.space, rows)["mood"].tolist()) == {"calm", "wild"}
    summary = finished(tmp_path, context, strategy=strategy)
    assert summary["best"]["parameters"]["stop"] == 0.004
    assert summary["best"]["searched"]["mood"] in ("calm", "wild")


def test_the_summary_holds_what_a_result_is_to_be_seen_beside(tmp_path: Path) -> None:
    summary = finished(tmp_path, validation={"holdout_bars": 300})
    assert summary["verdict"] == NOT_JUDGED.to_json()
    assert summary["trials"]["total"] == 24
    assert summary["trials"]["valid"] + sum(summary["trials"]["invalid"].values()) == 24
    assert summary["baselines"]["buy_and_hold"]["total_trades"] == 1
    assert summary["baselines"]["random_entries"]["draws"] > 0
    assert summary["bounds"]["net_profit_worst_pct"] <= summary["bounds"]["net_profit_best_pct"]
    assert summary["data"]["search_bars"] == 1500 - 300
    assert summary["holdout"]["bars"] == 300
    assert sum(summary["blocks"]["bars"]) == 1200
    assert set(summary["blocks"]) == {"bars", "r1", "r2", "r3", "r4"}
    assert summary["best"]["metrics"]["total_trades"] >= 3


def test_the_best_of_a_run_is_the_backtest_of_its_parameters(tmp_path: Path) -> None:
    summary = finished(tmp_path)
    spec = spec_of()
    again = ls.backtest(
        ls.sample_candles().tail(1500),
        "liquidity_sweep",
        summary["best"]["parameters"],
        costs=spec.costs_for("EUR/USD"),
        execution=spec.execution_settings(),
    )
    assert {str(metric): value for metric, value in again.metrics.items()} == summary["best"]["metrics"]


def test_a_winner_that_does_not_repeat_is_an_error_naming_the_metric() -> None:
    with pytest.raises(NotEqualError, match=r"trial 7 gave sharpe_ratio = 1\.5 in the search and 1\.25 when run again"):
        require_same({"sharpe_ratio": 1.5, "exposure": 0.5}, {"sharpe_ratio": 1.25, "exposure": 0.5}, trial=7)
    with pytest.raises(NotEqualError, match="total_trades"):
        require_same({"total_trades": 1}, {"total_trades": 1.0}, trial=0)  # equal in value, not in kind
    with pytest.raises(NotEqualError, match="exposure"):
        require_same({"exposure": 0.0}, {"exposure": -0.0}, trial=0)  # equal in value, not in bits
    require_same({"sharpe_ratio": None}, {"sharpe_ratio": None}, trial=0)


def test_the_held_out_bars_cannot_reach_the_search(tmp_path: Path) -> None:
    candles = ls.sample_candles().tail(1500)
    changed = {name: column.copy() for name, column in candles.columns().items()}
    for name in ("open", "high", "low", "close"):
        changed[name][1200:] *= 1.5
    other = ls.Candles.from_arrays(**changed, timeframe="1h", symbol="EUR/USD")
    found = [
        digests(
            steps_of(
                training_from(
                    tmp_path,
                    PrepareContext(blobs=FolderRunStore(tmp_path).blobs, python_objects={"data.candles": given}),
                    # To the quality report, the change looks like a split.
                    data={"source": "python", "last": None, "min_quality": 0},
                    market={"symbol": "EUR/USD"},
                    validation={"holdout_bars": 300},
                )
            )
        )
        for given in (candles, other)
    ]
    assert found[0] == found[1]


def test_held_out_bars_are_traded_with_warm_indicators_from_their_first_bar_on(tmp_path: Path) -> None:
    """The winner's trades in the last 400 bars, with all bars before them known, and costs and sizes of the spec."""
    tables: dict[str, Any] = {"validation": {"holdout_bars": 400}, "execution": {"initial_capital": 500.0}}
    summary, plan = finished(tmp_path, **tables), plan_from(tmp_path, **tables)
    bars, simulation = trade_window(
        "liquidity_sweep",
        summary["best"]["parameters"],
        ls.sample_candles().tail(1500),
        1100,
        costs=plan.costs,
        execution=plan.execution,
    )
    assert bars == ls.sample_candles().tail(400)
    assert summary["holdout"]["bars"] == 400
    assert summary["holdout"]["metrics"] == {str(metric): value for metric, value in simulation.metrics.items()}
    # The strategy's own warm-up is longer than a tenth of these bars; entries within it show that the past was known.
    warm = plan.strategy.warmup(plan.strategy.resolve(summary["best"]["parameters"]))
    assert warm > 40
    assert simulation.trades.signal_bar.min() < warm


def test_a_window_is_searched_as_if_there_were_no_other_bar(tmp_path: Path) -> None:
    """Bars 300 to 1,200 of the plan's 1,500: the trials of a search over those candles alone, to the last bit."""
    window = StrategyTraining(plan_from(tmp_path).window(300, 1200), InProcessExecutor())
    candles = ls.sample_candles().tail(1500).slice(300, 1200)
    context = PrepareContext(blobs=FolderRunStore(tmp_path).blobs, python_objects={"data.candles": candles})
    alone = training_from(
        tmp_path, context, data={"source": "python", "last": None}, market={"symbol": "EUR/USD", "timeframe": "1h"}
    )
    assert digests(steps_of(window)) == digests(steps_of(alone))
    assert digests(steps_of(window)) != digests(steps_of(training_from(tmp_path)))


def test_a_window_to_search_lies_in_the_candles(tmp_path: Path) -> None:
    plan = plan_from(tmp_path)
    for start, stop in ((-1, 10), (5, 6), (10, 5), (0, 1501)):
        with pytest.raises(InputError, match=f"holds two bars of the 1500 there are; found {start} to {stop}"):
            plan.window(start, stop)
    assert plan.window(5, 7).search_bars == 2


def test_a_search_without_a_valid_trial_ends_in_an_error_with_counts_and_cure(tmp_path: Path) -> None:
    """R4.32."""
    with pytest.raises(NoValidTrialError, match=r"none of 24 trials may win: 24 too_few_trades.*lower min_trades"):
        finished(tmp_path, search={"min_trades": 5000})


def test_failures_of_a_strategy_are_counted_and_the_first_is_kept(tmp_path: Path) -> None:
    (tmp_path / "moody.py").write_text(
        EVERY.replace("    far =", "    assert params['mood'] == 'calm', 'wild'\n        far =")
    )
    context = PrepareContext(blobs=FolderRunStore(tmp_path).blobs, base=tmp_path)
    summary = finished(tmp_path, context, strategy={"name": "moody.py:Every", "space": None})
    failed = summary["trials"]["invalid"]["strategy_error"]
    assert 0 < failed < 24
    assert "AssertionError: wild" in summary["trials"]["first_error"]["message"]


def test_seeds_change_the_trials_and_zero_is_a_seed(tmp_path: Path) -> None:
    """R4.15, R4.28."""
    found: dict[int, Any] = {seed: digests(steps_of(training_from(tmp_path, seed=seed))) for seed in (42, 99, 0)}
    assert found[42] != found[99] != found[0] != found[42]


def test_the_same_seed_samples_the_same_sets_on_another_market(tmp_path: Path) -> None:
    """R4.38."""
    one, other = (steps_of(training_from(tmp_path, data={"last": last})) for last in (1500, 900))
    for name in ("pierce_depth", "volume_spike_threshold", "reversal_candles", "min_level_touches"):
        for mine, theirs in zip(one, other, strict=True):
            column = f"parameter.{name}"
            assert mine.segments["trials"][column].tolist() == theirs.segments["trials"][column].tolist()


def test_a_run_writes_its_trials_once(tmp_path: Path) -> None:
    """A search of 100,000 trials writes no more than twice its trial data: what is added per trial decides it."""
    folder = new_folder(tmp_path / "run", 1)
    training = training_from(tmp_path, data={"last": 600}, search={"n_iterations": 2000, "batch_size": 500})
    execute(training, folder, fingerprint=fingerprint(1))
    sizes = {name: path.stat().st_size for name, path in folder.listing().items()}
    rows = SegmentReader(folder.segments).read("trials")
    data = sum(column.nbytes for column in rows.values())
    fixed = sum(size for name, size in sizes.items() if name.startswith("artifacts/") or name == "result.json")
    assert len(rows["index"]) == 2000
    assert sum(sizes.values()) - fixed < 1.1 * data
