"""From what a person writes to a strategy: a built-in name, `path/to/file.py:Class`, or the class itself.

A file is read once and compiled from those very bytes, under a module name made from their digest. So the copy that
travels in a run's folder is the same module, two files called `my_strategy.py` never meet, and a stale `.pyc` or a
file that changed meanwhile cannot get in between.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import inspect
import linecache
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias

from lockstep.core.errors import StrategyError, UnknownNameError
from lockstep.core.hashing import blake3_hex
from lockstep.strategies.base import USER_FAILURES, Strategy, did_you_mean

# Name -> module:Class, imported at first use. Names are compared without regard to case.
_BUILT_IN: Final = {
    "LIQUIDITY_SWEEP": "lockstep.strategies.liquidity_sweep:LiquiditySweep",
}

Reference: TypeAlias = "str | type[Strategy] | Strategy"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A user's strategy as text: what a run keeps, hashes and loads again.

    file_name   such as "my_strategy.py", without folders
    class_name  the class within it
    text        the whole file (or notebook cell) as bytes
    """

    file_name: str
    class_name: str
    text: bytes

    @property
    def digest(self) -> str:
        """BLAKE3 of the text."""
        return blake3_hex(self.text)


def available() -> tuple[str, ...]:
    """Names of the built-in strategies."""
    return tuple(_BUILT_IN)


def lookup(reference: Reference, *, folder: Path | None = None) -> Strategy:
    """The strategy that `reference` means.

    reference  a built-in name in any letter case; "file.py:Class", relative to `folder` (default: the working
               directory); a Strategy class; or an instance
    Raises UnknownNameError for an unknown name (listing those there are), StrategyError for a file that cannot be used.
    """
    if isinstance(reference, Strategy):
        return reference
    if isinstance(reference, type):
        return _instance(reference, str(reference.__qualname__))
    if not isinstance(reference, str):
        raise StrategyError(
            f"a strategy is a name, 'file.py:Class' or a subclass of ls.Strategy; found {type(reference).__name__}"
        )
    if ".py" in reference or ":" in reference:
        return load_source(read_source(reference, folder=folder))
    module_and_class = _BUILT_IN.get(reference.upper())
    if module_and_class is None:
        names = available()
        raise UnknownNameError(
            f"no strategy is called {reference!r}{did_you_mean(reference, names)}; available: {', '.join(names)}. "
            "For your own, give 'path/to/file.py:Class'."
        )
    module, _, name = module_and_class.partition(":")
    return _instance(getattr(import_module(module), name), reference)


def read_source(reference: str, *, folder: Path | None = None) -> Source:
    """The file behind "path/to/file.py:Class", read but not run. Raises StrategyError when there is none."""
    path_text, _, class_name = reference.rpartition(":")
    if not path_text or not class_name.isidentifier():
        raise StrategyError(f"a strategy file is given as 'path/to/file.py:Class'; found {reference!r}")
    path = Path(path_text).expanduser()
    if not path.is_absolute():
        path = (folder or Path.cwd()) / path
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise StrategyError(
            f"{path}: there is no such strategy file; the path in {reference!r} is relative to the spec's folder"
        ) from error
    except OSError as error:
        raise StrategyError(f"{path}: the strategy file cannot be read ({error.strerror})") from error
    _refuse_neighbours(path, text)
    return Source(file_name=path.name, class_name=class_name, text=text)


def kept_source(strategy: Strategy) -> Source | None:
    """The source that `strategy` was loaded from by `load_source`; None for what Python itself imported."""
    kind = type(strategy)
    kept = getattr(sys.modules.get(kind.__module__), "__lockstep_source__", None)
    if not isinstance(kept, Source):
        return None
    return Source(file_name=kept.file_name, class_name=kind.__qualname__, text=kept.text)


def load_source(source: Source) -> Strategy:
    """Run the source's module (once per process and content) and make its strategy."""
    module = load_module(source)
    kind = getattr(module, source.class_name, None)
    if kind is None:
        own = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
        names = [item.__name__ for item in own if issubclass(item, Strategy)]
        raise StrategyError(
            f"{source.file_name} has no class {source.class_name!r}{did_you_mean(source.class_name, names)}; "
            f"strategies in it: {', '.join(names) or 'none'}"
        )
    return _instance(kind, f"{source.file_name}:{source.class_name}")


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


def load_module(source: Source) -> ModuleType:
    """The module of `source`, run once per process and content. Raises StrategyError with the line that failed."""
    name = f"lockstep_user_{source.digest[:24]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _TextLoader(source)
    spec = importlib.util.spec_from_loader(name, loader, origin=source.file_name)
    if spec is None:  # pragma: no cover - spec_from_loader answers None only without a loader
        raise StrategyError(f"{source.file_name}: cannot be loaded as a module")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__lockstep_source__"] = source
    text = source.text.decode("utf-8", errors="replace")
    linecache.cache[_display_name(source)] = (len(text), None, text.splitlines(keepends=True), _display_name(source))
    # Registered first, as `import` does: dataclasses and typing look their module up while it runs.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise StrategyError(f"{source.file_name}, line {error.lineno}: {error.msg}") from error
    except USER_FAILURES as error:
        del sys.modules[name]
        raise StrategyError(_import_failure(source, error)) from error
    return module


def _import_failure(source: Source, error: BaseException) -> str:
    line = "?"
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _display_name(source):
            line = str(trace.tb_lineno)
        trace = trace.tb_next
    return f"{source.file_name}, line {line}: {type(error).__name__}: {error} (while the strategy file was loaded)"


def _refuse_neighbours(path: Path, text: bytes) -> None:
    """A strategy travels as one file; an import of the file beside it would work here and nowhere else."""
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
                raise StrategyError(
                    f"{path.name}, line {node.lineno}: imports {name!r} from beside it. A strategy travels with its "
                    "run as one file: move the code into it, or install it as a package"
                )


def _instance(kind: Any, label: str) -> Strategy:
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise StrategyError(f"{label} is not a strategy: make it a subclass of ls.Strategy")
    if inspect.isabstract(kind) or kind.signals is Strategy.signals:
        raise StrategyError(f"{label} has no signals(view, params) of its own: write one that returns ls.Signals")
    try:
        return kind()
    except USER_FAILURES as error:
        raise StrategyError(
            f"{label} cannot be made without arguments ({type(error).__name__}: {error}): a strategy takes none when "
            "it is made; its parameters come to signals()"
        ) from error
