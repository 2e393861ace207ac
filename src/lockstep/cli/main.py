"""The entry of the `lockstep` command: set the process up, run one command, turn errors into exit codes."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from lockstep.cli.failures import tell
from lockstep.cli.streams import open_missing, results_apart

_NEGATIVE: Final = re.compile(r"-\d+")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line in this process and leave it with the documented exit code."""
    open_missing()
    code = run(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        # The reader (`| head`) has left, or the disk is full. What is still buffered goes into a pipe that nobody
        # reads, or Python would complain once more at exit.
        if not isinstance(error, BrokenPipeError):
            code = tell(error, json=False, verbose=False)
        os.dup2(os.pipe()[1], sys.stdout.fileno())
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line of `arguments` (without the program's name) and return its exit code."""
    options = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    as_json, verbose = "--json" in options, "-v" in options or "--verbose" in options
    # What a strategy or network prints must not stand in the way of a program that reads the result.
    with results_apart() if as_json else contextlib.nullcontext():
        return _run(arguments, as_json=as_json, verbose=verbose)


def _run(arguments: Sequence[str], *, as_json: bool, verbose: bool) -> int:
    try:
        import typer

        from lockstep.cli.commands import command
        from lockstep.cli.renamed import renamed
        from lockstep.runs.numerics import pin_environment

        # Native libraries read this when they load, which nothing has made them do yet.
        pin_environment()
        arguments, note = renamed(arguments)
        arguments = _negative_last(arguments)
        if note is not None:
            sys.stderr.write(note + "\n")
        try:
            # Not `main()` of the framework: it turns Ctrl-C and a closed pipe into exit codes of its own.
            app = command()
            with app.make_context("lockstep", list(arguments)) as context:
                code = app.invoke(context)
        except typer.Exit as leaving:  # --help
            code = leaving.exit_code
    except BrokenPipeError:
        return 0
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the last frame: everything becomes a message and an exit code
        return tell(error, json=as_json, verbose=verbose)
    return code if isinstance(code, int) else 0


def _negative_last(arguments: Sequence[str]) -> list[str]:
    """`step RUN -1 ...` with the number behind "--", where the parser does not read it as an option."""
    if not arguments or arguments[0] != "step" or "--" in arguments:
        return list(arguments)
    numbers = [text for text in arguments[1:] if _NEGATIVE.fullmatch(text)]
    others = [text for text in arguments if not _NEGATIVE.fullmatch(text)]
    return [*others, "--", *numbers] if numbers else others
