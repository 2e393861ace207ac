"""Cancel: a request to stop, which the loop obeys between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_AGAIN_S: Final = 0.005


def _drops_exceptions(frame: FrameType) -> bool:
    """Whether a frame belongs to code that loses exceptions: numba makes Python objects of results in such frames."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("numba", "llvmlite")


class Cancel:
    """A request to stop, made by a signal, a thread or an observer; the loop checkpoints and stops at the next step."""

    def __init__(self) -> None:
        self._reason: str | None = None

    @property
    def requested(self) -> bool:
        """Whether somebody asked to stop."""
        return self._reason is not None

    @property
    def reason(self) -> str:
        """Who asked first, in words; empty while nobody has."""
        return self._reason if self._reason is not None else ""

    def request(self, reason: str = "a request") -> None:
        """Ask the loop to stop at the next step. Asking again changes nothing."""
        if self._reason is None:
            self._reason = reason

    @contextmanager
    def on_signals(self) -> Iterator[Cancel]:
        """Within the block Ctrl-C and SIGTERM ask to stop; a second Ctrl-C raises KeyboardInterrupt at once.

        Even then nothing is lost: the run resumes from its last checkpoint. Outside the main thread, where Python takes
        no signal handlers, the block changes nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}

        def handle(number: int, frame: FrameType | None) -> None:
            if number != signal.SIGTERM and self.requested:
                if frame is not None and _drops_exceptions(frame):
                    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)  # SIGALRM: asked again a moment later
                    return
                raise KeyboardInterrupt
            self.request("Ctrl-C" if number == signal.SIGINT else "SIGTERM")

        for number in before:
            signal.signal(number, handle)
        try:
            yield self
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            for number, handler in before.items():
                # None: the handler was not installed from Python and cannot be put back.
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
