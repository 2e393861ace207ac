"""A user at the command line: `python -m lockstep` in a folder of their own, seen only through text and exit codes.

Commands run in forks of a process that has loaded the libraries (`tests.fork_server`), because loading takes longer
than most of them. A user with `fresh=True` has a new interpreter for each, as everybody has outside of tests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import fork_server
from tests.fork_server import Process

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


OPTIONS = ("-W", "error")


class User:
    """Runs commands in `folder`; the home is `folder`/lockstep-home unless a command says otherwise."""

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        self.folder = folder
        self.home = folder / "lockstep-home"
        self.fresh = fresh

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {**fork_server.ENVIRONMENT, "NO_COLOR": "1", **(more or {})}

    def __call__(self, *command: str, code: int | None = 0, env: Mapping[str, str] | None = None) -> Answer:
        """Run a command to its end and check its exit code (None: any)."""
        process = self.start(*command, env=env, own_session=False)
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        except BaseException:
            process.kill()
            process.wait()
            raise
        answer = Answer(command, process.wait(), out, err)
        assert code is None or answer.code == code, str(answer)
        assert "Traceback" not in answer.err, str(answer)
        return answer

    def start(self, *command: str, env: Mapping[str, str] | None = None, own_session: bool = True) -> Process:
        """Start a command and return while it runs, alone in its process group as under a shell."""
        return self.python("-m", "lockstep", *command, env=env, own_session=own_session)

    def python(self, *words: str, env: Mapping[str, str] | None = None, own_session: bool = False) -> Process:
        """Start `python WORDS` in the folder, in a new interpreter where libraries may read `env` while they load."""
        launch = fork_server.new_interpreter if self.fresh or set(env or ()) - fork_server.FREE else fork_server.start
        return launch(OPTIONS, words, cwd=self.folder, env=self.environment(env), own_session=own_session)

    def runs(self) -> list[Path]:
        """Folders of this home's runs."""
        folder = self.home / "runs"
        return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def wait_for_steps(self, process: Process, steps: int) -> Path:
        """The folder of the only run, once its journal holds `steps` steps."""

        def far_enough() -> bool:
            journals = [path / "journal.jsonl" for path in self.runs()]
            return any(path.exists() and path.read_bytes().count(b"\n") > steps for path in journals)

        wait_until(far_enough, process)
        (folder,) = self.runs()
        return folder


def wait_until(happened: Callable[[], bool], process: Process) -> None:
    """Wait for something that a running command does; fail with its words when it ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        if process.poll() is not None:
            out, err = process.communicate()
            raise AssertionError(f"ended too early with {process.returncode}\n{out}\n{err}")
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
