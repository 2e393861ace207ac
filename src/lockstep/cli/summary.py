"""Reports for people: what was trained on what, how good it was beside doing nothing clever, and how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from lockstep.cli import report_cnn, report_replay_agent
from lockstep.cli.pieces import facts, luck, metrics_table
from lockstep.cli.words import NOTHING, count, counted, duration, metric, number, parameter, size

if TYPE_CHECKING:
    from lockstep.app.backtest import BacktestReport
    from lockstep.app.diff import DiffReport
    from lockstep.app.estimate import EstimateReport
    from lockstep.app.runs_admin import CheckResult
    from lockstep.app.verify import VerifyResult
    from lockstep.runs.results import TrainResult


def trained(result: TrainResult) -> RenderableType:
    """The report of a training, complete or not."""
    parts: list[RenderableType] = [Text(), facts(_head(result))]
    if result.best is not None:
        parts += [Text(), Text("best parameters"), facts(_parameters(result))]
        baselines = result.summary.get("baselines", {})
        parts += [Text(), metrics_table("best", result.best.metrics, _hold(baselines))]
        parts += [Text(line) for line in (*luck(baselines), *_bounds(result.summary.get("bounds", {})))]
        parts += [Text(line) for line in _holdout(result.summary)]
    if result.summary and result.spec.get("kind") == "cnn":
        parts += report_cnn.body(result.summary)
    if result.summary and result.spec.get("kind") == "replay-agent":
        parts += report_replay_agent.body(result.summary)
    if result.alarm is not None:
        parts += [Text(), Text(f"ALARM: {result.alarm}", style="bold red")]
    parts += [Text(f"note: {line}") for line in result.notes]
    parts += [Text(), Text("to repeat this"), facts(_repeat(result))]
    if result.status == "complete" and "strategy" in result.summary:
        parts += [Text(), Text("verdict: not judged yet (the best of many trials always looks good)")]
    return Group(*parts)


def estimated(report: EstimateReport) -> RenderableType:
    """What a training would take, beside what there is."""
    told, short = report.estimate, report.shortages()
    rows = [
        ("kind", report.kind),
        ("steps", NOTHING if told.steps is None else count(told.steps)),
        ("time", NOTHING if told.seconds is None else f"about {duration(told.seconds)} on one core"),
        ("memory", _beside(told.memory_bytes, report.memory_free, "memory" in short)),
        ("disk", _beside(told.disk_bytes, report.disk_free, "disk" in short)),
    ]
    return Group(*map(Text, report.notes), facts(rows), Text("no run was made"))


def _beside(wanted: int | None, free: int | None, short: bool) -> str:
    text = NOTHING if wanted is None else size(wanted)
    there = "" if free is None else f" ({size(free)} free here)"
    return f"{text}{there}{', TOO LITTLE' if short else ''}"


def _head(result: TrainResult) -> list[tuple[str, str]]:
    found = result.summary.get("data", {})
    market = " ".join(str(found[key]) for key in ("exchange", "symbol", "timeframe") if found.get(key))
    rows = [("run", f"{result.run_id} ({', '.join([result.status, *result.tags])})")]
    if result.summary and result.spec.get("kind") == "cnn":
        return [*rows, *report_cnn.head(result.spec, result.summary)]
    if result.summary and result.spec.get("kind") == "replay-agent":
        return [*rows, *report_replay_agent.head(result.spec, result.summary)]
    if result.spec.get("kind", "strategy") != "strategy":
        return [*rows, ("kind", str(result.spec["kind"])), *_plain(result.summary)]
    if result.summary:
        strategy = result.summary["strategy"]["name"]
        rows.append(("strategy", f"{strategy}, searched by {result.spec['search']['optimizer']}"))
        rows.append(("data", f"{market}, {found['start']} to {found['end']}"))
        searched, held_out = count(found["search_bars"]), count(found["holdout_bars"])
        rows.append(("bars", f"{searched} searched, {held_out} held out"))
        rows.append(
            (
                "quality",
                f"{number(found['quality_score'])} of 100; {counted(found['gaps'], 'gap')}, "
                f"{counted(found['bars_missing'], 'bar')} missing, never filled",
            )
        )
    rows.append(("trials", _trials(result)))
    return rows


def _plain(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a kind without a report of its own says about its result: a row per key, a level deep."""
    rows = []
    for name, value in summary.items():
        pairs = value.items() if isinstance(value, Mapping) else [("", value)]
        told = [f"{key} {_figure(item)}".strip() for key, item in pairs if isinstance(item, str | int | float)]
        if told:
            rows.append((name.replace("_", " "), ", ".join(told).replace("_", " ")))
    return rows


def _figure(value: str | float) -> str:
    if isinstance(value, str | bool):
        return str(value)
    return count(value) if isinstance(value, int) else f"{value:.4g}"


def _trials(result: TrainResult) -> str:
    total, valid = result.trial_counts["total"], result.trial_counts["valid"]
    causes = result.summary.get("trials", {}).get("invalid", {})
    named = ", ".join(f"{count(found)} {cause.replace('_', ' ')}" for cause, found in causes.items() if found)
    return f"{count(total)}, of which {count(valid)} valid" + (f" ({named})" if named else "")


def _parameters(result: TrainResult) -> list[tuple[str, str]]:
    best = result.best
    if best is None:
        return []
    searched = result.summary.get("best", {}).get("searched", best.parameters)
    return [
        (name, parameter(value) + ("" if name in searched else " (fixed)")) for name, value in best.parameters.items()
    ]


def _hold(baselines: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    hold = baselines.get("buy_and_hold")
    return {"buy and hold": hold} if hold else {}


def _bounds(bounds: Mapping[str, Any]) -> list[str]:
    """What the order of stop and target inside a bar could change."""
    lines = []
    if bounds.get("ambiguous_trades"):
        worst, best = (metric("net_profit_pct", bounds[f"net_profit_{end}_pct"]) for end in ("worst", "best"))
        lines.append(
            f"  {counted(bounds['ambiguous_trades'], 'trade')} touched stop and target in one bar: net profit is "
            f"{worst} to {best}, by which came first"
        )
    elif "ambiguous_trades" in bounds:
        lines.append("  no trade touched stop and target in one bar: their order changes nothing")
    return lines


def _holdout(summary: Mapping[str, Any]) -> list[str]:
    found = summary.get("holdout")
    if not found:
        return []
    values = {name: metric(name, found["metrics"][name]) for name in ("net_profit_pct", "sharpe_ratio")}
    hold = metric("net_profit_pct", found["buy_and_hold"]["net_profit_pct"])
    return [
        f"  held out, {count(found['bars'])} bars from {found['start']}, never searched:",
        f"    net profit {values['net_profit_pct']} in {counted(found['metrics']['total_trades'], 'trade')}, "
        f"Sharpe ratio {values['sharpe_ratio']}; buy and hold {hold}",
    ]


def _repeat(result: TrainResult) -> list[tuple[str, str]]:
    rows = [
        ("seed", str(result.seed)),
        ("fingerprint", result.fingerprint),
        ("data", result.data_hash or NOTHING),
        ("journal", result.journal_hash or NOTHING),
    ]
    command = "verify" if result.status == "complete" else "resume"
    rows.append(("command", f"lockstep {command} {result.run_id}"))
    return rows


def verified(result: VerifyResult) -> RenderableType:
    """What a repetition came to."""
    return Text(result.text())


def compared(report: DiffReport) -> RenderableType:
    """What differs between two runs."""
    return Text(report.text())


def checked(report: CheckResult) -> RenderableType:
    """Whether every byte is the one that was written."""
    return Text(report.text())


def backtested(report: BacktestReport) -> RenderableType:
    """One backtest beside its baselines."""
    parameters = ", ".join(f"{name}={parameter(value)}" for name, value in report.result.parameters.items())
    rows = [
        ("strategy", report.result.strategy),
        ("data", f"{report.market}, {report.span}, {count(report.bars)} bars"),
        ("parameters", parameters),
    ]
    baselines = {"buy_and_hold": report.buy_and_hold, "random_entries": report.random_entries}
    parts: list[RenderableType] = [facts(rows), Text(), metrics_table("value", report.metrics, _hold(baselines))]
    parts += [Text(line) for line in (*luck(baselines), *_bounds(report.metrics))]
    if report.trial is not None:
        parts.append(Text(f"  equal to trial {report.trial} of run {report.run_id} in every metric, to the last bit"))
    parts += [Text(f"note: {note}") for note in report.notes]
    return Group(*parts)
