"""What has to be true of this process before NumPy loads: native threads, and the numerics that a run asks for.

A process that is to compute as `numerics = "portable"` is replaced by itself with the right environment; that costs a
tenth of a second once, and has to happen before anything heavy is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lockstep.runs.numerics import enter, pin_environment


def use_numerics_of(spec: Path, overrides: Iterable[str]) -> None:
    """Take the numerics that the spec file asks for. What else is wrong with the spec is said later, all at once."""
    from lockstep.runs.spec_files import load_spec

    _use(load_spec(spec, overrides))


def use_numerics_of_run(run: str, home: Path | None) -> None:
    """Take the numerics that a run was made with."""
    from lockstep.bootstrap import run_folder

    _use(run_folder(run, home=home).read("spec"))


def _use(spec: Mapping[str, Any]) -> None:
    pin_environment()
    if spec.get("numerics") == "portable":
        enter("portable", may_restart=True)
