"""`kind = "cnn"` at the command line: train, read, verify elsewhere, kill, resume, be refused."""

from __future__ import annotations

import os
import random
import re
import signal
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from tests.acceptance.user import ROOT, User

from lockstep.validation.verdict import Verdict

EXAMPLE = ROOT / "examples" / "cnn.toml"
# Long enough to be killed in the middle: 26 steps in each of 14 epochs.
SMALL = (
    *("--set", "data.last=1000", "--set", "features.window=16", "--set", "recording.snapshot_every=5"),
    *("--set", "network.parameters={filters=[4,4,4],hidden=8}"),
    *("--set", "training.epochs=14", "--set", "training.batch_size=24"),
)
NET = """
from torch import nn


class Linear(nn.Module):
    def __init__(self, channels, window, classes):
        super().__init__()
        self.body = nn.Linear(channels * window, classes + 2)

    def forward(self, x):
        out = self.body(x.flatten(1))
        return out[:, :-2], out[:, -2], out[:, -1]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> User:
    user = User(tmp_path_factory.mktemp("cnn"))
    user("train", str(EXAMPLE), *SMALL, "--tag", "first", "--json")
    return user


def test_the_report_stands_beside_its_baselines_and_claims_what_it_says(trained: User) -> None:
    shown = trained("runs", "show", "first")
    for words in ("logistic regression", "majority class", "known side", "Calibration: temperature", "test samples"):
        assert words in shown.out, str(shown)
    summary = trained("runs", "show", "first", "--json").json["summary"]
    beats = {name: item["beats"] for name, item in summary["advantage"].items()}
    assert beats == {name: (item["low"] or 0.0) > 0.0 for name, item in summary["advantage"].items()}
    verdict = trained("runs", "show", "first", "--json").json["verdict"]
    judgement = Verdict.of_summary(summary)
    assert judgement is not None
    assert verdict == judgement.to_json()
    words = ": ".join(filter(None, [verdict["decision"], verdict["sentence"]]))
    assert " ".join(words.split()).lower() in " ".join(shown.out.split()).lower()


def test_it_travels_and_verifies_in_another_home(trained: User, tmp_path: Path) -> None:
    """R9.51: in a fresh process, from nothing but what an export holds."""
    trained("runs", "export", "first", str(tmp_path / "run.lockstep"))
    elsewhere = User(tmp_path)
    elsewhere("runs", "import", "run.lockstep")
    assert "equal" in elsewhere("verify", "last").out


def test_killed_at_a_random_step_and_resumed_it_is_a_run_never_interrupted(trained: User, tmp_path: Path) -> None:
    (whole,) = trained.runs()
    steps = random.SystemRandom().randrange(250)
    print(f"killed after step {steps}")
    user = User(tmp_path)
    process = user.start("train", str(EXAMPLE), *SMALL)
    folder = user.wait_for_steps(process, steps=steps)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    user("resume", "last")
    names = ["journal.jsonl", *(f"artifacts/{path.name}" for path in (whole / "artifacts").iterdir())]
    assert {name: (folder / name).read_bytes() for name in names} == {n: (whole / n).read_bytes() for n in names}


def test_a_users_network_travels_with_the_run(tmp_path: Path) -> None:
    """R9.41: named in the spec, kept in code/, verified when the user's own file is gone."""
    user = User(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    network = ("--set", f"network.name={tmp_path / 'net.py'}:Linear", "--set", "network.parameters={}")
    folder = Path(user("train", str(EXAMPLE), *SMALL, *network, "--set", "training.epochs=2", "--json").json["folder"])
    (tmp_path / "net.py").unlink()
    assert (folder / "code" / "net.py").read_text() == NET
    user("verify", "last")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("labels.task=oracle", "labels.task"),
        ("features.channels=['prophecy']", "channels are different names out of"),
        ("network.name=lenet", "no network is called that; built in: pattern-cnn"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_rule_and_the_cure(user: User, key: str, message: str) -> None:
    answer = user("train", str(EXAMPLE), "--set", key, code=2)
    assert re.search(message, answer.err), str(answer)
    assert not user.runs()
