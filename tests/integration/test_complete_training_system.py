"""The whole system on one market: candles -> packages -> outcomes -> episodes -> sessions -> replay (R9.47)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")


from tests.unit.episodes.episode_markets import SYMBOL, plan, trending
from tests.unit.faces.networks import small, state

import lockstep as ls
from lockstep.app.runs_admin import remove_run
from lockstep.bootstrap import place
from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.collect import collect_episodes
from lockstep.episodes.outcomes import TrainingOutcome
from lockstep.faces.cnn_trainer import CNNTrainer, EpisodeTraining
from lockstep.faces.rl_trainer import RLTrainer
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.rl import ProfitWeightedExperienceBuffer, RLExperience
from lockstep.rl.double_dqn import DoubleDQN
from lockstep.rl.networks import NetworkShape
from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder
from lockstep.runs.seeds import SeedTree

SETTINGS = {"training": {"epochs": 6, "batch_size": 32, "learning_rate": 0.003}}


@dataclass(frozen=True)
class System:
    home: Path
    trainer: CNNTrainer
    sessions: tuple[EpisodeTraining, EpisodeTraining]

    @property
    def book(self) -> EpisodeBook:
        return EpisodeBook.open(self.home / "episodes")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    """A home in which a market was collected and a network trained twice: on the best, and on less."""
    home = tmp_path_factory.mktemp("home")
    collect_episodes(trending(900), plan=plan(), folder=home / "episodes")
    trainer = CNNTrainer(small(11), home=home, settings=SETTINGS)
    best = trainer.train_on_profitable_episodes(SYMBOL, min_profitability=0.7, max_episodes=200)
    more = trainer.train_on_profitable_episodes(SYMBOL, min_profitability=0.1, max_episodes=300)
    return System(home=home, trainer=trainer, sessions=(best, more))


def test_collection_is_whole_and_every_stage_adds_up(system: System) -> None:
    """R9.1, R9.2, R9.5, R9.47: 100 % integrity; each package an episode or quarantined, each episode counted."""
    report = system.book.report
    assert report is not None
    assert report.integrity == 1.0
    assert report.packages == report.stored + report.quarantined["total"] == 900
    assert report.stored == report.validated + report.lapsed + report.pending
    assert report.mean_completeness == pytest.approx(0.8, abs=0.02)
    assert report.rapid_changes > 0


def test_the_network_learned_from_profitable_episodes_and_is_better_for_it(system: System) -> None:
    """R9.19, R9.20: the loss falls; the trained network finds the better side of new hours more often than not.

    The market trends for an hour at a time, up or down with equal shares, so knowing nothing is right half of the time;
    at 300 decisions 3 standard deviations are 3 sqrt(.25 / 300) = 8.7 %.
    """
    import torch

    best = system.sessions[0]
    record = SessionRecord(RunFolder(best.folder))  # type: ignore[arg-type]
    losses = record.columns["loss.total"]
    assert losses[-5:].mean() < losses[:5].mean()
    unseen = collect_episodes(trending(900, seed=77), plan=plan())
    rows = [one for one in unseen if one.market_return is not None and one.package is not None][-300:]
    scaling = system.trainer.scaling
    assert scaling is not None
    windows = np.stack([one.package.cnn_features for one in rows])  # type: ignore[union-attr]
    scaled = (windows - np.array(scaling["mean"])) / np.array(scaling["deviation"])
    system.trainer.model.eval()
    with torch.no_grad():
        heads = system.trainer.model(torch.from_numpy(scaled.transpose(0, 2, 1).astype(np.float32)))
    said = heads.direction.numpy()[:, [0, 2]].argmax(axis=1) * 2 - 1
    went = np.sign([one.market_return for one in rows])
    assert (said == went).mean() > 0.5 + 0.087


def test_sessions_are_listed_by_value_with_what_they_learned_from(system: System) -> None:
    """R9.17, R9.28, R9.29, R9.30, R9.33: the most valuable first."""
    found = list(ls.sessions(home=system.home))
    assert {one.session_id for one in found} == {one.session_id for one in system.sessions}
    values = [one.value for one in found]
    assert values == sorted(values, reverse=True)
    assert all(one.symbol == SYMBOL and one.steps > 0 for one in found)
    assert system.sessions[0].episodes_used == 200
    assert system.sessions[1].episodes_available > system.sessions[0].episodes_available


def test_stored_gradients_lead_to_the_models_weights(system: System) -> None:
    """R9.14, R9.31: gradient replay of both sessions; the last one ends in the bytes that the model object holds."""
    for told in system.sessions:
        folder = RunFolder(told.folder)  # type: ignore[arg-type]
        record = SessionRecord(folder)
        assert replay_gradients(record, check_every=1).checked == told.steps
        assert replay_gradients(record).state == folder.result()["state"]
        assert check(folder.path).problems == ()
    from safetensors.numpy import load

    last = load((RunFolder(system.sessions[1].folder).artifacts / "weights.safetensors").read_bytes())  # type: ignore[arg-type]
    assert state(system.trainer.model) == {name: array.tobytes() for name, array in last.items()}
    # The second session began where the first one ended.
    first = load((RunFolder(system.sessions[0].folder).artifacts / "weights.safetensors").read_bytes())  # type: ignore[arg-type]
    initial = RunFolder(system.sessions[1].folder).read("data")["initial_weights"]  # type: ignore[arg-type]
    begun = load((system.home / "snapshots" / f"{initial}.safetensors").read_bytes())
    assert {name: array.tobytes() for name, array in begun.items()} == {n: a.tobytes() for n, a in first.items()}


def test_a_session_is_verified_in_a_fresh_process_and_gone_through_again(system: System) -> None:
    """R9.32, R9.51: verify compares bit for bit; a session replay ends in the same state and says from where."""
    session = str(system.sessions[0].session_id)
    assert ls.verify(session, home=system.home).equal
    again = ls.retrain(session, home=system.home)
    assert again.summary["state"] == RunFolder(system.sessions[0].folder).result()["state"]  # type: ignore[arg-type]
    journal = RunFolder(system.sessions[0].folder).read("manifest")["journal_hash"]  # type: ignore[arg-type]
    assert again.summary["session"]["replayed_from"] == journal
    remove_run(again.run_id, place(system.home).store)


def experiences_of(book: EpisodeBook) -> list[tuple[RLExperience, TrainingOutcome]]:
    """What an agent lived through while the episodes happened: states of packages, actions predicted, outcomes."""
    settled = [one for one in book if one.outcome.outcome_validated and one.package is not None]
    states = [one.package.rl_state for one in settled if one.package is not None]
    return [
        (
            RLExperience(
                state=state,  # type: ignore[arg-type]
                action=int(one.predictions["action"]),
                reward=one.outcome.actual_profit,
                next_state=after,  # type: ignore[arg-type]
            ),
            one.outcome,
        )
        for one, (state, after) in zip(settled, itertools.pairwise(states), strict=False)
    ]


def test_an_agent_remembers_the_same_outcomes_and_learns_from_the_profitable_ones(system: System) -> None:
    """R9.21 to R9.27: 70 % of a batch is profitable at least; the agent's session is a run like the network's."""
    lived = experiences_of(system.book)
    buffer = ProfitWeightedExperienceBuffer(len(lived), seed=3)
    trainer = RLTrainer(
        DoubleDQN(NetworkShape(inputs=8, hidden=(16,)), seeds=SeedTree(1)), buffer, home=system.home, symbol=SYMBOL
    )
    for experience, outcome in lived:
        assert trainer.update_outcome(trainer.add_experience(experience), outcome)
    assert buffer.profitable_size == sum(outcome.is_profitable for _, outcome in lived)
    dealt = [buffer.sample_batch(64) for _ in range(5)]
    assert np.mean([batch.is_profitable.mean() for batch in dealt]) >= 0.7
    assert buffer.statistics().max_training_count >= 1
    told = trainer.train_profit_weighted(updates=30, batch_size=32)
    assert (told.status, told.steps) == ("complete", 30)
    session = {one.session_id: one for one in ls.sessions(home=system.home)}[str(told.session_id)]
    assert session.symbol == SYMBOL
    record = SessionRecord(RunFolder(told.folder))  # type: ignore[arg-type]
    assert replay_gradients(record, check_every=1).checked == 30
    assert buffer.check_valid() == (True, "")
    remove_run(str(told.session_id), place(system.home).store)


def test_the_record_is_as_large_as_it_was_told_to_be(system: System) -> None:
    """R9.47, bounds on disk: four bytes a parameter and step, at most a kilobyte a step for frames."""
    told = system.sessions[0]
    folder = RunFolder(told.folder)  # type: ignore[arg-type]
    parameters = sum(value.numel() for value in system.trainer.model.parameters())
    gradients = sum(path.stat().st_size for path in folder.segments.glob("gradients*"))
    assert told.steps * 4 * parameters <= gradients <= told.steps * (4 * parameters + 1_024) + 4_096
    packages = sum(path.stat().st_size for path in (system.home / "episodes").rglob("*") if path.is_file())
    # Shared rows: 16 bars of 8 features and 6 columns would be 1.3 kB for each of 880 packages if each had its own.
    assert packages < 880 * 1_000


def test_the_same_market_seed_and_model_make_the_same_system(system: System, tmp_path: Path) -> None:
    """R9.51: collected and trained again elsewhere: the same journals."""
    collect_episodes(trending(900), plan=plan(), folder=tmp_path / "episodes")
    trainer = CNNTrainer(small(11), home=tmp_path, settings=SETTINGS)
    again = trainer.train_on_profitable_episodes(SYMBOL, min_profitability=0.7, max_episodes=200)
    one, two = (RunFolder(told.folder).read("manifest") for told in (system.sessions[0], again))  # type: ignore[arg-type]
    assert one["journal_hash"] == two["journal_hash"]
