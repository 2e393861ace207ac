"""Sections on a parameter search: the best trial beside its baselines, its equity, and the objective over trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import IntegrityError
from lockstep.engine.renamed import under_present_names
from lockstep.engine.report import capped_in_words
from lockstep.reports.charts import Panel, Panels, Series, times
from lockstep.reports.page import Block, Facts, Figure, Section, Table, Text
from lockstep.reports.words import METRICS, count, counted, instant, metric, number, parameter, plain_name
from lockstep.runs.results import TRIALS, is_of_trials
from lockstep.runs.sealed import require_sealed, sealed_bytes
from lockstep.search.objective import Cause
from lockstep.storage.segments import SegmentReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

    Array = NDArray[np.float64]

BINS: Final = 400
TITLE: Final = "The best trial"
_EQUITY: Final = "best_equity.csv"


def strategy_facts(result: TrainResult) -> list[tuple[str, str]]:
    """Rows: the strategy, the proposer, and the objective."""
    strategy, objective = result.summary.get("strategy"), result.summary.get("objective")
    rows = []
    if isinstance(strategy, Mapping) and "name" in strategy:
        optimizer = result.spec.get("search", {}).get("optimizer")
        rows.append(("strategy", strategy["name"] + (f", searched by {optimizer}" if optimizer else "")))
    if isinstance(objective, Mapping) and "name" in objective:
        rules = [f"{objective.get('direction', '')} {objective['name']}".strip(), *objective.get("constraints", ())]
        if objective.get("min_trades"):
            rules.append(f"at least {counted(objective['min_trades'], 'trade')}")
        rows.append(("objective", "; ".join(rules)))
    return rows


def trial_facts(result: TrainResult) -> list[tuple[str, str]]:
    """A row: the number of trials, how many draws repeated one, how many are valid, and why the others are not."""
    if result.search is None:
        return []
    total, valid = result.search.counts["total"], result.search.counts["valid"]
    trials = result.summary.get("trials", {})
    names = _causes(trials.get("invalid", {}))
    repeated = trials.get("duplicates") or 0
    text = count(total)
    if repeated:
        text += f" of {count(total + repeated)} drawn ({counted(repeated, 'duplicate')})"
    return [("trials", f"{text}, of which {count(valid)} valid" + (f" ({names})" if names else ""))]


def _causes(invalid: Mapping[str, int]) -> str:
    return ", ".join(f"{count(trials)} {plain_name(cause)}" for cause, trials in invalid.items() if trials)


def keys(summary: Mapping[str, Any]) -> set[str]:
    """Keys of a summary that the sections and facts here show."""
    if "best" not in summary:
        return set()
    return {"best", "baselines", "curve_metrics", "holdout", "blocks", "bounds", "look_ahead", "objective", "trials"}


def sections(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Parameters and metrics of the best trial beside its baselines; no section for a run without a best trial."""
    best = result.best
    if best is None:
        return []
    summary = result.summary
    searched = summary.get("best", {}).get("searched", best.parameters)
    parameters = [
        (name, parameter(value) + ("" if name in searched else " (fixed)")) for name, value in best.parameters.items()
    ]
    baselines, holdout = summary.get("baselines") or {}, summary.get("holdout") or {}
    of_curve = summary.get("curve_metrics") or {}

    def whole(metrics: Mapping[str, Any] | None, name: str) -> dict[str, Any]:
        return {**under_present_names(metrics or {}), **of_curve.get(name, {})}

    columns = {
        "best trial": whole(best.metrics, "best"),
        "buy and hold": whole(baselines.get("buy_and_hold"), "buy_and_hold"),
    }
    if holdout:
        columns |= {
            "held-out bars": whole(holdout["metrics"], "holdout"),
            "buy and hold there": whole(holdout["buy_and_hold"], "holdout_buy_and_hold"),
        }
    blocks: list[Block] = [
        Table(
            caption=f"Parameters of trial {count(best.index)}",
            header=("parameter", "value"),
            rows=parameters,
            numbers=False,
        ),
        metrics_table("Result, beside what had to be beaten", columns),
        *luck(baselines.get("random_entries")),
        *order_in_a_bar(summary.get("bounds") or {}),
        *_capped(result),
    ]
    if holdout:
        text = f"Held out: {counted(holdout['bars'], 'bar')} from {holdout['start']}, which the search never saw."
        blocks.append(Text(text=text, tone="note"))
    return [Section(title=TITLE, blocks=blocks)]


def _capped(result: TrainResult) -> list[Block]:
    """That the capital capped the size of the best trial's trades; no block where it did not."""
    metrics = result.best.metrics if result.best is not None else {}
    risk = result.spec.get("execution", {}).get("risk_per_trade")
    if risk is None:
        return []
    text = capped_in_words(metrics.get("capped_trades"), metrics.get("total_trades"), risk)
    return [] if text is None else [Text(text=text, tone="note")]


def _look_ahead(asked: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What is known of the winner reading the future; runs of earlier releases do not say."""
    if asked is None:
        return []
    if not asked["questions"]:
        return [("look-ahead", "a built-in rule: asked by the tests of this release")]
    return [("look-ahead", f"{count(asked['questions'])} questions to the winner, no decision read the future")]


def metrics_table(caption: str, columns: Mapping[str, Mapping[str, Any] | None], *, brief: bool = True) -> Table:
    """Metrics in words, one column for each mapping that is not empty; the first has the rows."""
    shown = {name: under_present_names(values) for name, values in columns.items() if values}
    first = next(iter(shown.values()), {})
    rows = [
        (label, *(metric(name, values[name]) if name in values else "" for values in shown.values()))
        for name, (label, _) in METRICS.items()
        if name in first
    ]
    return Table(caption=caption, header=("", *shown), rows=rows, brief=brief)


def luck(random_entries: Mapping[str, Any] | None) -> list[Block]:
    """Where a result stands among the same trades at random times; no block without a trade."""
    if not random_entries:
        return []
    rows = []
    for name, label in (("net_profit_pct", "net profit"), ("sharpe_ratio", "Sharpe ratio")):
        values = random_entries[name]
        if values["percentile"] is not None:
            span = f"{metric(name, values['p05'])} to {metric(name, values['p95'])}"
            rows.append((label, f"{values['percentile']:.1f} % of them", span))
    if not rows:
        return []
    draws = counted(random_entries["draws"], "draw")
    caption = f"Random entries: {draws} of the same trades at other times"
    return [Table(caption=caption, header=("", "is above", "90 % of the random draws"), rows=rows)]


def order_in_a_bar(bounds: Mapping[str, Any]) -> list[Block]:
    """How net profit depends on the order of stop and target in the bars that touch both."""
    if "ambiguous_trades" not in bounds:
        return []
    if not bounds["ambiguous_trades"]:
        return [Text(text="No trade touched stop and target in one bar: their order changes nothing.")]
    worst, best = (metric("net_profit_pct", bounds[f"net_profit_{end}_pct"]) for end in ("worst", "best"))
    trades = counted(bounds["ambiguous_trades"], "trade")
    text = f"{trades} touched stop and target in one bar: net profit is {worst} to {best}, by which came first."
    return [Text(text=text)]


def figures(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Equity of the best trial, and the objective over trials, as far as the run has their data."""
    equity = sealed_bytes(folder, f"artifacts/{_EQUITY}")
    parts = []
    if equity is not None:
        parts.append(Section(title=TITLE, blocks=[_equity(_EQUITY, equity)]))
    require_sealed(folder, is_of_trials)
    if TRIALS in SegmentReader(folder.segments).names():
        parts.append(_trials(folder, result))
    return parts


def _equity(name: str, data: bytes) -> Figure:
    """Equity at each close, and how far it is below its highest value before, in percent."""
    lines = data.decode().splitlines()
    if not lines or lines[0] != "timestamp,equity":
        raise IntegrityError(
            f"{name}: not the equity curve that a search leaves. `lockstep runs check` names the damage."
        )
    rows = np.array([line.split(",") for line in lines[1:]], dtype=np.float64).reshape(-1, 2)
    timestamp, equity = rows[:, 0], rows[:, 1]
    peak = np.maximum.accumulate(equity)
    # A peak of 0 or less is ruin: a fall from it has no meaning as a share.
    fall = np.divide(100.0 * (equity - peak), peak, out=np.zeros_like(equity), where=peak > 0.0)
    panels = [
        Panel(series=[_binned("equity", timestamp, equity)], y_label="equity", x_label="time (UTC)", x_kind="time"),
        Panel(series=[_binned("fall", timestamp, fall)], y_label="below peak, %", x_label="time (UTC)", x_kind="time"),
    ]
    first, last = (instant(int(timestamp[place])) for place in (0, -1))
    return Figure(
        name="equity",
        title="Equity of the best trial",
        alt=(
            f"Equity from {number(float(equity[0]))} to {number(float(equity[-1]))} between {first} and {last}; "
            f"max drawdown {number(float(fall.min()))} %."
        ),
        chart=Panels(panels=panels),
        text=_judgement(equity),
    )


def _judgement(equity: Array) -> str:
    where = "At bar closes, on the bars that were searched: "
    if equity[-1] < equity[0]:
        return f"{where}even the best of the trials lost money on them."
    return f"{where}the best of many trials looks better here than it is."


def _binned(name: str, timestamp: Array, values: Array) -> Series:
    count_ = min(len(values), BINS)
    starts = np.arange(count_) * len(values) // count_
    ends = np.append(starts[1:], len(values)) - 1
    # The last value of each bin, not its mean: the line ends at the final equity.
    return Series(
        name=name,
        x=times(timestamp[ends]),
        y=values[ends],
        low=np.minimum.reduceat(values, starts),
        high=np.maximum.reduceat(values, starts),
    )


def _trials(folder: RunFolder, result: TrainResult) -> Section:
    objective = result.summary.get("objective", {})
    name = objective.get("name") or result.spec.get("search", {}).get("objective") or "objective"
    sign = -1.0 if objective.get("direction") == "minimize" else 1.0
    columns = SegmentReader(folder.segments).read(TRIALS, ["objective", "cause"])
    values, causes = columns["objective"].astype(np.float64), columns["cause"]
    # A trial that may not win is not shown: the best so far is the best of those that may.
    defined = np.isfinite(values) & (causes == Cause.VALID)
    left_out = Counter(Cause(int(code)).label for code in causes[~defined])
    text = f"{count(int(defined.sum()))} of {count(len(values))} drawn"
    if left_out:
        text += f"; {count(left_out.total())} invalid ({', '.join(plain_name(name) for name in sorted(left_out))})"
    facts = Facts(rows=[("trials", text), *_look_ahead(result.summary.get("look_ahead"))])
    if not defined.any():
        return Section(title="Trials", blocks=[facts])
    place, scores = np.flatnonzero(defined).astype(np.float64), values[defined]
    # The sign makes a minimum a maximum, so that one accumulation serves both directions.
    best = sign * np.maximum.accumulate(sign * scores)
    bins = min(len(scores), BINS)
    starts = np.arange(bins) * len(scores) // bins
    ends = np.append(starts[1:], len(scores)) - 1
    middle = np.add.reduceat(scores, starts) / np.diff(np.append(starts, len(scores)))
    shared = len(scores) > bins
    each = Series(
        name="mean of neighbouring trials" if shared else "trial",
        x=place[(starts + ends) // 2],
        y=middle,
        low=np.minimum.reduceat(scores, starts) if shared else None,
        high=np.maximum.reduceat(scores, starts) if shared else None,
        marks=not shared,
    )
    so_far = Series(name="best so far", x=place[ends], y=best[ends])
    label = plain_name(str(name))
    figure = Figure(
        name="trials",
        title="Objective over trials",
        alt=(
            f"{label} of {counted(len(scores), 'trial')}: best {number(float(best[-1]))}, mean "
            f"{number(float(scores.mean()))}."
        ),
        chart=Panels(panels=[Panel(series=[each, so_far], y_label=label, x_label="trial")]),
        text=f"{text}.",
    )
    return Section(title="Trials", blocks=[facts, figure])
