"""Import closure: which source files a run can load, read from the sources without running any of them.

    roots (modules, files of the user) -> what they import, at the top or inside functions
                                       -> what they name in a string: "lockstep.module:Name", "lockstep.module"
                                       -> the `__init__.py` of each package on the way -> and so on

To count too little would call two different computations one; to count too much only ends comparability early. So all
entries of a lazy table count, a string that is the name of a module counts wherever it stands, and so does an import
that may never run. Three things do not count, because they cannot change what a run computes:

- imports under `if TYPE_CHECKING:`, which no process runs. Where a package loads its names at first use (PEP 562), that
  block says where each of them lives, and a name counts where a file asks for it: `from lockstep.strategies import
  lookup`, or `ls.Signals` after `import lockstep as ls`;
- `lockstep/__init__.py`, the entrance: a table of the public names. What it leads to counts; if the table did, each new
  public name would end the comparability of every run;
- in a file of the user, what stands under `if __name__ == "__main__":`, because a run loads it under another name.

A module whose name is computed while the program runs cannot be seen here. A test lists each such place of the sources
with the reason why it is covered.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import resolve_name
from pathlib import Path
from typing import Final, NamedTuple

from lockstep.core.hashing import blake3_hex

PACKAGE: Final = "lockstep"
_INIT: Final = "__init__.py"
_BLOCKS: Final = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
)
_MODULE: Final = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)(?::(\w+))?")


class Import(NamedTuple):
    """A module, relative ones with their dots; the name taken out of it, None for the module itself; the local name."""

    module: str
    name: str | None = None
    local: str | None = None


class SourceTree:
    """The source files of some packages, each read at most once.

    packages   by name, the folder of a package; for a module outside any package, its file
    """

    def __init__(self, packages: Mapping[str, Path]) -> None:
        self._packages = frozenset(packages)
        self._quoted = tuple(f"{quote}{name}.".encode() for name in packages for quote in "\"'")
        self._places = {module: place for name, path in packages.items() for module, place in _places(name, path)}
        self._files: dict[str, SourceFile] = {}

    def closure(self, roots: Iterable[str], texts: Iterable[bytes] = ()) -> dict[str, SourceFile]:
        """Each file that the modules `roots` and the user's files `texts` can load, by key, sorted.

        The key of a file of ours is its path within the package; that of another package's file begins with the name of
        that package and a colon. A name that is no module of these packages is ignored: importing it fails with its own
        message.
        """
        walk = _ImportWalk(self)
        for text in texts:
            walk.follow(SourceFile.of_user(text))
        for root in roots:
            walk.load(root)
        return walk.files()

    def file(self, module: str) -> SourceFile | None:
        """The file of a module; None for a module outside these packages."""
        if module not in self._files and module in self._places:
            key, path = self._places[module]
            content = path.read_bytes()
            # Walking all strings of a file is slow, and few files hold one that begins with a package's name.
            strings = any(quoted in content for quoted in self._quoted)
            self._files[module] = SourceFile.of(key, module, content, strings=strings)
        return self._files.get(module)

    def owns(self, module: str) -> bool:
        """Whether `module` is in one of these packages, or would be if it existed."""
        return module.partition(".")[0] in self._packages


def _places(package: str, root: Path) -> Iterator[tuple[str, tuple[str, Path]]]:
    """Each module of a package, with the key and the path of its file."""
    prefix = "" if package == PACKAGE else f"{package}:"
    if not root.is_dir():
        yield package, (prefix + root.name, root)
        return
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).parts
        inner = parts[:-1] if path.name == _INIT else (*parts[:-1], path.stem)
        yield ".".join([package, *inner]), (prefix + "/".join(parts), path)


@dataclass(frozen=True)
class SourceFile:
    """One source file and the modules that it loads.

    key       name of the file in a record; empty for a file of the user
    module    name of its module; empty for a file of the user
    imports   each import that may run, and each string that could name a module
    lazy      of a package that loads names at first use: for each name, the import that brings it
    """

    key: str
    module: str
    content: bytes
    imports: tuple[Import, ...]
    lazy: Mapping[str, Import]

    @classmethod
    def of(cls, key: str, module: str, content: bytes, *, strings: bool = True) -> SourceFile:
        """Read a file of a package, its strings too where `strings`. Raises SyntaxError when it is not Python."""
        body = ast.parse(content).body
        lazy = _lazy(body) if key.endswith(_INIT) else {}
        # The strings of a package that loads its names at first use are the table of those names.
        named = _named(body) if strings and not lazy else ()
        return cls(key, module, content, tuple(dict.fromkeys([*_imports(body), *named])), lazy)

    @classmethod
    def of_user(cls, content: bytes) -> SourceFile:
        """Read a file of the user. One that is not Python loads nothing here; loading it in a run raises the error."""
        body = _loaded_body(content)
        # A user's file is loaded alone, so a relative import in it cannot work; where it belongs to a package
        # (`sources.files_behind`), every file of that package is read anyway.
        absolute = [item for item in _imports(body) if not item.module.startswith(".")]
        return cls("", "", content, (*absolute, *_named(body, whole=True)), {})

    @cached_property
    def digest(self) -> str:
        """BLAKE3 of the content, 64 hex digits."""
        return blake3_hex(self.content)

    @property
    def top_names(self) -> set[str]:
        """Top-level names of the modules that are imported absolutely."""
        named = (item.module for item in self.imports if item.local is not None)
        return {module.partition(".")[0] for module in named if not module.startswith(".")}

    def absolute(self, item: Import) -> str:
        """The absolute name of the module that an import in this file means."""
        package = self.module if self.key.endswith(_INIT) else self.module.rpartition(".")[0]
        return resolve_name(item.module, package) if item.module.startswith(".") else item.module

    def names_of(self, local: str | None, *, through: bool = False) -> frozenset[str] | None:
        """The names that this file can read from the module it calls `local`; None for possibly all of them.

        All, when the module is passed on or searched by a string. With `through`, names of a module inside that one
        (`a.b.name`): any attribute in the file may then be such a name.
        """
        body = ast.parse(self.content).body if self.key else _loaded_body(self.content)
        nodes = [node for statement in body for node in ast.walk(statement)]
        attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
        # Every use of the name has to be `local.x`; one that is not passes the module on, to anybody's questions.
        own = [node for node in attributes if isinstance(node.value, ast.Name) and node.value.id == local]
        asked = {id(node.value) for node in own}
        if local is None or any(
            isinstance(node, ast.Name) and node.id == local and id(node) not in asked for node in nodes
        ):
            return None
        names = frozenset(node.attr for node in (attributes if through else own))
        return None if names & {"__dict__", "__getattr__", "__getattribute__"} else names


class _ImportWalk:
    """One walk over a tree, from module to module. `_open` are files whose imports are still to follow."""

    def __init__(self, tree: SourceTree) -> None:
        self._tree = tree
        self._seen: dict[str, SourceFile] = {}
        self._open: list[SourceFile] = []

    def files(self) -> dict[str, SourceFile]:
        """All files that the walk reached, by key, sorted, without the entrance `lockstep/__init__.py`."""
        while self._open:
            self.follow(self._open.pop())
        files = {file.key: file for module, file in self._seen.items() if module != PACKAGE}
        return dict(sorted(files.items()))

    def load(self, module: str) -> None:
        """Load a module, and each package above it, as importing it does."""
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            if name not in self._seen and (file := self._tree.file(name)) is not None:
                self._seen[name] = file
                self._open.append(file)

    def follow(self, file: SourceFile) -> None:
        """Load everything that a file imports."""
        for item in file.imports:
            module = file.absolute(item)
            if self._tree.owns(module):
                self._take(file, item._replace(module=module))

    def _take(self, file: SourceFile, item: Import) -> None:
        self.load(item.module)
        if item.name is None:
            # `import a.b.c` binds a, through which the file can ask a and a.b for names as well as a.b.c.
            parts = item.module.split(".")
            for count in range(1 if item.local == parts[0] else len(parts), len(parts) + 1):
                through = item.local == parts[0] and count > 1
                self._ask(file, ".".join(parts[:count]), item.local, through=through)
        elif self._tree.file(module := f"{item.module}.{item.name}") is not None:
            self.load(module)
            self._ask(file, module, item.local)
        elif (package := self._tree.file(item.module)) is not None:
            # Neither a module nor itself: a name of the package, which its lazy table may bring from elsewhere.
            homes = package.lazy.values() if item.name == "*" else [package.lazy.get(item.name)]
            for home in homes:
                if home is not None:
                    self._take(package, home)

    def _ask(self, file: SourceFile, module: str, local: str | None, *, through: bool = False) -> None:
        """Load what a package loads at first use, for the names that a file reads from it under a local name."""
        package = self._tree.file(module)
        if package is None or not package.lazy:
            return
        names = file.names_of(local, through=through)
        for name, home in package.lazy.items():
            if names is None or name in names:
                self._take(package, home)


def _loaded_body(content: bytes) -> list[ast.stmt]:
    """The statements of a user's file that run when it is loaded; none when it is not Python."""
    try:
        return [node for node in ast.parse(content).body if not _is_main_guard(node)]
    except (SyntaxError, ValueError):
        return []


def _imports(body: Iterable[ast.stmt]) -> Iterator[Import]:
    """The imports in a body, also those in functions and classes, but not those for type checkers only."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(alias.name, None, alias.asname or alias.name.partition(".")[0])
            case ast.ImportFrom(module=module, names=names, level=level):
                for alias in names:
                    yield Import("." * level + (module or ""), alias.name, alias.asname or alias.name)
            case ast.If(body=inner, orelse=orelse):
                waiting += orelse if _is_typing_only(node) else [*inner, *orelse]
            case ast.Match(cases=cases):
                waiting += [item for case in cases for item in case.body]
            case _ if isinstance(node, _BLOCKS):
                for name in ("body", "orelse", "finalbody"):
                    waiting += getattr(node, name, ())
                for handler in getattr(node, "handlers", ()):
                    waiting += handler.body


def _named(body: Iterable[ast.stmt], *, whole: bool = False) -> Iterator[Import]:
    """String constants that could name a module: "a.b" or "a.b:Name", with `whole` also "a"."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                match = _MODULE.fullmatch(node.value)
                if match is not None and (whole or "." in match[1]):
                    yield Import(match[1], match[2])


def _lazy(body: Iterable[ast.stmt]) -> dict[str, Import]:
    """The names that a package with a `__getattr__` loads at first use, each with the import under TYPE_CHECKING."""
    nodes = list(body)
    if not any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in nodes):
        return {}
    # PEP 562: what `__getattr__` loads is computed at run time, but type checkers need the same names spelled out.
    shown = [item for node in nodes if isinstance(node, ast.If) and _is_typing_only(node) for item in node.body]
    return {item.local: item for item in _imports(shown) if item.local is not None}


def _is_typing_only(node: ast.If) -> bool:
    test = node.test
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else None
    return name == "TYPE_CHECKING"


def _is_main_guard(node: ast.stmt) -> bool:
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    return ast.unparse(node.test) in ("__name__ == '__main__'", "'__main__' == __name__")
