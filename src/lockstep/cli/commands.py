"""The table of commands. What they do is in the files named here; what they mean is in docs/cli.md."""

from __future__ import annotations

from typing import Any

import typer
from typer.main import get_command

from lockstep.cli import backtest, data, runs, training, version


def command() -> Any:
    """The whole command line, as the click command that Typer builds."""
    app = typer.Typer(
        name="lockstep",
        help=(
            "Train trading strategies so that every result can be repeated bit for bit, and see how far to trust it.\n\n"
            "Start with: lockstep train examples/liquidity_sweep.toml"
        ),
        epilog="Exit codes: 0 done or equal, 1 not equal or refused, 2 bad input, 3 not comparable, 4 machine, 130 interrupted.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.command("train")(training.train)
    app.command("verify")(training.verify)
    app.command("resume")(training.resume)
    app.command("diff")(training.diff)
    app.command("backtest")(backtest.backtest)
    app.add_typer(runs.group(), name="runs")
    app.add_typer(data.group(), name="data")
    app.command("version")(version.version)
    return get_command(app)
