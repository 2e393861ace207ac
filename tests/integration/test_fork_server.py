"""A command in a fork of the server is the command in a new interpreter: what it reads, records and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import fork_server
from tests.acceptance.user import EXAMPLE, OPTIONS, ROOT, SMALL, User
from tests.fork_server import Process

from lockstep.runs.folder import RunFolder
from lockstep.testing.contracts.training_kind import hashed_files

Start = Callable[..., Process]


def start(code: str, folder: Path, *arguments: str, how: Start = fork_server.start, **options: Any) -> Process:
    return how(OPTIONS, ("-c", code, *arguments), cwd=folder, env=User(folder).environment(), **options)


def answer(process: Process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=100)
    return process.wait(), out, err


def both(code: str, folder: Path, *arguments: str) -> tuple[int, str, str]:
    """How `code` ends and what it says, which is the same in a fork and in a new interpreter."""
    forked = answer(start(code, folder, *arguments))
    assert forked == answer(start(code, folder, *arguments, how=fork_server.new_interpreter))
    return forked


SURROUNDINGS = """
import atexit, gc, os, signal, sys, threading, warnings
for name in ("CUBLAS_WORKSPACE_CONFIG", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR"):
    os.environ.pop(name, None)  # which libraries set while they load
print(sys.argv, sys.orig_argv[1:3], sys.path, sys.flags, sys.warnoptions, os.getcwd(), sorted(os.environ.items()))
print(sorted(globals()), __name__, sys.modules["__main__"].__dict__ is globals(), "tests" in sys.modules)
print([(name, signal.getsignal(name)) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)])
streams = (sys.stdin, sys.stdout, sys.stderr)
print([(file.encoding, file.errors, file.line_buffering, file.isatty(), file.fileno()) for file in streams])
print(sys.stdin.read(), sorted(os.listdir("/proc/self/fd")), threading.active_count(), os.umask(0o22), gc.isenabled())
atexit.register(print, "at exit")
print("an error", file=sys.stderr)
sys.exit(3)
"""


def test_a_command_finds_the_surroundings_of_a_new_interpreter(tmp_path: Path) -> None:
    code, out, err = both(SURROUNDINGS, tmp_path, "an argument", "-v")
    assert (code, err) == (3, "an error\n")
    assert out.startswith("['-c', 'an argument', '-v'] ")
    assert out.endswith("at exit\n")


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("pass", 0),
        ("sys.exit()", 0),
        ("sys.exit(258)", 2),
        ("os._exit(5)", 5),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL),
        ("os.kill(os.getpid(), 15)", -signal.SIGTERM),
        ("sys.exit('a reason')", 1),
        ("sys.stdout = open('/dev/full', 'w'); print('more than there is room for')", 120),
    ],
)
def test_a_command_ends_as_in_a_new_interpreter(tmp_path: Path, ending: str, code: int) -> None:
    assert both(f"import os, sys\n{ending}", tmp_path)[0] == code


def test_an_error_and_ctrl_c_end_as_in_a_new_interpreter(tmp_path: Path) -> None:
    """Exit code 1 and SIGINT's own end; the traceback has the server's frames too."""
    for ending, code in (("1 / 0", 1), ("raise KeyboardInterrupt", -signal.SIGINT)):
        ends = [answer(start(ending, tmp_path, how=how)) for how in (fork_server.start, fork_server.new_interpreter)]
        assert [end[:2] for end in ends] == [(code, "")] * 2
        assert ends[0][2].splitlines()[-1] == ends[1][2].splitlines()[-1]


def test_a_command_of_its_own_session_is_signalled_alone_and_others_go_on(tmp_path: Path) -> None:
    wait = "import sys, time; print('ready', flush=True); time.sleep(100)"
    one, two = (start(wait, tmp_path, own_session=True) for _ in range(2))
    for process in (one, two):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid
    os.killpg(one.pid, signal.SIGTERM)
    assert answer(one)[0] == -signal.SIGTERM
    assert two.poll() is None
    two.kill()
    assert answer(two) == (-signal.SIGKILL, "", "")
    with pytest.raises(ProcessLookupError):
        os.kill(two.pid, 0)


def test_a_wait_that_is_too_short_says_so_and_the_command_goes_on(tmp_path: Path) -> None:
    process = start("import sys, time; time.sleep(100)", tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=0.01)
    process.kill()
    assert answer(process) == (-signal.SIGKILL, "", "")


def test_where_there_are_enough_servers_other_variables_have_a_new_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read while Python starts is in force: here the hash seed."""
    monkeypatch.setattr(fork_server, "MOST_SERVERS", len(fork_server._servers))
    env = {**User(tmp_path).environment(), "PYTHONHASHSEED": "0"}
    process = fork_server.start(
        OPTIONS, ("-c", "import sys; print(sys.flags.hash_randomization)"), cwd=tmp_path, env=env
    )
    assert isinstance(process, subprocess.Popen)
    assert answer(process)[1] == "0\n"


SPECS: dict[str, list[str]] = {
    "strategy": [str(EXAMPLE), *SMALL],
    "cnn": [
        *(str(ROOT / "examples" / "cnn.toml"), "--set", "data.last=400", "--set", "training.epochs=1"),
        *("--set", "network.parameters={filters=[4,4,4],hidden=8}", "--set", "features.window=16"),
    ],
}


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_a_training_leaves_the_same_record(kind: str, tmp_path: Path) -> None:
    """Code, numerics, journal, segments and artifacts: what the server has loaded is in none of them."""
    if kind == "cnn":
        pytest.importorskip("torch")
        pytest.importorskip("sklearn")
    folders = []
    for fresh in (False, True):
        user = User(tmp_path / str(fresh), fresh=fresh)
        user.folder.mkdir()
        folders.append(RunFolder(Path(user("train", *SPECS[kind], "--json").json["folder"])))
    forked, begun = folders
    for name in ("spec", "data", "code", "numerics"):
        assert forked.read(name) == begun.read(name)
    assert hashed_files(forked) == hashed_files(begun)
    assert json.loads((forked.path / "environment.json").read_text()).keys()
