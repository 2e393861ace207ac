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


def test_every_command_and_option_is_described_and_no_other() -> None:
    real = {
        name: {option for item in leaf.params for option in item.opts if option.startswith("--") and option != "--help"}
        for name, leaf in leaves(command())
    }
    assert described() == real


def test_every_command_says_what_it_does_and_every_option_too() -> None:
    for name, leaf in leaves(command()):
        assert leaf.help, name
        for item in leaf.params:
            assert item.help or item.name == "help", f"{name} {item.name}"


def test_every_command_has_json() -> None:
    for name, leaf in leaves(command()):
        assert any("--json" in item.opts for item in leaf.params), name
