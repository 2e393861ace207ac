"""`lockstep report`: a run's figures, and one page that shows and says everything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockstep.cli.options import Home, Json, RecordedRun, Verbose
from lockstep.cli.output import Output
from lockstep.core.errors import InputError

if TYPE_CHECKING:
    from lockstep.app.report import ReportResult


def report(
    run: RecordedRun,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder to write to (default: ./report-RUN).", show_default=False),
    ] = None,
    open_: Annotated[
        str, typer.Option("--open", metavar="yes|no", help="Show the page in a browser afterwards.")
    ] = "no",
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write a run's figures as PNGs, and report.html: one file that needs no network and says how to repeat the run."""
    if open_ not in ("yes", "no"):
        raise InputError(f'--open is "yes" or "no"; found {open_!r}')
    from lockstep.app.report import report as use_case
    from lockstep.app.sessions import run_named
    from lockstep.bootstrap import place

    store = place(home).store
    done = use_case(run_named(run, store), store, out=out)
    output = Output(json=json)
    for note in done.notes:
        output.note(f"note: {note}")
    output.result(done.to_json(), _written(done))
    if open_ == "yes":
        import webbrowser

        if not webbrowser.open(done.html.absolute().as_uri()):
            output.note(f"this machine has no browser; open {done.html} yourself")


def _written(done: ReportResult) -> str:
    from lockstep.reports.words import counted, size

    figures = len(done.files) - 1
    total = sum(path.stat().st_size for path in done.files[:1])
    return f"report of run {done.run_id}: {done.html} ({size(total)}), {counted(figures, 'figure')} beside it as PNG"
