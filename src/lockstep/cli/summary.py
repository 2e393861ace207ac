"""Reports for people: a run by the sections that it has, other results line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.text import Text

from lockstep.cli.page import blocks_text, facts, page_text
from lockstep.reports.words import NOTHING, count, duration, parameter, size

if TYPE_CHECKING:
    from lockstep.app.backtest import BacktestReport
    from lockstep.app.diff import DiffReport
    from lockstep.app.estimate import EstimateReport
    from lockstep.app.runs_admin import CheckResult
    from lockstep.app.verify import VerifyResult
    from lockstep.runs.archive import Contents
    from lockstep.runs.results import TrainResult


_WORTH_SAYING_S: Final = 0.05
"""Seconds below which a part of an estimate is left out."""


def trained(result: TrainResult) -> RenderableType:
    """The short report of a run, complete or not, from its record."""
    from lockstep.reports.gather import brief
    from lockstep.runs.folder import RunFolder

    return page_text(brief(RunFolder(result.folder), result))


def left_alone(result: TrainResult) -> RenderableType:
    """One line about a run that was complete before the command, and its alarm where it has one."""
    line = Text(
        f"run {result.run_id} was complete already: nothing was computed. Its report: "
        f"lockstep runs show {result.run_id}"
    )
    return line if result.alarm is None else Group(line, Text(f"ALARM: {result.alarm}", style="bold red"))


def estimated(report: EstimateReport) -> RenderableType:
    """What a training would take, beside the memory and disk that are free."""
    estimate, short = report.estimate, report.shortages()
    rows = [
        ("kind", report.kind),
        ("steps", NOTHING if estimate.steps is None else count(estimate.steps)),
        *_times(report),
        ("memory", _beside(estimate.memory_bytes, report.memory_free, "memory" in short)),
        ("disk", _beside(estimate.disk_bytes, report.disk_free, "disk" in short)),
    ]
    return Group(*map(Text, report.notes), facts(rows), Text("no run was made"))


def _times(report: EstimateReport) -> list[tuple[str, str]]:
    """Rows: time as a person waits, and processor time by what it is for."""
    estimate, cpu = report.estimate, report.cpu_seconds
    if estimate.seconds is None:
        return [("time", NOTHING)]
    before = report.preparation.wall
    after = f", after {duration(before)} of preparation" if before >= _WORTH_SAYING_S else ""
    rows = [("time", f"about {duration(estimate.seconds)} on one core{after}")]
    if cpu is None or estimate.training is None or estimate.judging is None:
        return rows
    parts = {"preparation": report.preparation, "training": estimate.training, "judging": estimate.judging}
    listed = ", ".join(f"{name} {duration(item.cpu)}" for name, item in parts.items())
    return [*rows, ("processor", f"about {duration(cpu)}: {listed}")]


def _beside(need: int | None, free: int | None, short: bool) -> str:
    text = NOTHING if need is None else size(need)
    there = "" if free is None else f" ({size(free)} free here)"
    return f"{text}{there}{', TOO LITTLE' if short else ''}"


def verified(result: VerifyResult) -> RenderableType:
    """The result of a verification in one paragraph: equal, where not, or why not comparable."""
    return Text(result.text())


def compared(report: DiffReport) -> RenderableType:
    """Differences of two runs, and the first step where they part."""
    return Text(report.text())


def checked(report: CheckResult) -> RenderableType:
    """Result of a check: sound, or the files whose bytes changed."""
    return Text(report.text())


def looked_into(contents: Contents) -> RenderableType:
    """What an archive holds: its run, its files, and the text of the code that repeating it would run."""
    rows = [
        ("run", f"{contents.run_id} ({contents.status})"),
        ("kind", contents.kind or NOTHING),
        ("name", contents.name or NOTHING),
        ("made on", contents.host or NOTHING),
        ("diff", "holds changes of a repository, in run/environment.json" if contents.diff else "none"),
        ("files", f"{count(len(contents.files))}, {size(sum(contents.files.values()))}"),
    ]
    files = [Text(f"  {name}  {size(length)}") for name, length in contents.files.items()]
    code: list[RenderableType] = [Text("It brings no code of its own.")]
    if contents.code:
        code = [Text("Code that verify, resume, replay, retrain and backtest of this run would run:", style="bold")]
        for name, text in contents.code.items():
            code += [Text(f"--- {name}", style="bold"), Text(text)]
    return Group(facts(rows), *files, Text(), *code, Text("nothing was imported"))


def backtested(report: BacktestReport) -> RenderableType:
    """One backtest beside its baselines."""
    from lockstep.reports.sections.search import luck, metrics_table, order_in_a_bar

    parameters = ", ".join(f"{name}={parameter(value)}" for name, value in report.result.parameters.items())
    rows = [
        ("strategy", report.result.strategy),
        ("data", f"{report.market}, {report.span}, {count(report.bars)} bars"),
        ("parameters", parameters),
    ]
    metrics = {**report.metrics, **report.result.simulation.curve_metrics}
    blocks = [
        metrics_table(
            "Result",
            {
                "backtest": metrics,
                "buy and hold": report.buy_and_hold,
            },
        ),
        *luck(report.random_entries),
        *order_in_a_bar(report.metrics),
    ]
    parts: list[RenderableType] = [facts(rows), Text(), *blocks_text(blocks)]
    if report.trial is not None:
        parts.append(Text(f"  equal to trial {report.trial} of run {report.run_id} in every metric, to the last bit"))
    parts += [Text(f"note: {note}") for note in report.notes]
    return Group(*parts)
