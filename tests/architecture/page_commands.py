"""The commands and scripts of one page of the docs, in its order, in one process and the working folder.

    python -W error page.py       where page.py is what `script` makes of a page

Python blocks stand in the script where they stand in the page, so a traceback's line is the page's. A command line of a
`console` block becomes a call of `command` on its own line. One process serves a whole page: loading NumPy, kernels and
torch for each command would take longer than the commands.
"""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```([a-z]+(?: torch)?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""Mark and content of a block; "torch" behind the language says that it needs torch."""
NAMED = re.compile(r"# ([\w.-]+\.(?:py|toml|yaml))\n")
"""First line of a block that a reader is to keep as a file of that name."""
NOT_RUN = ("make", "pip")
"""Programs of another kind: they install and test, which no test does."""
# The examples as they are take half a minute each. What a reader sees of them is the same for fewer bars and updates.
SMALL = {
    "examples/cnn.toml": (
        *("--set", "data.last=1200", "--set", "training.epochs=2", "--set", "recording.snapshot_every=10"),
        *("--set", "network.parameters={filters=[4,4,4],hidden=8}"),
    ),
    "examples/replay_agent.toml": (
        *("--set", "data.last=1500", "--set", "training.updates=40", "--set", "validation.evaluate_every=20"),
        *("--set", "training.learning_starts=100", "--set", "environment.episode_bars=50"),
        *("--set", "agent.hidden=[8]"),
    ),
    "examples/classifier.toml": ("--set", "data.samples_per_class=20", "--set", "training.epochs=2"),
}
# Ids, hashes, times, sizes and speeds differ from run to run, and from machine to machine.
VOLATILE = (
    (re.compile(r"\d{8}T\d{9}-[0-9a-f]{6}"), "RUN"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "HASH"),
    (re.compile(r"\b[\d,.]+(?:e[+-]?\d+)? (?:s|min|kB|MB|GB|bytes|trials/s|x faster)\b"), "AMOUNT"),
)


@dataclass(frozen=True)
class Answer:
    """What a command printed, both streams in one text, and its exit code."""

    code: int
    text: str


def run_here(arguments: Sequence[str]) -> Answer:
    """One `lockstep` command in this process."""
    from lockstep.cli.main import run

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = run(arguments)
    return Answer(code, printed.getvalue())


RUN: Callable[[Sequence[str]], Answer] = run_here
"""How a `lockstep` command is run; anything that takes its words and gives an `Answer` serves."""


def command(line: str, shown: str = "", *, code: int = 0) -> None:
    """Run a command line of a page and compare what the page shows of its output."""
    words = shlex.split(line, comments=True)
    if words[0] == "lockstep":
        small = SMALL.get(words[2], ()) if words[1:2] == ["train"] and len(words) > 2 else ()
        answer = RUN([*words[1:], *small])
    elif words[:2] == ["python", "-m"]:
        answer = module(words[2:])
    else:
        raise AssertionError(f"{line}: neither `lockstep` nor `python -m`")
    assert answer.code == code, f"$ {line}\nexit code {answer.code}, not {code}\n{answer.text}"
    missing = absent(shown, answer.text)
    assert missing is None, f"$ {line}\nthe page shows: {missing}\nit printed:\n{answer.text}"


def module(words: Sequence[str]) -> Answer:
    """`python -m` in this process."""
    printed, argv = io.StringIO(), sys.argv
    sys.argv = list(words)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        return Answer(int(leaving.code or 0), printed.getvalue())
    finally:
        sys.argv = argv
    return Answer(0, printed.getvalue())


def absent(shown: str, printed: str) -> str | None:
    """The first line of `shown` that `printed` lacks, in that order; "..." stands for any lines."""
    lines = iter([stable(line) for line in printed.splitlines()])
    for line in shown.splitlines():
        if line.strip() not in ("", "...") and stable(line) not in lines:
            return line
    return None


def stable(line: str) -> str:
    """`line` without what differs between two runs, and with single blanks: columns are as wide as their values."""
    for pattern, name in VOLATILE:
        line = pattern.sub(name, line)
    return " ".join(line.split())


def script(page: str, *, torch: bool) -> str:
    """A page as one Python script. Lines of the script are lines of the page."""
    marks = {"python", "console", *(("python torch", "console torch") if torch else ())}
    lines = [""] * (page.count("\n") + 2)
    for block in BLOCK.finditer(page):
        if block[1] not in marks:
            continue
        start = page.count("\n", 0, block.start(2))
        if block[1].startswith("python"):
            for place, line in enumerate(block[2].splitlines()):
                lines[start + place] = line
        else:
            for place, call in calls(block[2]):
                lines[start + place] = call
    # In the line of the page's title, where no block can begin.
    lines[0] = "from page_commands import command as _command"
    return "\n".join(lines)


def calls(block: str) -> list[tuple[int, str]]:
    """The commands of a console block as calls, with the line of each; what follows a command is its output."""
    rows = block.splitlines()
    starts = [place for place, row in enumerate(rows) if row.startswith("$ ")]
    result = []
    for place, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        line = rows[place].removeprefix("$ ")
        words = line.split()
        if words[0] in NOT_RUN:
            continue
        # Two runs of a page never are equal: a page that compares them shows how they differ.
        code = 1 if words[:2] == ["lockstep", "diff"] else 0
        result.append((place, f"_command({line!r}, {chr(10).join(rows[place + 1 : end])!r}, code={code})"))
    return result


def put_files(page: str, folder: Path, root: Path) -> None:
    """What a reader of the page has in `folder`: the examples where the page names them, and blocks kept as files."""
    if "examples/" in page:
        (folder / "examples").symlink_to(root / "examples")
    for block in BLOCK.finditer(page):
        if name := NAMED.match(block[2]):
            (folder / name[1]).write_text(block[2])
