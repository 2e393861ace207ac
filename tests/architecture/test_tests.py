"""Tests can fail: each of them asserts something, and helpers do not live in test modules."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
MODULES = sorted(TESTS.rglob("*.py"))
SUITES = sorted((ROOT / "src" / "lockstep" / "testing" / "contracts").glob("*.py"))

# Test modules that others take helpers from, until these have a module of their own. Nothing may join the list.


def called(node: ast.Call) -> str:
    """The last name of what is called: `raises` of `pytest.raises(...)`."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def is_check(node: ast.AST) -> bool:
    """An assertion, or a call that fails by itself: of pytest, NumPy or pandas, or a process that must end well."""
    if isinstance(node, ast.Assert) or (isinstance(node, ast.Raise) and "AssertionError" in ast.unparse(node)):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = called(node)
    must_end_well = any(
        word.arg == "check" and isinstance(word.value, ast.Constant) and word.value.value is True
        for word in node.keywords
    )
    return name in {"raises", "warns", "fail"} or name.startswith("assert_") or must_end_well


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def checking_names(path: Path) -> frozenset[str]:
    """Functions and methods of a module, and those that it imports from other modules of tests, that check something.

    A helper checks when it, or a helper that it calls, has a check.
    """
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests."):
            source = ROOT.joinpath(*node.module.split(".")).with_suffix(".py")
            if source.exists():
                names |= checking_names(source) & {item.name for item in node.names}
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef)]
    while True:
        more = {node.name for node in functions if node.name not in names and checks(node, names)}
        if not more:
            return frozenset(names)
        names |= more


def checks(function: ast.FunctionDef, helpers: set[str] | frozenset[str]) -> bool:
    for node in ast.walk(function):
        if is_check(node):
            return True
        if isinstance(node, ast.Call) and called(node) in helpers:
            return True
    return False


def cases_of(path: Path) -> list[ast.FunctionDef]:
    return [
        node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef) and node.name.startswith("test")
    ]


def hollow(path: Path) -> list[str]:
    helpers = checking_names(path)
    return [f"{path.name}:{node.lineno} {node.name}" for node in cases_of(path) if not checks(node, helpers)]


def test_every_test_asserts_something() -> None:
    """Else it can only fail by an exception: it has to say what comes out."""
    assert [case for path in (*MODULES, *SUITES) for case in hollow(path)] == []


def always_true(path: Path) -> list[str]:
    """Assertions that hold whatever happens."""
    always = []
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Assert):
            continue
        test = node.test
        if isinstance(test, ast.Constant | ast.Tuple | ast.JoinedStr):
            always.append(f"{path.name}:{node.lineno} {ast.unparse(test)}")
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, right = ast.unparse(test.left), ast.unparse(test.comparators[0])
            counted = left.startswith("len(") or left.rsplit(".", 1)[-1] in {"comparisons", "size", "calls", "sum()"}
            # A call may give something else the second time; a name may not.
            itself = left == right and not any(isinstance(part, ast.Call) for part in ast.walk(test.left))
            if itself or (counted and isinstance(test.ops[0], ast.GtE) and right == "0"):
                always.append(f"{path.name}:{node.lineno} {ast.unparse(test)}")
    return always


def test_no_assertion_holds_whatever_happens() -> None:
    """Such as: a length is not negative, a text is true, a name equals itself."""
    assert [case for path in (*MODULES, *SUITES) for case in always_true(path)] == []


def lenders(path: Path) -> set[str]:
    """Test modules that this one imports from."""
    return {
        node.module
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom)
        and node.module
        and node.module.startswith("tests.")
        and node.module.rsplit(".", 1)[-1].startswith("test_")
    }


def test_helpers_do_not_live_in_test_modules() -> None:
    """Whoever imports one runs its marks and skips too, and a test that moves breaks another room's."""
    borrowed = {str(path.relative_to(ROOT)): lenders(path) for path in MODULES}
    assert {path: names for path, names in borrowed.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "is_hollow"),
    [
        ("def test_a():\n    f()\n", True),
        ("def test_a():\n    assert f()\n", False),
        ("def test_a():\n    with pytest.raises(ValueError):\n        f()\n", False),
        ("def test_a():\n    subprocess.run(['x'], check=False)\n", True),
        ("def test_a():\n    subprocess.run(['x'], check=True)\n", False),
        ("def helper():\n    assert f()\ndef test_a():\n    helper()\n", False),
        ("def deep():\n    assert f()\ndef helper():\n    deep()\ndef test_a():\n    helper()\n", False),
        ("def helper():\n    raise AssertionError('no')\ndef test_a():\n    helper()\n", False),
    ],
)
def test_the_scan_tells_hollow_tests_from_sound_ones(tmp_path: Path, text: str, is_hollow: bool) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(text)
    assert bool(hollow(path)) == is_hollow


@pytest.mark.parametrize(
    ("text", "always"),
    [
        ("assert len(x) >= 0", True),
        ("assert report.comparisons >= 0", True),
        ("assert (x, 'text')", True),
        ("assert x.y == x.y", True),
        ("assert f() == f()", False),
        ("assert len(x) >= 1", False),
        ("assert x >= 0", False),
    ],
)
def test_the_scan_tells_assertions_that_always_hold(tmp_path: Path, text: str, always: bool) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(text)
    assert bool(always_true(path)) == always
