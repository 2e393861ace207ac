"""A user at the command line: `python -m lockstep` in a folder of their own, seen only through text and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "liquidity_sweep.toml"
# Small enough for a test, large enough that trades happen and batches are several.
SMALL = (
    *("--set", "data.last=2000", "--set", "validation.holdout_bars=200", "--set", "search.min_trades=5"),
    *("--set", "search.n_iterations=96", "--set", "search.batch_size=32"),
)
# Long enough to be interrupted: many short steps.
LONG = (*SMALL, "--set", "search.n_iterations=16000", "--set", "search.batch_size=40")
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    command: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of stdout, which under --json is one JSON value."""
        return json.loads(self.out.splitlines()[-1])

    def __str__(self) -> str:
        return f"lockstep {' '.join(self.command)} -> {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class User:
    """Runs commands in `folder`; the home is `folder`/lockstep-home unless a command says otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "lockstep-home"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCKSTEP_", "PYTEST_"))}
        return {**kept, "NO_COLOR": "1", **(more or {})}

    def __call__(self, *command: str, code: int | None = 0, env: Mapping[str, str] | None = None) -> Answer:
        """Run a command to its end and check its exit code (None: any)."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "lockstep", *command],
            cwd=self.folder,
            env=self.environment(env),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        answer = Answer(command, done.returncode, done.stdout, done.stderr)
        assert code is None or answer.code == code, str(answer)
        assert "Traceback" not in answer.err, str(answer)
        return answer

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command and return while it runs, alone in its process group as under a shell."""
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "lockstep", *command],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def runs(self) -> list[Path]:
        """Folders of this home's runs."""
        folder = self.home / "runs"
        return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def wait_for_steps(self, process: subprocess.Popen[str], steps: int) -> Path:
        """The folder of the only run, once its journal holds `steps` steps."""

        def far_enough() -> bool:
            journals = [path / "journal.jsonl" for path in self.runs()]
            return any(path.exists() and path.read_bytes().count(b"\n") > steps for path in journals)

        wait_until(far_enough, process)
        (folder,) = self.runs()
        return folder


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that a running command does; fail with its words when it ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        if process.poll() is not None:
            out, err = process.communicate()
            raise AssertionError(f"ended too early with {process.returncode}\n{out}\n{err}")
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
