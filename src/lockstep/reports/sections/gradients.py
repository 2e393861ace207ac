"""Sections on a run that learns by gradients: its value, its losses, and what its gradients did to its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import RefusedError
from lockstep.learning.gradients.overview import Overview
from lockstep.learning.gradients.sessions import load_session
from lockstep.reports.charts import HeatMap, Panel, Panels, Reference, Series
from lockstep.reports.page import Block, Facts, Figure, Section, Table, Text
from lockstep.reports.words import NOTHING, count, counted, number, size
from lockstep.runs import registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.overview import Binned, NormsInBins
    from lockstep.learning.gradients.sessions import TrainingSession
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

    Bins = Mapping[str, Binned]

BINS: Final = 150
"""Points of a line. A noisy loss with more is unreadable; the band shows the range of every step."""
_BEST: Final = 10
_FEW_LAYERS: Final = 7
USUAL_RATIO: Final = 1e-3
"""Update to weight ratio that usually goes with good progress: CS231n notes, "Babysitting the learning process"."""
_KEYS: Final = (
    "session",
    "steps",
    "ended",
    "level",
    "segment_bytes",
    "state",
    "first_loss",
    "last_loss",
    "best_loss",
    "best_step",
    "value",
    "top_quarter",
    "steadiness",
    "profitable",
    "convergence",
    "converged",
)
_BAND: Final = "Where many steps share a point, the line is their mean and the band their range."


def sections(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Facts and figures; no section for a run without a recorded gradient step."""
    try:
        overview = Overview(folder)
    except RefusedError:
        return []
    session = load_session(folder)
    bins, best = overview.steps_and_best(BINS, _BEST)
    x = _middles(overview)
    return [
        _training(overview, session),
        _learning(overview, bins, x),
        _gradients(overview, bins, x),
        _values(overview, bins, x, best, str(result.spec.get("kind"))),
    ]


def keys(summary: Mapping[str, Any]) -> set[str]:
    """Keys of a summary that the sections here show: those of `learning.gradients.step_log.StepLog`."""
    return set(_KEYS) if "session" in summary else set()


def worth(folder: RunFolder, result: TrainResult) -> list[Section]:
    """The facts of a short report, from the summary alone; no section before the run is complete."""
    summary = result.summary
    if not {"session", "steps", "value", "converged"} <= summary.keys():
        return []
    value = f"{summary['value']:.3f}, {'' if summary['converged'] else 'not '}converged"
    losses = [summary.get(f"{name}_loss") for name in ("first", "last", "best")]
    rows = [_steps(summary), ("total loss", _loss(losses, summary)), ("value of the run", value)]
    return [Section(title="Training", blocks=[Facts(rows=rows)])]


def _steps(summary: Mapping[str, Any]) -> tuple[str, str]:
    limited = summary.get("ended") == "max_bytes"
    return ("steps", count(summary["steps"]) + (" (ended at max_bytes)" if limited else ""))


def _loss(losses: Sequence[float | None], summary: Mapping[str, Any]) -> str:
    first, last, best = losses
    if first is None or last is None or best is None:
        return NOTHING
    step = summary.get("best_step")
    place = "" if step is None else f" (step {count(step)})"
    return f"{number(first)} at first, {number(last)} at last, {number(best)} at best{place}"


def _middles(overview: Overview) -> NDArray[np.float64]:
    """The middle step of each bin; steps are counted from 0."""
    edges = overview.edges(BINS)
    middles: NDArray[np.float64] = (edges[:-1] + edges[1:] - 1) / 2.0
    return middles


def _training(overview: Overview, session: TrainingSession) -> Section:
    worth = session.worth
    optimizer = overview.description["optimizer"]
    recording = overview.description["recording"]
    parameters = sum(stop - start for _, _, start, stop in overview.description["layout"]["parameters"])
    rows = [
        _steps({**session.summary, "steps": session.steps}),
        ("total loss", _loss(session.losses or (None, None, None), session.summary)),
        ("value of the run", f"{worth.value:.3f} of 1; `lockstep retrain best` trains on the run of the highest value"),
        ("made of", f"0.5 x {worth.top_quarter:.3f} (mean value of its best quarter of steps) + 0.3 x "
         f"{worth.steadiness:.3f} (steadiness) + 0.2 x {worth.convergence:.3f} (convergence)"),
        ("converged", "yes: the last two spans of ten steps differ by less than 1 %" if worth.converged
         else "no: the last two spans of ten steps still differ by 1 % or more, or there are fewer than twenty"),
        ("model", ", ".join(filter(None, [session.model_name, f"{count(parameters)} trained parameters in "
         f"{counted(len(overview.parameters), 'tensor')}"]))),
        ("optimiser", f"{optimizer['name']} ({optimizer['form']}), weight decay {number(optimizer['weight_decay'])}"),
        ("recorded", f"{_record_words(session, recording)}; {size(session.bytes)} on disk"),
        ("replay", _replay_command(session, recording)),
    ]  # fmt: skip
    if session.replayed_from is not None:
        rows.insert(1, ("retrained on", f"the batches of {session.replayed_from}"))
    return Section(title="Training", blocks=[Facts(rows=rows)])


def _record_words(session: TrainingSession, recording: Mapping[str, Any]) -> str:
    """What the record holds of each step, in words."""
    if recording["level"] != "full":
        return f"level {recording['level']}"
    words = (
        f"level full, gradients of every {_ordinal(recording['every'])}step, whole states every "
        f"{count(recording['snapshot_every'])} steps"
    )
    return words + ("" if session.level == "full" else "; at max_bytes it fell to level norms")


def _ordinal(every: int) -> str:
    return "" if every == 1 else f"{every}. "


def _replay_command(session: TrainingSession, recording: Mapping[str, Any]) -> str:
    whole = session.level == "full" and recording["every"] == 1 and "*" in recording["select"]
    return f"lockstep replay {session.session_id} {'--gradients' if whole else '--recompute'}"


def _learning(overview: Overview, bins: Bins, x: NDArray[np.float64]) -> Section:
    losses = {name.removeprefix("loss."): bins[name] for name in bins if name.startswith("loss.")}
    order = ["total", *sorted(set(losses) - {"total"})]
    low = min(float(binned.low.min()) for binned in losses.values())
    high = max(float(binned.high.max()) for binned in losses.values())
    total = losses["total"]
    lowest = int(total.low.argmin())
    figure = Figure(
        name="loss",
        title="Loss and its parts" if len(order) > 1 else "Loss",
        alt=(
            f"Total loss over {counted(overview.steps, 'step')}: {number(float(total.mean[0]))} at first, "
            f"{number(float(total.mean[-1]))} at last, lowest {number(float(total.low.min()))} near step "
            f"{count(int(x[lowest]))}."
        ),
        chart=Panels(
            panels=[
                Panel(
                    series=[_series(name, x, losses[name], band=name == "total") for name in order],
                    y_label="loss (log scale)" if _spans(low, high) else "loss",
                    log=_spans(low, high),
                )
            ]
        ),
        text=f"Of each batch, on training samples. Parts are not weighted; the total is their weighted sum. {_BAND}",
    )
    rate, clip = bins["learning_rate"], bins["clip"]
    clipped = float((clip.mean < 1.0).mean())
    panels = [
        Panel(
            series=[_series("learning rate", x, rate, band=False)],
            y_label="learning rate",
            y_range=(0.0, 1.1 * float(rate.high.max()) or 1.0),
        ),
        Panel(
            series=[_series("factor", x, clip)],
            y_label="clip factor",
            y_range=(min(0.0, float(clip.low.min())), 1.05),
        ),
    ]
    constant = float(rate.low.min()) == float(rate.high.max())
    rate_words = (
        f"constant at {number(float(rate.mean[0]))}"
        if constant
        else (f"from {number(float(rate.mean[0]))} to {number(float(rate.mean[-1]))}")
    )
    lowest_factor = float(clip.low.min())
    clip_words = (
        "gradients were never clipped"
        if lowest_factor == 1.0
        else f"gradients were clipped in {100 * clipped:.0f} % of the spans shown, the lowest "
        f"factor is {number(lowest_factor)}"
    )
    rates = Figure(
        name="learning-rate",
        title="Learning rate and clipping",
        alt=f"Learning rate {rate_words}; {clip_words}.",
        chart=Panels(panels=panels),
        text="The factor is what a gradient was scaled by to keep its norm within clip_norm: 1 means that it was not.",
    )  # fmt: skip
    return Section(title="Learning", blocks=[figure, rates])


def _gradients(overview: Overview, bins: Bins, x: NDArray[np.float64]) -> Section:
    norm = bins["gradient_norm"]
    whole = Figure(
        name="gradient-norm",
        title="Norm of the whole gradient",
        alt=(
            f"Norm of the gradient before clipping, {number(float(norm.low.min()))} to "
            f"{number(float(norm.high.max()))}, {number(float(norm.mean[-1]))} at last."
        ),
        chart=Panels(
            panels=[Panel(series=[_series("all parameters", x, norm)], y_label="L2 norm (log scale)", log=True)]
        ),
        text=f"Before clipping. {_BAND}",
    )
    norms = overview.norms_in_bins(BINS)
    if norms is None:
        missing = 'Recorded at level "none": norms of each layer were not kept. Train with recording.level = "norms".'
        return Section(title="Gradients", blocks=[whole, Text(text=missing, tone="note")])
    return Section(title="Gradients", blocks=[whole, _by_layer(overview, norms), *_ratios(overview, norms, x)])


def _by_layer(overview: Overview, norms: NormsInBins) -> Figure:
    means = {name: float(binned.mean.mean()) for name, binned in norms.gradient.items()}
    weak, strong = min(means, key=lambda name: means[name]), max(means, key=lambda name: means[name])
    return Figure(
        name="gradient-layers",
        title="Gradient norm by layer",
        alt=(
            f"Heat map of {counted(len(means), 'layer')} over {counted(overview.steps, 'step')}. Largest on the mean: "
            f"{strong}, {number(means[strong])}; smallest: {weak}, {number(means[weak])}."
        ),
        chart=HeatMap(
            rows=list(norms.gradient),
            edges=overview.edges(BINS).astype(np.float64),
            values=np.stack([binned.mean for binned in norms.gradient.values()]),
            label="L2 norm of the gradient as applied, log scale",
        ),
        text=(
            "Input at the top, output at the bottom. A row that fades towards the input is a vanishing gradient, one "
            "that brightens towards the end an exploding one; grey is exactly zero."
        ),
    )


def _ratios(overview: Overview, norms: NormsInBins, x: NDArray[np.float64]) -> list[Block]:
    usual = Reference(name="usual, 0.001", value=USUAL_RATIO)
    # Weights of zero, as biases have at the start, make infinite ratios; they are left out of the means.
    with np.errstate(all="ignore"):
        means = {
            name: float(np.nanmean(item.mean)) for name, item in norms.ratio.items() if np.isfinite(item.mean).any()
        }
    if not means:
        return [Text(text="All weights are zero: there is no ratio of updates to weights.", tone="note")]
    slow, fast = min(means, key=lambda name: means[name]), max(means, key=lambda name: means[name])
    alt = (
        f"Update to weight ratio by layer, log scale, beside the usual 0.001. Largest on the mean: {fast}, "
        f"{number(means[fast])}; smallest: {slow}, {number(means[slow])}."
    )
    text = (
        "How far a step moves a layer, as a share of its weights. About 0.001 is usual; far above it the learning rate "
        "may be too high for the layer, far below the layer hardly learns."
    )
    if len(norms.ratio) <= _FEW_LAYERS:
        lines = [_series(name, x, item, band=False) for name, item in norms.ratio.items() if name in means]
        panel = Panel(series=lines, y_label="update / weight (log scale)", log=True, references=[usual])
        return [
            Figure(
                name="update-ratio", title="Update to weight ratio", alt=alt, chart=Panels(panels=[panel]), text=text
            )
        ]
    chart = HeatMap(
        rows=list(norms.ratio),
        edges=overview.edges(BINS).astype(np.float64),
        values=np.stack([item.mean for item in norms.ratio.values()]),
        label="update / weight, log scale, 0.001 in the middle",
        centre=USUAL_RATIO,
    )
    return [Figure(name="update-ratio", title="Update to weight ratio", alt=alt, chart=chart, text=text)]


def _values(overview: Overview, bins: Bins, x: NDArray[np.float64], best: list[dict[str, float]], kind: str) -> Section:
    value = bins["value"]
    panels = [Panel(series=[_series("step value", x, value)], y_label="step value", y_range=(0.0, 1.0))]
    gained = float(bins["profitability"].high.max()) > 0.0 or float(bins["profitable"].high.max()) > 0.0
    if gained:
        shares = [
            _series("profitability", x, bins["profitability"], band=False),
            _series("profitable share", x, bins["profitable"], band=False),
        ]
        panels.append(Panel(series=shares, y_label="share", y_range=(0.0, 1.05)))
    figure = Figure(
        name="values",
        title="Value and profitability of steps",
        alt=f"Step values between {number(float(value.low.min()))} and {number(float(value.high.max()))}, "
        f"{number(float(value.mean.mean()))} on the mean.",
        chart=Panels(panels=panels),
        text="The value says how much there is to learn from a step again: half the mean profitability of its batch, "
        f".3 of the relative fall of the loss, .2 of how large its gradient was in this run. {_BAND}",
    )  # fmt: skip
    blocks: list[Block] = [figure]
    if not gained:
        blocks.append(Text(text="No batch of this run has a known profit.", tone="note"))
    rows = [
        (
            count(int(row["step"])),
            f"{row['value']:.3f}",
            number(row["loss.total"]),
            number(row["gradient_norm"]),
            f"{row['profitability']:.3f}",
            f"{row['profitable']:.3f}",
        )
        for row in best
    ]
    header = ("step", "value", "total loss", "gradient norm", "profitability", "profitable share")
    blocks.append(Table(caption="The most valuable steps", header=header, rows=rows))
    again = f"lockstep retrain {overview.folder.path.name} --top {min(100, overview.steps)}"
    if overview.level != "none" and hasattr(registry.get(kind), "sample_keys"):
        blocks.append(Text(text=f"To train on the most valuable steps again: {again}", tone="note"))
    return Section(title="What it was worth", blocks=blocks)


def _series(name: str, x: NDArray[np.float64], binned: Binned, *, band: bool = True) -> Series:
    shared = band and bool((binned.low != binned.high).any())
    return Series(
        name=name, x=x, y=binned.mean, low=binned.low if shared else None, high=binned.high if shared else None
    )


def _spans(low: float, high: float) -> bool:
    """Whether the y axis is logarithmic: parts of a loss often lie decades apart."""
    return low > 0.0 and high / low > 50.0
