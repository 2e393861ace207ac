"""`lockstep train`, `resume`, `verify` and `diff`: everything about one run, or two."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockstep.cli.consent import consent
from lockstep.cli.options import Home, Json, Run, RunImportedCode, Set, Tag, Verbose, Workers
from lockstep.cli.output import Output
from lockstep.cli.reading import reads_files
from lockstep.core.errors import Interrupted
from lockstep.reports.words import counted

if TYPE_CHECKING:
    from lockstep.app.ports import Ports
    from lockstep.bootstrap import Place
    from lockstep.runs.results import TrainResult


@reads_files
def train(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A spec file: TOML, YAML (.yaml, .yml) or JSON.")],
    reading: Mapping[str, Any],
    set_: Set,
    seed: Annotated[
        str | None, typer.Option(metavar="N|random", help='Root seed of the run; "random" draws one and records it.')
    ] = None,
    tag: Tag = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Estimate steps, time, memory and disk, and make no run.")
    ] = False,
    workers: Workers = 1,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Train what SPEC describes, and keep a record from which the run can be repeated bit for bit.

    Ctrl-C stops at the next step with a checkpoint, and says how to go on; a second Ctrl-C stops at once.
    """
    from lockstep.app.files import spec_overrides
    from lockstep.bootstrap import place
    from lockstep.cli.process import requested

    request = requested(spec, [*spec_overrides(reading), *set_], seed)
    out, here = Output(json=json), place(home)
    if estimate:
        from lockstep.app.estimate import estimate as estimated_by
        from lockstep.cli.summary import estimated

        report = estimated_by(request, home=here.store.home, blobs=here.store.blobs)
        out.result(report.to_json(), estimated(report))
        return 0
    from lockstep.app.train import train as use_case

    warn_of_idle_workers(workers, out)
    return watched(lambda ports: use_case(request, ports, tag=tag), here, out, workers=workers, every_step=verbose)


def resume(
    run: Run,
    run_imported_code: RunImportedCode = False,
    workers: Workers = 1,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Go on with a stopped or killed run from its newest good checkpoint.

    The finished run equals one that was never interrupted, byte for byte.
    """
    from lockstep.bootstrap import place
    from lockstep.cli.process import looked_up

    out, here = Output(json=json), place(home)
    folder = looked_up(run, here)
    from lockstep.app.resume import complete_already
    from lockstep.app.resume import resume as use_case

    if (done := complete_already(folder, here.store)) is not None:
        from lockstep.cli.summary import left_alone

        out.result(done.to_json(), left_alone(done))
        return done.exit_code
    trust = consent(folder, flag=run_imported_code)
    warn_of_idle_workers(workers, out)
    return watched(lambda ports: use_case(folder, ports, trust=trust), here, out, workers=workers, every_step=verbose)


def warn_of_idle_workers(workers: int, out: Output) -> None:
    """More workers than cores change nothing but the start, which takes longer, and the memory."""
    cores = len(os.sched_getaffinity(0))
    if workers > cores:
        out.note(
            f"note: {workers} workers on {counted(cores, 'core')}: no more than {cores} can work at a time, and each "
            "takes a start and memory of its own"
        )


def watched(
    action: Callable[[Ports], TrainResult], place: Place, out: Output, *, workers: int, every_step: bool
) -> int:
    """Run a training with progress and Ctrl-C, and report it; a stopped one is reported from its record."""
    from lockstep.app.runs_admin import show_run
    from lockstep.cli.progress import watch
    from lockstep.cli.summary import trained

    with watch(every_step=every_step) as (watcher, cancel):
        try:
            with place.ports(workers=workers, observers=[watcher], cancel=cancel, announce=watcher.announce) as ports:
                result = action(ports)
        except (Interrupted, KeyboardInterrupt) as stop:
            if watcher.run_id is None:
                raise
            watcher.close()
            out.note(
                str(stop) or f"stopped at once. Go on from the last checkpoint with: lockstep resume {watcher.run_id}"
            )
            result = show_run(watcher.run_id, place.store)
    out.result(result.to_json(), trained(result))
    return result.exit_code


def verify(
    run: Run,
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Compute only a random share of the steps, such as 2%, each from the checkpoint before it.",
        ),
    ] = None,
    across: Annotated[
        bool, typer.Option("--across", help="Compare even where code or numerics differ; the answer says so.")
    ] = False,
    run_imported_code: RunImportedCode = False,
    workers: Workers = 1,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Repeat a run from its own record and compare bit for bit: 0 equal, 1 not equal, 3 not comparable."""
    from lockstep.app.verify import verify as use_case
    from lockstep.bootstrap import place
    from lockstep.cli.progress import verify_progress
    from lockstep.cli.summary import verified

    here = place(home)
    executor = here.executor_choice(workers)
    trust = consent(here.store.find(run), flag=run_imported_code)
    with verify_progress() as on_step:
        result = use_case(
            run, here.store, executor=executor, sample=sample, across=across, trust=trust, on_step=on_step
        )
    Output(json=json).result(result.to_json(), verified(result))
    return result.exit_code


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A run.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another run.")],
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Compare two runs: spec, data, code, numerics, then the first step where they part. 0 equal, 1 not equal."""
    from lockstep.app.diff import diff as use_case
    from lockstep.bootstrap import place
    from lockstep.cli.summary import compared

    result = use_case(a, b, place(home).store)
    Output(json=json).result(result.to_json(), compared(result))
    return result.exit_code
