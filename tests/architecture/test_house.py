"""The house keeps its shape: sizes, package READMEs, imports, decision records (docs/architecture.md)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lockstep"
MODULE_LINES = 500
FUNCTION_LINES = 80
KERNEL_LINES = 150


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def compiled_names(path: Path) -> set[str]:
    """Names of functions that numba compiles in this file: decorated, or wrapped as `x = kernel(x_python)`."""
    names = set()
    marks = re.compile("jit|kernel")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and any(marks.search(ast.unparse(item)) for item in node.decorator_list):
            names.add(node.name)
        if isinstance(node, ast.Call) and marks.search(ast.unparse(node.func)):
            names |= {item.id for item in node.args if isinstance(item, ast.Name)}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_stays_readable(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MODULE_LINES, f"{path.relative_to(SOURCE)} has {lines} lines; the limit is {MODULE_LINES}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_function_stays_readable(path: Path) -> None:
    kernels = compiled_names(path)
    for node in functions(path):
        assert node.end_lineno is not None
        lines = node.end_lineno - node.lineno + 1
        limit = KERNEL_LINES if node.name in kernels else FUNCTION_LINES
        assert lines <= limit, f"{path.relative_to(SOURCE)}:{node.lineno} {node.name} has {lines} lines; limit {limit}"


def test_every_package_says_what_it_is_for() -> None:
    packages = [path.parent for path in SOURCE.glob("*/__init__.py")]
    assert packages
    for package in packages:
        readme = package / "README.md"
        assert readme.exists(), f"{package.name} has no README.md"
        text = readme.read_text().lower()
        assert "non-goals" in text, f"{package.name}/README.md does not say what the package is not for"


def test_nothing_writes_files_beside_the_one_place() -> None:
    """Faults are injected into core/files.py; a write elsewhere would escape them."""
    writing = re.compile(
        r"\.write_(text|bytes)\(|open\([^)]*['\"](w|a|x|wb|ab|xb|r\+b?)['\"]|os\.(rename|replace|open)\("
    )
    found = [
        f"{path.relative_to(SOURCE)}:{number}: {line.strip()}"
        for path in modules()
        if path.relative_to(SOURCE).parts[0] not in {"testing"} and path.name != "files.py"
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if writing.search(line) and not line.lstrip().startswith("#")
    ]
    assert found == []


def test_decision_records_are_numbered_and_listed() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert records
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    for record in records:
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", record.name), record.name
        assert record.read_text().startswith(f"# {record.name[:4]}. "), record.name
    listed = re.findall(r"^\| \[(\d{4})\]\((\1-[a-z0-9-]+\.md)\) \|", index, re.MULTILINE)
    assert [name for _, name in listed] == [record.name for record in records], "one row a record, in order of number"


def test_no_fastmath_and_no_parallel_kernel() -> None:
    """docs/architecture.md, rule 4: both change the order of floating-point operations."""
    for path in modules():
        text = path.read_text()
        assert not re.search(r"fastmath\s*=\s*True|parallel\s*=\s*True", text), path


def test_strategies_depend_on_nothing_that_learns() -> None:
    """R2.4: rule families are signal generators of their own; loading all of them loads no learning code."""
    ask = """
import importlib, pkgutil, sys
import lockstep.strategies as rooms

for found in pkgutil.iter_modules(rooms.__path__):
    importlib.import_module(f"lockstep.strategies.{found.name}")
print(sorted({name.split(".")[0] for name in sys.modules} & {"torch", "keras", "gymnasium", "stable_baselines3"}))
print(sorted(name for name in sys.modules if name.startswith(("lockstep.rl", "lockstep.learning"))))
"""
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]
