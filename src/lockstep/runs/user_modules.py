"""A user's file as a module: read once and compiled from those very bytes, under a name made from their digest.

So the copy in a run's folder is the same module, two files of one name never clash, and neither a stale `.pyc` nor an
edit in between can change the code. A `Role` says what the file is for, in words and in errors.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import linecache
import sys
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

from lockstep.core.errors import InputError, NetworkError, StrategyError
from lockstep.core.hashing import blake3_hex

# Whatever a user's code may raise, without Ctrl-C. sys.exit() counts: it would end the command with exit code 0, as if
# the command had succeeded.
USER_FAILURES: Final = (Exception, SystemExit)


class Role(NamedTuple):
    """What a user's file holds: its word in messages, and the class of errors about it."""

    noun: str
    error: type[InputError]


STRATEGY: Final = Role("strategy", StrategyError)
NETWORK: Final = Role("network", NetworkError)
# Names of loaded sources in tracebacks -> where their text was read.
_ORIGINS: Final[dict[str, str]] = {}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A user's code as text: what a run keeps, hashes and loads again.

    file_name   such as "my_strategy.py", without folders
    class_name  the class or function within it
    text        the whole file (or notebook cell) as bytes
    origin      the path that the text was read from, for messages; None where it has none
    """

    file_name: str
    class_name: str
    text: bytes
    # Of the same text wherever it lies: a run's copy is the same source as the user's file.
    origin: Path | None = field(default=None, compare=False)

    @property
    def digest(self) -> str:
        """BLAKE3 of the text, 64 hex digits."""
        return blake3_hex(self.text)


def read_source(reference: str, *, folder: Path | None = None, role: Role = STRATEGY) -> Source:
    """The file behind "path/to/file.py:Class", read but not run. Raises the role's error when there is none."""
    path_text, _, class_name = reference.rpartition(":")
    if not path_text or not class_name.isidentifier():
        raise role.error(f"a {role.noun} file is given as 'path/to/file.py:Class'; found {reference!r}")
    path = Path(path_text).expanduser()
    if not path.is_absolute():
        path = (folder or Path.cwd()) / path
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise role.error(
            f"{path}: there is no such {role.noun} file; a relative path starts in the folder of the spec, "
            "or, where no spec is read, in the folder you are in"
        ) from error
    except OSError as error:
        raise role.error(f"{path}: the {role.noun} file cannot be read ({error.strerror})") from error
    _refuse_neighbours(path, text, role)
    return Source(file_name=path.name, class_name=class_name, text=text, origin=path)


def source_of_loaded(kind: type) -> Source | None:
    """The source that the class `kind` was loaded from by `load_module`; None for what Python itself imported."""
    source = getattr(sys.modules.get(kind.__module__), "__lockstep_source__", None)
    if not isinstance(source, Source):
        return None
    return replace(source, class_name=kind.__qualname__)


class _TextLoader(importlib.abc.InspectLoader):
    """Runs a module from bytes in hand; nothing is read again and no `.pyc` is consulted."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._source.text)

    def get_code(self, fullname: str):  # type: ignore[no-untyped-def]
        return self.source_to_code(self._source.text, _display_name(self._source))


def _display_name(source: Source) -> str:
    """The file name tracebacks show; with the digest, so that linecache never shows another version's lines."""
    return f"<{source.file_name} {source.digest[:12]}>"


def path_of_frame(file_name: str) -> str:
    """The path of the file behind a traceback's `file_name`, for an editor or terminal to open; else `file_name`."""
    return _ORIGINS.get(file_name, file_name)


def _shown(source: Source) -> str:
    return source.file_name if source.origin is None else str(source.origin)


def load_module(source: Source, role: Role = STRATEGY) -> ModuleType:
    """The module of `source`, run once per process and content. Raises the role's error with the line that failed."""
    name = f"lockstep_user_{source.digest[:24]}"
    return sys.modules[name] if name in sys.modules else _run(source, role, name)


_copies: Final = count()


def load_copy(source: Source, role: Role = STRATEGY) -> ModuleType:
    """The module of `source`, run once more: what it holds is what the file says, whatever another copy was asked.

    It stays in `sys.modules` under a name of its own; who asked for it removes it. Raises the role's error.
    """
    return _run(source, role, f"lockstep_user_{source.digest[:24]}_copy_{next(_copies)}")


def _run(source: Source, role: Role, name: str) -> ModuleType:
    loader = _TextLoader(source)
    spec = importlib.util.spec_from_loader(name, loader, origin=source.file_name)
    if spec is None:  # pragma: no cover - spec_from_loader answers None only without a loader
        raise role.error(f"{source.file_name}: cannot be loaded as a module")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__lockstep_source__"] = source
    text = source.text.decode("utf-8", errors="replace")
    linecache.cache[_display_name(source)] = (len(text), None, text.splitlines(keepends=True), _display_name(source))
    if source.origin is not None:
        _ORIGINS[_display_name(source)] = str(source.origin)
    # Registered first, as `import` does: dataclasses and typing look their module up while it runs.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise role.error(f"{_shown(source)}, line {error.lineno}: {error.msg}") from error
    except USER_FAILURES as error:
        del sys.modules[name]
        line = line_of(source, error)
        raise role.error(
            f"{_shown(source)}, line {line}: {type(error).__name__}: {error} (while the {role.noun} file was loaded)"
        ) from error
    return module


def line_of(source: Source, error: BaseException) -> str:
    """The last line of `source` that an exception passed through, "?" where it passed through none."""
    line = "?"
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _display_name(source):
            line = str(trace.tb_lineno)
        trace = trace.tb_next
    return line


def _refuse_neighbours(path: Path, text: bytes, role: Role) -> None:
    """User code travels as one file; an import of the file beside it would work here and nowhere else."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return  # reported with its line when the module is loaded
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        elif isinstance(node, ast.Import):
            names = [item.name for item in node.names]
        else:
            continue
        for name in names:
            top = name.split(".")[0]
            beside = (path.parent / f"{top}.py", path.parent / top / "__init__.py")
            if name.startswith(".") or (top != path.stem and any(item.exists() for item in beside)):
                raise role.error(
                    f"{path}, line {node.lineno}: imports {name!r} from beside it. A {role.noun} travels with "
                    "its run as one file: move the code into it, or install it as a package"
                )
