"""Loops that take turns within one process, a few steps each, so that what disturbs the machine disturbs all alike.

    seconds = in_blocks({"bare": loop, "none": training}, steps=480)
    ratio(seconds["none"], seconds["bare"])

Each loop runs in a thread of its own and hands over after `BLOCK` of its steps, so one works at a time. A block has as
many steps as a run has between two writes (`runs.loop.HANDED_OVER`): what happens once in that many steps is in every
block, also in the fastest. Seconds are CPU seconds of the thread, system calls included.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

BLOCK: Final = 16
WARM: Final = 3
"""Blocks of each loop that are not counted: first calls load code and fill caches."""


class Baton:
    """Who may work now. `step` is called by a loop after each of its steps; it returns when the loop may go on."""

    def __init__(self, name: str, ring: _Ring, settle: Callable[[], None]) -> None:
        self._name, self._ring, self._settle = name, ring, settle
        self._left = BLOCK
        self._began = 0.0
        self.seconds: list[float] = []

    def step(self) -> None:
        """Count a step, and hand over after the last one of a block."""
        self._left -= 1
        if self._left == 0:
            self.seconds.append((time.thread_time() - self._began) / BLOCK)
            self._ring.pass_on(self._name)
            self._begin()

    def _begin(self) -> None:
        self._ring.wait_for(self._name)
        self._left = BLOCK
        self._settle()
        self._began = time.thread_time()


class _Ring:
    """Names in turn; a name that has left is passed over."""

    def __init__(self, names: list[str]) -> None:
        self._names, self._turn = names, names[0]
        self._changed = threading.Condition()
        self.errors: list[BaseException] = []

    def pass_on(self, name: str) -> None:
        with self._changed:
            self._turn = self._names[(self._names.index(name) + 1) % len(self._names)]
            self._changed.notify_all()

    def wait_for(self, name: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._turn == name)

    def leave(self, name: str) -> None:
        with self._changed:
            after = self._names[(self._names.index(name) + 1) % len(self._names)]
            if self._turn == name:
                self._turn = after
            self._names.remove(name)
            self._changed.notify_all()


class Loop(NamedTuple):
    """A loop in the comparison.

    run     does all steps and calls the baton after each
    settle  sets the switches of libraries that the loop expects, at the begin of each of its blocks; not timed
    """

    run: Callable[[Baton], None]
    settle: Callable[[], None] = lambda: None


def in_blocks(loops: Mapping[str, Loop]) -> dict[str, list[float]]:
    """CPU seconds of a step in each counted block, by loop: as many blocks of each as all have.

    Raises what a loop raises.
    """
    ring = _Ring(list(loops))
    batons = {name: Baton(name, ring, loop.settle) for name, loop in loops.items()}

    def work(name: str, loop: Loop) -> None:
        try:
            batons[name]._begin()
            loop.run(batons[name])
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            ring.errors.append(error)
        finally:
            ring.leave(name)

    gc.collect()
    threads = [threading.Thread(target=work, args=item, name=item[0]) for item in loops.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if ring.errors:
        raise ring.errors[0]
    blocks = min(len(baton.seconds) for baton in batons.values())
    return {name: baton.seconds[WARM:blocks] for name, baton in batons.items()}


class Ratio(NamedTuple):
    """How many times the seconds of another loop one takes: of the fastest blocks, and the median over all blocks."""

    least: float
    median: float

    def line(self, name: str, limit: str = "") -> str:
        """A line of the report."""
        return f"  {name:24s} median {self.median:6.3f}   minimum {self.least:6.3f}   {limit}".rstrip()


def ratio(one: list[float], other: list[float]) -> Ratio:
    """Block by block, since the machine changes between blocks more than within a turn."""
    return Ratio(min(one) / min(other), statistics.median(a / b for a, b in zip(one, other, strict=True)))
