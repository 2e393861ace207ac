"""Seconds of processor time, measured in turns, and the name of the processor they were measured on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lockstep.runs.environment import capture_environment


class Seconds(NamedTuple):
    """Seconds of processor time of one call: the least and the median of its runs."""

    least: float
    median: float


def in_turns(*calls: Callable[[], Any], runs: int = 5) -> list[Seconds]:
    """Each call's seconds after one warm-up. In turns, so that a slow moment of the machine hits all alike; of the
    processor's time, so that other work on the machine counts less."""
    seconds: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(runs):
        for index, call in enumerate(calls):
            start = time.process_time()
            call()
            seconds[index].append(time.process_time() - start)
    return [Seconds(min(values), float(np.median(values))) for values in seconds]


def processor() -> str:
    """The processor's name as the system gives it."""
    return str(capture_environment(Path(__file__).parent, argv=[])["cpu"] or "a processor without a name")
