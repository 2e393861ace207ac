"""The contract of `runs.executor.Executor`, as tests that each adapter subclasses.

    class TestMine(ExecutorContract):
        def make(self) -> Executor:
            return MyExecutor()

An adapter whose `worker_processes` is true is also shot at. pytest is needed to run it, but not to import it.
"""

# ruff: noqa: S101, D102, PT017 - these are tests: their names are sentences, and they need no pytest

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lockstep.core.errors import DataError, WorkerLostError
from lockstep.runs.executor import RETRIES, Executor


@dataclass
class Square:
    """item -> item * item, slower for smaller items, so that they finish out of order."""

    key: str = "square"
    slowest: float = 0.0

    def __call__(self, item: int) -> int:
        """`item` squared, after a wait."""
        time.sleep(self.slowest / (1 + item))
        return item * item


@dataclass
class Failing:
    """Raises for the items in `bad`, later ones sooner."""

    bad: tuple[int, ...]
    error: str = "data"
    key: str = "failing"

    def __call__(self, item: int) -> int:
        """`item`, or an error for an item in `bad`."""
        if item in self.bad:
            time.sleep(0.3 / (1 + item))
            if self.error == "odd":
                raise OddError(item, "second")
            raise DataError(f"row {item}: not a number; mend it")
        return item


class OddError(Exception):
    """An exception that cannot be rebuilt from its arguments, as many libraries have."""

    def __init__(self, item: int, more: str) -> None:
        super().__init__(f"odd {item}")
        self.more = more


@dataclass
class SetUpOnce:
    """Counts set-ups in a file per process; `key` decides whether two instances are one."""

    folder: Path
    key: str = "set-up"
    _ready: bool = field(default=False, init=False)

    def __getstate__(self) -> dict[str, Any]:
        """The state without what set-up stored: each process has to set up anew."""
        return {**self.__dict__, "_ready": False}

    def __call__(self, item: int) -> int:
        """`item`, setting up at the first call in this process."""
        if not self._ready:
            with (self.folder / f"{self.key}-{os.getpid()}").open("a") as handle:
                handle.write("x")
            self._ready = True
        return item


@dataclass
class DieOnce:
    """Kills its process at the items in `deadly`, `times` times each; a file per item counts."""

    folder: Path
    deadly: tuple[int, ...]
    times: int
    how: str = "kill"
    key: str = "deadly"

    def __call__(self, item: int) -> int:
        """The item doubled, if it lives."""
        if item in self.deadly:
            count = self.folder / str(item)
            died = len(count.read_bytes()) if count.exists() else 0
            if died < self.times:
                with count.open("ab") as handle:
                    handle.write(b"x")
                self._die()
        return 2 * item

    def _die(self) -> NoReturn:
        if self.how == "exit":
            os._exit(1)
        os.kill(os.getpid(), signal.SIGKILL if self.how == "kill" else signal.SIGSEGV)
        raise RuntimeError("still alive")


@dataclass
class Threads:
    """item -> number of threads of each native pool, and the numerics identity's hash."""

    key: str = "threads"

    def __call__(self, item: int) -> tuple[list[int], str]:
        """What this process computes with."""
        import numpy as np
        import threadpoolctl  # type: ignore[import-untyped]

        from lockstep.runs.numerics import NumericsIdentity

        np.ones((4, 4)) @ np.ones((4, 4))
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()], NumericsIdentity.collect().hash()


@dataclass
class Numbers:
    """item -> hash of a computation with random numbers, BLAS and a sum."""

    key: str = "numbers"

    def __call__(self, item: int) -> str:
        """Hash of the numbers, so that one changed bit shows."""
        from lockstep.runs.seeds import SeedTree

        matrix = SeedTree(42).child("item", item).generator().normal(size=(120, 120))
        return hashlib.sha256((matrix @ matrix.T).tobytes() + matrix.sum().tobytes()).hexdigest()


class ExecutorContract:
    """Every test opens its own executor by `make`."""

    worker_processes = False

    def make(self) -> Executor:
        """A new executor, which the test closes."""
        raise NotImplementedError

    def test_results_come_in_item_order_whatever_finished_first(self) -> None:
        with self.make() as executor:
            assert executor.map(Square(slowest=0.2), range(20)) == [item * item for item in range(20)]

    def test_no_items_give_no_results(self) -> None:
        with self.make() as executor:
            assert executor.map(Square(), []) == []

    def test_an_executor_is_used_again_and_again(self) -> None:
        with self.make() as executor:
            for count in (1, 3, 2):
                assert executor.map(Square(), range(count)) == [item * item for item in range(count)]

    def test_closing_twice_does_nothing(self) -> None:
        executor = self.make()
        assert executor.map(Square(), [3]) == [9]
        executor.close()
        executor.close()

    def test_workers_is_a_positive_number(self) -> None:
        with self.make() as executor:
            assert executor.workers >= 1

    def test_a_tasks_error_is_raised_with_its_own_type_and_message(self) -> None:
        with self.make() as executor:
            _raises(DataError, "row 3: not a number; mend it", lambda: executor.map(Failing(bad=(3,)), range(6)))
            assert executor.map(Square(), range(3)) == [0, 1, 4]

    def test_of_several_errors_the_first_items_is_raised(self) -> None:
        # Items 2, 5 and 6 fail, and item 2 takes the longest to do so.
        with self.make() as executor:
            _raises(DataError, "row 2:", lambda: executor.map(Failing(bad=(6, 2, 5)), range(8)))

    def test_an_error_that_cannot_travel_still_tells_its_type_and_message(self) -> None:
        with self.make() as executor:
            _raises(Exception, "odd 1", lambda: executor.map(Failing(bad=(1,), error="odd"), range(3)))

    def test_set_up_happens_once_per_process_and_key(self, tmp_path: Path) -> None:
        with self.make() as executor:
            task = SetUpOnce(tmp_path)
            for _ in range(3):
                executor.map(task, range(10))
            done = [len(file.read_bytes()) for file in tmp_path.iterdir()]
        assert 1 <= len(done) <= executor.workers
        assert set(done) == {1}

    def test_tasks_with_other_keys_are_told_apart(self) -> None:
        with self.make() as executor:
            assert executor.map(Square(key="a"), range(3)) == [0, 1, 4]
            assert executor.map(DieOnce(Path(), (), 0, key="b"), range(3)) == [0, 2, 4]
            assert executor.map(Square(key="a"), range(3)) == [0, 1, 4]

    def test_native_pools_use_one_thread_and_numerics_are_the_parents(self) -> None:
        from lockstep.runs.numerics import NumericsIdentity

        with self.make() as executor:
            for threads, numerics in executor.map(Threads(), range(4)):
                assert set(threads) == {1}
                assert numerics == NumericsIdentity.collect().hash()

    def test_numbers_are_those_of_a_plain_loop_bit_for_bit(self) -> None:
        from lockstep.runs.numerics import pinned_threads

        with pinned_threads():
            expected = [Numbers()(item) for item in range(6)]
        with self.make() as executor:
            assert executor.map(Numbers(), range(6)) == expected

    def test_a_lost_worker_costs_no_result(self, tmp_path: Path) -> None:
        if not self.worker_processes:
            return
        for how in ("kill", "exit", "segv"):
            folder = tmp_path / how
            folder.mkdir()
            with self.make() as executor:
                task = DieOnce(folder, deadly=(3, 7), times=1, how=how)
                assert executor.map(task, range(12)) == [2 * item for item in range(12)]
            assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"3": b"x", "7": b"x"}

    def test_an_item_that_kills_every_worker_is_named_and_no_other(self, tmp_path: Path) -> None:
        if not self.worker_processes:
            return
        with self.make() as executor:
            task = DieOnce(tmp_path, deadly=(4,), times=99)
            _raises(
                WorkerLostError,
                f"died {RETRIES + 1} times while doing item 4 of 9",
                lambda: executor.map(task, range(9)),
            )
            assert len((tmp_path / "4").read_bytes()) == RETRIES + 1
            assert executor.map(Square(), range(5)) == [0, 1, 4, 9, 16]


def _raises(kind: type[Exception], text: str, call: Callable[[], object]) -> None:
    try:
        call()
    except kind as error:
        assert text in str(error), f"expected {text!r} in {error}"
        return
    raise AssertionError(f"nothing was raised; expected {kind.__name__}")
