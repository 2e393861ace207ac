"""`lockstep data ...`: bring candles in, judge them, pin them, list what is pinned; make episodes of them."""

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
        help="Which column is which, such as timestamp=Date. May be repeated; usual names are recognised.",
    ),
]
TimeUnit = Annotated[
    str | None,
    typer.Option(metavar="s|ms|us|ns", help="Unit of numeric times (default: inferred from their magnitude)."),
]
Timezone = Annotated[
    str | None, typer.Option(metavar="ZONE", help='"UTC" or an offset such as +02:00, for times that name none.')
]
Last = Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the N most recent bars.")]

TradesFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Trades of the same market (Parquet); outcomes are then measured at them."),
]
DepthFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Depth feed of the same market (Parquet), for the order book.")
]


def group() -> typer.Typer:
    """The commands below `lockstep data`."""
    app = typer.Typer(help="Import, inspect and list candles; collect episodes.", no_args_is_help=True)
    app.command("import", short_help="Read candles from a file, check and keep them.")(import_)
    app.command("quality", short_help="Report gaps, jumps and other defects, and a score.")(quality)
    app.command("snapshot", short_help="Read a snapshot back, every byte checked.")(snapshot)
    app.command("list")(list_)
    app.command("episodes", short_help='Collect a market\'s episodes, for kind = "cnn-episodes".')(episodes)
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
    from lockstep.app.data import import_data
    from lockstep.bootstrap import place
    from lockstep.cli.tables import imported

    report = import_data(
        file,
        blobs=place(home).store.blobs,
        columns=columns,
        symbol=symbol,
        exchange=exchange,
        timeframe=timeframe,
        time_unit=time_unit,
        timezone=timezone,
        last=last,
        sort=sort,
        drop_bad=drop_bad,
    )
    Output(json=json).result(report.to_json(), imported(report))


def quality(
    source: Source, timeframe: Timeframe = None, home: Home = None, json: Json = False, verbose: Verbose = False
) -> None:
    """Report gaps, jumps, repetitions, flat and zero-volume bars of a data set, and its score."""
    from lockstep.app.data import data_quality
    from lockstep.bootstrap import place

    report = data_quality(source, blobs=place(home).store.blobs, timeframe=timeframe)
    Output(json=json).result(report.to_dict(), str(report))


def snapshot(
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help='The digest of a snapshot, the start of one, or "sample".')
    ],
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Also write its candles to a .csv or .parquet file.")
    ] = None,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Read a snapshot, check it against its digest, and say what it holds."""
    from lockstep.app.data import read_snapshot
    from lockstep.bootstrap import place
    from lockstep.cli.tables import pinned

    report = read_snapshot(digest, blobs=place(home).store.blobs, export=export)
    document = report.to_json() if export is None else {**report.to_json(), "exported": str(export)}
    Output(json=json).result(document, pinned(report, export))


def list_(home: Home = None, json: Json = False, verbose: Verbose = False) -> None:
    """List the snapshots of this home."""
    from lockstep.app.data import list_snapshots
    from lockstep.bootstrap import place
    from lockstep.cli.tables import snapshots_table

    rows, broken = list_snapshots(blobs=place(home).store.blobs)
    out = Output(json=json)
    for line in broken:
        out.note(line)
    out.result([row.to_json() for row in rows], snapshots_table(rows))


def episodes(
    source: Source,
    symbol: Symbol = None,
    timeframe: Timeframe = None,
    longer: Annotated[
        list[str] | None,
        typer.Option(
            "--longer",
            metavar="LENGTH",
            show_default=False,
            help="A longer timeframe that packages also hold, resampled from these bars, such as 1h. May be repeated.",
        ),
    ] = None,
    last: Last = None,
    trades: TradesFile = None,
    depth: DepthFile = None,
    window: Annotated[
        int | None, typer.Option(min=1, metavar="BARS", help="Bars of each timeframe in a package (default: 64).")
    ] = None,
    missing: Annotated[
        int | None,
        typer.Option(
            "--max-missing-bars",
            min=0,
            metavar="BARS",
            help="Missing bars before a decision with which its package still counts as complete (default: 1).",
        ),
    ] = None,
    horizon: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="How long after a decision its profit is measured (default: 300, a bar at least)."
        ),
    ] = None,
    cost: Annotated[
        float | None,
        typer.Option(metavar="FRACTION", help="Cost of a round trip, a fraction of the price (default: 0.001)."),
    ] = None,
    target: Annotated[
        float | None, typer.Option(metavar="FRACTION", help="Profit that has the score 1 (default: 0.01).")
    ] = None,
    completeness: Annotated[
        float | None,
        typer.Option(
            "--min-completeness", metavar="SHARE", help="Share of the ten fields that a package needs (default: 0.8)."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the book (default: episodes, in the home)."),
    ] = None,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Collect a market's episodes into a book: what was known at each bar, what was predicted, what became of it."""
    from lockstep.app.collect import CollectionRules, MarketFiles, collect_book
    from lockstep.bootstrap import place
    from lockstep.cli.tables import collected

    store = place(home).store
    files = MarketFiles(
        candles=source, symbol=symbol, timeframe=timeframe, longer=tuple(longer or ()), last=last,
        trades=trades, depth=depth,
    )  # fmt: skip
    rules = CollectionRules(
        window=window, max_missing_bars=missing, horizon_s=horizon, round_trip_cost=cost,
        target_profit=target, min_completeness=completeness,
    )  # fmt: skip
    book = collect_book(files, rules, home=store.home, blobs=store.blobs, out=out)
    Output(json=json).result(book.to_json(), collected(book))
