"""Sessions of a home: listed by value, damaged ones reported, old ones removed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.unit.learning.builders import Small

from lockstep.core.errors import InputError, Interrupted
from lockstep.learning.gradients.sessions import CNNTrainingSession, list_sessions, load_session, surplus
from lockstep.runs.cancel import Cancel
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.loop import execute
from lockstep.runs.store import FolderRunStore
from lockstep.testing.contracts.training_kind import EVERY_STEP, StopAfter, fingerprint, new_folder
from lockstep.testing.toy_training import ToySpec, ToyTraining


def run_id(number: int) -> str:
    return f"2026112{number}T000000000-00000{number}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions that learned for 1, 3 and 8 epochs, and a run of another kind."""
    home = tmp_path_factory.mktemp("home")
    runs = home / "runs"
    for number, epochs in enumerate((1, 3, 8)):
        Small(
            seed=number, epochs=epochs, session={"model": "small", "model_kind": "pattern", "symbol": "ETH/USDT"}
        ).run(runs / run_id(number))
    execute(ToyTraining(ToySpec(steps=3)), new_folder(runs / run_id(9), 42), fingerprint=fingerprint(42))
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """A copy, to damage and to add to."""
    return Path(shutil.copytree(trained, tmp_path / "home"))


def test_sessions_are_listed_by_value_and_loaded(home: Path) -> None:
    """R9.28, R9.30, R9.33: value and metadata of each, the highest value first; other runs are not sessions."""
    sessions = list_sessions(FolderRunStore(home))
    assert sessions.problems == {}
    assert {session.session_id for session in sessions} == {run_id(number) for number in range(3)}
    values = [session.value for session in sessions]
    assert values == sorted(values, reverse=True)
    session = load_session(RunFolder(home / "runs" / run_id(2)), thorough=True)
    assert isinstance(session, CNNTrainingSession)
    assert (session.steps, session.symbol, session.model_name) == (24, "ETH/USDT", "small")
    assert session.replayed_from is None
    assert len(session.loss_history) == 24
    assert session.best_loss == session.summary["best_loss"] == session.loss_history.min()
    assert session.worth.convergence > 0.0, "eight epochs of an easy task bring the loss down"
    assert 0.0 < session.worth.profitable < 1.0


@pytest.mark.parametrize("damage", ["cut", "missing", "document", "byte"])
def test_a_damaged_session_is_reported_and_skipped(home: Path, damage: str) -> None:
    """R9.49. A flipped byte of a gradient is found by the thorough listing, and by reading it at any time."""
    folder = RunFolder(home / "runs" / run_id(1))
    path = folder.segments / "gradients.000000.seg"
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "missing":
        path.unlink()
    elif damage == "document":
        result = folder.document("result")
        result.write_bytes(result.read_bytes().replace(b'"steps":9', b'"steps":8'))
    else:
        path.write_bytes(data[:-300] + bytes([data[-300] ^ 1]) + data[-299:])
    sessions = list_sessions(FolderRunStore(home), thorough=damage == "byte")
    assert {session.session_id for session in sessions} == {run_id(0), run_id(2)}
    assert sessions.problems.keys() == {run_id(1)}
    assert ("result.json" if damage == "document" else "gradients.000000.seg") in sessions.problems[run_id(1)]


def test_a_stopped_session_is_there_with_what_it_had(home: Path) -> None:
    """R9.50, R9.30: a stop flushes the session; its value is that of its steps so far."""
    folder = new_folder(home / "runs" / run_id(5), 1)
    cancel = Cancel()
    with pytest.raises(Interrupted):
        execute(
            Small().make(),
            folder,
            fingerprint=fingerprint(1),
            cancel=cancel,
            observers=[StopAfter(cancel, 4)],
            policy=EVERY_STEP,
        )
    session = load_session(folder, thorough=True)
    assert (session.status, session.steps) == (RunStatus.INTERRUPTED, 4)
    assert session.record.state_after(3)
    assert session.value > 0.0


def test_retention_by_count_and_by_bytes_keeps_the_newest(home: Path) -> None:
    store = FolderRunStore(home)
    sessions = list_sessions(store).sessions
    size = {session.session_id: session.bytes for session in sessions}
    assert [session.session_id for session in surplus(sessions, keep_last=2)] == [run_id(0)]
    two = size[run_id(2)] + size[run_id(1)]
    assert [session.session_id for session in surplus(sessions, max_bytes=two)] == [run_id(0)]
    assert [session.session_id for session in surplus(sessions, max_bytes=1)] == [run_id(1), run_id(0)]
    assert surplus(sessions) == []
    assert (home / "runs" / run_id(9)).exists()
    assert run_id(9) not in size, "runs of other kinds are not counted"


def test_a_retention_of_nothing_is_refused(home: Path) -> None:
    with pytest.raises(InputError, match="keep_last is at least 1"):
        surplus([], keep_last=0)
