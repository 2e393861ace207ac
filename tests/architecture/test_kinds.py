"""Kinds are rooms: none imports another, none imports in a circle, and looking one up loads no library that learns."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

KINDS = Path(__file__).parents[2] / "src" / "lockstep" / "kinds"
ROOMS = sorted(path.name for path in KINDS.iterdir() if (path / "kind.py").is_file())
PREFIX = "lockstep.kinds."
MOST_LAZY = 14
"""Imports inside functions of all kinds together. One a kind loads its recipe behind the check that torch is there."""


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Modules of kinds that a file imports, at its top, in functions and for typing alike; and whether in a function.

    `from package import name` counts as both: the name may be a module.
    """
    tree = ast.parse(path.read_text())
    inner = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module, node in inner
            for name in node.names:
                yield f"{node.module}.{name.name}", node in inner
        elif isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node in inner


def module_of(path: Path) -> str:
    return PREFIX + ".".join(path.relative_to(KINDS).with_suffix("").parts)


def test_there_are_rooms_to_look_at() -> None:
    assert {"strategy", "cnn", "replay_agent"} <= set(ROOMS)


@pytest.mark.parametrize("room", [*ROOMS, "shared"])
def test_a_kind_imports_no_kind(room: str) -> None:
    """What two kinds need lies in `kinds/shared`, which knows neither of them."""
    allowed = {room, "shared"}
    for path in sorted((KINDS / room).rglob("*.py")):
        rooms = {module.split(".")[2] for module, _ in imports(path) if module.startswith(PREFIX)}
        assert rooms <= allowed, f"{path.relative_to(KINDS)} imports {', '.join(sorted(rooms - allowed))}"


def test_no_modules_of_kinds_import_each_other_in_a_circle() -> None:
    modules = {module_of(path): path for path in KINDS.rglob("*.py")}
    arrows = {
        name: {module for module, _ in imports(path) if module in modules} - {name} for name, path in modules.items()
    }
    while leaves := [name for name, targets in arrows.items() if not targets & arrows.keys()]:
        for name in leaves:
            del arrows[name]
    assert not arrows, f"in circles, or above one: {', '.join(sorted(arrows))}"


def test_imports_inside_functions_are_few() -> None:
    lazy = [
        f"{path.relative_to(KINDS)}: {ast.unparse(node)}"
        for path in sorted(KINDS.rglob("*.py"))
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert len(lazy) <= MOST_LAZY, "\n".join(lazy)


def test_looking_kinds_up_loads_nothing_that_learns() -> None:
    """`lockstep --help` stays fast, and a machine without torch lists all kinds and checks their specs."""
    script = """
import sys
from lockstep import bootstrap
from lockstep.runs import registry

assert len(registry.names()) >= 7
for name in registry.names():
    registry.get(name).spec_model
print(sorted({"torch", "keras", "sklearn"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"]
