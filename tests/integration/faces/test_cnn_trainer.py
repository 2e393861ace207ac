"""CNNTrainer: which episodes, what is stored of each step, what the model and the book hold afterwards."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.numpy import load
from tests.unit.episodes.episode_cases import episode, scored
from tests.unit.episodes.episode_markets import SYMBOL, WINDOW, collected, plan, trending
from tests.unit.episodes.package_cases import NOW, package
from tests.unit.faces.networks import mine, small, state

import lockstep as ls
from lockstep.bootstrap import place
from lockstep.core.errors import DataError, InputError, IntegrityError, NetworkError, UnknownNameError
from lockstep.episodes.book import EpisodeBook, changing
from lockstep.episodes.collect import collect_episodes
from lockstep.episodes.outcomes import Action, TrainingOutcome
from lockstep.faces.cnn_trainer import CNNTrainer
from lockstep.kinds.cnn_episodes import data as episodes_data
from lockstep.learning.gradients.record import CNNTrainingStep, SessionRecord
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.learning.gradients.sessions import CNNTrainingSession, list_sessions
from lockstep.runs.folder import RunFolder
from lockstep.runs.store import FolderRunStore

FAST = {"training": {"epochs": 2, "batch_size": 16}, "recording": {"snapshot_every": 3}}


def trainer_of(model: torch.nn.Module, home: Path, book: EpisodeBook, **options: Any) -> CNNTrainer:
    return CNNTrainer(model, episodes=book, home=home, **{"settings": FAST, **options})


def data_of(told: Any, home: Path) -> episodes_data.PinnedEpisodes:
    return episodes_data.restore(RunFolder(told.folder).read("data"), FolderRunStore(home).blobs)


def test_the_defaults_are_those_of_the_specification() -> None:
    """R9.18: .7 and 500."""
    found = inspect.signature(CNNTrainer.train_on_profitable_episodes).parameters
    assert (found["min_profitability"].default, found["max_episodes"].default) == (0.7, 500)
    assert ls.CNNTrainer is CNNTrainer


def two_symbols() -> EpisodeBook:
    """Of one symbol and another, with ties among the scores: many reach 1."""
    both = (SYMBOL, "ETH/USDT")
    book = collected(400, plan=plan(symbols=both))
    other = collect_episodes(trending(200, seed=4, symbol="ETH/USDT"), plan=plan("ETH/USDT"))
    for one in other:
        book.add(one)
    return book


def test_it_takes_the_symbols_best_episodes_and_no_other(tmp_path: Path) -> None:
    """R9.19: only the symbol, only validated scores >= threshold, sorted falling, ties as ranked, at most so many."""
    book = two_symbols()
    validated = [one for one in book if one.symbol == SYMBOL and one.outcome.outcome_validated]
    expected = sorted(
        (one for one in validated if one.outcome.profitability_score >= 0.8),
        key=lambda one: (-one.outcome.profitability_score, -one.priority, -one.created_at, one.episode_id),
    )
    full = [one for one in expected if one.package is not None and len(one.package.cnn_features) == WINDOW]  # type: ignore[arg-type]
    told = trainer_of(small(), tmp_path, book).train_on_profitable_episodes(SYMBOL, 0.8, 40)
    pinned = data_of(told, tmp_path)
    assert pinned.ids == [one.episode_id for one in full[:40]]
    assert (told.episodes_available, told.episodes_used, told.status) == (len(expected), 40, "complete")
    assert len(expected) > 40
    assert (pinned.arrays["scores"] >= 0.8).all()
    assert (np.diff(pinned.arrays["scores"]) <= 0).all()
    eth = trainer_of(small(), tmp_path, book).train_on_profitable_episodes("ETH/USDT", 0.8, 40)
    assert all(name.startswith("ETH/USDT@") for name in data_of(eth, tmp_path).ids)


def test_what_is_learned_is_the_optimal_action_and_what_the_market_did(tmp_path: Path) -> None:
    """docs/episodes.md: the windows are the packages' own, the class the optimal action, the return the market's."""
    book = collected(300)
    told = trainer_of(small(), tmp_path, book).train_on_profitable_episodes(SYMBOL, 0.7, 30)
    arrays = data_of(told, tmp_path).arrays
    for row, one in enumerate(book.episodes([_row(book, name) for name in data_of(told, tmp_path).ids])):
        assert one.package is not None
        assert one.package.cnn_features is not None
        assert arrays["windows"][row].tobytes() == one.package.cnn_features.tobytes()
        assert arrays["classes"][row] == one.outcome.optimal_action
        assert arrays["returns"][row] == np.float32(one.market_return)
        assert arrays["package"][row].tobytes().hex() == one.package.digest.removeprefix("blake3:")
    assert set(arrays["classes"]) == {int(Action.SELL), int(Action.BUY)}
    # A profitable fall is a negative return: the side of the action is not in it.
    assert (np.sign(arrays["returns"]) == arrays["classes"] - 1).all()


def _row(book: EpisodeBook, episode_id: str) -> int:
    return book.ids(np.arange(len(book))).index(episode_id)


def test_pivots_can_be_the_class_instead(tmp_path: Path) -> None:
    book = collected(300)
    settings = {**FAST, "episodes": {"target": "pivot"}}
    told = trainer_of(small(), tmp_path, book, settings=settings).train_on_profitable_episodes(SYMBOL, 0.7, 60)
    pinned = data_of(told, tmp_path)
    assert [book[name].pivot_class for name in pinned.ids] == pinned.arrays["classes"].tolist()
    assert len(set(pinned.arrays["classes"])) > 1


def test_every_step_is_stored_with_gradients_losses_state_and_value(tmp_path: Path) -> None:
    """R9.14, R9.15, R9.16, R9.20: of each step, all parameters' gradients, three losses, the state, the value."""
    told = trainer_of(small(), tmp_path, collected(300)).train_on_profitable_episodes(SYMBOL, 0.7, 40)
    record = SessionRecord(RunFolder(told.folder))
    names = {name for name, _ in small().named_parameters()}
    # 40 episodes in batches of 16 are 3 steps an epoch, two epochs 6.
    assert told.steps == len(record) == 6
    for step in record.steps():
        assert isinstance(step, CNNTrainingStep)
        assert set(step.gradients) == names
        assert all(np.isfinite(gradient).all() for gradient in step.gradients.values())
        parts = step.losses
        total = parts["classification"] + 0.5 * parts["regression"] + 0.3 * parts["confidence"]
        assert parts["total"] == pytest.approx(total, rel=1e-6)
        assert step.model_state.keys() == small().state_dict().keys()
        assert 0.0 < step.value <= 1.0
    assert told.mean_losses["total"] == pytest.approx(np.mean([step.losses["total"] for step in record.steps()]))
    assert set(told.mean_losses) == {"total", "classification", "regression", "confidence"}


def test_steps_and_sessions_name_their_episodes_their_market_and_their_time(tmp_path: Path) -> None:
    """R9.16, R9.17: 40 episodes in batches of 16, so the third step has the last eight of an epoch."""
    began = datetime.now(UTC)
    told = trainer_of(small(), tmp_path, collected(300)).train_on_profitable_episodes(SYMBOL, 0.7, 40)
    (session,) = list_sessions(FolderRunStore(tmp_path))
    expected = data_of(told, tmp_path).ids
    assert session.episode_ids == expected
    assert session.symbol == SYMBOL
    third = session.record.step(2)
    assert isinstance(third, CNNTrainingStep)
    assert third.episode_ids == [expected[sample] for sample in third.samples.tolist()]
    assert len(third.episode_ids) == 8
    assert third.symbol == SYMBOL
    moments = [session.started, *(step.timestamp for step in session.record.steps()), session.ended]
    known = [moment for moment in moments if moment is not None]
    assert len(known) == len(moments)
    assert known == sorted(known)
    assert began - timedelta(milliseconds=1) <= known[0] <= known[-1] <= datetime.now(UTC)


def test_the_model_holds_the_trained_weights_and_gradient_replay_finds_them(tmp_path: Path) -> None:
    """R9.20, R9.31: it starts from the model's own weights; artifact, replay and object agree to the last bit."""
    model, book = small(3), collected(300)
    before = state(model)
    told = trainer_of(model, tmp_path, book).train_on_profitable_episodes(SYMBOL, 0.7, 40)
    assert state(model) != before
    folder = RunFolder(told.folder)
    stored = load((folder.artifacts / "weights.safetensors").read_bytes())
    assert state(model) == {name: array.tobytes() for name, array in stored.items()}
    assert replay_gradients(SessionRecord(folder), check_every=1).checked == told.steps
    start = SessionRecord(folder).step(0)
    assert start.losses["total"] > 0.0
    initial = folder.read("data")["initial_weights"]
    pinned = load((tmp_path / "snapshots" / f"{initial}.safetensors").read_bytes())
    assert {name: array.tobytes() for name, array in pinned.items()} == before


@pytest.mark.parametrize(("kind", "text"), [(torch.float64, "float32; in the instance"), (torch.bfloat16, "NumPy")])
def test_weights_of_another_type_are_refused_not_rounded(tmp_path: Path, kind: torch.dtype, text: str) -> None:
    """R9.41: float64 weights would come back with the bits of float32."""
    model = small(3).to(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(NetworkError, match=text):
        trainer_of(model, tmp_path, collected(300)).train_on_profitable_episodes(SYMBOL, 0.7, 40)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not (tmp_path / "runs").exists()


def test_without_an_episode_nothing_happens_to_the_model(tmp_path: Path) -> None:
    """Status no_episodes, the model untouched, no run; likewise in a home where nothing was collected."""
    model = small(4)
    before = state(model)
    book = EpisodeBook()
    book.add(episode("poor", symbol=SYMBOL, outcome=scored(0.55)))
    words = "1 are validated, and the highest score is 0.550. Collect more, or lower min_profitability", "Collect more"
    for trainer, note in zip((trainer_of(model, tmp_path, book), CNNTrainer(model, home=tmp_path)), words, strict=True):
        told = trainer.train_on_profitable_episodes(SYMBOL)
        assert re.search(note, told.note)
        assert (told.status, told.episodes_available, told.episodes_used, told.steps) == ("no_episodes", 0, 0, 0)
        assert told.session_id is told.value is told.converged is None
    assert state(model) == before
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("symbol", ["NO/SUCH", SYMBOL.lower()])
def test_a_symbol_that_the_book_does_not_hold_is_an_error_that_names_those_it_does(tmp_path: Path, symbol: str) -> None:
    """R9.19: it looked like a market without profit."""
    book = collected(200)
    with pytest.raises(UnknownNameError, match=f"it has episodes of '{SYMBOL}'") as caught:
        trainer_of(small(4), tmp_path, book).train_on_profitable_episodes(symbol)
    assert (f"Did you mean '{SYMBOL}'?" in str(caught.value)) == (symbol == SYMBOL.lower())


def test_training_counts_rise_in_the_book_and_on_disk(tmp_path: Path) -> None:
    """R9.10: two epochs are two more; what was trained on comes later in the ranking."""
    collected(300, folder=tmp_path / "episodes")
    trainer = CNNTrainer(small(), home=tmp_path, settings=FAST)
    before = {one.episode_id: one.priority for one in EpisodeBook.open(tmp_path / "episodes")}
    told = trainer.train_on_profitable_episodes(SYMBOL, 0.7, 40)
    book = EpisodeBook.open(tmp_path / "episodes")
    used = set(data_of(told, tmp_path).ids)
    counts = {one.episode_id: one.training_count for one in book}
    assert {name for name, count in counts.items() if count == 2} == used
    assert set(counts.values()) == {0, 2}
    # .15 / (1 + 0) before, .15 / (1 + 2) now.
    assert all(before[name] - book[name].priority == pytest.approx(0.15 - 0.05) for name in used)
    trainer.train_on_profitable_episodes(SYMBOL, 0.7, 40)
    assert int(EpisodeBook.open(tmp_path / "episodes").column("training_count").sum()) == 2 * 2 * 40


def test_a_session_is_counted_once_and_collecting_goes_on_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R9.10: an episode that came during the training stays; a complete session taken over again counts no more."""
    folder = tmp_path / "episodes"
    collected(300, folder=folder)
    trainer, real = CNNTrainer(small(), home=tmp_path, settings=FAST), ls.train

    def long(*given: Any, **options: Any) -> Any:
        result = real(*given, **options)
        with changing(folder) as book:
            book.add(episode("late", package=None, completeness=1.0))
        return result

    monkeypatch.setattr("lockstep.faces.cnn_trainer.train", long)
    told = trainer.train_on_profitable_episodes(SYMBOL, 0.7, 40)
    assert "late" in EpisodeBook.open(folder)
    assert trainer.resume(str(told.session_id)) == told
    assert int(EpisodeBook.open(folder).column("training_count").sum()) == 2 * 40


def test_a_score_at_the_threshold_is_enough(tmp_path: Path) -> None:
    """R9.19: exactly .7 is taken, the next number below it is not; equal scores as ranked: newer first, then by id."""
    features = np.random.default_rng(1).normal(size=(WINDOW, 8)).astype(np.float32)
    given: dict[str, Any] = {"package": package(cnn_features=features)}
    later: dict[str, Any] = {**given, "created_at": NOW + 1}
    below = scored(float(np.nextafter(0.7, 0.0)))
    other = {"symbol": "ETH/USDT", "package": package(symbol="ETH/USDT", cnn_features=features)}
    book = EpisodeBook(
        [
            episode("b", outcome=scored(0.7), **given),
            episode("a", outcome=scored(0.7), **given),
            episode("new", outcome=scored(0.7), **later),
            episode("below", outcome=below, **given),
            episode("open", outcome=replace(scored(1.0), outcome_validated=False), **given),
            episode("ether", outcome=scored(1.0), **other),
            episode("best", outcome=scored(1.0), **given),
        ]
    )
    told = trainer_of(small(), tmp_path, book).train_on_profitable_episodes(SYMBOL)
    assert data_of(told, tmp_path).ids == ["best", "new", "a", "b"]
    assert (told.episodes_available, told.episodes_used) == (4, 4)
    told = trainer_of(small(), tmp_path, book).train_on_profitable_episodes(SYMBOL, max_episodes=2)
    assert data_of(told, tmp_path).ids == ["best", "new"]
    # At a threshold of 0 an outcome that is not validated, whose score counts as 0, is no example all the same.
    assert "open" not in [one.episode_id for one in book.profitable(SYMBOL, min_profitability=0.0)]


def test_a_session_is_listed_loaded_and_worth_something(tmp_path: Path) -> None:
    """R9.17, R9.28, R9.29, R9.30: metadata, value, convergence; the highest value first."""
    book = collected(300)
    trainer = trainer_of(small(), tmp_path, book)
    told = [trainer.train_on_profitable_episodes(SYMBOL, score, 40) for score in (0.9, 0.1)]
    found = list_sessions(place(tmp_path).store)
    assert {session.session_id for session in found} == {one.session_id for one in told}
    assert [session.value for session in found] == sorted((one.value for one in told), reverse=True)
    for session in found:
        assert isinstance(session, CNNTrainingSession)
        assert (session.symbol, session.model_name, session.steps) == (SYMBOL, "pattern-cnn", 6)
        assert session.converged is False
        assert session.worth.profitable == 1.0
        assert len(session.loss_history) == 6


def test_a_damaged_session_is_reported_and_the_rest_is_listed(tmp_path: Path) -> None:
    """R9.49: a cut shard, a changed result: named by run, skipped."""
    trainer = trainer_of(small(), tmp_path, collected(300))
    good, cut, changed = (trainer.train_on_profitable_episodes(SYMBOL, 0.7, 20) for _ in range(3))
    assert good.folder
    assert cut.folder
    assert changed.folder
    (shard,) = (cut.folder / "segments").glob("gradients*")
    shard.write_bytes(shard.read_bytes()[:-100])
    result = changed.folder / "result.json"
    result.write_bytes(result.read_bytes().replace(b'"value":0', b'"value":1'))
    found = list_sessions(place(tmp_path).store)
    assert [session.session_id for session in found] == [good.session_id]
    assert set(found.problems) == {cut.session_id, changed.session_id}
    weights = good.folder / "artifacts" / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="its bytes changed since they were written"):
        trainer.resume(str(good.session_id))


def test_a_second_session_keeps_the_scaling_of_the_first(tmp_path: Path) -> None:
    """The weights were trained under it: other episodes may not move what a number means."""
    book = collected(300)
    trainer = trainer_of(small(), tmp_path, book)
    first, second = (trainer.train_on_profitable_episodes(SYMBOL, score, 30) for score in (0.7, 0.2))
    assert first.folder
    assert second.folder
    scalings = [RunFolder(one.folder).read("spec")["scaling"] for one in (first, second)]
    assert scalings[0] == scalings[1]
    windows = data_of(first, tmp_path).arrays["windows"].astype(np.float64).reshape(-1, 8)
    np.testing.assert_allclose(scalings[0]["mean"], windows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scalings[0]["deviation"], windows.std(axis=0), rtol=1e-12)


def test_replaying_the_session_trains_again_and_says_from_what(tmp_path: Path) -> None:
    """R9.32: the packages of the session go through training again, as a session of its own."""
    told = trainer_of(small(), tmp_path, collected(300)).train_on_profitable_episodes(SYMBOL, 0.7, 40)
    again = ls.retrain(str(told.session_id), home=tmp_path)
    assert again.summary["session"]["replayed_from"]
    assert again.summary["state"] == RunFolder(told.folder).result()["state"]


def test_outcomes_made_by_hand_teach_their_profit_with_the_sign_of_their_action(tmp_path: Path) -> None:
    """No market return is known: a SELL that earned .8 % teaches -.8 %."""
    features = np.random.default_rng(1).normal(size=(WINDOW, 8)).astype(np.float32)
    sold = TrainingOutcome(
        actual_profit=0.008, profitability_score=0.8, optimal_action=0, is_profitable=True, outcome_validated=True
    )
    given = {"package": package(cnn_features=features)}
    book = EpisodeBook([episode("sold", outcome=sold, **given), episode("bought", outcome=scored(0.9), **given)])
    told = trainer_of(small(), tmp_path, book).train_on_profitable_episodes(SYMBOL)
    assert data_of(told, tmp_path).ids == ["bought", "sold"]
    assert data_of(told, tmp_path).arrays["returns"].tolist() == np.float32([0.009, -0.008]).tolist()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda t: t.train_on_profitable_episodes(SYMBOL, 1.1), InputError, r"a score in \[0, 1\]; found 1.1"),
        (lambda t: t.train_on_profitable_episodes(SYMBOL, 0.7, 0), InputError, "at least 1; found 0"),
        (
            lambda t: CNNTrainer(
                mine(), home=t._home, episodes=t._episodes, parameters={"hidden": 9}
            ).train_on_profitable_episodes(SYMBOL),
            NetworkError,
            r"has shape \[9\]; in the instance that was given it has \[6\]",
        ),
        (
            lambda t: CNNTrainer(
                small(), home=t._home, episodes=t._episodes, settings={"episodes": {"window": 48}}
            ).train_on_profitable_episodes(SYMBOL),
            DataError,
            "has a package with 48 bars of features",
        ),
        (lambda t: CNNTrainer(small(), episodes="nowhere").train_on_profitable_episodes(SYMBOL), DataError, "no book"),
        (
            lambda t: CNNTrainer(small(), episodes=[1]).train_on_profitable_episodes(SYMBOL),
            InputError,
            "a book or its folder",
        ),
        (
            lambda t: ls.train({"kind": "cnn-episodes", "episodes": {"symbol": SYMBOL}}, home=t._home),
            DataError,
            "no book of episodes here",
        ),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(trainer_of(small(), tmp_path, collected(150)))
