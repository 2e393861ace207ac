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
- in a file of the user, what stands under `if __name__ == "__main__":`, because a run loads it under another name. Its
  `else` counts.

A module whose name is computed while the program runs cannot be seen here (`runs.loader_calls`). Where a file of the
user or of another package computes one, every file counts. For our own sources a test lists each such place with the
reason why it is covered.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Final, TypeGuard

from lockstep.core.hashing import blake3_hex
from lockstep.runs.loader_calls import Import, loader_calls

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
_SEARCHES: Final = ("__dict__", "__getattr__", "__getattribute__")
_MODULE: Final = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)(?::(\w+))?")


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

    def modules(self, within: str | None = None) -> list[str]:
        """All modules of these packages, or those below the package `within`."""
        return [module for module in self._places if within is None or module.startswith(f"{within}.")]

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
    computed  whether it loads a module, or runs code, that only a run of it can name
    """

    key: str
    module: str
    content: bytes
    imports: tuple[Import, ...]
    lazy: Mapping[str, Import]
    computed: bool = False

    # Equal bytes are read once, so that a copy of the package costs no more than the files that differ.
    @classmethod
    @lru_cache(maxsize=2_048)
    def of(cls, key: str, module: str, content: bytes, *, strings: bool = True) -> SourceFile:
        """Read a file of a package, its strings too where `strings`. Raises SyntaxError when it is not Python."""
        body = ast.parse(content).body
        lazy = _lazy(body) if key.endswith(_INIT) else {}
        calls = loader_calls(body, content)
        body += calls.statements
        # The strings of a package that loads its names at first use are the table of those names.
        named = _named(body) if strings and not lazy else ()
        imports = tuple(dict.fromkeys([*_imports(body), *named, *calls.imports]))
        return cls(key, module, content, imports, lazy, calls.computed)

    @classmethod
    def of_user(cls, content: bytes) -> SourceFile:
        """Read a file of the user. One that is not Python loads nothing here; loading it in a run raises the error."""
        body = _loaded_body(content)
        calls = loader_calls(body, content)
        body += calls.statements
        # A user's file is loaded alone, so a relative import in it cannot work; where it belongs to a package
        # (`sources.files_behind`), every file of that package is read anyway.
        absolute = [item for item in _imports(body) if not item.module.startswith(".")]
        return cls("", "", content, (*absolute, *_named(body, whole=True), *calls.imports), {}, calls.computed)

    @property
    def ours(self) -> bool:
        """Whether it is a file of Lockstep, not of the user or of another package."""
        return bool(self.key) and ":" not in self.key

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

    def chains(self, local: str | None) -> frozenset[tuple[str, ...]]:
        """What this file reads from the thing it calls `local`: ("a", "b") for `local.a.b`, as long as each chain goes.

        An empty chain stands for a use that shows no names: the thing is passed on, to anybody's questions.
        """
        return frozenset({()}) if local is None else self._chains.get(local, frozenset())

    @cached_property
    def _chains(self) -> Mapping[str, frozenset[tuple[str, ...]]]:
        body = ast.parse(self.content).body if self.key else _loaded_body(self.content)
        body += loader_calls(body, self.content).statements
        nodes = [node for statement in body for node in ast.walk(statement)]
        above = {id(node.value): node for node in nodes if isinstance(node, ast.Attribute)}
        chains: dict[str, set[tuple[str, ...]]] = {}
        for name in nodes:
            if isinstance(name, ast.Name):
                chain: tuple[str, ...] = ()
                node: ast.expr = name
                while id(node) in above:
                    node = above[id(node)]
                    chain += (node.attr,)
                chains.setdefault(name.id, set()).add(chain)
        return {local: frozenset(several) for local, several in chains.items()}

    def targets(self, name: str) -> Iterator[str]:
        """The modules that `name`, read from this module, may stand for; some of them may not exist."""
        yield f"{self.module}.{name}"
        for item in (*self.imports, *self.lazy.values()):
            if item.local == name:
                module = self.absolute(item)
                if item.name is not None:
                    yield f"{module}.{item.name}"
                else:
                    yield name if module.partition(".")[0] == name else module


class _ImportWalk:
    """One walk over a tree, from module to module. `_open` are files whose imports are still to follow."""

    def __init__(self, tree: SourceTree) -> None:
        self._tree = tree
        self._seen: dict[str, SourceFile] = {}
        self._open: list[SourceFile] = []
        self._answered: set[tuple[str, tuple[str, ...], bool]] = set()

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
        """Load everything that a file imports; every module, where a file that is not ours computes what it loads."""
        if file.computed and not file.ours:
            for module in self._tree.modules():
                self.load(module)
        for item in file.imports:
            module = file.absolute(item)
            if self._tree.owns(module):
                self._take(file, item._replace(module=module))

    def _take(self, file: SourceFile, item: Import) -> None:
        self.load(item.module)
        if item.name is None:
            # `import a.b.c` binds a, through which the file can ask a and a.b for names as well as a.b.c; but
            # `import a.b.c as a` looks the same here.
            top = item.module.partition(".")[0]
            for module in dict.fromkeys([top, item.module] if item.local == top else [item.module]):
                self._ask(file, module, item.local)
        elif self._tree.file(module := f"{item.module}.{item.name}") is not None:
            self.load(module)
            self._ask(file, module, item.local)
        elif (package := self._tree.file(item.module)) is not None:
            # Neither a module nor itself: a name of the package, which its lazy table may bring from elsewhere.
            homes = package.lazy.values() if item.name == "*" else [package.lazy.get(item.name)]
            for home in homes:
                if home is not None:
                    self._take(package, home)

    def _ask(self, file: SourceFile, module: str, local: str | None) -> None:
        """Load what a file reads from a module that it knows under a local name."""
        source = self._tree.file(module)
        # Our own files read submodules through packages only, and parsing each of them again would be slow.
        if source is not None and (source.key.endswith(_INIT) or not file.ours):
            for chain in file.chains(local):
                self._answer(module, chain, ours=file.ours)

    def _answer(self, module: str, chain: tuple[str, ...], *, ours: bool) -> None:
        """Load what reading `module.a.b` may load, for the chain ("a", "b")."""
        source = self._tree.file(module)
        if source is None or (module, chain, ours) in self._answered:
            return
        self._answered.add((module, chain, ours))
        self.load(module)
        if not chain or chain[0] in _SEARCHES:
            for home in source.lazy.values():
                self._take(source, home)
            # Who gets a package can read each submodule that something else has loaded.
            for inner in () if ours else self._tree.modules(module):
                self.load(inner)
            return
        name, *rest = chain
        if name in source.lazy:
            self._take(source, source.lazy[name])
        for target in source.targets(name):
            self._answer(target, tuple(rest), ours=ours)


def _loaded_body(content: bytes) -> list[ast.stmt]:
    """The statements of a user's file that run when it is loaded; none when it is not Python."""
    try:
        nodes = ast.parse(content).body
    except (SyntaxError, ValueError):
        return []
    return [statement for node in nodes for statement in (node.orelse if _is_main_guard(node) else [node])]


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


def _is_main_guard(node: ast.stmt) -> TypeGuard[ast.If]:
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    return ast.unparse(node.test) in ("__name__ == '__main__'", "'__main__' == __name__")
