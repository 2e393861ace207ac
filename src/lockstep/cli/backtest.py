"""`lockstep backtest`: one strategy with given parameters over candles, or a trial of a run once more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lockstep.cli.consent import consent
from lockstep.cli.options import Home, Json, RunImportedCode, Set, Verbose
from lockstep.cli.output import Output
from lockstep.cli.reading import reads_files


@reads_files
def backtest(
    reading: Mapping[str, Any],
    params: Annotated[
        list[str],
        typer.Option(
            "--param",
            metavar="NAME=VALUE",
            default_factory=list,
            show_default=False,
            help="A parameter of the strategy; others keep their defaults. May be repeated.",
        ),
    ],
    set_: Set,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SPEC_OR_RUN]", help="A spec file (market, costs and strategy are taken from it), or a run."
        ),
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.py:CLASS", help="The strategy, where no spec or run names it.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|sample", help="The candles, a file or a pattern of files, where no spec or run names them."
        ),
    ] = None,
    trial: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Take the parameters of this trial of the run (default: the best trial)."
        ),
    ] = None,
    trades: Annotated[
        Path | None, typer.Option("--trades", metavar="FILE", help="Write the trades to a CSV file.")
    ] = None,
    run_imported_code: RunImportedCode = False,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Run one strategy with given parameters, and print its metrics beside buy-and-hold and random entries.

    The metrics of a run's trial come out the same, to the last bit.
    """
    from lockstep.app.files import spec_overrides
    from lockstep.bootstrap import place
    from lockstep.cli.process import use_numerics_of_source

    set_ = [*spec_overrides(reading), *set_]
    here = place(home)
    trust = False
    if source is not None and (folder := use_numerics_of_source(source, set_, here)) is not None:
        trust = consent(folder, flag=run_imported_code)
    from lockstep.app.backtest import backtest_once
    from lockstep.cli.progress import patience
    from lockstep.cli.summary import backtested

    with patience() as tell:
        report = backtest_once(
            source,
            here.store,
            strategy=strategy,
            data=data,
            params=params,
            overrides=set_,
            trial=trial,
            trades=trades,
            trust=trust,
            tell=tell,
        )
    Output(json=json).result(report.to_json(), backtested(report))
