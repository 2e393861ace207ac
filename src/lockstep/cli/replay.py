"""`lockstep replay`: recorded gradients applied or computed again, a session gone through again, one step looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lockstep.cli.options import Home, Json, Verbose, Workers
from lockstep.cli.output import Output
from lockstep.cli.training import SetOption
from lockstep.core.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lockstep.app.replay_step import StepView

_FEW_SAMPLES = 12


_Run = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help='A run, or "best": the session of the highest value.')
]
_Gradients = Annotated[
    bool, typer.Option("--gradients", help="Apply the stored gradients: no model, no data, many times faster.")
]
_Recompute = Annotated[
    bool, typer.Option("--recompute", help="Compute the steps again; name the first tensor that differs.")
]
_Session = Annotated[
    bool, typer.Option("--session", help="Train a new run on the recorded batches; --set changes the model.")
]
_Best = Annotated[bool, typer.Option("--best", help='As RUN = "best".')]
_From = Annotated[int | None, typer.Option("--from", metavar="STEP", help="First step to replay, counted from 0.")]
_To = Annotated[int | None, typer.Option("--to", metavar="STEP", help="Last step to replay, included.")]
_CheckEvery = Annotated[
    int, typer.Option(metavar="N", min=1, help="With --gradients: compare every N-th state with the journal.")
]
_Across = Annotated[bool, typer.Option("--across", help="Compute again although code or numerics differ.")]
_Step = Annotated[int | None, typer.Option("--step", metavar="N", help="Show one step; -1 is the last.")]
_Save = Annotated[
    Path | None,
    typer.Option("--save", metavar="FILE", help="With --step: write model state and gradients (.safetensors)."),
]
_Top = Annotated[int | None, typer.Option("--top", metavar="N", help="With --session: only the N most valuable steps.")]
_Tag = Annotated[str | None, typer.Option(metavar="NAME", help="With --session: a name for the new run.")]


def replay(
    set_: SetOption,
    run: _Run = None,
    gradients: _Gradients = False,
    recompute: _Recompute = False,
    session: _Session = False,
    best: _Best = False,
    first: _From = None,
    last: _To = None,
    check_every: _CheckEvery = 1_000,
    across: _Across = False,
    step: _Step = None,
    save: _Save = None,
    top: _Top = None,
    tag: _Tag = None,
    workers: Workers = 1,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Replay what a run recorded of its gradients: 0 equal to the last bit, 1 not, 3 not comparable.

    Without --gradients, --recompute or --session: gradients where the record holds all of them, else recompute.
    """
    said = [name for name, on in (("--gradients", gradients), ("--recompute", recompute), ("--session", session)) if on]
    given = {"--from": first, "--to": last, "--save": save, "--top": top, "--tag": tag, "--set": set_ or None}
    _require_one_way(said, step, {**given, "--across": across or None})
    from lockstep import bootstrap
    from lockstep.cli.process import use_numerics_of_run

    # "best" is decided here once: looking for it may load NumPy, and the process may begin again for the numerics.
    name = bootstrap.run_named(_named(run, best), home=home)
    use_numerics_of_run(name, home)
    out = Output(json=json)
    if step is not None:
        view = bootstrap.replay_step(name, step, save=save, across=across, home=home)
        out.result(view.to_json(), _step(view))
        return 0
    if session:
        from lockstep.cli.training import watched

        return watched(
            lambda **ports: bootstrap.replay_session(
                name, top=top, overrides=set_, tag=tag, workers=workers, home=home, **ports
            ),
            out,
            home,
            every_step=verbose,
        )
    return _compared(
        out, name, said, first=first, last=last, check_every=check_every, across=across, workers=workers, home=home
    )


def _compared(out: Output, name: str, said: list[str], **options: Any) -> int:
    from rich.text import Text

    from lockstep import bootstrap
    from lockstep.cli.progress import verify_progress

    mode: Any = said[0][2:] if said else None
    with verify_progress("replaying") as on_step:
        result = bootstrap.replay(name, mode=mode, on_step=on_step, **options)
    out.result(result.to_json(), Text(str(result)))
    return result.exit_code


def _named(run: str | None, best: bool) -> str:
    if run is not None and best:
        raise InputError(f"--best stands for a run; found a run, {run!r}, as well. Leave one of them out.")
    if run is None and not best:
        raise InputError('which run? Name one (its id, the start of it, a tag, "last"), or say --best.')
    return "best" if run is None else run


_BELONGS = {
    "--from": ("--gradients", "--recompute"),
    "--to": ("--gradients", "--recompute"),
    "--across": ("--recompute", "--step"),
    "--save": ("--step",),
    "--top": ("--session",),
    "--tag": ("--session",),
    "--set": ("--session",),
}


def _require_one_way(said: list[str], step: int | None, given: dict[str, Any]) -> None:
    """An option that plays no part would be obeyed in silence otherwise: by doing nothing."""
    ways = [*said, *(["--step"] if step is not None else [])]
    if len(ways) > 1:
        raise InputError(f"a replay goes one way at a time; found {' and '.join(ways)}. Keep one of them.")
    way = ways[0] if ways else None
    for option, value in given.items():
        belongs = _BELONGS[option]
        undecided = way is None and "--recompute" in belongs
        if value is not None and way not in belongs and not undecided:
            raise InputError(f"{option} goes with {' or '.join(belongs)}; found {way or 'neither'}.")


def _step(view: StepView) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from lockstep.cli.page import facts
    from lockstep.reports.words import NOTHING, count, number

    losses = ", ".join(f"{name} {number(value)}" for name, value in view.losses.items())
    clipped = "not clipped" if view.clip == 1.0 else f"scaled by {number(view.clip)} to clip it"
    rows = [
        ("step", f"{count(view.step)} of 0 to {count(view.steps - 1)} of run {view.run_id}"),
        ("loss", losses),
        ("learning rate", number(view.learning_rate)),
        ("gradient norm", f"{number(view.gradient_norm)}, {clipped}"),
        ("value", f"{number(view.value)} (profitability of the batch {number(view.profitability)})"),
        ("samples", _samples(view)),
        ("model state", f"{view.state}; {'checked against the journal' if view.digest else 'no digest to check'}"),
        ("digest", view.digest or NOTHING),
    ]
    if view.saved is not None:
        rows.append(("saved", f"{view.saved} ({count(len(view.arrays))} tensors)"))
    parts: list[RenderableType] = [facts(rows)]
    if view.norms is not None:
        table = Table(box=None, padding=(0, 2), show_edge=False, header_style="bold")
        table.add_column("  parameter", overflow="fold")
        for heading in ("gradient norm", "weight norm", "update norm", "update / weight"):
            table.add_column(heading, justify="right", no_wrap=True)
        for name, found in view.norms.items():
            ratio = NOTHING if found["weight"] == 0.0 else number(found["update"] / found["weight"])
            table.add_row(f"  {name}", *(number(found[kind]) for kind in ("gradient", "weight", "update")), ratio)
        parts += [Text(), table]
    return Group(*parts)


def _samples(view: StepView) -> str:
    if view.samples is None:
        return "not kept at this level"
    shown = ", ".join(str(item) for item in view.samples[:_FEW_SAMPLES])
    more = len(view.samples) - _FEW_SAMPLES
    return f"{len(view.samples)}: {shown}" + (f" and {more} more" if more > 0 else "")
