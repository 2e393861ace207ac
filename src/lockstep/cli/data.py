"""`lockstep data ...`: bring candles in, judge them, pin them, list what is pinned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockstep.cli.options import Home, Json, Verbose
from lockstep.cli.output import Output

Source = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help='A CSV, Parquet or Feather/Arrow file, a snapshot\'s digest, or "sample".'),
]
Symbol = Annotated[str | None, typer.Option(metavar="NAME", help='A label, such as "BTC/USDT".')]
Exchange = Annotated[str | None, typer.Option(metavar="NAME", help="A label, such as binance.")]
Timeframe = Annotated[
    str | None, typer.Option(metavar="LENGTH", help="Bar length, such as 5m or 1h (default: the most common step).")
]
Columns = Annotated[
    list[str],
    typer.Option(
        "--column",
        metavar="OURS=THEIRS",
        default_factory=list,
        show_default=False,
        help="Which column is which, such as timestamp=Date. May be repeated; usual names are found by themselves.",
    ),
]
TimeUnit = Annotated[
    str | None, typer.Option(metavar="s|ms|us|ns", help="Unit of numeric times (default: told by their magnitude).")
]
Timezone = Annotated[
    str | None, typer.Option(metavar="ZONE", help='"UTC" or an offset such as +02:00, for times that name none.')
]
Last = Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the N most recent bars.")]


def group() -> typer.Typer:
    """The commands below `lockstep data`."""
    app = typer.Typer(help="Import, judge, pin and list candles.", no_args_is_help=True)
    app.command("import", short_help="Read candles from a file, check and keep them.")(import_)
    app.command("quality", short_help="Report gaps, jumps and other defects, and a score.")(quality)
    app.command("snapshot", short_help="Read a snapshot back, every byte checked.")(snapshot)
    app.command("list")(list_)
    return app


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV, Parquet or Feather/Arrow file, also gzipped.")],
    columns: Columns,
    symbol: Symbol = None,
    exchange: Exchange = None,
    timeframe: Timeframe = None,
    time_unit: TimeUnit = None,
    timezone: Timezone = None,
    last: Last = None,
    sort: Annotated[
        bool, typer.Option("--sort", help="Sort the rows by time instead of refusing unsorted ones.")
    ] = False,
    drop_bad: Annotated[
        bool,
        typer.Option("--drop-bad", help="Leave out broken and repeated rows, and say how many, instead of refusing."),
    ] = False,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Read candles, check every row, and keep them as a snapshot named by its digest."""
    from lockstep import bootstrap
    from lockstep.cli.tables import imported

    report = bootstrap.import_data(
        file,
        columns=columns,
        symbol=symbol,
        exchange=exchange,
        timeframe=timeframe,
        time_unit=time_unit,
        timezone=timezone,
        last=last,
        sort=sort,
        drop_bad=drop_bad,
        home=home,
    )
    Output(json=json).result(report.to_json(), imported(report))


def quality(
    source: Source, timeframe: Timeframe = None, home: Home = None, json: Json = False, verbose: Verbose = False
) -> None:
    """Report gaps, jumps, repetitions, flat and zero-volume bars of a data set, and its score."""
    from lockstep import bootstrap

    report = bootstrap.data_quality(source, timeframe=timeframe, home=home)
    Output(json=json).result(report.to_dict(), str(report))


def snapshot(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="A snapshot's digest, or the start of it.")],
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Also write its candles to a .csv or .parquet file.")
    ] = None,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Read a snapshot, check it against its digest, and say what it holds."""
    from lockstep import bootstrap
    from lockstep.cli.tables import pinned

    report = bootstrap.read_snapshot(digest, export=export, home=home)
    Output(json=json).result(report.to_json(), pinned(report))


def list_(home: Home = None, json: Json = False, verbose: Verbose = False) -> None:
    """List the snapshots of this home."""
    from lockstep import bootstrap
    from lockstep.cli.tables import snapshots_table

    rows, broken = bootstrap.list_snapshots(home=home)
    out = Output(json=json)
    for line in broken:
        out.note(line)
    out.result([row.to_json() for row in rows], snapshots_table(rows))
