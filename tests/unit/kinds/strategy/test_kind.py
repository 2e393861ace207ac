"""The kind itself: what prepare says and refuses, restore, and the examples that come with the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.kinds.builders import estimate_of, folder_of, plan_from, prepared_from

from lockstep.clusters.in_process import InProcessExecutor
from lockstep.core.errors import DataError, LookAheadError, NoValidTrialError, SpaceError, StrategyError
from lockstep.engine.metrics import Metric
from lockstep.kinds.strategy import questions
from lockstep.kinds.strategy.kind import KIND
from lockstep.kinds.strategy.plan import StrategyPlan
from lockstep.kinds.strategy.spec import StrategySpec
from lockstep.runs.kind import PrepareContext, Prepared, RunContext
from lockstep.runs.spec import identity_body, load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.validation.causality import EXHAUSTIVE_CALLS, full_calls

EXAMPLES = Path(__file__).parents[4] / "examples"
PEEKING = """
import numpy as np
import lockstep as ls


class Peeks(ls.Strategy):
    parameters = {"n": (5, 20)}

    def signals(self, view, params):
        side = np.zeros(len(view), np.int8)
        side[:-1] = view.close[1:] > view.close[:-1] * 1.0005
        stop, target = view.close * 0.99, view.close * 1.01
        return ls.Signals(side=side, stop=stop, target=target)
"""


def run(prepared: Prepared, home: Path) -> dict[str, Any]:
    training = KIND.training(prepared, RunContext(executor=InProcessExecutor(), blobs=FolderRunStore(home).blobs))
    for _ in training.steps():
        pass
    return dict(training.finish().summary)


def test_prepare_fills_in_the_space_and_the_names(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path, strategy={"space": None, "parameters": {"reversal_candles": 2}})
    spec = prepared.spec
    assert isinstance(spec, StrategySpec)
    assert spec.strategy.name == "LIQUIDITY_SWEEP"
    assert spec.strategy.space is not None
    assert "reversal_candles" not in spec.strategy.space
    assert list(spec.strategy.space) == sorted(spec.strategy.space)
    assert len(spec.strategy.space) == 8  # nine, less the fixed one


def test_restore_ends_in_the_same_plan_as_prepare_and_gives_the_same_result(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path)
    folder = folder_of(prepared, tmp_path / "run")
    spec = resolve(StrategySpec, load_spec(folder.read("spec")))
    restored = KIND.restore(spec, folder, PrepareContext(blobs=FolderRunStore(tmp_path).blobs))
    assert identity_body(restored.spec) == identity_body(prepared.spec)
    assert restored.data == prepared.data
    assert restored.code.body() == prepared.code.body()
    assert run(restored, tmp_path) == run(prepared, tmp_path)


def test_a_missing_snapshot_is_said_where_it_would_be_used(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path)
    folder = folder_of(prepared, tmp_path / "run")
    for path in (tmp_path / "snapshots").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="there is no such snapshot"):
        KIND.restore(prepared.spec, folder, PrepareContext(blobs=FolderRunStore(tmp_path).blobs))


def test_the_estimate_is_told_and_never_hashed(tmp_path: Path) -> None:
    one, other = (prepared_from(tmp_path) for _ in range(2))
    estimate = estimate_of(KIND, one, tmp_path)
    assert estimate.steps == 3
    assert estimate.seconds is not None
    assert estimate.seconds > 0.0
    assert estimate.disk_bytes == 24 * (8 * (len(Metric) + 2) + 1 + 8 * (2 * 16 + 4))
    # The timings differ from run to run; what is hashed does not.
    assert (identity_body(one.spec), one.data, one.code.body()) == (
        identity_body(other.spec),
        other.data,
        other.code.body(),
    )


def test_a_strategy_that_reads_the_future_is_stopped_before_the_search(tmp_path: Path) -> None:
    """R2.18."""
    (tmp_path / "peeks.py").write_text(PEEKING)
    context = PrepareContext(blobs=FolderRunStore(tmp_path).blobs, base=tmp_path)
    with pytest.raises(LookAheadError, match="reads the future"):
        prepared_from(tmp_path, context, strategy={"name": "peeks.py:Peeks", "space": None})


SHY = """
import numpy as np
import lockstep as ls


class Shy(ls.Strategy):
    # Knows the next close for one pair of values only, which no single value shows.

    parameters = {"n": (2, 40), "mode": ["a", "b"]}
    defaults = {"n": 10, "mode": "a"}

    def signals(self, view, params):
        rising = view.close > view.sma(params["n"])
        if params["mode"] == "b" and 15 < params["n"] < 20:
            rising = np.append(view.close[1:], view.close[-1:]) > view.close
        return ls.Signals(side=np.where(rising, 1, -1).astype(np.int8))
"""
SOMETIMES = """
import numpy as np
import lockstep as ls


class Sometimes(ls.Strategy):
    parameters = {"n": (5, 30)}
    defaults = {"n": 10}

    def warmup(self, params):
        return params["n"]

    def signals(self, view, params):
        if params["n"] > 15:
            raise ZeroDivisionError("n is too large")
        side = np.where(view.close > view.sma(params["n"]), 1, -1).astype(np.int8)
        side[: params["n"]] = 0
        return ls.Signals(side=side)
"""


def users(home: Path, text: str, name: str, **tables: Any) -> Prepared:
    (home / "mine.py").write_text(text)
    context = PrepareContext(blobs=FolderRunStore(home).blobs, base=home)
    strategy = {"name": f"mine.py:{name}", "space": None}
    return prepared_from(home, context, **{"strategy": strategy, **tables})


def test_a_winner_that_reads_the_future_where_no_branch_showed_it_ends_the_run(tmp_path: Path) -> None:
    """R2.18: the trial that wins does so by its leak, so the winner is asked once more, as a part of the run."""
    prepared = users(tmp_path, SHY, "Shy", search={"n_iterations": 78, "optimizer": "grid"})
    with pytest.raises(LookAheadError, match=r"Shy reads the future: side at bar .* 'mode': 'b'") as first:
        run(prepared, tmp_path)
    with pytest.raises(LookAheadError) as again:
        run(prepared, tmp_path)
    assert str(first.value) == str(again.value), "resumed or verified, it ends in the same words"


def test_a_result_says_what_was_asked_about_the_winner(tmp_path: Path) -> None:
    prepared = users(tmp_path, SHY, "Shy", strategy={"name": "mine.py:Shy", "space": {"n": [5, 10], "mode": ["a"]}})
    look_ahead = run(prepared, tmp_path)["look_ahead"]
    assert look_ahead["passed"] is True
    assert look_ahead["by"] == "questions about the winner"
    # Seven bars with a decision and three others, each asked in two ways, all of the bars twice more, a bar before
    # a gap, twelve by what came after them, and the seven screens.
    assert look_ahead["comparisons"] == 2 * 10 + 2 + 1 + 12 + 7
    assert look_ahead["comparisons"] < look_ahead["questions"] <= EXHAUSTIVE_CALLS
    assert any("questions about" in note and "no decision read the future" in note for note in prepared.notes)
    assert run(prepared_from(tmp_path), tmp_path)["look_ahead"] == {
        "passed": True,
        "by": "tests of this release",
        "questions": 0,
        "comparisons": 0,
        "warnings": [],
    }


def test_what_the_winner_costs_is_in_the_estimate(tmp_path: Path) -> None:
    prepared = users(tmp_path, SHY, "Shy")
    assert questions.sets_of_winner(cast("StrategyPlan", prepared.payload)) == full_calls(1_500)
    assert questions.sets_of_winner(cast("StrategyPlan", prepared_from(tmp_path).payload)) == 0.0


def test_a_strategy_that_fails_for_some_sets_is_searched_with_the_others(tmp_path: Path) -> None:
    prepared = users(tmp_path, SOMETIMES, "Sometimes")
    (note,) = (text for text in prepared.notes if "failed for" in text)
    assert "a search counts such sets and goes on. The first: Sometimes failed in signals" in note
    trials = run(prepared, tmp_path)["trials"]
    assert trials["invalid"]["strategy_error"] > 0
    assert trials["valid"] > 0


def test_fewer_bars_than_the_warm_up_are_said(tmp_path: Path) -> None:
    data = {"source": "sample", "last": 20}
    prepared = users(tmp_path, SOMETIMES, "Sometimes", data=data)
    assert any("20 bars to search, but the warm-up takes 5 to 30 of them" in note for note in prepared.notes)
    with pytest.raises(DataError, match="4 bars to search, but the warm-up takes 5 to 30 of them, so no set"):
        users(tmp_path, SOMETIMES, "Sometimes", data={"source": "sample", "last": 4})


def test_a_list_of_two_numbers_far_apart_is_asked_about(tmp_path: Path) -> None:
    prepared = prepared_from(
        tmp_path, strategy={"space": {"pierce_depth": [0.0001, 0.001], "reversal_candles": [1, 2]}}
    )
    hints = [note for note in prepared.notes if "two choices" in note]
    assert hints == [
        "pierce_depth has two choices, 0.0001 and 0.001; if a range was meant, write "
        "pierce_depth = { low = 0.0001, high = 0.001 }"
    ]


def test_notes_of_data_and_proposer_are_told(tmp_path: Path) -> None:
    prepared = prepared_from(tmp_path, search={"optimizer": "sobol", "n_iterations": 20})
    assert any("1,500 bars of 1h" in note for note in prepared.notes)
    assert any("powers of two" in note for note in prepared.notes)


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        ({"strategy": {"space": {"depth": [0.1, 0.2]}}}, StrategyError, "depth: LIQUIDITY_SWEEP has no such parameter"),
        ({"strategy": {"parameters": {"depth": 1}}}, SpaceError, "no parameter 'depth'"),
        ({"strategy": {"parameters": {"key_level_lookback": 1.5}}}, SpaceError, "whole number"),
        ({"search": {"optimizer": "grid"}}, SpaceError, "'pierce_depth': a grid needs finitely many values"),
        ({"validation": {"holdout_bars": 1499}}, DataError, "leaves 1 of 1500 candles"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_anything_is_searched(
    tmp_path: Path, tables: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan_from(tmp_path, **tables)


def example(name: str, home: Path, *overrides: str) -> Prepared:
    path = EXAMPLES / name
    spec = resolve(StrategySpec, load_spec(path, overrides), source=str(path))
    return KIND.prepare(spec, PrepareContext(blobs=FolderRunStore(home).blobs, base=path.parent))


def test_the_first_example_has_at_least_thirty_percent_valid_trials(tmp_path: Path) -> None:
    summary = run(example("liquidity_sweep.toml", tmp_path), tmp_path)
    assert summary["trials"]["total"] == 1000
    assert summary["trials"]["valid"] >= 0.30 * 1000
    assert summary["holdout"]["bars"] == 1200


def test_the_crypto_example_runs_on_a_file_and_searches_the_specifications_ranges(tmp_path: Path) -> None:
    """R2.16: its space is the strategy's own."""
    file = EXAMPLES.parent / "../shared/data/binance/BTCUSDT-5m.parquet"
    if not file.exists():
        pytest.skip("needs ../shared/data")
    overrides = (
        f"data.path={file.resolve()}",
        "data.last=20000",
        "search.n_iterations=200",
        "validation.holdout_bars=2000",
    )
    prepared = example("btc_5m.toml", tmp_path, *overrides)
    plan = prepared.payload
    assert isinstance(plan, StrategyPlan)
    assert dict(plan.space) == {name: plan.strategy.space[name] for name in sorted(plan.strategy.space)}
    assert (prepared.data["symbol"], prepared.data["timeframe_ms"]) == ("BTC/USDT", 300_000)


def test_the_crypto_example_says_which_file_it_misses(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"BTCUSDT-5m\.parquet"):
        example("btc_5m.toml", tmp_path, "data.path=BTCUSDT-5m.parquet")


def test_a_grid_that_was_given_a_number_of_draws_says_that_it_takes_none(tmp_path: Path) -> None:
    space = {"reversal_candles": [1, 2, 3]}
    given = prepared_from(tmp_path, strategy={"space": space}, search={"optimizer": "grid", "n_iterations": 2})
    assert [note for note in given.notes if "search.n_iterations" in note] == [
        'a grid tries all its 3 combinations: search.n_iterations = 2 changes nothing; take optimizer = "random" to '
        "try a part of them"
    ]
    same = prepared_from(tmp_path, strategy={"space": space}, search={"optimizer": "grid", "n_iterations": 3})
    assert not [note for note in same.notes if "search.n_iterations" in note]


def test_a_hold_out_of_more_than_half_and_bars_that_are_not_there_are_noted(tmp_path: Path) -> None:
    """The sample has 6,225 bars; 5,000 of them held out are 80 %."""
    notes = prepared_from(tmp_path, data={"last": 9_000}, validation={"holdout_bars": 5_000}).notes
    assert "data.last = 9,000, but there are 6,225 candles: all of them are used" in notes
    assert "validation.holdout_bars = 5,000 holds out 80 % of the 6,225 bars: 1,225 are left to search" in notes


SLOW = """
import numpy as np
import lockstep as ls


class Slow(ls.Strategy):
    parameters = {"slow": (30, 150)}

    def warmup(self, params):
        return params["slow"] + 1

    def signals(self, view, params):
        return ls.Signals(side=np.zeros(len(view), np.int8))
"""


def test_a_warm_up_that_takes_all_bars_is_said_before_the_search(tmp_path: Path) -> None:
    file = tmp_path / "slow.py"
    file.write_text(SLOW)
    strategy = {"name": f"{file}:Slow", "space": None}
    some = prepared_from(tmp_path, data={"last": 100}, strategy=strategy)
    assert "there are 100 bars to search, but the warm-up takes 31 to 151 of them" in some.notes
    with pytest.raises(NoValidTrialError, match=r"gave no signal in any bar. There are 100 bars .* 31 to 151 of them"):
        run(some, tmp_path)
    with pytest.raises(DataError, match="there are 10 bars to search, but the warm-up takes 31 to 151 of them, so no"):
        prepared_from(tmp_path, data={"last": 10}, strategy=strategy)


@pytest.mark.parametrize(
    ("table", "key", "value"), [("costs", "allow_high_fees", True), ("execution", "allow_far_stops", True)]
)
def test_what_a_run_allowed_is_part_of_its_spec(tmp_path: Path, table: str, key: str, value: bool) -> None:
    spec = prepared_from(tmp_path, **{table: {key: value}}).spec
    assert identity_body(spec)[table][key] is value
    assert isinstance(spec, StrategySpec)
    assert getattr(spec.costs_for("EUR/USD") if table == "costs" else spec.execution_settings(), key) is value
