"""Two streams with two audiences: stdout for results, stderr for progress and remarks.

With `--json`, stdout carries nothing but JSON, one value per line, so that another program can read it.
Without it, stdout carries the report for people and stderr the progress.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

from lockstep.cli.streams import results
from lockstep.core.canonical import plain
from lockstep.core.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

# A pipe has no width; tables then get room enough for a whole run id, path and number per line, unless COLUMNS says
# how wide the window is that will show them.
WIDTH_WITHOUT_TERMINAL: Final = 160
_LEAST_WIDTH: Final = 40


def json_line(value: Any) -> str:
    """`value` as one line of JSON in the order of its keys; NaN and infinities coded as in canonical JSON.

    Only what UTF-8 can write: a name of a file that cannot is in escapes, as JSON allows.
    """
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(plain(value), ensure_ascii=True, allow_nan=False)
    return text


def console(stream: TextIO) -> Console:
    """A rich console on `stream`: colours and boxes on a terminal, plain lines in a pipe."""
    from rich.console import Console

    width = None if stream.isatty() else _pipe_width()
    return Console(file=stream, width=width, highlight=False, soft_wrap=False, emoji=False, markup=False)


def _pipe_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    return max(int(columns), _LEAST_WIDTH) if columns.isdecimal() and int(columns) else WIDTH_WITHOUT_TERMINAL


def show(report: RenderableType, stream: TextIO) -> None:
    """Print a report. Tables pad their lines; in a pipe those blanks are taken off, so that files compare well."""
    from io import StringIO

    # On both ways, the text of a report may hold names of other people's making.
    if stream.isatty():
        console(stream).print(Shown(report))
    else:
        text = StringIO()
        console(text).print(Shown(report))
        stream.write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))
    stream.flush()


@dataclass(frozen=True)
class Shown:
    """A report whose text cannot command the terminal: see `core.printable`."""

    report: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.report, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a command writes. `json`: stdout carries one JSON value and nothing else."""

    json: bool = False

    def result(self, document: Any, report: RenderableType | None = None) -> None:
        """Write the outcome of a command: `document` under --json, else `report` for people."""
        if self.json:
            stream = results()
            stream.write(json_line(document) + "\n")
            stream.flush()
        elif report is not None:
            show(report, sys.stdout)

    def note(self, text: str) -> None:
        """Write one line for people, on stderr, never part of a result."""
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()
