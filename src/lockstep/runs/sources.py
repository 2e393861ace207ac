"""The user's own source, as it travels with a run: whole files, or the text that a class of a notebook needs.

A file takes along the modules next to it that it imports. A class in a script, notebook or console has no file of its
own: its source is read from the interactive Python, and every global that it uses is added: imports as imports,
constants by value, functions and classes by their own source. A global that has no such text is refused by name.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import json
import linecache
import math
import re
import sys
import textwrap
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from lockstep.core.errors import StrategyError
from lockstep.core.hashing import digest_file
from lockstep.runs.folder import flat_name
from lockstep.runs.scopes import annotation_names, global_names

INTERACTIVE_FILE: Final = "session.py"
_SOURCE_MARK: Final = " (source)"
_LOCKSTEP: Final = re.compile(r"lockstep[-_.]trading(?![\w.-])", re.IGNORECASE)
_CONSTANTS: Final = (bool, int, float, complex, str, bytes, type(None))


@dataclass(frozen=True)
class UserSource:
    """Code of the user that travels with a run.

    files       content by flat name
    main        name of the file that defines `attribute`
    attribute   name of the class or function
    requires    what the files import from elsewhere (`versions`)
    origin      path of `main`, for messages; None where it has none
    """

    files: Mapping[str, bytes]
    main: str
    attribute: str
    requires: Mapping[str, str]
    origin: Path | None = field(default=None, compare=False)


def source_of_file(path: Path, attribute: str) -> UserSource:
    """`path` and the modules beside it that it imports, directly or not. Raises StrategyError."""
    files: dict[str, bytes] = {}
    imported: set[str] = set()
    queue = [path.absolute()]  # a link keeps its own name and its own neighbours
    while queue:
        file = queue.pop()
        if file.name in files:
            continue
        try:
            flat_name(file.name)
        except ValueError as error:
            raise StrategyError(f"{file}: {error}. Rename the file.") from error
        try:
            files[file.name] = content = file.read_bytes()
            tree = ast.parse(content, filename=str(file))
        except OSError as error:
            raise StrategyError(f"{file}: the source cannot be read ({error.strerror}). Check the path.") from error
        except (SyntaxError, ValueError) as error:
            raise StrategyError(f"{file}: not Python: {error}. Mend the file.") from error
        _refuse_relative_imports(tree, file)
        for name in sorted(_imports(tree)):
            beside = file.parent / f"{name}.py"
            if beside.is_file():
                queue.append(beside)
            elif (file.parent / name / "__init__.py").is_file():
                raise StrategyError(
                    f"{file}: imports the package {file.parent / name}, which does not travel with a run: only single "
                    "files beside it do. Move what is needed into one file, or install the package."
                )
            else:
                imported.add(name)
    return UserSource(dict(sorted(files.items())), path.name, attribute, versions(imported), origin=path)


def source_of_text(text: bytes, file_name: str, attribute: str) -> UserSource:
    """The source of one file whose content is at hand; it brings no other files along."""
    return UserSource({file_name: text}, file_name, attribute, versions(_imports(ast.parse(text))))


def _refuse_relative_imports(tree: ast.AST, file: Path) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise StrategyError(
                f"{file}, line {node.lineno}: a relative import; a file that travels with a run is loaded by itself. "
                f"Write `import {node.module or node.names[0].name}`."
            )


def _imports(tree: ast.AST) -> set[str]:
    """Top-level names of the modules that are imported absolutely."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).partition(".")[0])
    return names


def versions(modules: Iterable[str]) -> dict[str, str]:
    """The identity of imported modules, by name; without the standard library and Lockstep.

    An installed package counts by its version. A module that no installed package owns (from PYTHONPATH or the working
    directory), or one installed as editable, counts by a digest of its source, and so does what it imports. "absent"
    stands for a module that does not exist, because code may ask for it.
    """
    entries: dict[str, str] = {}
    queue, seen = list(modules), {"lockstep", *sys.stdlib_module_names}
    owners: Mapping[str, list[str]] | None = None
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        if owners is None:
            owners = _owners(_installed())
        packages = {owner: importlib.metadata.distribution(owner) for owner in owners.get(name, ())}
        entries |= {owner: package.version for owner, package in packages.items()}
        if packages and not any(map(_is_editable, packages.values())):
            continue
        files = _files_of(name)
        entries[f"{name}{_SOURCE_MARK}"] = _digest_of(files) if files else "absent"
        for file in files:
            if file.suffix == ".py":
                try:
                    queue += sorted(_imports(ast.parse(file.read_bytes())))
                except (OSError, SyntaxError, ValueError):
                    continue  # importing it will say so, if it is ever imported
    return dict(sorted(entries.items()))


_DESCRIPTIONS: Final = (".dist-info", ".egg-info", ".egg")
"""How the names of folders that describe an installed package end."""


@lru_cache(maxsize=1)
def _owners(installed: tuple[tuple[str, int], ...]) -> Mapping[str, list[str]]:
    """The packages that own each importable name. Reading the lists of all their files takes half a second."""
    return importlib.metadata.packages_distributions()


def _installed() -> tuple[tuple[str, int], ...]:
    """The places where packages are described, with the times of their last change: what `_owners` depends on."""
    described = []
    for place in map(Path, sys.path):
        with contextlib.suppress(OSError):
            # A file is an archive of packages.
            described += [place] if place.is_file() else [p for p in place.iterdir() if p.suffix in _DESCRIPTIONS]
    files = [path for folder in described for path in (folder, folder / "RECORD", folder / "top_level.txt")]
    state = []
    for path in files:
        with contextlib.suppress(OSError):
            state.append((str(path), path.stat().st_mtime_ns))
    return tuple(state)


def files_behind(requires: Mapping[str, str]) -> list[Path]:
    """Sources behind the entries of `versions` that may themselves import Lockstep, sorted.

    Those are modules whose source is digested, and the files of installed packages that depend on Lockstep.
    """
    files: set[Path] = set()
    for name in requires:
        module, mark, _ = name.partition(_SOURCE_MARK)
        if mark:
            files.update(_files_of(module))
        elif _may_import_lockstep(name):
            package = importlib.metadata.distribution(name)
            files.update(Path(str(package.locate_file(file))) for file in package.files or ())
    return sorted(file for file in files if file.suffix == ".py" and file.is_file())


def _may_import_lockstep(name: str) -> bool:
    """Whether an installed package depends on Lockstep; one that declares nothing at all is read to find out."""
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    if package.requires is not None:
        return any(_LOCKSTEP.match(line) for line in package.requires)
    files = (Path(str(package.locate_file(file))) for file in package.files or ())
    return any(file.suffix == ".py" and file.is_file() and b"lockstep" in file.read_bytes() for file in files)


def _is_editable(package: importlib.metadata.Distribution) -> bool:
    """Whether a package was installed by `pip install -e`, which records it (PEP 610)."""
    note = json.loads(package.read_text("direct_url.json") or "{}")
    return bool(note.get("dir_info", {}).get("editable"))


def _files_of(module: str) -> list[Path]:
    """The files that importing a module, or something below it, may run."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    suffixes = (*importlib.machinery.SOURCE_SUFFIXES, *importlib.machinery.EXTENSION_SUFFIXES)
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = {file for folder in folders for file in folder.rglob("*") if file.name.endswith(suffixes)}
    if spec.origin is not None and Path(spec.origin).is_file():
        files.add(Path(spec.origin))
    return sorted(files)


def _digest_of(files: Iterable[Path]) -> str:
    hasher = blake3()
    for file in files:
        hasher.update(f"{file.name}\n{digest_file(file)}\n".encode())
    return str(hasher.hexdigest())


def source_of_class(cls: type | types.FunctionType) -> UserSource:
    """The file that defines a class or function; for a script, notebook or console, the text that it needs.

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
    # A script counts as interactive: loading its file would run its top level again, training included.
    text, imported = _interactive_source(cls, vars(module) if module is not None else {})
    return UserSource({INTERACTIVE_FILE: text.encode()}, INTERACTIVE_FILE, cls.__name__, versions(imported))


def _text_of(thing: Any, name: str) -> str:
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError, SyntaxError) as error:  # SyntaxError: the file is a Markdown page or the like
        if isinstance(thing, type) and (cell := _text_of_cell(thing)) is not None:
            return cell
        raise StrategyError(
            f"{name}: its source is not available ({error}), so the run could not be repeated. "
            f'Write it into a file and name it: name = "my_file.py:{name}".'
        ) from error


def _text_of_cell(cls: type) -> str | None:
    """The text of a class in a notebook's cell. Before Python 3.13 only its methods know which cell that was."""
    for member in vars(cls).values():
        code = getattr(inspect.unwrap(getattr(member, "__func__", member)), "__code__", None)
        if code is None:
            continue
        lines = linecache.getlines(code.co_filename)
        try:
            nodes = ast.parse("".join(lines)).body
        except SyntaxError:
            continue  # code that was cut out of a page bears the page's name
        for node in nodes:
            if not isinstance(node, ast.ClassDef) or node.name != cls.__name__:
                continue
            if node.lineno <= code.co_firstlineno <= (node.end_lineno or 0):
                first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
                return textwrap.dedent("".join(lines[first - 1 : node.end_lineno]))
    return None


def _interactive_source(root: type | types.FunctionType, namespace: Mapping[str, Any]) -> tuple[str, set[str]]:
    """The text of a module that defines `root` (its globals: `namespace`), and the top-level modules it imports."""
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
            constants[name] = f"{name} = {_literal(thing)}"
        elif (home := _importable(thing)) is not None:
            imports[name] = f"from {home[0]} import {home[1]} as {name}"
            modules.add(home[0].partition(".")[0])
        elif getattr(written := _written(thing), "__name__", None) == name:
            text = _text_of(written, name)
            # Sorted: the order of a set changes with the hash seed, and the text is part of the run's identity.
            for used in sorted(global_names(text)):
                if used in namespace and used != name and not _is_builtin(used, namespace[used]):
                    add(used, namespace[used])
            # What only an annotation names is taken along where it can be, since a library may ask for the type.
            for used in sorted(annotation_names(text)):
                if used in namespace and used not in done and _has_text(namespace[used]):
                    add(used, namespace[used])
            modules.update(_imports(ast.parse(text)))
            parts.append(text)  # after what it uses, which a base class or decorator needs at once
        else:
            raise StrategyError(
                f"{root.__name__} uses {name}, a {type(thing).__name__} of this interactive Python that cannot be "
                "written into its source. Make it a class attribute, a constant or a parameter, or write the class into"
                " a file."
            )

    add(root.__name__, root)
    head = ["from __future__ import annotations", ""]
    body = [*sorted(imports.values()), "", *sorted(constants.values()), ""]
    return "\n".join([*head, *body, *parts]), modules


def _has_text(thing: Any) -> bool:
    return isinstance(thing, types.ModuleType) or (isinstance(thing, type) and _importable(thing) is not None)


def _is_builtin(name: str, thing: Any) -> bool:
    """Whether a global is what every module has, and not the session's own `sum` or `input`.

    A console puts its own `exit` and `quit` there; a module's own names (`__name__`) come with every module.
    """
    if name in ("exit", "quit") or (name.startswith("__") and name.endswith("__")):
        return True
    return hasattr(builtins, name) and getattr(builtins, name) is thing


def _written(thing: Any) -> Any:
    """The class or function as written in source, below its decorators (numba keeps it as `py_func`)."""
    inner = getattr(thing, "py_func", None)
    inner = inner if inner is not None else inspect.unwrap(thing) if callable(thing) else thing
    return inner if isinstance(inner, type | types.FunctionType) else None


def _is_constant(thing: Any) -> bool:
    # Exact types: a named tuple or a default dictionary is more than its items.
    if type(thing) in (tuple, list):
        return all(_is_constant(item) for item in thing)
    if type(thing) is dict:
        return all(_is_constant(item) for pair in thing.items() for item in pair)
    return type(thing) in _CONSTANTS


def _literal(thing: Any) -> str:
    """Python text of a constant: its `repr`, except for NaN and infinities, whose `repr` is no literal."""
    if isinstance(thing, float) and not math.isfinite(thing):
        return f'float("{thing}")'
    if isinstance(thing, complex):
        return f"complex({_literal(thing.real)}, {_literal(thing.imag)})"
    if isinstance(thing, tuple):
        return f"({''.join(f'{_literal(item)}, ' for item in thing)})"
    if isinstance(thing, list):
        return f"[{', '.join(map(_literal, thing))}]"
    if isinstance(thing, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(item)}' for key, item in thing.items())}}}"
    return repr(thing)


def _importable(thing: Any) -> tuple[str, str] | None:
    """Module and name from which exactly `thing` can be imported; None for what only this interactive Python has."""
    home, name = (
        getattr(thing, "__module__", None),
        getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None),
    )
    if not isinstance(home, str) or not isinstance(name, str) or home == "__main__" or "." in name:
        return None
    module = sys.modules.get(home)
    # A module without a spec (of another notebook, of exec) exists in this process only.
    if module is None or (getattr(module, "__spec__", None) is None and home != "builtins"):
        return None
    return (home, name) if getattr(module, name, None) is thing else None
