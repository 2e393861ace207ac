"""What has to be true of this process before NumPy loads: the numerics that a run asks for.

Where something heavy has loaded already, the process is replaced by itself with the right environment.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lockstep.app.request import SPEC_SUFFIXES
from lockstep.runs.numerics import enter


def use_numerics_of(spec: Path, overrides: Iterable[str]) -> None:
    """Take the numerics that a spec file asks for. What else is wrong with the spec is said later, all at once."""
    from lockstep.app.request import training_request

    enter(training_request(spec, overrides=overrides).numerics, may_restart=True)


def use_numerics_of_source(source: str, overrides: Iterable[str], home: Path | None) -> None:
    """Take the numerics of a spec file, or of a run."""
    if Path(source).suffix.lower() in SPEC_SUFFIXES:
        use_numerics_of(Path(source), overrides)
    else:
        use_numerics_of_run(source, home)


def use_numerics_of_run(run: str, home: Path | None) -> None:
    """Take the numerics that a run was made with."""
    from lockstep.bootstrap import run_numerics

    enter(run_numerics(run, home=home), may_restart=True)
