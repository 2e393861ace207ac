"""The user's own source, as it travels with a run: files as they are, or what a notebook's class needs.

A file takes along the modules next to it that it imports. A class that lives in a script, notebook or console has no
file of its own; its source is taken from the session, and every global it uses is added: imports as imports, constants
by value, functions and classes of the session by their own source. What cannot be written down that way is refused by
name.
"""

from __future__ import annotations

import ast
import builtins
import importlib.metadata
import inspect
import sys
import textwrap
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lockstep.core.errors import StrategyError

SESSION_FILE: Final = "session.py"
_CONSTANTS: Final = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class UserSource:
    """Files by flat name, the one that matters, and the name in it. `requires`: versions of packages they import."""

    files: Mapping[str, bytes]
    main: str
    attribute: str
    requires: Mapping[str, str]


def source_of_file(path: Path, attribute: str) -> UserSource:
    """`path` and the modules beside it that it imports, directly or not. Raises StrategyError."""
    files: dict[str, bytes] = {}
    imported: set[str] = set()
    queue = [path.resolve()]
    while queue:
        file = queue.pop()
        if file.name in files:
            continue
        try:
            files[file.name] = content = file.read_bytes()
            tree = ast.parse(content, filename=str(file))
        except OSError as error:
            raise StrategyError(f"{file}: the source cannot be read ({error.strerror}). Check the path.") from error
        except (SyntaxError, ValueError) as error:
            raise StrategyError(f"{file}: not Python: {error}. Mend the file.") from error
        for name in sorted(_imports(tree, file)):
            beside = file.parent / f"{name}.py"
            if beside.is_file():
                queue.append(beside)
            elif (file.parent / name / "__init__.py").is_file():
                raise StrategyError(
                    f"{file}: imports the package {file.parent / name}, which does not travel with a run: only single "
                    "files beside the strategy do. Move what is needed into one file, or install the package."
                )
            else:
                imported.add(name)
    return UserSource(dict(sorted(files.items())), path.name, attribute, _versions(imported))


def _imports(tree: ast.AST, file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise StrategyError(
                    f"{file}, line {node.lineno}: a relative import; a strategy's file is loaded by itself. "
                    f"Write `import {node.module or node.names[0].name}`."
                )
            names.add(str(node.module).partition(".")[0])
    return names


def _versions(modules: set[str]) -> dict[str, str]:
    outside = sorted(modules - sys.stdlib_module_names - {"lockstep"})
    if not outside:
        return {}
    owners = importlib.metadata.packages_distributions()
    found = {owner: importlib.metadata.version(owner) for name in outside for owner in owners.get(name, ())}
    return dict(sorted(found.items()))


def source_of_class(cls: type | types.FunctionType) -> UserSource:
    """The file that defines a class or function, or its source out of a script, notebook or console.

    Raises StrategyError naming what cannot travel.
    """
    module = sys.modules.get(cls.__module__)
    file = None if cls.__module__ == "__main__" else getattr(module, "__file__", None)
    if cls.__qualname__ != cls.__name__:
        raise StrategyError(
            f"{cls.__qualname__}: the class is defined inside a function or a class, so it cannot be found again in "
            "its source. Define it at the top level."
        )
    if file is not None and Path(file).suffix == ".py":
        return source_of_file(Path(file), cls.__name__)
    # A script is a session too: loaded as a file it would do again what it does at its top level, training included.
    text, imported = _session_source(cls, vars(module) if module is not None else {})
    return UserSource({SESSION_FILE: text.encode()}, SESSION_FILE, cls.__name__, _versions(imported))


def _text_of(thing: Any, name: str) -> str:
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError) as error:
        raise StrategyError(
            f"{name}: its source is not available ({error}), so the run could not be repeated. "
            f'Write it into a file and name it: name = "my_file.py:{name}".'
        ) from error


def _session_source(root: type | types.FunctionType, session: Mapping[str, Any]) -> tuple[str, set[str]]:
    """The text of a module that defines `root`, and the top-level modules it imports."""
    imports: dict[str, str] = {}
    constants: dict[str, str] = {}
    parts: list[str] = []
    modules: set[str] = set()
    done: set[str] = set()

    def add(name: str, thing: Any) -> None:
        if name in done:
            return
        done.add(name)
        if isinstance(thing, types.ModuleType):
            imports[name] = f"import {thing.__name__} as {name}"
            modules.add(thing.__name__.partition(".")[0])
        elif _is_constant(thing):
            constants[name] = f"{name} = {thing!r}"
        elif (home := _importable(thing)) is not None:
            imports[name] = f"from {home[0]} import {home[1]} as {name}"
            modules.add(home[0].partition(".")[0])
        elif getattr(written := _written(thing), "__name__", None) == name:
            text = _text_of(written, name)
            for used in sorted(_global_names(text)):
                if used in session and used != name:
                    add(used, session[used])
            parts.append(text)
        else:
            raise StrategyError(
                f"{root.__name__} uses {name} of the session, a {type(thing).__name__}, which cannot be written into "
                "its source. Make it a class attribute, a constant or a parameter, or write the strategy into a file."
            )

    add(root.__name__, root)
    head = ["from __future__ import annotations", ""]
    body = [*sorted(imports.values()), "", *sorted(constants.values()), ""]
    return "\n".join([*head, *body, *parts]), modules


def _written(thing: Any) -> Any:
    """The class or function that somebody wrote, beneath what decorators made of it (numba's keep it as `py_func`)."""
    inner = getattr(thing, "py_func", None)
    inner = inner if inner is not None else inspect.unwrap(thing) if callable(thing) else thing
    return inner if isinstance(inner, type | types.FunctionType) else None


def _is_constant(thing: Any) -> bool:
    if isinstance(thing, tuple | list):
        return all(_is_constant(item) for item in thing)
    if isinstance(thing, dict):
        return all(_is_constant(item) for pair in thing.items() for item in pair)
    return type(thing) in _CONSTANTS


def _importable(thing: Any) -> tuple[str, str] | None:
    """Module and name from which exactly `thing` can be imported, unless that is the session itself."""
    home, name = (
        getattr(thing, "__module__", None),
        getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None),
    )
    if not isinstance(home, str) or not isinstance(name, str) or home == "__main__" or "." in name:
        return None
    module = sys.modules.get(home)
    # A module without a file behind it (another notebook, exec) is a session too.
    if module is None or (getattr(module, "__spec__", None) is None and home != "builtins"):
        return None
    return (home, name) if getattr(module, name, None) is thing else None


def _global_names(text: str) -> set[str]:
    """Names that the code reads. Those the session has are taken as its globals; a local of that name costs a line."""
    loaded = {
        node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return loaded - vars(builtins).keys()
