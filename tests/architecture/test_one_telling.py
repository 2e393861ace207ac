"""Above `kinds` nobody asks which kind a run is: what there is to say follows from what the run holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "lockstep"
ABOVE_KINDS = ("app", "cli", "faces", "reports", "bootstrap.py", "public.py", "__init__.py")


def modules() -> list[Path]:
    paths = [SOURCE / name for name in ABOVE_KINDS]
    return sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]) if file.exists())


def is_kind(node: ast.expr) -> bool:
    """`kind`, `x.kind`, `x["kind"]`, `x.get("kind", ...)`, `str(kind)`."""
    if isinstance(node, ast.Name):
        return node.id == "kind"
    if isinstance(node, ast.Attribute):
        # `column.dtype.kind` is NumPy's letter for a type of number.
        return node.attr == "kind" and not ast.unparse(node.value).endswith("dtype")
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "kind"
    if isinstance(node, ast.Call):
        first = node.args[0] if node.args else None
        asks = isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop")
        wraps = isinstance(node.func, ast.Name) and node.func.id == "str"
        key = isinstance(first, ast.Constant) and first.value == "kind"
        return (asks and key) or (wraps and first is not None and is_kind(first))
    return False


def is_text(node: ast.expr) -> bool:
    """A string, or a collection with one in it."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(is_text(item) for item in node.elts)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def questions(tree: ast.AST) -> Iterator[int]:
    """Lines where something called a kind is compared with a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
            if any(map(is_kind, parts)) and any(map(is_text, parts)):
                yield node.lineno
        if isinstance(node, ast.Match) and is_kind(node.subject):
            yield node.lineno


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_above_kinds_asks_for_a_kind_by_its_name(path: Path) -> None:
    lines = list(questions(ast.parse(path.read_text())))
    assert lines == [], f"{path.relative_to(SOURCE)}, lines {lines}: ask what the run holds instead (a key, a segment)"


@pytest.mark.parametrize(
    ("code", "asks"),
    [
        ('kind == "cnn"', True),
        ('"cnn" != spec.kind', True),
        ('spec.kind in ("cnn", "strategy")', True),
        ('spec["kind"] == "cnn"', True),
        ('result.spec.get("kind", "strategy") != "strategy"', True),
        ('str(spec.get("kind")) == "cnn"', True),
        ('match spec.kind:\n    case "cnn":\n        pass', True),
        ('{"kind": "cnn"}', False),
        ("registry.get(spec.kind)", False),
        ('"scores" in summary', False),
        ("kind is None", False),
        ('column.dtype.kind in "iuf"', False),
    ],
)
def test_the_question_is_noticed_in_every_form(code: str, asks: bool) -> None:
    assert bool(list(questions(ast.parse(code)))) is asks
