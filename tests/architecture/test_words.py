"""Names are nouns of the thing, and short docstrings say something (docs/architecture.md, Style)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "lockstep"
MODULES = sorted(SOURCE.rglob("*.py"))

# "found" is bound to dozens of types where it is a name; `report`, `columns`, `estimate` say which.
PARTICIPLES: Final = ("found", "told", "wanted", "given", "made", "kept", "known", "said")
PER_THOUSAND: Final = 3.0

SHORT: Final = 5
# Whole docstrings of under five words that say a shape, a unit, an error, a source, or lead to where these stand.
FORMS: Final = {
    "shape": r"(bool|u?int\d*|float\d*|str)? ?\((\w+|\.\.\.)?(, ?(\w+|\.\.\.))*,?\)\.",
    "unit": r"(Bytes|Bars|Seconds|Milliseconds|Nanoseconds|Fraction|Percent)\b.*\.",
    "error": r".*\bRaises [A-Z]\w*(Error|Interrupted)?\.",
    "source": r".*\beq\. ?\(\d+\)\.",
    "reference": r"(See|.*, see|The inverse of) `(?P<name>[\w.]+)`\.",
    "module": r"See the module's docstring\.",
}

Place = tuple[Path, int, str]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every variable, argument, function, class, stored attribute and import alias."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname is not None:
            yield node.lineno, node.asname
        # `except E as name`, `case x as name`, `case [*name]` and `case {**name}` are strings in the tree.
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name is not None:
            yield node.lineno, node.name
        elif isinstance(node, ast.MatchMapping) and node.rest is not None:
            yield node.lineno, node.rest


def is_participle(name: str) -> bool:
    """Whether `name` is one of PARTICIPLES, or ends in one after an underscore; case and outer underscores apart."""
    return name.lower().strip("_").rpartition("_")[2] in PARTICIPLES


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Line, name and text of every docstring of a module, class or function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                name = "module" if isinstance(node, ast.Module) else node.name
                yield getattr(node, "lineno", 1), name, text


@cache
def names_of_the_house() -> frozenset[str]:
    """All that a reference may lead to: bound names, fields and modules of the package."""
    names = {name for path in MODULES for _, name in bound_names(tree_of(path))}
    return frozenset(names | {path.stem for path in MODULES} | {path.parent.name for path in MODULES})


def says_something(text: str) -> bool:
    """Whether a docstring has five words, or one of FORMS; the name that a reference leads to has to exist."""
    if len(text.split()) >= SHORT:
        return True
    for pattern in FORMS.values():
        match = re.fullmatch(pattern, text)
        if match is not None:
            name = match.groupdict().get("name")
            return name is None or set(name.split(".")) <= names_of_the_house()
    return False


def listed(places: list[Place]) -> str:
    return "\n".join(f"{path.relative_to(SOURCE)}:{line} {name}" for path, line, name in places)


def test_names_are_nouns() -> None:
    places: list[Place] = []
    count = 0
    for path in MODULES:
        for line, name in bound_names(tree_of(path)):
            count += 1
            if is_participle(name):
                places.append((path, line, name))
    share = 1_000 * len(places) / count
    assert share < PER_THOUSAND, (
        f"{share:.1f} of 1,000 bound names are, or end in, {', '.join(PARTICIPLES)}; the limit is {PER_THOUSAND:g}. "
        f"Name the thing instead (report, columns, estimate):\n{listed(places)}"
    )


def test_a_short_docstring_says_shape_unit_or_reason_or_goes() -> None:
    places = [
        (path, line, f'{name}: "{text}"')
        for path in MODULES
        for line, name, text in docstrings(tree_of(path))
        if not says_something(text)
    ]
    assert places == [], (
        f"{len(places)} docstrings of under five words are none of {', '.join(FORMS)}. Say shape, unit or reason, or "
        f"leave the docstring out:\n{listed(places)}"
    )


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("found = 1", ["found"]),
        ("def f(kept, *, wanted=1): ...", ["f", "kept", "wanted"]),
        ("self.told = 1", ["told"]),
        ("import x as made", ["made"]),
        ("class Known: ...", ["Known"]),
        ("for said in x: ...", ["said"]),
        ("[y for given in x]", ["given"]),
        ("try: ...\nexcept E as found: ...", ["found"]),
        ("match x:\n case {'a': 1, **kept}: ...", ["kept"]),
        ("found.x(kept=1)", []),
    ],
)
def test_every_way_to_bind_a_name_is_counted(source: str, names: list[str]) -> None:
    assert sorted(name for _, name in bound_names(ast.parse(source))) == sorted(names)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("found", True), ("_told", True), ("GIVEN", True), ("rows_kept", True), ("keptness", False), ("unknown", False)],
)
def test_a_participle_is_a_whole_word_at_the_end(name: str, expected: bool) -> None:
    assert is_participle(name) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("float64 (n,).", True),
        ("int64 (n, 2).", True),
        ("Milliseconds since 1970-01-01 UTC.", True),
        ("`warmup`, checked. Raises StrategyError.", True),
        ("`values`, eq. (4).", True),
        ("See `BlobStore.put`.", True),
        ("See `NoSuchClass.put`.", False),
        ("The inverse of `get_state`.", True),
        ("The schedule's.", False),
        ("As in `--json`.", False),
        ("Learning rate at a step, a fraction.", True),
    ],
)
def test_what_a_short_docstring_may_say(text: str, expected: bool) -> None:
    assert says_something(text) is expected
