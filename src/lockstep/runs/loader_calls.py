"""Loader calls: what a source loads by `import_module("...")`, `exec("...")` and their like, read from its text alone.

What stands there in constants is resolved. Any other use of such a function, a call with an argument that is computed
or the function itself passed on, may load everything.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from importlib.util import resolve_name
from typing import Any, Final, NamedTuple

_LOADERS: Final = (
    "__import__",
    "exec_module",
    "import_module",
    "load_module",
    "resolve_name",
    "run_module",
    "run_path",
    "spec_from_file_location",
)
_RUNNERS: Final = ("compile", "eval", "exec")
_HOMES: Final = ("builtins", "importlib", "pkgutil", "runpy")
_WORDS: Final = re.compile(rf"\b(?:{'|'.join((*_LOADERS, *_RUNNERS, *_HOMES, '__builtins__'))})\b".encode())


class Import(NamedTuple):
    """A module, relative ones with their dots; the name taken out of it, None for the module itself; the local name."""

    module: str
    name: str | None = None
    local: str | None = None


class LoaderCalls(NamedTuple):
    """What the loader calls of one source lead to.

    imports      modules that they name in constants
    statements   code that they run from constant strings
    computed     whether one of them cannot be resolved
    """

    imports: list[Import]
    statements: list[ast.stmt]
    computed: bool


def loader_calls(body: Iterable[ast.stmt], content: bytes) -> LoaderCalls:
    """The loader calls in the statements `body` of a source with the bytes `content`."""
    calls = LoaderCalls([], [], computed=False)
    # Walking all nodes of a file is slow, and few files hold one of these words.
    if _WORDS.search(content) is None:
        return calls
    imports, statements, computed = calls
    waiting = list(body)
    while waiting:
        nodes = [node for statement in waiting for node in ast.walk(statement)]
        waiting = []
        for function, call in _uses(nodes):
            try:
                modules, code = _resolved(function, call)
            except (ValueError, TypeError):
                computed = True
                continue
            imports += modules
            waiting += code
        statements += waiting
    return LoaderCalls(imports, statements, computed)


def _uses(nodes: list[ast.AST]) -> Iterator[tuple[str, ast.Call | None]]:
    """Each use of a loader: its name, empty where only a run can tell; its call, None where it is passed on."""
    calls = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
    asked = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    modules, functions = _local_names(nodes)
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if name in functions:
                yield functions[name], calls.get(id(node))
            case ast.Name(id=name) if name in modules and id(node) not in asked:
                yield "", None
            case ast.Attribute(attr=name) if name in _LOADERS:
                yield name, calls.get(id(node))
            case ast.Attribute(attr=name, value=ast.Name(id=module)) if name in _RUNNERS and module in modules:
                yield name, calls.get(id(node))
            case ast.Attribute(attr="__dict__", value=ast.Name(id=module)) if module in modules:
                yield "", None
            case ast.Constant(value=str(name)) if name in _LOADERS or name == "__builtins__":
                yield "", None


def _local_names(nodes: Iterable[ast.AST]) -> tuple[set[str], dict[str, str]]:
    """Names under which a source knows the modules that hold loaders, and the loaders themselves."""
    modules = {"__builtins__"}
    functions = {name: name for name in (*_LOADERS, *_RUNNERS)}
    for node in nodes:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    top = alias.name.partition(".")[0]
                    if top in _HOMES:
                        modules.add(alias.asname or top)
            case ast.ImportFrom(module=str(module), names=names) if module.partition(".")[0] in _HOMES:
                for alias in names:
                    if alias.name in functions:
                        functions[alias.asname or alias.name] = alias.name
    return modules, functions


def _resolved(function: str, call: ast.Call | None) -> tuple[list[Import], list[ast.stmt]]:
    """The modules and the code that a call loads. Raises ValueError or TypeError where they are computed."""
    match function:
        case "import_module":
            name, package = _text(call, 0, "name"), _argument(call, 1, "package")
            if not isinstance(package, str | None):
                raise TypeError("package is no string")
            try:
                return [Import(resolve_name(name, package))], []
            except ImportError:
                return [], []  # the call itself will raise it
        case "__import__":
            name, names = _text(call, 0, "name"), _argument(call, 3, "fromlist")
            if _argument(call, 4, "level"):
                raise ValueError("relative to globals that only a run has")
            # Without names the call answers the top-level package.
            whole = Import(name if names else name.partition(".")[0])
            return [Import(name), whole, *(Import(name, item) for item in names or ())], []
        case "run_module":
            name = _text(call, 0, "mod_name")
            return [Import(name), Import(f"{name}.__main__")], []
        case "resolve_name":
            module, _, name = _text(call, 0, "name").partition(":")
            return [Import(module, name or None)], []
        case "exec" | "eval" | "compile":
            try:
                # `eval` takes leading spaces.
                return [], ast.parse(_text(call, 0, "source").lstrip(" \t")).body
            except SyntaxError:
                return [], []  # the call itself will raise it
    raise ValueError(f"{function}: a file, or code, that only a run can name")


def _text(call: ast.Call | None, place: int, keyword: str) -> str:
    value = _argument(call, place, keyword)
    if not isinstance(value, str):
        raise TypeError(f"{keyword} is no string")
    return value


def _argument(call: ast.Call | None, place: int, keyword: str) -> Any:
    """The constant value of an argument, None where it is left out. Raises ValueError or TypeError for another."""
    if call is None or any(isinstance(item, ast.Starred) for item in call.args):
        raise ValueError("arguments that only a run can tell")
    if any(item.arg is None for item in call.keywords):
        raise ValueError("keywords that only a run can tell")
    by_name = [item.value for item in call.keywords if item.arg == keyword]
    values = by_name or call.args[place : place + 1]
    return ast.literal_eval(values[0]) if values else None
