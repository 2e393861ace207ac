"""Worker processes of this machine, by joblib's loky: started afresh (never forked), replaced when they die.

loky ends a whole call when one worker dies (joblib#1249). Here the items that were in flight are computed again, each
alone, so that the item that kills its worker is told from those that only ran beside it.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from lockstep.clusters import worker
from lockstep.core.errors import InputError, WorkerLostError
from lockstep.runs.executor import RETRIES, ItemT, ResultT, Task
from lockstep.runs.numerics import MODE_VARIABLE, SAFE_PATH_VARIABLE, NumericsIdentity, environment

if TYPE_CHECKING:
    from concurrent.futures import Future


class LokyExecutor:
    """`workers` processes. They start at the first `map` and end at `close`, or when this process ends, for any reason.

    numerics   entries that `NumericsIdentity.collect` has to return in every worker; None for those of this process

    The thread that calls `map` first has to live as long as the executor: the kernel ends workers with it.
    """

    def __init__(self, workers: int, *, numerics: Mapping[str, str] | None = None) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise InputError(f"workers is a whole number of at least 1; found {workers!r}. Use the number of cores.")
        self._workers = workers
        self._numerics = numerics
        self._pool: Any = None

    @property
    def workers(self) -> int:
        """Number of worker processes, at least 1."""
        return self._workers

    def map(self, task: Task[ItemT, ResultT], items: Sequence[ItemT]) -> list[ResultT]:
        """Results of `task` in item order; see `runs.executor.Executor`."""
        rounds = _Rounds(len(items))
        try:
            while rounds.open():
                self._round(task, items, rounds)
        except BaseException:
            # After Ctrl-C or an error nobody takes the results of what is still running.
            self._end()
            raise
        return rounds.results()

    def close(self) -> None:
        """Kill the workers. Closing twice does nothing; a later `map` starts new ones."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _round(self, task: Task[Any, Any], items: Sequence[Any], rounds: _Rounds) -> None:
        """Hand out items until none is left to hand out, or a worker was lost."""
        from concurrent.futures import FIRST_COMPLETED, wait

        from joblib.externals.loky import BrokenProcessPool

        flying: dict[Future[Any], int] = {}
        try:
            pool = self._started()
            while True:
                # Twice the workers: none waits for its next item, and few items are lost with a worker.
                while (index := rounds.take(limit=2 * self._workers)) is not None:
                    flying[pool.submit(worker.run, task, items[index])] = index
                if not flying:
                    return
                done, _ = wait(flying, return_when=FIRST_COMPLETED)
                # A broken pool fails all its futures at once; results that came before go first, and are not lost.
                for future in sorted(done, key=lambda future: future.exception() is not None):
                    result = future.result()
                    rounds.done(flying.pop(future), result)
        except BrokenProcessPool as error:
            self._end()
            rounds.lost(error)

    def _started(self) -> Any:
        if self._pool is None:
            from joblib.externals.loky import ProcessPoolExecutor

            if self._numerics is None:
                self._numerics = NumericsIdentity.collect().body()
            mode = "portable" if os.environ.get(MODE_VARIABLE) == "portable" else "native"
            # loky replaces a worker whose memory grew, and warns; candles that it maps look like growth.
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
            with _safe_path():
                self._pool = ProcessPoolExecutor(
                    max_workers=self._workers,
                    initializer=worker.start,
                    initargs=(os.getpid(), dict(self._numerics)),
                    env=environment(mode),
                )
        return self._pool

    def _end(self) -> None:
        """Kill the workers. Between two calls of `map`, and after a failed one, nobody needs their work.

        Asking them to end could block for ever: an idle worker holds the lock of its queue, and one that was killed at
        that moment never releases it.
        """
        if self._pool is not None:
            pool, self._pool = self._pool, None
            with warnings.catch_warnings():
                # loky warns of workers that end with work left; here that is meant.
                warnings.simplefilter("ignore")
                pool.shutdown(wait=True, kill_workers=True)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Within the block, a process that starts has no working folder on its path.

    loky's tracker of semaphores starts with the pool, by `python -c` and without the pool's variables.
    """
    before = os.environ.get(SAFE_PATH_VARIABLE)
    os.environ[SAFE_PATH_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH_VARIABLE]
        else:
            os.environ[SAFE_PATH_VARIABLE] = before


class _Rounds:
    """Which items are done, in flight, fresh, or suspected of killing their worker.

    A suspect flies alone: when its worker dies again, no other item can be to blame.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._results: dict[int, Any] = {}
        self._fresh = deque(range(count))
        self._flying: set[int] = set()
        self._suspects: deque[int] = deque()
        self._alone = False
        self._losses: dict[int, int] = {}
        self._failed: int | None = None

    def open(self) -> bool:
        """Whether items are left. Raises the failure of the first failing item once all items before it are done."""
        if self._failed is not None and not self._suspects:
            worker.raise_failure(self._results[self._failed], self._failed)
        return len(self._results) < self._count

    def take(self, *, limit: int) -> int | None:
        """The next item to hand out; None while there is none."""
        if self._alone or (self._suspects and self._flying):
            return None
        self._alone = bool(self._suspects)
        queue = self._suspects if self._alone else self._fresh
        if not queue or len(self._flying) >= limit or (self._failed is not None and not self._alone):
            return None
        index = queue.popleft()
        self._flying.add(index)
        return index

    def done(self, index: int, result: Any) -> None:
        """Store a result or a failure.

        Items go out in order, so all items before a failing one are done, in flight or suspects; none of them is fresh.
        """
        self._flying.remove(index)
        self._alone = False
        self._results[index] = result
        if isinstance(result, worker.TaskFailure) and (self._failed is None or index < self._failed):
            self._failed = index
        self._drop_needless_suspects()

    def lost(self, error: BaseException) -> None:
        """Record that a worker died, and suspect every item in flight. Raises WorkerLostError after the last retry."""
        indexes = sorted(self._flying)
        self._flying.clear()
        self._alone = False
        for index in indexes:
            self._losses[index] = self._losses.get(index, 0) + 1
        again = [index for index in indexes if self._losses[index] > RETRIES]
        if again:
            names = ", ".join(map(str, again))
            raise WorkerLostError(
                f"a worker process died {RETRIES + 1} times while doing item {names} of {self._count} (killed, crashed "
                f"or out of memory: {str(error).partition(chr(10))[0]}). Check the machine's memory and the code that "
                "this item runs, then resume."
            ) from error
        self._suspects = deque(sorted({*self._suspects, *indexes}))
        self._drop_needless_suspects()

    def _drop_needless_suspects(self) -> None:
        # Of several errors the first item's is raised, so what comes after a failing item decides nothing.
        if self._failed is not None:
            self._suspects = deque(index for index in self._suspects if index < self._failed)

    def results(self) -> list[Any]:
        """All results in item order."""
        return [self._results[index] for index in range(self._count)]
