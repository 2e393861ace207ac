"""Supervised training as a user meets it: modules run by name, the command line, kill -9, other processes."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.user import PATIENCE_S, User
from tests.fork_server import Process

from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.testing.contracts.training_kind import hashed_files, new_folder

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[2]
SPEC = """
kind = "classifier"
seed = 0
[data]
samples_per_class = 12
[training]
epochs = 4
validation_split = 0.2
"""
# Checkpoints all the time, so that a kill falls between them; a pause makes the few steps long enough to be hit.
CHILD = """
import sys, time
from pathlib import Path
from lockstep.clusters.in_process import InProcessExecutor
from lockstep.runs import registry
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import PrepareContext, RunContext
from lockstep.runs.loop import execute
from lockstep.runs.observer import Observer
from lockstep.runs.spec import resolve
from lockstep.runs.store import FolderRunStore
import lockstep.bootstrap
import numpy as np

class Pause(Observer):
    def started(self, info):
        print("started", info.first_step, flush=True)
    def step(self, step, journal_hash):
        time.sleep(0.02)

path, name = sys.argv[1:]
kind, home, labels = registry.get(name), Path(path).parent / "home", np.arange(24) % 2
shape = (24, 26, 26, 1) if name == "classifier-keras" else (24, 3, 8)
x = np.random.Generator(np.random.Philox(key=1)).random(shape)
x += labels.reshape(-1, *[1] * (x.ndim - 1))
spec = resolve(kind.spec_model, {"kind": name, "training": {"epochs": 10, "batch_size": 5}})
blobs = FolderRunStore(home).blobs
prepared = kind.prepare(spec, PrepareContext(blobs=blobs, python_objects={"data.samples": (x, labels)}))
training = kind.training(prepared, RunContext(executor=InProcessExecutor(), blobs=blobs))
policy = CheckpointPolicy(interval_s=0.05, max_share=1e9)
execute(training, RunFolder(Path(path)), fingerprint="0" * 64, policy=policy, observers=[Pause()])
"""


def python(*words: str, cwd: Path, fresh: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program that has ended. With variables of its own it is a new interpreter."""
    process = User(cwd, fresh=fresh).python(*words, env=variables)
    out, err = process.communicate(timeout=PATIENCE_S)
    return subprocess.CompletedProcess(words, process.wait(), out, err)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that has `src` as a checkout has it, and takes the results."""
    (tmp_path / "src").symlink_to(ROOT / "src")
    return tmp_path


def test_the_module_runs_with_its_defaults(checkout: Path) -> None:
    """R11.17, R11.12: ten epochs over 6 x 50 samples in 19 batches of 16, into ./results."""
    done = python("-m", "src.train_pytorch", cwd=checkout, fresh=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "Dataset created: 300 samples, 19 batches" in done.stdout
    history = json.loads((checkout / "results" / "training_history.json").read_text())
    assert (history["epochs"], history["seed"], len(history["loss"])) == (10, 42, 10)
    (log,) = (checkout / "results").glob("training_*.log")
    assert log.read_text() == done.stdout
    assert re.findall(r"Epoch \[ *(\d+)/10\]", done.stdout) == [str(i) for i in range(1, 11)]


def test_other_processes_hash_seeds_and_thread_counts_give_the_same_losses(checkout: Path) -> None:
    """R11.14 across processes: `lockstep.faces.train_pytorch` and `src.train_pytorch` are one program."""
    losses = []
    for module, variables in (
        ("lockstep.faces.train_pytorch", {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "2"}),
        ("src.train_pytorch", {"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "1"}),
    ):
        done = python("-m", module, "--epochs", "2", "--samples-per-class", "9", cwd=checkout, **variables)
        assert done.returncode == 0, done.stderr
        losses.append(json.loads((checkout / "results" / "training_history.json").read_text())["loss"])
    assert losses[0] == losses[1]


def test_bad_values_end_with_a_sentence_and_exit_code_2(checkout: Path) -> None:
    done = python("-m", "lockstep.faces.train_pytorch", "--epochs", "0", cwd=checkout)
    assert done.returncode == 2
    assert done.stderr == "epochs is a whole number of at least 1; found 0\n"
    assert not (checkout / "results").exists()


def test_without_torch_the_module_says_what_to_install(checkout: Path) -> None:
    """The message names the extra; a traceback would not."""
    script = (
        "import sys; sys.modules['torch'] = None; from lockstep.faces.train_pytorch import main; sys.exit(main([]))"
    )
    done = python("-c", script, cwd=checkout, fresh=True)
    assert done.returncode == 4, done.stderr
    assert "[ml]'" in done.stderr


def test_both_names_of_a_checkout_can_be_imported(checkout: Path) -> None:
    """Decision D1."""
    script = """
from src.train import train
from src.train_pytorch import CheckpointManager, set_seeds, setup_logging, train_pytorch_model
import lockstep.learning.keras_trainer as keras, lockstep.learning.supervised.pytorch_trainer as torch
print(train is keras.train, train_pytorch_model is torch.train_pytorch_model)
"""
    assert python("-c", script, cwd=checkout, fresh=True).stdout == "True True\n"


def test_the_wheel_leaves_the_names_of_the_checkout_out() -> None:
    """Decision D1: the wheel takes src/lockstep and nothing else of src; src is no package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/lockstep"]}
    assert not (ROOT / "src" / "__init__.py").exists()
    assert {path.name for path in (ROOT / "src").glob("*.py")} == {"train.py", "train_pytorch.py"}


def test_a_classifier_is_trained_verified_and_taken_elsewhere_from_the_command_line(user: User, tmp_path: Path) -> None:
    """Issue B: kind = "classifier" runs on the common loop, so verify, export and import work on it."""
    (user.folder / "c.toml").write_text(SPEC)
    done = user("train", "c.toml")
    assert "kind" in done.out
    assert "majority class" in done.out
    assert "accuracy" in done.out
    first = user("runs", "show", "last", "--json").json
    assert first["status"] == "complete"
    assert first["seed"] == 0
    assert user("verify", "last", "--json").json["outcome"] == "equal"
    again = user("train", "c.toml", "--json").json
    other = user("train", "c.toml", "--seed", "1", "--json").json
    assert again["journal_hash"] == first["journal_hash"] != other["journal_hash"]
    assert again["alarm"] is None
    user("runs", "export", first["run_id"], "run.tar")
    elsewhere = User(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    elsewhere("runs", "import", str(user.folder / "run.tar"))
    assert elsewhere("verify", first["run_id"], "--run-imported-code", "--json").json["outcome"] == "equal"


@pytest.fixture
def user(tmp_path: Path) -> User:
    folder = tmp_path / "user"
    folder.mkdir()
    return User(folder)


@pytest.mark.parametrize("name", ["classifier", "classifier-keras"])
def test_killed_again_and_again_a_run_ends_as_if_never_interrupted(tmp_path: Path, name: str) -> None:
    """Issue B: kill -9 at random instants, inside epochs, and resume: equal journals and files."""
    if name == "classifier-keras" and importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")

    def start(path: Path) -> Process:
        return User(path.parent).python("-c", CHILD, str(path), name)

    def folder(path: Path) -> RunFolder:
        path.parent.mkdir()
        return new_folder(path, 1)

    whole, pieces = folder(tmp_path / "whole" / "run"), folder(tmp_path / "pieces" / "run")
    child = start(whole.path)
    _, err = child.communicate()
    assert child.returncode == 0, err
    chance = random.Random(5)
    firsts = []
    for _ in range(2):
        child = start(pieces.path)
        assert child.stdout is not None
        firsts.append(int(child.stdout.readline().split()[1]))
        time.sleep(0.1 + 0.3 * chance.random())
        child.kill()
        child.communicate()
        assert pieces.status() in (RunStatus.INTERRUPTED, RunStatus.COMPLETE)
    child = start(pieces.path)
    text: Any = child.communicate()[0]
    assert child.returncode == 0
    firsts.append(int(text.split()[1]))
    assert firsts[-1] > 0, "a checkpoint was written before a kill, and the run went on from it"
    assert hashed_files(pieces) == hashed_files(whole)
    assert check(pieces.path).ok


def test_the_example_is_a_spec_that_trains(user: User) -> None:
    done = user("train", str(ROOT / "examples" / "classifier.toml"), "--set", "training.epochs=1", "--json")
    assert done.json["summary"]["samples"] == {"classes": 6, "training": 432, "validation": 48, "test": 120}


BIG = """
from torch import nn

class Big(nn.Module):
    def __init__(self, features, classes, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width))
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.body(x))
"""


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('level = "norms"', {"steps": 15, "disk": 3 * 16 + 12}),
        ('level = "full"', {"steps": 1, "disk": 3 * 16 + 12 + 12 + 4}),
        ('select = ["head.*"]\nevery = 5', {"steps": 15, "disk": 3 * 16 + 12 + 12}),
    ],
)
def test_a_billion_parameters_are_estimated_in_little_memory_and_without_a_run(
    tmp_path: Path, table: str, expected: dict[str, int]
) -> None:
    """31,700 squared are 1.005e9 weights of 4 bytes; Adam keeps two moments of each.

    Disk in GB: checkpoints of 12 and the best weights' 4, three of them as nobody can say how long it takes; three
    files of weights, 12. At level full a start of 12 too, and gradients of 4 until max_bytes (20) is met. Memory: 24
    for weights, gradient, moments and two copies for the norms, more while a checkpoint is written.
    """
    import numpy as np

    np.savez(tmp_path / "x.npz", x=np.zeros((30, 4), np.float32), labels=np.arange(30) % 3)
    (tmp_path / "big.py").write_text(BIG)
    data = '[data]\nsource = "file"\npath = "x.npz"\n[training]\nepochs = 5\nbatch_size = 8\n'
    network = '[network]\nname = "big.py:Big"\nparameters = { width = 31700 }\n'
    (tmp_path / "big.toml").write_text(f'kind = "classifier"\n{data}{network}[recording]\n{table}\n')
    # What the kernel says to a parent (ru_maxrss) would count the parent's own pages as well.
    script = """
import sys
from lockstep.cli.main import main
from lockstep.kinds.shared.step_timing import peak_bytes
from lockstep.runs.store import FolderRunStore
try:
    main(sys.argv[1:])
finally:
    print(peak_bytes(), file=sys.stderr)
"""
    done = python("-c", script, "train", "big.toml", "--estimate", "--json", cwd=tmp_path, fresh=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert int(done.stderr.split()[-1]) < 1e9, "the weights alone would be 4e9 bytes"
    assert told["steps"] == expected["steps"]
    assert told["disk_bytes"] == pytest.approx(expected["disk"] * 1.005e9, rel=0.02)
    assert told["memory_bytes"] > 6 * 4e9
    assert any(note.startswith("1,005,") and "trained parameters" in note for note in told["notes"])
    assert not list((tmp_path / "lockstep-home").glob("runs/*"))


def test_samples_and_a_network_in_memory_are_trained_on_and_need_no_script_afterwards(tmp_path: Path) -> None:
    """`ls.train(samples=..., network=...)`; the run resumes and verifies from what it pinned."""
    (tmp_path / "nets.py").write_text(BIG)
    script = """
import numpy as np, lockstep as ls
from nets import Big
labels = np.arange(40) % 2
x = np.random.default_rng(1).normal(size=(40, 4)) + labels[:, None]
spec = {"kind": "classifier", "network": {"parameters": {"width": 5}}, "training": {"epochs": 2}}
result = ls.train(spec, samples=(x, labels), network=Big, tag="mine")
assert result.spec["network"]["name"] == "nets.py:Big", result.spec
print(result.status, result.summary["samples"])
try:
    ls.train(spec, samples=(x, labels[:-1]), network=Big)
except ls.LockstepError as error:
    print(error)
"""
    done = python("-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "complete {'classes': 2, 'test': 8, 'training': 32, 'validation': 0}"
    assert second.startswith("input 'input' is float32 with a row per sample, (39, ...); found float32 (40, 4)")
    (tmp_path / "nets.py").unlink()
    assert python("-m", "lockstep", "verify", "mine", cwd=tmp_path).returncode == 0
