"""`lockstep runs ...`: look at, check, name, move and remove runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockstep.cli import sessions
from lockstep.cli.options import Home, Json, Run, Verbose
from lockstep.cli.output import Output
from lockstep.reports.words import size


def group() -> typer.Typer:
    """The commands below `lockstep runs`."""
    app = typer.Typer(help="List, show, check, export, import, remove and tag runs.", no_args_is_help=True)
    app.command("list")(list_)
    app.command("show", short_help="Show a run's report, from its record alone.")(show)
    app.command("check", short_help="Find any byte of a run that changed.")(check)
    app.command("export", short_help="Pack a run and its data into one file.")(export)
    app.command("import", short_help="Unpack a run that was exported elsewhere.")(import_)
    app.command("rm")(remove)
    app.command("tag")(tag)
    return app


def list_(
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Only runs that learn by gradients, by value, as in `sessions list`.")
    ] = False,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """List all runs, oldest first."""
    if gradients:
        sessions.list_(home=home, json=json, verbose=verbose)
        return
    from lockstep.app.runs_admin import list_runs
    from lockstep.bootstrap import place
    from lockstep.cli.tables import runs_table

    rows = list_runs(place(home).store)
    Output(json=json).result([row.to_json() for row in rows], runs_table(rows))


def show(run: Run, home: Home = None, json: Json = False, verbose: Verbose = False) -> None:
    """Show what a run trained, on what data, with what result, and how to repeat it."""
    from lockstep.app.runs_admin import show_run
    from lockstep.bootstrap import place
    from lockstep.cli.summary import trained

    result = show_run(run, place(home).store)
    Output(json=json).result(result.to_json(), trained(result))


def check(run: Run, home: Home = None, json: Json = False, verbose: Verbose = False) -> int:
    """Read every file of a run and compare it with its recorded digest: 0 sound, 1 damaged (the file is named)."""
    from lockstep.app.runs_admin import check_run
    from lockstep.bootstrap import place
    from lockstep.cli.summary import checked

    report = check_run(run, place(home).store)
    Output(json=json).result(report.to_json(), checked(report))
    return report.exit_code


def export(
    run: Run,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write.")],
    no_diff: Annotated[
        bool, typer.Option("--no-diff", help="Leave out the diff of the repository that the run was made in.")
    ] = False,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Pack a run, its data included, into one file that can be verified on another machine."""
    from lockstep.app.runs_admin import export_run
    from lockstep.bootstrap import place

    done = export_run(run, file, place(home).store, diff=not no_diff)
    out = Output(json=json)
    if done.diff:
        out.note(
            "note: environment.json in it holds host, command, commit and the uncommitted changes of the code that the "
            "run loaded, as a diff; --no-diff leaves the changes out"
        )
    out.result(
        {"run_id": done.run_id, "file": str(file), "files": done.files, "bytes": done.length, "diff": done.diff},
        f"exported {done.run_id} to {file}: {done.files} files, {size(done.length)}\n"
        f"elsewhere: lockstep runs import {file.name}, then lockstep verify {done.run_id}",
    )


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive made by `lockstep runs export`.")],
    look: Annotated[
        bool, typer.Option("--look", help="Only list what the archive holds, and show the code in it.")
    ] = False,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Unpack a run that was exported elsewhere, when every byte and every value of it checks out. Runs none of it."""
    if look:
        _look(file, json=json)
        return
    from lockstep.app.runs_admin import import_run
    from lockstep.bootstrap import place

    done = import_run(file, place(home).store)
    code = ""
    if done.code:
        code = (
            f"\nit brings code of its own: {', '.join(done.code)}. The commands that would run it (verify, resume, "
            f"retrain ...) ask first; read it in {done.path / 'code'}"
        )
    Output(json=json).result(
        {
            "run_id": done.run_id,
            "folder": str(done.path),
            "files": done.files,
            "bytes": done.length,
            "code": list(done.code),
        },
        f"imported {done.run_id}: {done.files} files, {size(done.length)}{code}\n"
        f"repeat it: lockstep verify {done.run_id}",
    )


def _look(file: Path, *, json: bool) -> None:
    from lockstep.app.runs_admin import look_at
    from lockstep.cli.summary import looked_into

    contents = look_at(file)
    Output(json=json).result(contents.to_json(), looked_into(contents))


def remove(run: Run, home: Home = None, json: Json = False, verbose: Verbose = False) -> None:
    """Remove a run's folder for good. Data snapshots stay, since other runs may use them."""
    from lockstep.app.runs_admin import remove_run
    from lockstep.bootstrap import place

    run_id = remove_run(run, place(home).store)
    Output(json=json).result({"run_id": run_id, "removed": True}, f"removed {run_id}")


def tag(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name; it moves when another run had it.")],
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Name a run; commands take the name in place of its id."""
    from lockstep.app.runs_admin import tag_run
    from lockstep.bootstrap import place

    run_id = tag_run(run, name, place(home).store)
    Output(json=json).result({"run_id": run_id, "tag": name}, f"{run_id} is now {name!r}")
