"""One writer at a time: the lock of a folder, in the words of whoever takes it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lockstep.core.errors import DiskError, RefusedError
from lockstep.storage import lock
from lockstep.storage.lock import LOCK_FILE, Words, is_locked, locked
from lockstep.testing.faults import FailAt, faults

WORDS = Words("a shelf of jars", "Come back tomorrow.")
# Holds the folder until its standard input closes.
HOLDER = """
import sys
from pathlib import Path
from lockstep.storage.lock import Words, locked
with locked(Path(sys.argv[1]), Words("anything", "")):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_told_thing_place_holder_and_cure(tmp_path: Path) -> None:
    message = (
        f"one process at a time writes a shelf of jars; {tmp_path} is being written by process {os.getpid()} on "
        f"{socket.gethostname()}. Come back tomorrow."
    )
    with (
        locked(tmp_path, Words("another thing", "")),
        pytest.raises(RefusedError, match=re.escape(message)),
        locked(tmp_path, WORDS, patience_s=0.0),
    ):
        pass


def test_the_lock_is_free_after_the_block_and_after_an_error_in_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path, WORDS):
        raise KeyError
    for _ in range(2):
        with locked(tmp_path, WORDS, patience_s=0.0):
            assert is_locked(tmp_path)
        assert not is_locked(tmp_path)


def test_another_process_is_named_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(tmp_path)
        message = f"is being written by process {holder.pid} on"
        with pytest.raises(RefusedError, match=message), locked(tmp_path, WORDS, patience_s=0.0):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    assert not is_locked(tmp_path)
    with locked(tmp_path, WORDS, patience_s=0.0):
        text = (tmp_path / LOCK_FILE).read_text()
        assert text.startswith(f"process {os.getpid()} on {socket.gethostname()}")


def test_a_writer_waits_as_long_as_its_patience(tmp_path: Path) -> None:
    """The holder lets go after 0.1 s: 30 s of patience see that; 0.2 s of patience see a holder that stays."""
    held = threading.Event()

    def hold() -> None:
        with locked(tmp_path, Words("anything", "")):
            held.set()
            time.sleep(0.1)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    with locked(tmp_path, WORDS, patience_s=30.0):
        pass
    holder.join()
    begun = time.monotonic()
    with (
        locked(tmp_path, Words("anything", "")),
        pytest.raises(RefusedError),
        locked(tmp_path, WORDS, patience_s=0.2),
    ):
        pass
    assert time.monotonic() - begun >= 0.2


def test_asking_never_keeps_a_writer_out(tmp_path: Path) -> None:
    stopped, held = threading.Event(), 0
    answers: list[bool] = []

    def ask() -> None:
        while not stopped.is_set():
            answers.append(is_locked(tmp_path))

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(50):
            with locked(tmp_path, WORDS):
                held += 1
    finally:
        stopped.set()
        asker.join()
    assert held == 50
    assert answers


def test_a_folder_that_nobody_ever_locked_is_free(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_lock_that_cannot_be_written_is_a_disk_error_and_holds_nothing(tmp_path: Path, call: int) -> None:
    """Opening is the first call, emptying the second, writing the holder's name the third."""
    message = rf"cannot lock .*{LOCK_FILE}: Read-only file system\. .*choose another folder"
    with faults(FailAt(call, errno.EROFS)) as disk:
        with pytest.raises(DiskError, match=message), locked(tmp_path, WORDS):
            pass
        assert disk.struck
    assert not is_locked(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_disk_error(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(DiskError, match=r"cannot lock .*Permission denied\."), locked(tmp_path, WORDS):
            pass
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_file_system_that_does_not_honour_locks_is_noticed_before_the_second_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is given to both; the first shows that it lives by the time of its file."""
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, operation: None)
    monkeypatch.setattr(lock, "BEAT_S", 0.02)
    monkeypatch.setattr(lock, "_SETTLE_S", 0.0)
    with locked(tmp_path, WORDS):
        assert is_locked(tmp_path)
        before = (tmp_path / LOCK_FILE).read_bytes()
        with pytest.raises(RefusedError, match="does not honour locks"), locked(tmp_path, WORDS):
            pass
        assert (tmp_path / LOCK_FILE).read_bytes() == before
    with locked(tmp_path, WORDS):
        pass


@pytest.mark.parametrize(
    ("host", "boot"), [("another-machine", ""), (socket.gethostname(), ", started as 0123abcd")], ids=["host", "boot"]
)
def test_a_holder_on_another_machine_is_believed_while_it_shows_signs_of_life(
    host: str, boot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may honour locks on each machine and not between them; two machines may bear one name."""
    machine = host + boot
    monkeypatch.setattr(lock, "BEAT_S", 0.02)
    file = tmp_path / LOCK_FILE
    file.write_text(f"process 12 on {machine}\n")
    stopped = threading.Event()

    def live() -> None:
        while not stopped.wait(0.01):
            os.utime(file)

    holder = threading.Thread(target=live)
    holder.start()
    try:
        with pytest.raises(RefusedError, match=f"by process 12 on {host}"), locked(tmp_path, WORDS):
            pass
    finally:
        stopped.set()
        holder.join()
    with locked(tmp_path, WORDS):  # it died without a word
        assert file.read_text().startswith(f"process {os.getpid()} on ")


def test_a_holder_empties_the_file_when_it_lets_go(tmp_path: Path) -> None:
    with locked(tmp_path, WORDS):
        pass
    assert (tmp_path / LOCK_FILE).read_bytes() == b""


def test_a_folder_removed_while_a_writer_waited_is_not_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "shelf"
    folder.mkdir()
    with locked(folder, WORDS):
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR)
        shutil.rmtree(folder)
    try:
        with pytest.raises(DiskError, match="cannot lock"):
            lock._require_there(descriptor, folder / LOCK_FILE)
    finally:
        os.close(descriptor)
