"""Lines for a person who waits without any observer, as in a notebook: how far the work ahead of the steps is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from lockstep.runs.observer import Observer


class Patience(Observer):
    """Writes where long work outside of the steps is, such as the look-ahead test, in a line now and then.

    every_s   seconds before the first line, and between two
    stream    where to; default: standard error as it is at the time, which a notebook shows below its cell
    """

    def __init__(
        self, every_s: float = 5.0, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._every_s = every_s
        self._stream = stream
        self._clock = clock
        self._last = clock()

    def tell(self, line: str) -> None:
        """Write the line, unless it follows the last one too soon."""
        now = self._clock()
        if now - self._last >= self._every_s:
            self._last = now
            print(line, file=sys.stderr if self._stream is None else self._stream, flush=True)
