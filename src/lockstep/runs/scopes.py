"""Which globals a piece of source reads, by the compiler's own scopes.

An argument, a local, a loop variable of a comprehension or an attribute that is called like a global reads no global.
`symtable` decides that for functions. The body of a class needs one thing more: a name that it binds is looked up among
the globals as long as it is not bound yet (`size = size`), so its statements are read in their order.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterable, Iterator

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def global_names(text: str) -> set[str]:
    """Names that `text`, a module's source, reads from its globals or builtins, those that only annotations name left
    out. Raises SyntaxError.
    """
    tree = _NoAnnotations().visit(ast.parse(text))
    top = symtable.symtable(ast.unparse(ast.fix_missing_locations(tree)), "<source>", "exec")
    names = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    names |= _names_below(top)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bound = _names_bound_in(node)
            names |= _read_before_bound(node.body, set()) & bound
    return names


def annotation_names(text: str) -> set[str]:
    """Names that the annotations of `text` read. Raises SyntaxError."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if annotation is not None:
                names |= {child.id for child in ast.walk(annotation) if isinstance(child, ast.Name)}
    return names


class _NoAnnotations(ast.NodeTransformer):
    """Takes annotations out: the text that travels keeps them as strings, which are evaluated only when asked for."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(value=None)
        return self.generic_visit(node)


def _names_below(table: symtable.SymbolTable) -> set[str]:
    names = set()
    for child in table.get_children():
        # A comprehension's first iterable is the argument `.0` of its scope: no name that a source could hold.
        names |= {
            symbol.get_name() for symbol in child.get_symbols() if symbol.is_global() and symbol.is_referenced()
        } | _names_below(child)
    return names


def _names_bound_in(node: ast.ClassDef) -> set[str]:
    """Names that the body of a class binds itself, not those of its functions."""
    return {name for statement in node.body for name in _bound_anywhere(statement)}


def _bound_anywhere(node: ast.AST) -> Iterator[str]:
    """Names that a statement may bind in its own scope."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name.partition(".")[0]) for alias in node.names)
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        yield node.name
    if not isinstance(node, (*_SCOPES, *_COMPREHENSIONS)):
        for child in ast.iter_child_nodes(node):
            yield from _bound_anywhere(child)


def _read_before_bound(body: Iterable[ast.stmt], bound: set[str]) -> set[str]:
    """Names that statements of a class's body read while they may not be bound yet; `bound` grows with the body."""
    names = set()
    for statement in body:
        blocks = [
            block for field in ("body", "orelse", "finalbody") for block in [getattr(statement, field, None)] if block
        ]
        if isinstance(statement, _SCOPES) or not blocks:
            names |= set(_read_at_once(statement)) - bound
            bound.update(_bound_anywhere(statement))
            continue
        # Whether a branch or a loop's body runs is not known: what it binds counts inside it, and afterwards only for
        # `with`, which runs once.
        names |= {name for child in _outside_blocks(statement) for name in _read_at_once(child)} - bound
        inside = bound | {name for child in _outside_blocks(statement) for name in _bound_anywhere(child)}
        blocks += [handler.body for handler in getattr(statement, "handlers", ())]
        blocks += [case.body for case in getattr(statement, "cases", ())]
        for block in blocks:
            names |= _read_before_bound(block, copy := set(inside))
            if isinstance(statement, ast.With):
                bound |= copy
    return names


def _outside_blocks(statement: ast.stmt) -> list[ast.AST]:
    """The parts of a compound statement that are no statements: its test, its iterable, its context, its patterns."""
    parts: list[ast.AST] = []
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.ExceptHandler):
            parts += [child.type] if child.type is not None else []
        elif isinstance(child, ast.match_case):
            parts += [child.pattern, *([child.guard] if child.guard is not None else [])]
        elif not isinstance(child, ast.stmt):
            parts.append(child)
    return parts


def _read_at_once(node: ast.AST) -> Iterator[str]:
    """Names that are read where the statement stands: a function's defaults and decorators, not its body."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    skipped: set[int] = set()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        # What the body of an inner class reads is asked of that class.
        skipped = {id(child) for child in node.body}
    elif isinstance(node, ast.Lambda):
        skipped = {id(node.body)}
    elif isinstance(node, _COMPREHENSIONS):
        # Only the first iterable is read in the scope around a comprehension.
        yield from _read_at_once(node.generators[0].iter)
        return
    for child in ast.iter_child_nodes(node):
        if id(child) not in skipped:
            yield from _read_at_once(child)
