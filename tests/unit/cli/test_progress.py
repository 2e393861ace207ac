"""Progress tells how far, how good, what failed, how fast and how long still; it never stops a run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lockstep.cli.progress import AnnouncedCancel, LiveProgress, PlainProgress, Tally
from lockstep.runs.observer import RunInfo
from lockstep.runs.training import Step


def info(total: int | None = 10, first: int = 0) -> RunInfo:
    return RunInfo(folder=Path("runs/r1"), fingerprint="f" * 64, first_step=first, total_steps=total)
