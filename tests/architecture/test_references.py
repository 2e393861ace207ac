"""What pages and docstrings refer to exists: modules, files, links and headings."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lockstep"
# Pages that show files which do not exist (yet, or any more): additions, decisions of the past, what has moved.
PAGES: Final = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.md"), *ROOT.glob("bench/*.md"))
    if not {"decisions", "contributing"} & set(page.relative_to(ROOT).parts) and page.name != "CHANGELOG.md"
)
LINKING: Final = sorted({*PAGES, *ROOT.glob("docs/**/*.md"), ROOT / "CHANGELOG.md"})
# Rooms whose name is also a table of a spec: `market.symbol` is a key there, no module.
TABLES: Final = {"episodes", "market", "search", "strategy", "validation"}
ROOMS: Final = {path.parent.name for path in SOURCE.glob("*/__init__.py")} - TABLES


@cache
def names_in(path: Path) -> frozenset[str]:
    """Names that a module binds or imports, of its classes' members too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).rpartition(".")[2])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            names.add(node.value)  # tables of names that load at their first use
    return frozenset(names)


def leads_somewhere(path: str) -> bool:
    """Whether `room.module.Name` is a module of ours, or a name in one."""
    folder = SOURCE
    parts = path.split(".")
    for place, part in enumerate(parts):
        if (folder / part).is_dir():
            folder /= part
            continue
        module = folder / f"{part}.py"
        rest = parts[place + 1 :] if module.exists() else parts[place:]
        names = names_in(module if module.exists() else folder / "__init__.py")
        return not rest or rest[0] in names
    return True


def headings(page: Path) -> set[str]:
    """The anchors of a page, in the form that links have them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    modules = set(re.findall(r"\blockstep\.([a-z_]\w*(?:\.\w+)*)", re.sub(r"https?://\S+", "", text)))
    modules |= {path for path in re.findall(r"`((?:\w+\.)+\w+)`", text) if path.split(".")[0] in ROOMS}
    missing = {path for path in modules if not leads_somewhere(path) and not path.endswith((".py", ".md"))}
    bases = (ROOT, SOURCE, ROOT / "tests", ROOT / "src", page.parent)
    files = set(re.findall(r"`((?:[\w.-]+/)+\w+\.(?:py|md|toml))`", text))
    missing |= {file for file in files if not any((base / file).exists() for base in bases)}
    assert missing == set()


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    missing = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", page.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        path = page.parent / target if target else page
        if not path.exists() or (anchor and anchor not in headings(path)):
            missing.append(f"{target}#{anchor}" if anchor else target)
    assert missing == []


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_modules_that_a_docstring_names_exist(room: str) -> None:
    missing = [
        f"{path.relative_to(SOURCE)}:{number} {name}"
        for path in sorted((SOURCE / room).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for name in re.findall(r"`(?:lockstep\.)?((?:\w+\.)+\w+)`", line)
        if name.split(".")[0] in ROOMS and not name.endswith(".py") and not leads_somewhere(name)
    ]
    assert missing == []


def test_a_reference_to_nothing_is_noticed() -> None:
    assert leads_somewhere("runs.journal")
    assert leads_somewhere("learning.gradients.record.SessionRecord")
    assert not leads_somewhere("runs.no_such_module")
    assert not leads_somewhere("runs.journal.NoSuchClass")
