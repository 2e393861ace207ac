"""Every import points down or stays in its room: at the top, in a function, for typing only, or by name at run time.

The layers are those of pyproject.toml. import-linter reads the same table, but sees no `import_module`.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lockstep"
ENTRANCE = "lockstep"
# Beside the tower: helpers for tests, which may use every floor, and the starter of `python -m lockstep`.
BESIDE = {"testing", "__main__"}
# Circles of modules that exist today. A ratchet: nothing may join it, and a circle that is open leaves it.
CIRCLES: frozenset[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Arrow:
    """An import: from a module to a module of ours, in the line of the source."""

    source: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


@cache
def floors() -> dict[str, int]:
    """The height of each room, the lowest 0. Rooms of one floor (`a | b`) have one height."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {room.strip(" ()"): height for height, layer in enumerate(reversed(layers)) for room in layer.split("|")}


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    names = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def room(module: str) -> str:
    """The room of a module; the entrance is its own."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ENTRANCE


def loader(node: ast.Call) -> str | None:
    """The module that a call such as `import_module("lockstep.x")` or `__import__("lockstep.x")` loads."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    first = node.args[0] if node.args else None
    if name in {"import_module", "__import__"} and isinstance(first, ast.Constant) and isinstance(first.value, str):
        return first.value
    return None


def arrows_of(module: str, text: str, known: frozenset[str]) -> Iterator[Arrow]:
    """The imports of a module's source, wherever they stand in it."""
    for node in ast.walk(ast.parse(text)):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from lockstep.runs import registry` names a module; `from lockstep.core.files import x` a thing in one.
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [name if name in known else str(node.module) for name in inner]
        elif isinstance(node, ast.Call) and (loaded := loader(node)) is not None:
            targets = [loaded]
        for target in targets:
            if target == ENTRANCE or target.startswith(f"{ENTRANCE}."):
                yield Arrow(module, target, node.lineno)


@cache
def arrows() -> tuple[Arrow, ...]:
    """All imports between modules of the product."""
    known = frozenset(modules())
    return tuple(arrow for name, path in modules().items() for arrow in arrows_of(name, path.read_text(), known))


def uphill(arrow: Arrow) -> bool:
    """Whether an import leads to a higher room, or to a neighbour on the same floor."""
    here, there = room(arrow.source), room(arrow.target)
    if here in {ENTRANCE, *BESIDE} or here == there:
        return False
    return there not in floors() or floors()[there] >= floors()[here]


def circles(edges: dict[str, set[str]]) -> set[frozenset[str]]:
    """The strongly connected parts of a graph that have more than one module (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    parts: set[frozenset[str]] = set()

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            part = set()
            while True:
                part.add(stack.pop())
                if node in part:
                    break
            if len(part) > 1:
                parts.add(frozenset(part))

    for node in sorted(edges):
        if node not in order:
            visit(node)
    return parts


def test_every_import_points_down_or_stays_in_its_room() -> None:
    assert [str(arrow) for arrow in arrows() if uphill(arrow)] == []


def test_nothing_in_the_house_comes_in_by_the_entrance() -> None:
    """`import lockstep` is for people: it may name every floor, so a module that used it could reach them all."""
    assert [str(arrow) for arrow in arrows() if arrow.target == ENTRANCE] == []


def test_every_room_has_a_floor() -> None:
    """A folder beside the table would have no floor, and its imports no direction."""
    rooms = {room(name) for name in modules()} - {ENTRANCE, *BESIDE}
    assert rooms == set(floors())


def test_no_module_is_in_a_circle_but_those_of_the_list() -> None:
    edges: dict[str, set[str]] = {}
    for arrow in arrows():
        # A package's own __init__ is loaded with each of its modules; what it names is counted where it names it.
        edges.setdefault(arrow.source, set()).add(arrow.target)
    assert circles(edges) == CIRCLES, "open a new circle; take one that is open off the list"
