"""Worker processes: they die with their parent, ignore Ctrl-C, are shot, and stay as small as they were."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from lockstep.clusters.loky import LokyExecutor
from lockstep.core.errors import DataError
from lockstep.runs.numerics import environment
from lockstep.testing.contracts.executor import DieOnce, Failing, Square

PARENT = """
import sys, time
from lockstep.clusters.loky import LokyExecutor
from lockstep.testing.contracts.executor import Square

class Pids(Square):
    pass

if __name__ == "__main__":
    executor = LokyExecutor(2)
    executor.map(Square(), range(4))
    print(*executor._pool._processes, flush=True)
    try:
        executor.map(Square(slowest=60.0, key="slow"), [0, 0])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(7)
"""


@pytest.fixture
def parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True)
    yield process
    if process.poll() is None:
        process.kill()
    process.wait()
    process.stdout.close()


def gone_within(pids, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alive = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
        if not alive:
            return True
        time.sleep(0.05)
    return False


def test_workers_die_with_their_parent_even_in_the_middle_of_an_item(parent):
    """Reliability J7: kill -9 the parent; no worker is left."""
    pids = [int(text) for text in parent.stdout.readline().split()]
    assert len(pids) == 2
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    assert gone_within(pids, 5)


def test_ctrl_c_reaches_the_parent_which_ends_its_workers(parent):
    pids = [int(text) for text in parent.stdout.readline().split()]
    time.sleep(0.3)
    # A terminal sends Ctrl-C to the whole group; the workers ignore it.
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.stdout.readline() == "interrupted\n"
    assert parent.wait(timeout=20) == 7
    assert gone_within(pids, 5)


def test_workers_survive_ctrl_c_and_finish_their_items():
    with LokyExecutor(2) as executor:
        executor.map(Square(), range(2))
        for pid in executor._pool._processes:
            os.kill(pid, signal.SIGINT)
        assert executor.map(Square(), range(6)) == [0, 1, 4, 9, 16, 25]


def test_a_worker_shot_from_outside_costs_no_result():
    with LokyExecutor(2) as executor:
        executor.map(Square(), range(2))
        victim = next(iter(executor._pool._processes))
        timer = threading.Timer(0.3, os.kill, (victim, signal.SIGKILL))
        timer.start()
        assert executor.map(Square(slowest=0.5), [0, 1, 2, 3, 0, 1, 2, 3]) == [0, 1, 4, 9, 0, 1, 4, 9]
        timer.join()


@pytest.mark.parametrize("victims", [1, 2])
def test_a_worker_shot_while_idle_keeps_nobody_waiting(victims):
    """It holds the lock of the queue it listens to; asking the others to end would wait for it for ever."""
    script = (
        "import os, signal, time\n"
        "from lockstep.clusters.loky import LokyExecutor\n"
        "from lockstep.testing.contracts.executor import Square\n"
        "for wait in (0.0, 0.02, 0.1):\n"
        "    with LokyExecutor(2) as executor:\n"
        "        executor.map(Square(), range(2))\n"
        "        time.sleep(0.05)\n"
        f"        for victim in list(executor._pool._processes)[:{victims}]: os.kill(victim, signal.SIGKILL)\n"
        "        time.sleep(wait)\n"
        "        if wait: assert executor.map(Square(), range(4)) == [0, 1, 4, 9]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=100)


def test_workers_of_a_portable_parent_are_portable():
    code = (
        "from lockstep.clusters.loky import LokyExecutor\n"
        "from lockstep.testing.contracts.executor import Threads\n"
        "from lockstep.runs.numerics import NumericsIdentity\n"
        "with LokyExecutor(1) as executor:\n"
        "    [(threads, numerics)] = executor.map(Threads(), [0])\n"
        "here = NumericsIdentity.collect()\n"
        "print(here.body()['numba.target'], numerics == here.hash(), set(threads))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment("portable"), capture_output=True, text=True)
    assert done.stdout == "x86-64-v3 True {1}\n", done.stderr


def test_a_failing_item_is_reported_although_a_later_one_keeps_killing_workers(tmp_path):
    class Both:
        key = "both"

        def __call__(self, item):
            return DieOnce(tmp_path, deadly=(5,), times=1)(Failing(bad=(2,))(item))

    with LokyExecutor(2) as executor, pytest.raises(DataError, match="row 2"):
        executor.map(Both(), range(8))


def test_many_items_keep_memory_flat():
    with LokyExecutor(1) as executor:
        executor.map(Square(), range(50))
        worker = psutil.Process(next(iter(executor._pool._processes)))
        before = worker.memory_info().rss
        for key in range(40):
            executor.map(Heavy(str(key)), range(5))
        grown = worker.memory_info().rss - before
    # 40 tasks of 8 MB each set up; at most 4 are kept, one is being replaced.
    assert grown < 8 * 8e6


class Heavy:
    def __init__(self, key):
        self.key = key
        self._data = None

    def __call__(self, item):
        import numpy as np

        if self._data is None:
            self._data = np.ones(1_000_000)
        return item

    def __getstate__(self):
        return {"key": self.key, "_data": None}
