"""docs/cli.md lists every command and every option, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lockstep.cli.commands import command

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def leaves(app: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Commands without subcommands, with their full names."""
    for name, item in app.commands.items():
        if hasattr(item, "commands"):
            yield from leaves(item, (*path, name))
        else:
            yield " ".join((*path, name)), item


def described() -> dict[str, set[str]]:
    """Command -> the options its section names."""
    sections = re.split(r"^## `lockstep ([a-z ]+)[^`]*`.*$", PAGE.read_text(), flags=re.MULTILINE)
    return {
        name.strip(): set(re.findall(r"^\| `(--[a-z-]+)", text, flags=re.MULTILINE))
        for name, text in zip(sections[1::2], sections[2::2], strict=True)
    }


def shared(commands: set[str]) -> dict[str, set[str]]:
    """Option -> the commands that share it, as the table at the top of the page has them."""
    section = PAGE.read_text().partition("## Options that commands share\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(--[a-z-]+)[^|]* \| ([^|]+) \|", section, flags=re.MULTILINE)
    names = {option: set(re.findall(r"`([a-z ]+)`", cell)) for option, cell in rows}
    return {option: commands - names[option] if cell.startswith("all") else names[option] for option, cell in rows}


def options() -> dict[str, set[str]]:
    """Command -> the options that the program really has."""
    return {
        name: {option for item in leaf.params for option in item.opts if option.startswith("--") and option != "--help"}
        for name, leaf in leaves(command())
    }


def test_every_command_and_option_is_described_and_no_other() -> None:
    real = options()
    common = shared(set(real))
    assert {"--json", "--home", "--verbose", "--workers"} <= set(common)
    assert described() == {name: own - set(common) for name, own in real.items()}


def test_shared_options_are_said_once_with_the_commands_that_have_them() -> None:
    real = options()
    common = shared(set(real))
    assert common == {option: {name for name, own in real.items() if option in own} for option in common}


def test_every_command_says_what_it_does_and_every_option_too() -> None:
    for name, leaf in leaves(command()):
        assert leaf.help, name
        for item in leaf.params:
            assert item.help or item.name == "help", f"{name} {item.name}"


def test_every_command_has_json() -> None:
    for name, leaf in leaves(command()):
        assert any("--json" in item.opts for item in leaf.params), name
