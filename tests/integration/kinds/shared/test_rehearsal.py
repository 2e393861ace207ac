"""A user's network is rehearsed before its run: what no run could repeat is refused in words, the rest is trained."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from tests.unit.kinds.classifier_builders import prepared_of, run_of, training_of
from tests.unit.kinds.shared.rehearsed_networks import SOUND, UNSOUND

from lockstep.core.errors import InputError, NetworkError
from lockstep.kinds.classifier.kind import KIND
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import Prepared
from lockstep.runs.loop import execute
from lockstep.testing.contracts.training_kind import EVERY_STEP, fingerprint, new_folder

ROWS = 27
SAMPLES = np.random.default_rng(0).normal(size=(ROWS, 5)).astype("f4"), np.arange(ROWS) % 3


def prepared(home: Path, name: str, text: str = UNSOUND, **training: Any) -> Prepared:
    (home / "nets.py").write_text(text)
    table = {"epochs": 1, "batch_size": 8, "test_size": 0.0, **training}
    return prepared_of(home, given=SAMPLES, network={"name": f"nets.py:{name}"}, training=table)


SOUND_NAMES = [
    line.removeprefix("class ").partition("(")[0] for line in SOUND.splitlines() if line.startswith("class ")
]


@pytest.mark.parametrize("name", SOUND_NAMES)
def test_a_network_whose_state_is_listed_is_trained_and_replayed(tmp_path: Path, name: str) -> None:
    """R9.41: 27 samples in batches of 8, the last of 3; the stored gradients lead to the weights that were trained."""
    folder = run_of(prepared(tmp_path, name, SOUND), tmp_path, policy=CheckpointPolicy())
    assert replay_gradients(SessionRecord(folder), check_every=1).checked >= 4


@pytest.mark.parametrize("name", ["Declares", "Averaged", "Spectral"])
def test_the_rehearsal_changes_no_bit_of_the_training(tmp_path: Path, name: str) -> None:
    """The same journal whether the network was rehearsed in this process once or twice more."""
    ready = prepared(tmp_path, name, SOUND)
    first = run_of(ready, tmp_path, policy=CheckpointPolicy())
    KIND.try_network(ready)
    again = run_of(ready, tmp_path, policy=CheckpointPolicy())
    assert (first.path / "journal.jsonl").read_bytes() == (again.path / "journal.jsonl").read_bytes()


def test_declared_state_is_saved_restored_and_part_of_the_weights(tmp_path: Path) -> None:
    """get_extra_state: a counter and a generator. Stopped after 3 of 4 steps and gone on with: the same journal."""
    ready = prepared(tmp_path, "Declares", SOUND)
    whole = run_of(ready, tmp_path, policy=EVERY_STEP)
    training = training_of(ready, tmp_path)
    steps = training.steps()
    states = [training.get_state() for _ in range(3) if next(steps)]
    other = training_of(ready, tmp_path)
    other.set_state(states[-1])
    assert [dict(step.digests) for step in other.steps()] == [dict(next(iter(steps)).digests)]
    assert int(other.get_state()["learner"]["buffer._extra_state.count"]) == 4
    from safetensors.numpy import load

    assert int(load((whole.artifacts / "weights.safetensors").read_bytes())["_extra_state.count"]) == 4


@pytest.mark.parametrize(
    ("name", r"message"),
    [
        ("Renormed", r"changes or replaces the weight table.weight.*without max_norm"),
        ("Clipped", r"changes or replaces the weight body.weight.*Only the optimiser changes weights"),
        ("ClippedUnseen", r"changes the weight body.weight when it is large"),
        ("Frozen", r"changes or replaces the weight scale"),
        ("Counts", r"changes calls, which is neither a weight nor a buffer.*register_buffer.*get_extra_state\(\)"),
        ("CountsInFile", r"changes len\(CALLS \(of the file\)\)"),
        ("CountsInClass", r"changes CountsInClass.calls"),
        ("Remembers", r"changes largest, which"),
        ("Unkept", r"changes calls, a buffer that is not persistent.*without persistent=False"),
        ("OwnDice", r"changes dice, which"),
        ("NumpyDice", r"draws from NumPy's generator \(np.random\).*torch.randn_like\(x\)"),
        ("PythonDice", r"draws from Python's generator"),
        ("FreshDice", r"the same batch with the same noise, twice, gives equal outputs; they differ"),
        ("EvaluationMoves", r"in evaluation mode forward.. changes the buffer calls.*if self.training"),
        ("Detaches", r"an output depends on a trained parameter; none does"),
        ("KeepsGraph", r"when its gradients are computed: RuntimeError.*keep \.detach\(\)"),
        (
            "HookRaises",
            r"HookRaises, line \d+: the network fails when its gradients are computed: ValueError: not this",
        ),
        ("EvaluationRaises", r"EvaluationRaises, line \d+: .* in evaluation mode: KeyError"),
        ("EvaluatesToNan", r"a score is finite for a finite input"),
        ("Brain", r"narrow is torch.bfloat16. Keep it as torch.float32"),
        ("Complex", r"waves is torch.complex64"),
        ("Sparse", r"Use sparse=False layers"),
        ("Threads", r"changes a switch of torch, set_num_threads, from 1 to 2"),
        ("Undetermined", r"changes a switch of torch, use_deterministic_algorithms"),
        ("DeclaresText", r"_extra_state.name is str. Turn it into numbers or a tensor"),
        ("DeclaresHalf", r"the same batch with the same noise, twice, gives equal outputs; they differ"),
    ],
)
def test_a_network_that_no_run_could_repeat_is_refused_before_its_run(tmp_path: Path, name: str, message: str) -> None:
    """R9.41: with the rule, the place and a cure."""
    with pytest.raises(InputError, match=message) as caught:
        prepared(tmp_path, name)
    assert caught.value.exit_code == 2


def test_a_batch_norm_is_refused_where_an_epoch_ends_with_one_sample(tmp_path: Path) -> None:
    """27 = 26 + 1."""
    with pytest.raises(NetworkError, match=r"more than 1 value per channel.*choose another training.batch_size"):
        prepared(tmp_path, "Alone", batch_size=26)
    prepared(tmp_path, "Alone", batch_size=25)


def test_the_generators_of_the_process_are_as_they_were(tmp_path: Path) -> None:
    numpys, pythons = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    for name in ("NumpyDice", r"PythonDice"):
        with pytest.raises(NetworkError):
            prepared(tmp_path, name)
    assert np.random.get_state()[1].tolist() == numpys  # noqa: NPY002
    assert random.getstate() == pythons


def begun(ready: Prepared, home: Path, folder: RunFolder | None = None) -> RunFolder:
    folder = new_folder(home / "run", 1) if folder is None else folder
    execute(training_of(ready, home), folder, fingerprint=fingerprint(1), policy=EVERY_STEP)
    return folder


@pytest.mark.parametrize(
    ("name", r"message"),
    [
        ("FailsAtSeven", r"step 7, nets.py, line \d+: the network fails in training mode: RuntimeError: seven"),
        ("FailsInThirdEpoch", r"validation after epoch 3, nets.py, line \d+: the network fails in evaluation mode"),
        ("NanInThirdEpoch", r"validation after epoch 3: evaluated, a score is finite; found NaN"),
    ],
)
def test_a_failure_that_comes_later_names_the_step_and_keeps_what_was_before(
    tmp_path: Path, name: str, message: str
) -> None:
    """4 updates an epoch; each ends the run with exit code 2, and resume goes on from the last good step."""
    ready = prepared(tmp_path, name, epochs=4, validation_split=0.0 if name == "FailsAtSeven" else 0.1)
    with pytest.raises(NetworkError, match=message) as caught:
        begun(ready, tmp_path)
    assert caught.value.exit_code == 2
    journal = (tmp_path / "run" / "journal.jsonl").read_bytes()
    assert journal.count(b"\n") >= 7
    with pytest.raises(NetworkError, match=message):
        begun(ready, tmp_path, RunFolder(tmp_path / "run"))
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == journal
