"""The table of commands. What they do is in the files named here; what they mean is in docs/cli.md."""

from __future__ import annotations

from functools import cache
from typing import Any

import typer
from typer.main import get_command

from lockstep.cli import backtest, data, predict, replay, report, runs, sessions, training, version


@cache
def command() -> Any:
    """The whole command line, as the click command that Typer builds."""
    app = typer.Typer(
        name="lockstep",
        help=(
            "Train trading strategies so that every result can be repeated bit for bit, and see how far to trust it."
            "\n\n"
            "Start with: lockstep train examples/liquidity_sweep.toml"
        ),
        epilog=(
            "Exit codes: 0 done or equal, 1 not equal or refused, 2 bad input, 3 not comparable, 4 disk, memory or "
            "workers, 70 a defect in Lockstep, 130 interrupted."
        ),
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(version.options)
    app.command("train", short_help="Train what a spec describes.")(training.train)
    app.command("verify", short_help="Repeat a run from its record and compare bit for bit.")(training.verify)
    app.command("resume", short_help="Go on with a stopped or killed run.")(training.resume)
    app.command("diff", short_help="Compare two runs: the first difference, and its cause.")(training.diff)
    app.command("replay", short_help="Replay a run's recorded gradients and compare bit for bit.")(replay.replay)
    app.command("retrain", short_help="Train a new run on a run's recorded batches.")(replay.retrain)
    app.command("step", short_help="Show one recorded step and the model after it.")(replay.step)
    app.command("report", short_help="Write a run's figures and one page that shows it all.")(report.report)
    app.command("backtest", short_help="Run one strategy with given parameters.")(backtest.backtest)
    app.command("predict", short_help="Predict with the model of a run.")(predict.predict)
    app.add_typer(runs.group(), name="runs")
    app.add_typer(sessions.group(), name="sessions")
    app.add_typer(data.group(), name="data")
    app.command("version", short_help="Print the versions that decide the numbers.")(version.version)
    return get_command(app)
