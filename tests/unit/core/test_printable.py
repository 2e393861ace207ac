"""Text of other people's making on a terminal."""

from __future__ import annotations

import os

import pytest

from lockstep.core.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ü and 漢字\n\tstay", "plain, ü and 漢字\n\tstay"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\x7f", "a␍b␡"),
        ("abc\u202ecba", "abc\\u202ecba"),
        (os.fsdecode(b"sp\xff.toml"), "sp\\xff.toml"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_would_command_a_terminal_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode("utf-8")
