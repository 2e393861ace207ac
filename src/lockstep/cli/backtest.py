"""`lockstep backtest`: one strategy with given parameters over candles, or a trial of a run once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockstep.cli.options import Home, Json, Set, Verbose
from lockstep.cli.output import Output


def backtest(
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
        str | None, typer.Option(metavar="FILE|sample", help="The candles, where no spec or run names them.")
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
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Run one strategy with given parameters, and print its metrics beside buy-and-hold and random entries.

    The metrics of a run's trial come out the same, to the last bit.
    """
    from lockstep.bootstrap import place
    from lockstep.cli.process import use_numerics_of_source

    here = place(home)
    if source is not None:
        use_numerics_of_source(source, set_, here)
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
            tell=tell,
        )
    Output(json=json).result(report.to_json(), backtested(report))
