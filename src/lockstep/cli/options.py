"""Arguments and options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

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
# `main` reads this option by itself, since its frame, the last one, reports errors. A training also writes every step.
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print every step on a line of its own, and the traceback of an error."),
]
Workers = Annotated[
    int,
    typer.Option("--workers", "-w", min=1, metavar="N", help="Worker processes. Their number never changes a result."),
]


def overrides(example: str) -> Any:
    """The option --set with an example of the command's own."""
    return typer.Option(
        "--set",
        metavar="KEY=VALUE",
        default_factory=list,
        show_default=False,
        help=f"Override a key of the spec, such as {example}. May be repeated.",
    )


Set = Annotated[list[str], overrides("search.n_iterations=500")]
SetModel = Annotated[list[str], overrides("network.parameters.hidden=128")]
Tag = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name the run; commands take the name in place of its id.")
]
RunImportedCode = Annotated[
    bool,
    typer.Option("--run-imported-code", help="Run the code that an imported run brings, without asking, from now on."),
]
RecordedRun = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help='A run: its id, a tag, "last", or "best", the gradient training of the highest value.'
    ),
]
Thorough = Annotated[
    bool, typer.Option("--thorough", help="Read and check every byte of every session, not only what is listed.")
]
Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help='A run: its id, the start of its id, a tag, "last", or a run folder.'),
]
