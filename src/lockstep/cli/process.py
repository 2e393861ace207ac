"""Put the numerics that a run asks for in force before NumPy loads.

Where something heavy has loaded already, the process is replaced by itself with the right environment.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.app.request import SPEC_SUFFIXES, TrainingRequest, training_request
from lockstep.app.sessions import find_run
from lockstep.cli.streams import restore
from lockstep.runs.numerics import enter

if TYPE_CHECKING:
    from lockstep.bootstrap import Place
    from lockstep.runs.folder import RunFolder


def requested(spec: Path, overrides: Iterable[str], seed: str | None = None) -> TrainingRequest:
    """What a spec file asks for, in a process with the numerics it asks for.

    Only the form is checked here; the kind checks the values later and reports all errors at once.
    """
    request = training_request(spec, overrides=overrides, seed=seed)
    enter(request.numerics, may_restart=True, before_restart=restore)
    return request


def looked_up(run: str, place: Place) -> RunFolder:
    """The folder of a run, or of "best", in a process with the numerics that the run was made with."""
    folder = find_run(run, place.store)
    enter(folder.numerics, may_restart=True, before_restart=restore)
    return folder


def use_numerics_of_source(source: str, overrides: Iterable[str], place: Place) -> RunFolder | None:
    """Take the numerics of a spec file, or of a run; returns the run's folder."""
    if Path(source).suffix.lower() in SPEC_SUFFIXES:
        requested(Path(source), overrides)
        return None
    return looked_up(source, place)
