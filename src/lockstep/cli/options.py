"""Arguments and options that several commands share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

HOME_VARIABLE: Final = "LOCKSTEP_HOME"

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar=HOME_VARIABLE,
        metavar="DIR",
        show_default=False,
        help="Folder that holds runs and data snapshots (default: ./lockstep-home).",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Write results as JSON to stdout; everything meant for people goes to stderr."),
]
# `main` reads this by itself, since errors are told by the last frame; a training also says every step.
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Say every step on a line of its own, and show the traceback of an error."),
]
Workers = Annotated[
    int,
    typer.Option("--workers", "-w", min=1, metavar="N", help="Worker processes. Their number never changes a result."),
]
Set = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        default_factory=list,
        show_default=False,
        help="Override a key of the spec, such as search.n_iterations=500. May be repeated.",
    ),
]
Tag = Annotated[str | None, typer.Option(metavar="NAME", help="Give the run a name to call it by.")]
RecordedRun = Annotated[
    str, typer.Argument(metavar="RUN", help='A run, or "best": the gradient training of the highest value.')
]
Thorough = Annotated[bool, typer.Option("--thorough", help="Read every byte of every session, not only what is shown.")]
Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help='A run: its id, the start of its id, a tag, "last", or a run folder.'),
]
