"""`lockstep replay`, `retrain` and `step`: repeat recorded gradients, train a new run on them, look at one step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lockstep.cli.consent import consent
from lockstep.cli.options import Home, Json, RecordedRun, RunImportedCode, SetModel, Tag, Verbose, Workers
from lockstep.cli.output import Output
from lockstep.core.errors import InputError
from lockstep.reports.words import NOTHING, count, number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lockstep.app.replay import Mode
    from lockstep.app.step import StepView

_FEW_SAMPLES = 12
_Across = Annotated[bool, typer.Option("--across", help="Compute even where code or numerics differ from the run's.")]


def replay(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help='A run: its id, a tag, "last", or "best", the gradient training of the highest value.'
        ),
    ] = None,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Apply the stored gradients: no model, no data, many times faster.")
    ] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Compute the steps again; name the first tensor that differs.")
    ] = False,
    best: Annotated[bool, typer.Option("--best", help='The same as RUN = "best".')] = False,
    first: Annotated[
        int | None, typer.Option("--from", metavar="STEP", help="First step to replay, counted from 0.")
    ] = None,
    last: Annotated[int | None, typer.Option("--to", metavar="STEP", help="Last step to replay, included.")] = None,
    check_every: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="When applying gradients, compare every N-th state with the journal."),
    ] = 1_000,
    across: _Across = False,
    run_imported_code: RunImportedCode = False,
    workers: Workers = 1,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Replay the gradients that a run recorded: 0 equal to the last bit, 1 not, 3 not comparable.

    Without --gradients or --recompute: gradients where the record holds all of them, else recompute.
    """
    name, mode = _named(run, best), _mode(gradients, recompute, across)
    from lockstep.bootstrap import place
    from lockstep.cli.process import looked_up

    here = place(home)
    folder = looked_up(name, here)
    from rich.text import Text

    from lockstep.app.replay import Span
    from lockstep.app.replay import replay as use_case
    from lockstep.cli.progress import verify_progress

    span = Span(first=first, last=last)
    # Stored gradients are applied without any code of the run.
    trust = mode != "gradients" and consent(folder, flag=run_imported_code)
    with verify_progress("replaying") as on_step, here.context(workers) as context:
        result = use_case(
            folder,
            context,
            mode=mode,
            span=span,
            check_every=check_every,
            across=across,
            trust=trust,
            on_step=on_step,
        )
    Output(json=json).result(result.to_json(), Text(str(result)))
    return result.exit_code


def _named(run: str | None, best: bool) -> str:
    if run is not None and best:
        raise InputError(f"--best stands for a run; found a run, {run!r}, as well. Leave one of them out.")
    if run is None and not best:
        raise InputError('which run? Name one (its id, the start of it, a tag, "last"), or say --best.')
    return "best" if run is None else run


def _mode(gradients: bool, recompute: bool, across: bool) -> Mode | None:
    if gradients and recompute:
        raise InputError("a replay goes one way at a time; found --gradients and --recompute. Keep one of them.")
    if gradients and across:
        # Accepted in silence, it would do nothing.
        raise InputError("--across is about computing again; found --gradients, which computes nothing. Leave one out.")
    return "gradients" if gradients else "recompute" if recompute else None


def retrain(
    run: RecordedRun,
    set_: SetModel,
    top: Annotated[int | None, typer.Option("--top", metavar="N", help="Only the N most valuable steps.")] = None,
    tag: Tag = None,
    run_imported_code: RunImportedCode = False,
    workers: Workers = 1,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> int:
    """Train a new run on the recorded batches of another; --set changes the model, never the samples.

    Ctrl-C stops at the next step with a checkpoint, as in `lockstep train`.
    """
    from lockstep.bootstrap import place
    from lockstep.cli.process import looked_up
    from lockstep.cli.training import watched

    here = place(home)
    folder = looked_up(run, here)
    from lockstep.app.retrain import retrain as use_case

    trust = consent(folder, flag=run_imported_code)
    return watched(
        lambda ports: use_case(folder, ports, top=top, overrides=set_, tag=tag, base=Path(), trust=trust),
        here,
        Output(json=json),
        workers=workers,
        every_step=verbose,
    )


def step(
    run: RecordedRun,
    number: Annotated[int, typer.Argument(metavar="N", help="The step, counted from 0; -1 is the last.")],
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Write model state and gradients to a .safetensors file."),
    ] = None,
    across: _Across = False,
    run_imported_code: RunImportedCode = False,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show one recorded step, and the model as it was after it, checked against the journal."""
    from lockstep.bootstrap import place
    from lockstep.cli.process import looked_up

    here = place(home)
    folder = looked_up(run, here)
    from lockstep.app.step import step as use_case

    trust = consent(folder, flag=run_imported_code)
    with here.context() as context:
        view = use_case(folder, number, context, save=save, across=across, trust=trust)
    Output(json=json).result(view.to_json(), _step(view))


def _step(view: StepView) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from lockstep.cli.page import Columns, facts
    from lockstep.reports.page import Table

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
        header = ("parameter", "gradient norm", "weight norm", "update norm", "update / weight")
        lines = [(name, *_norms(norms)) for name, norms in view.norms.items()]
        table = Table(caption="Norms", header=header, rows=lines)
        parts += [Text(), Padding(Columns(table), (0, 0, 0, 2))]
    return Group(*parts)


def _norms(norms: Mapping[str, float]) -> list[str]:
    ratio = NOTHING if norms["weight"] == 0.0 else number(norms["update"] / norms["weight"])
    return [*(number(norms[kind]) for kind in ("gradient", "weight", "update")), ratio]


def _samples(view: StepView) -> str:
    if view.samples is None:
        return "not kept at this level"
    shown = ", ".join(str(item) for item in view.samples[:_FEW_SAMPLES])
    more = len(view.samples) - _FEW_SAMPLES
    return f"{len(view.samples)}: {shown}" + (f" and {more} more" if more > 0 else "")
