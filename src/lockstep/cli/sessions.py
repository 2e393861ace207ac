"""`lockstep sessions ...`: list the runs of a home that learn by gradients, by value; remove the oldest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lockstep.cli.options import Home, Json, Thorough, Verbose
from lockstep.cli.output import Output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lockstep.app.sessions import Pruning
    from lockstep.learning.gradients.sessions import Sessions, TrainingSession


def group() -> typer.Typer:
    """The commands below `lockstep sessions`."""
    app = typer.Typer(help="List gradient trainings by value; remove the oldest.", no_args_is_help=True)
    app.command("list", short_help="List sessions, the highest value first.")(list_)
    app.command("prune", short_help="List or remove the oldest sessions beyond a limit.")(prune)
    return app


def list_(
    thorough: Thorough = False,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """List sessions, the highest value first; damaged ones are named and skipped."""
    from lockstep.app.sessions import list_sessions, session_json
    from lockstep.bootstrap import place

    listed = list_sessions(place(home).store, thorough=thorough)
    document = {
        "sessions": [session_json(session) for session in listed.sessions],
        "problems": dict(listed.problems),
    }
    Output(json=json).result(document, _table(listed))


def prune(
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", metavar="N", help="Keep this many of the newest sessions.")
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option("--max-bytes", metavar="BYTES", help="Keep the newest sessions up to this total size."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without --yes they are only listed.")] = False,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """List the oldest complete sessions beyond a limit; with --yes, remove them for good."""
    from lockstep.app.sessions import prune_sessions
    from lockstep.bootstrap import place

    done = prune_sessions(place(home).store, keep_last=keep_last, max_bytes=max_bytes, remove=yes)
    Output(json=json).result(done.to_json(), _pruned(done))


def _pruned(done: Pruning) -> RenderableType:
    from rich.text import Text

    from lockstep.reports.words import counted, size

    rest = f"{counted(done.remaining, 'session')} stay" + ("s" if done.remaining == 1 else "")
    if not done.doomed:
        return Text(f"nothing to remove: {rest}")
    verb = "removed" if done.removed else "would remove"
    lines = [f"{verb} {run_id} ({size(taken)})" for run_id, taken in done.doomed.items()]
    total = f"{counted(len(done.doomed), 'session')}, {size(sum(done.doomed.values()))}; {rest}"
    lines.append(total if done.removed else f"{total}. Nothing was removed yet: say --yes to remove them for good")
    return Text("\n".join(lines))


def _table(listing: Sessions) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from lockstep.cli.tables import Fitting

    damaged = [Text(f"! {run_id}: {problem}", style="bold red") for run_id, problem in listing.problems.items()]
    if not listing.sessions:
        none = Text("no sessions yet. Train a kind that learns by gradients: lockstep train SPEC")
        return Group(none, *damaged) if damaged else none
    table = Fitting(
        rows=[_row(session) for session in listing.sessions],
        forms=(
            ("run", "status", "value", "steps", "loss", "converged", "level", "size", "model", "batches of"),
            ("run", "status", "value", "steps", "loss", "converged", "level", "size"),
            ("run", "value", "steps", "loss", "converged"),
            ("run", "value"),
        ),
        right=("value", "steps", "size"),
    )
    return Group(table, *damaged)


def _row(session: TrainingSession) -> dict[str, str]:
    from lockstep.reports.words import NOTHING, count, number, size

    first, last, best = session.losses or (None, None, None)
    loss = NOTHING if first is None or last is None else f"{number(first)} to {number(last)}"
    if best is not None and last is not None and best < last:
        loss += f" (best {number(best)})"
    source = session.replayed_from
    return {
        "run": session.session_id,
        "status": str(session.status),
        "value": f"{session.value:.3f}",
        "steps": count(session.steps),
        "loss": loss,
        "converged": "yes" if session.converged else "no",
        "level": session.level,
        "size": size(session.bytes),
        "model": session.model_name or NOTHING,
        "batches of": NOTHING if source is None else source if len(source) < 40 else source[:12],
    }
