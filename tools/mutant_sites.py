"""Where a small fault can be put into a source file, and the file with that fault in it.

Operators are those of cosmic-ray (comparisons, arithmetic, booleans, numbers, negations, loops that never run) and
three of the same form that it lacks: a statement left out, a keyword argument left out, a result left out. Faults that
no test could or should notice are not put in: annotations, decorators, `raise` (the wording of an error), texts,
`__repr__`, imports for type checkers.

Needs cosmic-ray and parso; `make mutants` installs them.
"""

from __future__ import annotations

import ast
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import parso.python.tree
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator

_COMPARISONS: Final = {"Lt": "LtE", "LtE": "Lt", "Gt": "GtE", "GtE": "Gt", "Eq": "NotEq", "Is": "IsNot"}
_ARITHMETIC: Final = {
    "Add": "Sub", "Sub": "Add", "Mul": "Div", "Div": "Mul", "FloorDiv": "Div", "Mod": "FloorDiv", "Pow": "Mul",
    "LShift": "RShift", "RShift": "LShift", "BitAnd": "BitOr", "BitOr": "BitAnd",
}  # fmt: skip
_OTHERS: Final = (
    "ReplaceComparisonOperator_NotEq_Eq", "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "AddNot",
    "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop", "NumberReplacer",
)  # fmt: skip
_SILENT_FUNCTIONS: Final = {"__repr__", "__str__", "__rich_repr__"}


class RemoveStatement(Operator):
    """Leaves out a call whose result nobody uses, or what is put into an attribute, an element or a running sum.

    Not the birth of a name: without it the next line fails by itself, which shows nothing about tests.
    """

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Start and end of a statement with an effect, (line, column) each."""
        if node.type == "simple_stmt" and self._is_effect(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """`pass` in the place of the statement."""
        first = node.get_first_leaf()
        node.children[0] = parso.python.tree.Keyword("pass", first.start_pos, prefix=first.prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None: cosmic-ray tests its operators by these, we have tests."""
        return ()

    @staticmethod
    def _is_effect(statement: Any) -> bool:
        if statement.type == "atom_expr":
            last = statement.children[-1]
            return last.type == "trailer" and last.children[0].value == "("
        if statement.type != "expr_stmt":
            return False
        target, second = statement.children[0], statement.children[1]
        if second.type == "operator" and second.value != "=":
            return True
        return target.type == "atom_expr" and second.type != "annassign"


class RemoveKeyword(Operator):
    """Leaves out a keyword argument, so that its default takes its place."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Each `name=value` of a call's arguments."""
        for child in self._keywords(node):
            yield child.start_pos, child.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The call without it, and without the comma after it."""
        gone = list(self._keywords(node))[index]
        place = node.children.index(gone)
        stop = place + 1
        if stop < len(node.children) and getattr(node.children[stop], "value", "") == ",":
            stop += 1
        del node.children[place:stop]
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None: cosmic-ray tests its operators by these, we have tests."""
        return ()

    @staticmethod
    def _keywords(node: Any) -> list[Any]:
        # A call with one argument has no list around it; without the argument nothing would be left to hold.
        if node.type != "arglist":
            return []
        return [
            child
            for child in node.children
            if child.type == "argument" and getattr(child.children[1], "value", "") == "="
        ]


class RemoveResult(Operator):
    """`return None` in place of a result."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """The expression that is returned."""
        if node.type == "return_stmt" and len(node.children) == 2 and node.children[1].get_code().strip() != "None":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """None in the place of the result."""
        node.children[1] = parso.python.tree.Keyword("None", node.children[1].start_pos, prefix=" ")
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None: cosmic-ray tests its operators by these, we have tests."""
        return ()


@cache
def operators() -> dict[str, Operator]:
    """All operators by name: those of cosmic-ray that we use, and three of ours."""
    names = [f"ReplaceComparisonOperator_{old}_{new}" for old, new in _COMPARISONS.items()]
    names += [f"ReplaceBinaryOperator_{old}_{new}" for old, new in _ARITHMETIC.items()]
    by_name: dict[str, Operator] = {name: get_operator(f"core/{name}")() for name in (*names, *_OTHERS)}
    return by_name | {kind.__name__: kind() for kind in (RemoveStatement, RemoveKeyword, RemoveResult)}


@dataclass(frozen=True, order=True)
class Fault:
    """One fault: occurrence number `occurrence` of what `operator` can do in `module`, at line and column."""

    module: str
    line: int
    column: int
    operator: str
    occurrence: int

    def put_into(self, source: str) -> str | None:
        """`source` with the fault, or None where that is no other program."""
        mutated: str | None = mutate_code(source, operators()[self.operator], self.occurrence)
        if mutated is None or mutated == source:
            return None
        try:
            same = ast.dump(ast.parse(mutated)) == ast.dump(ast.parse(source))
        except SyntaxError:
            return None
        return None if same else mutated


def faults_of(module: str, source: str) -> list[Fault]:
    """Every fault that can be put into `source`, in the order of the file."""
    tree = get_ast(source)
    nodes = list(ast_nodes(tree))
    faults = []
    for name, operator in operators().items():
        occurrence = 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                if not _is_silent(node, name):
                    faults.append(Fault(module, start[0], start[1], name, occurrence))
                occurrence += 1
    return sorted(faults)


def _is_silent(node: Any, operator: str) -> bool:
    """Whether a fault at `node` is one that no test should notice."""
    child = node
    while child is not None:
        parent = child.parent
        if child.type in {"decorator", "raise_stmt", "fstring", "import_from", "import_name", "assert_stmt"}:
            return True
        if child.type == "operator" and parent is not None and parent.type in {"parameters", "param"}:
            return True  # the star of keyword-only parameters
        if child.type == "funcdef" and child.name.value in _SILENT_FUNCTIONS:
            return True
        if child.type == "if_stmt" and "TYPE_CHECKING" in child.children[1].get_code():
            return True
        if parent is not None and _is_annotation(child, parent):
            return True
        child = parent
    # `int | str`: a union of types, at the head of a module or within isinstance.
    return operator.startswith("ReplaceBinaryOperator_Bit") and (
        _function_of(node) is None or "isinstance(" in _statement_of(node)
    )


def _is_annotation(child: Any, parent: Any) -> bool:
    if parent.type == "tfpdef":
        return parent.children.index(child) > 0
    if parent.type == "annassign":
        return parent.children.index(child) == 1
    if parent.type == "funcdef":
        place = parent.children.index(child)
        return place > 0 and getattr(parent.children[place - 1], "value", "") == "->"
    return False


def _function_of(node: Any) -> Any:
    while node is not None and node.type != "funcdef":
        node = node.parent
    return node


def _statement_of(node: Any) -> str:
    while node.parent is not None and node.type not in {"simple_stmt", "if_stmt", "while_stmt", "suite"}:
        node = node.parent
    return str(node.get_code())


def draw(root: Path, modules: Iterable[str], *, seed: int, count: int) -> list[tuple[Fault, str]]:
    """`count` faults of `modules` (paths below `root`) and the sources with them, the same for the same seed and files.

    Every place in the code that can be changed is as likely as any other, whatever the number of ways to change it.
    """
    places: dict[tuple[str, int, int], list[Fault]] = defaultdict(list)
    for module in sorted(modules):
        for fault in faults_of(module, (root / module).read_text()):
            places[fault.module, fault.line, fault.column].append(fault)
    rng = random.Random(seed)
    order = sorted(places)
    rng.shuffle(order)
    drawn: list[tuple[Fault, str]] = []
    for place in order:
        if len(drawn) == count:
            break
        fault = rng.choice(places[place])
        mutated = fault.put_into((root / fault.module).read_text())
        if mutated is not None:
            drawn.append((fault, mutated))
    return drawn
