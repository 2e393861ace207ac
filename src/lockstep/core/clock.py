"""Time as an argument: code that needs the time takes a `Clock`, so that a test can pass one that stands still.

No time ever enters hashed content.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of wall-clock and of monotonic time."""

    def utc_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may jump, as a wall clock does."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...


class SystemClock:
    """The clock of the operating system."""

    def utc_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; from integer nanoseconds, so no float rounds them."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        return time.monotonic()
