"""Documentation runs: the Python blocks and commands of a page, in its order, as a user would, in a folder of its own.

Every guide with a block or command is run, and the README. Blocks marked `python torch` or `console torch` are run
where torch is installed. Output that a page shows below a command is compared (`page_commands`). A page takes between
one second and twenty on a busy core; compiling kernels anew adds half a minute once.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests import fork_server
from tests.architecture import page_commands
from tests.architecture.page_commands import BLOCK, absent, calls, put_files, script

from lockstep.cli.commands import command

ROOT = Path(__file__).parents[2]
GUIDES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
TORCH = find_spec("torch") is not None


def text_of(page: str) -> str:
    return (ROOT / page).read_text()


def runs_something(page: str) -> bool:
    return len(script(text_of(page), torch=TORCH).strip().splitlines()) > 1


RUN_PAGE = "import runpy, sys; sys.path.insert(1, sys.argv.pop()); runpy.run_path('page.py', run_name='__main__')"
"""`python page.py` in a fork: loading the libraries takes as long as a page. Its argument: where `page_commands` is."""
PAGES = [page for page in ("README.md", *GUIDES) if runs_something(page)]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page: str, tmp_path: Path) -> None:
    put_files(text_of(page), tmp_path, ROOT)
    (tmp_path / "page.py").write_text(script(text_of(page), torch=TORCH))
    process = fork_server.start(
        ("-W", "error"),
        ("-c", RUN_PAGE, str(Path(page_commands.__file__).parent)),
        cwd=tmp_path,
        env={**fork_server.ENVIRONMENT, "NO_COLOR": "1"},
    )
    try:
        _, errors = process.communicate()
    finally:
        process.kill()
        code = process.wait()
    assert code == 0, f"{page}\n{errors}"


def test_the_guides_that_show_python_or_commands_are_run() -> None:
    python = {"api", "networks", "packages", "runs", "strategies", "tutorial", "agents", "classifiers", "episodes"}
    shown = {f"docs/{name}.md" for name in python if TORCH or name not in ("agents", "classifiers", "episodes")}
    shown |= {"README.md", "docs/replay.md"} if TORCH else set()
    assert {*shown, "docs/cli.md"} <= set(PAGES)


@pytest.mark.parametrize("page", ["README.md", *GUIDES])
def test_no_block_or_command_of_a_guide_is_left_out(page: str) -> None:
    """A block with another mark, or a command without its "$ ", would be run by nobody."""
    text = text_of(page)
    marks = set(re.findall(r"^```((?:python|console).*)$", text, re.MULTILINE))
    assert marks <= {"python", "python torch", "console", "console torch"}
    assert re.findall(r"^(?:    )?lockstep [a-z].*$", text, re.MULTILINE) == []
    for block in BLOCK.finditer(text):
        if block[1].startswith("console"):
            assert block[2].startswith("$ "), f"{page}: {block[2].splitlines()[0]}"


@pytest.mark.parametrize("page", ["README.md", *GUIDES])
def test_commands_in_the_guides_exist(page: str) -> None:
    """Those in a sentence too, and those that are run only where torch is installed."""
    app = command()
    for line in re.findall(r"^\$ lockstep ([^`\n]+)$", text_of(page), re.MULTILINE):
        words = line.split()
        assert words[0] in app.commands, f"{page}: lockstep {line}"
        group = getattr(app.commands[words[0]], "commands", None)
        assert group is None or words[1] in group, f"{page}: lockstep {line}"


def test_output_of_a_page_is_compared_line_by_line_without_what_always_differs() -> None:
    printed = (
        "run 20261201T005108889-0dfa68: equal (8 of 8 steps)\nin between\n  journal " + 64 * "a" + "\ntook 0.3 s\n"
    )
    assert absent("run 20991201T005108889-ffffff: equal (8 of 8 steps)\n...\njournal " + 64 * "b", printed) is None
    assert absent("took 12 s", printed) is None
    assert absent("run 20991201T005108889-ffffff: equal (7 of 8 steps)", printed) is not None
    assert absent("took 1 s\nin between", printed) == "in between", "the order counts"


def test_a_page_becomes_a_script_whose_lines_are_the_pages() -> None:
    page = (
        "# Title\n\n```python\nx = 1\n```\n\n```console\n$ make demo\n$ lockstep runs list   # all\nno runs yet\n```\n"
    )
    lines = script(page, torch=False).splitlines()
    assert lines[3] == "x = 1"
    assert lines[8] == "_command('lockstep runs list   # all', 'no runs yet', code=0)"
    assert calls("$ lockstep diff a b\n") == [(0, "_command('lockstep diff a b', '', code=1)")]
    assert "torch" not in script("# T\n```python torch\nimport torch\n```\n", torch=False).replace("page_commands", "")


WRITTEN = [*GUIDES, "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
WRITTEN += [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*/*.md"))]


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub makes them: lower case, words joined by hyphens, other signs left out."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WRITTEN)
def test_links_lead_to_files_and_headings_that_exist(page: str) -> None:
    place = ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", place.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = place.parent / path if path else place
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(target), f"{page}: {link}"


@pytest.mark.parametrize("page", WRITTEN)
def test_pages_are_wrapped(page: str) -> None:
    """Lines of at most 120 signs, so that a change shows as the line that changed; tables and code are as they are."""
    prose = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > 120 and not line.startswith(("|", "    "))]
    assert long == []
