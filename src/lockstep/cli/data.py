"""`lockstep data ...`: bring candles in, judge them, pin them, list what is pinned; make episodes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lockstep.cli.options import Home, Json, Verbose
from lockstep.cli.output import Output
from lockstep.cli.reading import Exchange, Symbol, reads_files

_FILES = "CSV, JSON, Parquet or Feather/Arrow, also packed"
Source = Annotated[str, typer.Argument(metavar="SOURCE", help=f'A file ({_FILES}), a snapshot\'s digest, or "sample".')]
Sources = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help=f'Files ({_FILES}), joined by time; a snapshot\'s digest, or "sample".'),
]
Timeframe = Annotated[
    str | None, typer.Option(metavar="LENGTH", help="Bar length, such as 5m or 1h (default: the most common step).")
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
    app.command("import", short_help="Read candles from files, check and keep them.")(import_)
    app.command("quality", short_help="Report gaps, jumps and other defects, and a score.")(quality)
    app.command("snapshot", short_help="Read a snapshot back, every byte checked.")(snapshot)
    app.command("list")(list_)
    app.command("episodes", short_help='Collect a market\'s episodes, for kind = "cnn-episodes".')(episodes)
    return app


@reads_files
def import_(
    file: Annotated[
        list[str], typer.Argument(metavar="FILE", help=f"Files ({_FILES}), or a pattern of them; joined by time.")
    ],
    reading: Mapping[str, Any],
    symbol: Symbol = None,
    exchange: Exchange = None,
    timeframe: Timeframe = None,
    last: Last = None,
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
        symbol=symbol,
        exchange=exchange,
        timeframe=timeframe,
        last=last,
        **reading,
    )
    Output(json=json).result(report.to_json(), imported(report))


@reads_files
def quality(
    source: Sources,
    reading: Mapping[str, Any],
    symbol: Symbol = None,
    timeframe: Timeframe = None,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Report gaps, jumps, repetitions, flat and zero-volume bars of a data set, and its score."""
    from lockstep.app.data import data_quality
    from lockstep.bootstrap import place

    report = data_quality(source, blobs=place(home).store.blobs, timeframe=timeframe, symbol=symbol, **reading)
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


@reads_files
def episodes(
    source: Source,
    reading: Mapping[str, Any],
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
        trades=trades, depth=depth, reading=reading,
    )  # fmt: skip
    rules = CollectionRules(
        window=window, max_missing_bars=missing, horizon_s=horizon, round_trip_cost=cost,
        target_profit=target, min_completeness=completeness,
    )  # fmt: skip
    book = collect_book(files, rules, home=store.home, blobs=store.blobs, out=out)
    Output(json=json).result(book.to_json(), collected(book))
