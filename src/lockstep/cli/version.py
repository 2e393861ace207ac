"""`lockstep version`, and `lockstep --version`, which prints the same."""

from __future__ import annotations

from typing import Annotated

import typer

from lockstep.cli.options import Json
from lockstep.cli.output import Output


def version(json: Json = False) -> None:
    """Print the version of Lockstep and of everything that decides its numbers."""
    from lockstep.app.version import versions

    report = versions()
    Output(json=json).result(report.to_json(), report.text())


def _printed(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_printed, help="Print the versions, as `lockstep version`."),
    ] = False,
) -> None:
    """Options that stand before any command; `--version` answers and ends."""
