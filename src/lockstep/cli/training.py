"""`lockstep train`, `resume`, `verify` and `diff`: everything about one run, or two."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockstep.cli.options import Home, Json, Run, Verbose, Workers
from lockstep.cli.output import Output
from lockstep.core.errors import Interrupted
from lockstep.reports.words import counted

if TYPE_CHECKING:
    from lockstep.runs.results import TrainResult

SetOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        default_factory=list,
        show_default=False,
        help="Override a key of the spec, such as search.n_iterations=500. May be repeated.",
    ),
]


def train(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A spec file: TOML, YAML (.yaml, .yml) or JSON.")],
    set_: SetOption,
    seed: Annotated[
        str | None, typer.Option(metavar="N|random", help='Root seed of the run; "random" draws one and records it.')
    ] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME", help="Give the run a name to call it by.")] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what it will take: steps, time, memory, disk. Makes no run.")
    ] = False,
    workers: Workers = 1,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Train what SPEC describes, and keep a record from which the run can be repeated bit for bit.

    Ctrl-C stops at the next step with a checkpoint, and says how to go on; a second Ctrl-C stops at once.
    """
    from lockstep.cli.process import use_numerics_of

    use_numerics_of(spec, set_)
    from lockstep import bootstrap

    out = Output(json=json)
    if estimate:
        from lockstep.cli.summary import estimated

        report = bootstrap.estimate(spec, overrides=set_, seed=seed, home=home)
        out.result(report.to_json(), estimated(report))
        return 0
    warn_of_idle_workers(workers, out)
    return watched(
        lambda **ports: bootstrap.train(spec, overrides=set_, seed=seed, tag=tag, workers=workers, home=home, **ports),
        out,
        home,
        every_step=verbose,
    )


def resume(run: Run, workers: Workers = 1, home: Home = None, json: Json = False, verbose: Verbose = False) -> int:
    """Go on with a stopped or killed run from its newest good checkpoint.

    The finished run equals one that was never interrupted, byte for byte.
    """
    from lockstep.cli.process import use_numerics_of_run

    use_numerics_of_run(run, home)
    from lockstep import bootstrap

    out = Output(json=json)
    warn_of_idle_workers(workers, out)
    return watched(
        lambda **ports: bootstrap.resume(run, workers=workers, home=home, **ports),
        out,
        home,
        every_step=verbose,
    )


def warn_of_idle_workers(workers: int, out: Output) -> None:
    """More workers than cores change nothing but the start, which takes longer, and the memory."""
    cores = len(os.sched_getaffinity(0))
    if workers > cores:
        out.note(
            f"note: {workers} workers on {counted(cores, 'core')}: no more than {cores} can work at a time, and each "
            "takes a start and memory of its own"
        )


def watched(action: Callable[..., TrainResult], out: Output, home: Path | None, *, every_step: bool) -> int:
    """Run a training with progress and Ctrl-C, and report it; a stopped one is reported from its record."""
    from lockstep import bootstrap
    from lockstep.cli.progress import watch
    from lockstep.cli.summary import trained

    with watch(every_step=every_step) as (watcher, cancel):
        try:
            result = action(observers=[watcher], cancel=cancel, announce=watcher.announce)
        except (Interrupted, KeyboardInterrupt) as stop:
            if watcher.run_id is None:
                raise
            watcher.close()
            out.note(
                str(stop) or f"stopped at once. Go on from the last checkpoint with: lockstep resume {watcher.run_id}"
            )
            result = bootstrap.show_run(watcher.run_id, home=home)
    out.result(result.to_json(), trained(result))
    return result.exit_code


def verify(
    run: Run,
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE", help="Re-execute only a random share of the run, such as 2%, between checkpoints."
        ),
    ] = None,
    across: Annotated[
        bool, typer.Option("--across", help="Compare although code or numerics differ; the answer says so.")
    ] = False,
    workers: Workers = 1,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Repeat a run from its own record and compare bit for bit: 0 equal, 1 not equal, 3 not comparable."""
    from lockstep import bootstrap
    from lockstep.cli.progress import verify_progress
    from lockstep.cli.summary import verified

    with verify_progress() as on_step:
        result = bootstrap.verify(run, sample=sample, across=across, workers=workers, home=home, on_step=on_step)
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
    from lockstep import bootstrap
    from lockstep.cli.summary import compared

    result = bootstrap.diff(a, b, home=home)
    Output(json=json).result(result.to_json(), compared(result))
    return result.exit_code
