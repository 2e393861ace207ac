"""`lockstep train`, `resume`, `verify` and `diff`: everything about one run, or two."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockstep.cli.options import Home, Json, Run, Verbose, Workers
from lockstep.cli.output import Output

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
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A spec file: TOML (.toml) or YAML (.yaml, .yml).")],
    set_: SetOption,
    seed: Annotated[
        str | None, typer.Option(metavar="N|random", help='Root seed of the run; "random" draws one and records it.')
    ] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME", help="Give the run a name to call it by.")] = None,
    workers: Workers = 1,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Train what SPEC describes, and keep a record from which the run can be repeated bit for bit.

    Ctrl-C stops at the next step with a checkpoint, and says how to go on; a second Ctrl-C stops at once.
    """
    from lockstep.cli.process import use_numerics_of
    from lockstep.cli.progress import watch

    use_numerics_of(spec, set_)
    from lockstep import bootstrap
    from lockstep.cli.summary import trained

    out = Output(json=json, verbose=verbose)
    with watch(out, home=home) as (observers, cancel):
        result = bootstrap.train(
            spec, overrides=set_, seed=seed, tag=tag, workers=workers, home=home, observers=observers, cancel=cancel
        )
    out.result(result.to_json(), trained(result))
    return result.exit_code


def resume(run: Run, workers: Workers = 1, home: Home = None, json: Json = False, verbose: Verbose = False) -> int:
    """Go on with a stopped or killed run from its newest good checkpoint.

    The finished run equals one that was never interrupted, byte for byte.
    """
    from lockstep.cli.process import use_numerics_of_run
    from lockstep.cli.progress import watch

    use_numerics_of_run(run, home)
    from lockstep import bootstrap
    from lockstep.cli.summary import trained

    out = Output(json=json, verbose=verbose)
    with watch(out, home=home) as (observers, cancel):
        result = bootstrap.resume(run, workers=workers, home=home, observers=observers, cancel=cancel)
    out.result(result.to_json(), trained(result))
    return result.exit_code


def verify(
    run: Run,
    sample: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Re-execute only a random share of the run, such as 2%, between checkpoints."),
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
    from lockstep.cli.process import use_numerics_of_run
    from lockstep.cli.progress import watch

    use_numerics_of_run(run, home)
    from lockstep import bootstrap
    from lockstep.cli.summary import verified

    out = Output(json=json, verbose=verbose)
    with watch(out, home=home) as (observers, cancel):
        result = bootstrap.verify(
            run, sample=sample, across=across, workers=workers, home=home, observers=observers, cancel=cancel
        )
    out.result(result.to_json(), verified(result))
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
    Output(json=json, verbose=verbose).result(result.to_json(), compared(result))
    return result.exit_code
