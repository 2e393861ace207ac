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

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lockstep"
ENTRANCE = "lockstep"
# Beside the tower: helpers for tests, which may use every floor, and the starter of `python -m lockstep`.
BESIDE = {"testing", "__main__"}
# A ratchet: no circle of modules may join it, and one that is open leaves it. There is none today.
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


def arrows_of(module: str, text: str, known: frozenset[str]) -> Iterator[Arrow]:
    """The imports of a module's source, wherever they stand in it.

    A text that is a module's name, or "module:Name", counts as an import of it: that is how tables of kinds and
    `import_module` name what they load.
    """
    for node in ast.walk(ast.parse(text)):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from lockstep.runs import registry` names a module; `from lockstep.core.files import x` a thing in one.
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [name if name in known else str(node.module) for name in inner]
            if node.module == ENTRANCE:
                targets.append(ENTRANCE)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            targets = [name for name in [node.value.partition(":")[0]] if name in known and name != ENTRANCE]
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


UPHILL = {
    "at the top": "from lockstep.app.train import train",
    "of a module": "from lockstep.app import train",
    "in a function": "def f():\n    import lockstep.app.train",
    "for typing only": "if TYPE_CHECKING:\n    from lockstep.app.train import train",
    "by name": 'module = import_module("lockstep.app.train")',
    "by dunder": '__import__("lockstep.app.train")',
    "from a table": 'TABLE = {"train": "lockstep.app.train:train"}',
}


@pytest.mark.parametrize("text", UPHILL.values(), ids=UPHILL.keys())
def test_an_import_uphill_is_seen_wherever_it_stands(text: str) -> None:
    """`search` lies below `app`, and `app` may import `search`."""
    known = frozenset({"lockstep.app.train", "lockstep.search.grid"})
    assert [uphill(arrow) for arrow in arrows_of("lockstep.search.grid", text, known)] == [True]
    down = text.replace("app", "search").replace("train", "grid")
    assert [uphill(arrow) for arrow in arrows_of("lockstep.app.train", down, known)] == [False]


def test_neighbours_on_one_floor_do_not_meet() -> None:
    assert uphill(Arrow("lockstep.search.grid", "lockstep.strategies.base", 1))
    assert not uphill(Arrow("lockstep.search.grid", "lockstep.search.proposer", 1))


@pytest.mark.parametrize("text", ["import lockstep as ls", "from lockstep import train", "from lockstep import app"])
def test_the_entrance_is_seen_under_each_of_its_names(text: str) -> None:
    arrows = arrows_of("lockstep.cli.runs", text, frozenset({"lockstep.app"}))
    assert ENTRANCE in {arrow.target for arrow in arrows}


def test_a_circle_is_what_can_be_walked_around() -> None:
    """a -> b -> c -> a is one, d -> a only leads to it; e and f are another."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"f"}, "f": {"e", "a"}}
    assert circles(graph) == {frozenset("abc"), frozenset("ef")}
    assert circles({"a": {"b"}, "b": {"c"}}) == set()


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
        edges.setdefault(arrow.source, set()).add(arrow.target)
    assert circles(edges) == CIRCLES, "open a new circle; take one that is open off the list"
