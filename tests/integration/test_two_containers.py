"""Two containers share one home: each has process ids, mounts and a host name of its own (`unshare`)."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.acceptance.user import OPTIONS, User

CONTAINER = ("unshare", "--pid", "--fork", "--uts", "--mount", "--mount-proc", "--kill-child")


def _is_permitted() -> bool:
    try:
        return subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not _is_permitted(), reason="needs unshare, and the right to make namespaces")

# Holds a folder for work under way until its input ends.
HOLDER = """
import sys
from pathlib import Path
from lockstep.storage import lock
lock.BEAT_S = 0.05
from lockstep.storage.claims import claimed
with claimed(Path(sys.argv[1]), ".new-") as folder:
    (folder / "work").write_text("half done")
    print(folder, flush=True)
    sys.stdin.read()
"""
# Clears what is abandoned, then asks for the folder itself.
OTHER = """
import os, sys
from pathlib import Path
from lockstep.core.errors import RefusedError
from lockstep.storage import lock
lock.BEAT_S = 0.05
from lockstep.storage.claims import clear_abandoned
folder = Path(sys.argv[1])
clear_abandoned(folder.parent, ".new-")
print(os.getpid(), (folder / "work").exists())
if folder.exists():
    try:
        with lock.locked(folder, lock.Words("it", ""), patience_s=0.0):
            print("written")
    except RefusedError as error:
        print(error)
"""


def in_container(host: str, *words: str) -> subprocess.Popen[str]:
    """Python in new namespaces, under a host name of its own."""
    return subprocess.Popen(
        [*CONTAINER, "sh", "-c", 'hostname "$1"; shift; exec "$@"', "sh", host, sys.executable, *OPTIONS, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_work_of_another_container_is_neither_cleared_nor_written_to_while_it_lives(tmp_path: Path) -> None:
    """Both are process 1: its number says nothing. When the holder is killed, its folder is cleared."""
    holder = in_container("one", "-c", HOLDER, str(tmp_path))
    try:
        assert holder.stdout is not None
        folder = holder.stdout.readline().strip()
        out, _ = in_container("two", "-c", OTHER, folder).communicate()
        lines = out.splitlines()
        assert lines[0] == "1 True"
        assert "is being written by process 1 on one." in lines[1]
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    out, _ = in_container("two", "-c", OTHER, folder).communicate()
    assert out.splitlines() == ["1 False"]


@pytest.mark.long
def test_two_containers_train_and_verify_in_one_home(tmp_path: Path) -> None:
    user = User(tmp_path)
    user("train", "--help")
    (tmp_path / "spec.toml").write_text(
        'kind = "strategy"\n'
        'data = { source = "sample", last = 800 }\n'
        'strategy = { name = "liquidity_sweep", space = { pierce_depth = [0.0001, 0.0002, 0.0005] } }\n'
        "costs = { fee_rate = 0.0, spread_pips = 0.8 }\n"
        "search = { n_iterations = 40, batch_size = 2, min_trades = 1 }\n"
    )
    home, spec = str(tmp_path / "home"), str(tmp_path / "spec.toml")
    command = ("-m", "lockstep", "--home", home)
    for words in (("train", spec), ("verify", "last")):
        both = [in_container(host, *command[:2], *words, *command[2:]) for host in ("one", "two")]
        for process in both:
            process.communicate(timeout=300)
            assert process.returncode == 0
    assert len(list((tmp_path / "home" / "runs").glob("2*"))) == 2
    assert not list((tmp_path / "home").rglob(".new-*")) + list((tmp_path / "home").glob(".verify-*"))
