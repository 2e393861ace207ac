"""`kind = "replay-agent"`: the contract, causality of its parts, recording, modes of the buffer, honest words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.kinds.agent_builders import market, plan_of, prepared_of, run_of, spec_of, steps_of, training_of
from tests.unit.kinds.builders import estimate_of, folder_of

pytest.importorskip("torch")

from lockstep.core.errors import DataError, SpecError
from lockstep.engine.costs import Costs
from lockstep.kinds.replay_agent.kind import KIND
from lockstep.kinds.replay_agent.plan import MarketParts, return_scale
from lockstep.kinds.replay_agent.result import judged
from lockstep.kinds.replay_agent.spec import ReplayAgentSpec
from lockstep.learning.gradients.record import RLTrainingStep, SessionRecord
from lockstep.learning.gradients.replay import recompute_session, replay_gradients
from lockstep.learning.gradients.sessions import load_session
from lockstep.market.candles import Candles
from lockstep.rl.environment import SingleAssetEnvironment
from lockstep.rl.greedy import simulated, walk
from lockstep.rl.training import EXPERIENCES
from lockstep.runs.kind import PrepareContext
from lockstep.runs.spec import identity_body, load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Training
from lockstep.testing.contracts.training_kind import TrainingContract
from lockstep.validation.verdict import Decision


class TestDoubleDQN(TrainingContract):
    """7 updates; a buffer of 36 evicts from the fourth on, episodes end inside, the target moves twice."""

    tables: Mapping[str, Any] = {"buffer": {"capacity": 36}}

    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path) -> None:
        self.home = tmp_path / "home"

    def make(self, seed: int) -> Training:
        return training_of(prepared_of(market(), self.home, seed=seed, **self.tables), self.home)


class TestActorCritic(TestDoubleDQN):
    tables = {"agent": {"algorithm": "actor_critic"}, "buffer": {"mode": "uniform"}}


class TestPrioritized(TestDoubleDQN):
    tables = {"buffer": {"mode": "prioritized", "capacity": 36}, "recording": {"level": "norms"}}


def test_parts_lie_in_time_with_a_purge_between_them() -> None:
    """R9.8: 200 bars, a fifth each to test and validate, max(lookback 4, horizon 3) = 4 left out twice."""
    parts = MarketParts.of(200, spec_of())
    assert (parts.training, parts.validation, parts.test) == ((0, 112), (116, 156), (160, 200))
    with pytest.raises(DataError, match=r"the parts are too short: 4 bars to train on .* needs 25"):
        MarketParts.of(20, spec_of())


def test_nothing_of_the_training_depends_on_later_parts(tmp_path: Path) -> None:
    """R9.8, decision D3: with other prices from the end of the training part on, every update is the same."""
    whole = market()
    other = market(seed=2)
    columns = {
        name: np.concatenate((value[:112], other.columns()[name][112:])) for name, value in whole.columns().items()
    }
    changed = Candles.from_arrays(**columns, timeframe="1h", symbol="TEST/USD")
    assert changed.digest != whole.digest
    first, second = (steps_of(candles, tmp_path) for candles in (whole, changed))
    for one, two in zip(first, second, strict=True):
        assert one.digests == two.digests
        assert one.scalars["loss"] == two.scalars["loss"]
    assert first[2].scalars["validation"] != second[2].scalars["validation"]


def test_an_agent_that_is_examined_sees_no_bar_of_another_part(tmp_path: Path) -> None:
    """The first decision of a part is its first bar, and its features begin in the bars left out before it."""
    plan = plan_of(market(), tmp_path)
    for part in (plan.parts.validation, plan.parts.test):
        environment = plan.environment_of(part)
        environment.reset()
        absolute = plan.pinned.candles.timestamp.tolist().index(int(environment.candles.timestamp[environment.bar]))
        assert absolute == part[0]
        assert len(environment.candles) == part[1] - part[0] + plan.spec.environment.lookback
    assert plan.parts.validation[0] - plan.spec.environment.lookback >= plan.parts.training[1]
    assert plan.scale == return_scale(plan.pinned.candles.slice(*plan.parts.training))


def test_experiences_enter_with_outcomes_from_prices_after_them_and_never_before_these_passed(tmp_path: Path) -> None:
    """R9.8, R9.21: profit of BUY at bar t is close[t + 3] / open[t + 1] - 1 - costs, by hand for every experience."""
    candles = market()
    training = training_of(prepared_of(candles, tmp_path, buffer={"capacity": 200}), tmp_path)
    costs = 2 * (0.001 + 0.0005)
    checked = 0
    for step in training.steps():
        added = step.segments.get(EXPERIENCES)
        if added is None:
            continue
        for id_, bar in zip(added["id"], added["bar"], strict=True):
            found = training.buffer.experience(int(id_))
            assert found is not None
            if bar + 3 > 111:
                assert found.actual_profit is None
                continue
            side = found.action - 1
            move = candles.close[bar + 3] / candles.open[bar + 1] - 1.0
            wanted = side * move - costs if side else 0.0
            assert found.actual_profit == pytest.approx(wanted, abs=1e-12)
            best = 2 if move > costs else 0 if -move > costs else 1
            assert (found.optimal_action, found.outcome_validated) == (best, True)
            checked += 1
    assert checked > 30


def test_recording_levels_give_equal_weights(tmp_path: Path) -> None:
    """The record watches; at every level the same journal of losses and states."""
    levels = [
        [(step.scalars["loss"], step.digests["state"]) for step in steps_of(market(), tmp_path, recording=table)]
        for table in ({"level": "full"}, {"level": "norms"}, {"level": "none"})
    ]
    assert levels[0] == levels[1] == levels[2]


def test_a_step_of_the_record_tells_losses_gradients_errors_and_profitability(tmp_path: Path) -> None:
    """R9.26: of both algorithms; a DQN has no policy and says None."""
    for algorithm in ("double_dqn", "actor_critic"):
        folder = run_of(market(), tmp_path, tmp_path / algorithm, agent={"algorithm": algorithm, "hidden": [8]})
        record = SessionRecord(folder)
        step = record.step(5)
        assert isinstance(step, RLTrainingStep)
        assert set(step.gradients) == {slot.name for slot in record.description.layout.slots}
        assert step.total_loss == pytest.approx(
            sum(value for name, value in step.losses.items() if name != "total"), rel=1e-5
        )
        assert step.q_loss == step.losses["q"]
        assert (step.policy_loss is None) == (algorithm == "double_dqn")
        assert step.td_errors.shape == step.samples.shape == (8,)
        content = record.content(5)["scalars"]
        assert step.mean_score == content["mean_score"]
        assert step.profitable_share == content["profitable_share"]
        assert step.mean_reward == content["mean_reward"]
        names = {slot.name for slot in record.description.layout.slots}
        assert names < step.model_state.keys()  # and the target networks


def test_its_session_is_valued_and_replays_both_ways(tmp_path: Path) -> None:
    """R9.28, R9.31, R9.32, R9.51: applied gradients give the final weights, computed again every line is met."""
    folder = run_of(market(), tmp_path, tmp_path / "run")
    session = load_session(folder)
    assert (session.model_name, session.symbol, session.steps) == ("double_dqn", "TEST/USD", 7)
    assert 0.0 < session.value <= 1.0
    record = SessionRecord(folder)
    assert replay_gradients(record, check_every=1).checked == 7
    again = training_of(prepared_of(market(), tmp_path), tmp_path)
    assert recompute_session(again, record).equal


def test_target_networks_are_written_when_they_change(tmp_path: Path) -> None:
    """target_every 3 of 7 updates: at the first step and after updates 2 and 5; every state is rebuilt all the same."""
    record = SessionRecord(run_of(market(), tmp_path, tmp_path / "run"))
    assert [frame.step for frame in record.segments.frames("buffers")] == [0, 2, 5]
    for step in range(7):
        assert record.check_state(step, record.state_after(step))


def test_batches_of_the_profit_mode_are_more_profitable_than_the_buffer(tmp_path: Path) -> None:
    """R9.22, R9.23: most of a batch, where far less than that of the content is."""
    table = {"updates": 40, "learning_starts": 100}
    tables = {"environment": {"target_profit": 0.002}, "costs": {"fee_rate": 0.0, "slippage_rate": 0.0005}}
    profit, uniform = (
        np.mean(
            [
                step.scalars["profitable_share"]
                for step in steps_of(market(), tmp_path, training=table, buffer={"mode": mode}, **tables)
            ]
        )
        for mode in ("profit", "uniform")
    )
    assert profit > 0.65 > 0.5 > uniform


def test_the_greedy_walk_is_what_the_engine_simulates(tmp_path: Path) -> None:
    """The environment's equity, less what the engine pays to close at the end, is the engine's profit, with shorts and
    without: slippage of the last close on the units held, and the fee."""
    costs = Costs(fee_rate=0.0004, slippage_rate=0.0003)

    class Fickle:
        """Acts by the last digit of what it sees."""

        def act(self, states: Any) -> Any:
            return (np.abs(states.sum(axis=1) * 1e3).astype(np.int64) // 3) % 3

    for short in (True, False):
        environment = SingleAssetEnvironment(market(), lookback=4, costs=costs, allow_short=short)
        found = walk(Fickle(), environment)
        assert found.simulation["total_trades"] > 20
        closing = 0.0
        if environment.side:
            entry = found.simulation.trades.entry_price[-1]
            closing = environment.candles.close[-1] / entry * costs.slippage_rate + costs.fee_rate
        assert found.simulation["net_profit_pct"] == pytest.approx(100 * (environment.equity - 1 - closing), abs=1e-9)
        assert (found.simulation["short_trades"] > 0) == short
    flat = simulated(market(30), np.zeros(30, np.int8), costs)[0]
    assert flat["net_profit"] == 0.0


def test_the_verdict_asks_for_every_baseline() -> None:
    """1.645 standard errors over flat and over holding, 95 % of the draws; each alone missing is said."""

    def table(flat: float, hold: float, percentile: float | None) -> dict[str, Any]:
        luck = None if percentile is None else {"net_profit_pct": {"percentile": percentile}}
        return {
            "excess_over_flat": {"value_pct": flat, "standard_error_pct": 1.0},
            "excess_over_hold": {"value_pct": hold, "standard_error_pct": 1.0},
            "baselines": {"random_entries": luck},
        }

    every = judged(table(1.7, 1.7, 96.0))
    assert every.decision is Decision.CAUTION
    assert every.evidence["beats"] == ["buy_and_hold", "always_flat", "random_entries"]
    assert every.evidence["compared"]["always_flat"] == {"excess_pct": 1.7, "standard_error_pct": 1.0}
    # Which test it was stands beside it: bars count as independent here, which blocks of a network's rows do not.
    assert "1.645 standard errors, bars taken as independent" in every.evidence["test"]
    for values, name, words in (
        ((1.6, 1.7, 96.0), "always_flat", "staying flat (+1.60 %, standard error 1.00 %)"),
        ((1.7, -3.0, 96.0), "buy_and_hold", "buy and hold (-3.00 %, standard error 1.00 %)"),
        ((1.7, 1.7, 94.0), "random_entries", "random entries (above 94 % of the draws)"),
        ((1.7, 1.7, None), "random_entries", "random entries (no trade to compare)"),
    ):
        verdict = judged(table(*values))
        assert verdict.decision is Decision.REJECT
        assert verdict.sentence == f"On the test part it does not beat {words}."
        assert verdict.evidence["does_not_beat"] == [name]


def test_the_best_walk_decides_which_weights_are_tested_and_the_artifacts_hold_them(tmp_path: Path) -> None:
    folder = run_of(market(), tmp_path, tmp_path / "run")
    summary = folder.result()
    record = SessionRecord(folder)
    walks = {
        step: record.content(step)["scalars"]["validation"]
        for step in range(7)
        if "validation" in record.content(step)["scalars"]
    }
    assert list(walks) == [2, 5, 6]  # every 3, and after the last
    best = max(walks, key=lambda step: (walks[step]["net_profit_pct"], -step))
    assert summary["agent"]["best_step"] == best
    assert summary["validation"]["metrics"]["net_profit_pct"] == walks[best]["net_profit_pct"]
    from safetensors.numpy import load

    stored = load((folder.artifacts / "best_agent.safetensors").read_bytes())
    assert np.array_equal(stored["weights"], record.state_after(best)["weights"])
    trades = (folder.artifacts / "test_trades.csv").read_text().splitlines()
    assert len(trades) - 1 == summary["test"]["metrics"]["total_trades"]
    assert len((folder.artifacts / "test_equity.csv").read_text().splitlines()) - 1 == summary["test"]["bars"]


def test_a_prepared_run_is_restored_from_its_folder(tmp_path: Path) -> None:
    prepared = prepared_of(market(), tmp_path)
    folder = folder_of(prepared, tmp_path / "run")
    spec = resolve(ReplayAgentSpec, load_spec(folder.read("spec")))
    restored = KIND.restore(spec, folder, PrepareContext(blobs=FolderRunStore(tmp_path).blobs))
    assert restored.data == prepared.data
    assert identity_body(restored.spec) == identity_body(prepared.spec)
    first, second = ([step.digests for step in training_of(item, tmp_path).steps()] for item in (prepared, restored))
    assert first == second


def test_the_estimate_is_near_what_a_run_takes_on_disk(tmp_path: Path) -> None:
    """Told before the start: segments and journal within a fifth."""
    prepared = prepared_of(market(), tmp_path, training={"updates": 60})
    folder = run_of(market(), tmp_path, tmp_path / "run", training={"updates": 60})
    estimate = estimate_of(KIND, prepared, tmp_path)
    assert estimate.steps == 60
    taken = sum(path.stat().st_size for path in folder.segments.iterdir()) + folder.journal.stat().st_size
    assert estimate.disk_bytes == pytest.approx(taken, rel=0.2)


def test_what_is_lived_counts_towards_the_limit_of_bytes(tmp_path: Path) -> None:
    """48 experiences of 196 bytes each before every update: 9 kB beside 2 kB of the rest. The limit is passed by one
    update's at most, the session ends there, and the estimate says where."""
    tables: dict[str, Any] = {"training": {"updates": 60, "steps_per_update": 48}, "recording": {"max_bytes": 150_000}}
    prepared = prepared_of(market(), tmp_path, **tables)
    folder = run_of(market(), tmp_path, tmp_path / "run", **tables)
    summary = folder.result()
    taken = sum(path.stat().st_size for path in folder.segments.iterdir())
    assert summary["ended"] == "max_bytes"
    assert 135_000 < taken < 165_000
    assert summary["segment_bytes"] == pytest.approx(taken, rel=0.03)
    assert estimate_of(KIND, prepared, tmp_path).steps == pytest.approx(summary["steps"], abs=2)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"agent": {"algorithm": "ppo"}}, "agent.algorithm"),
        ({"agent": {"temperature": 1.0}}, 'temperature belongs to algorithm = "actor_critic"'),
        (
            {"agent": {"algorithm": "actor_critic", "epsilon_end": 0.1}},
            'epsilon_end belongs to algorithm = "double_dqn"',
        ),
        ({"agent": {"epsilon_start": 0.01}}, "epsilon_end is at most epsilon_start; found 0.05 and 0.01"),
        ({"training": {"learning_starts": 3}}, "learning_starts is more than environment.horizon_bars"),
        ({"buffer": {"capacity": 10}}, "buffer.capacity holds all experiences before the first update"),
        ({"costs": {"fill": "close"}}, "the environment fills at the next open"),
        ({"validation": {"purge_bars": 2}}, "purge_bars is at least the longer of horizon_bars and lookback, 4"),
        ({"validation": {"test_share": 0.9}}, "leave something to train on"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_with_its_rule(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(**tables)


def test_defaults_of_an_algorithm_are_its_own_and_survive_the_record() -> None:
    given = ({"target_every": 7}, {"algorithm": "actor_critic", "hidden": [8], "target_every": None})
    dqn, critic = (spec_of(agent=table) for table in given)
    dqn, critic = (spec.model_copy(update={"agent": spec.agent.resolved()}) for spec in (dqn, critic))
    assert (dqn.agent.tau, dqn.agent.target_every, dqn.agent.temperature) == (1.0, 7, None)
    assert (critic.agent.tau, critic.agent.target_entropy, critic.agent.epsilon_end) == (0.005, 0.89, None)
    assert critic.agent.target_every == 1
    for spec in (dqn, critic):
        assert resolve(ReplayAgentSpec, json.loads(json.dumps(identity_body(spec)))) == spec
