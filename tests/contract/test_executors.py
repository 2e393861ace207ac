"""Every executor keeps the one contract."""

from lockstep.clusters.in_process import InProcessExecutor
from lockstep.clusters.loky import LokyExecutor
from lockstep.testing.contracts.executor import ExecutorContract


class TestInProcess(ExecutorContract):
    def make(self):
        return InProcessExecutor()


class TestLoky(ExecutorContract):
    worker_processes = True

    def make(self):
        return LokyExecutor(2)
