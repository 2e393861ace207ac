"""From what a person writes to a strategy: a built-in name, `path/to/file.py:Class`, or the class itself.

A file is read once and compiled from those very bytes (`runs.user_modules`), so the copy that travels in a run's folder
is the same module.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias

from lockstep.core.errors import StrategyError, UnknownNameError
from lockstep.core.near_names import did_you_mean
from lockstep.runs.user_modules import USER_FAILURES, Source, load_module, read_source, source_of_loaded
from lockstep.strategies.base import Strategy

__all__ = [
    "Reference",
    "Source",
    "available",
    "is_built_in",
    "kept_source",
    "load_source",
    "lookup",
    "read_source",
    "strategy_of",
]

# Name -> module:Class, imported at first use. Names are compared without regard to case.
_BUILT_IN: Final = {
    "LIQUIDITY_SWEEP": "lockstep.strategies.liquidity_sweep:LiquiditySweep",
}

Reference: TypeAlias = "str | type[Strategy] | Strategy"


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
            f"no strategy is called {reference!r}.{did_you_mean(reference, names)} Strategies available: "
            f"{', '.join(names)}. For your own, give 'path/to/file.py:Class'."
        )
    module, _, name = module_and_class.partition(":")
    return _instance(getattr(import_module(module), name), reference)


def is_built_in(strategy: Strategy) -> bool:
    """Whether the strategy's class is Lockstep's own, whose code is hashed with every run that uses it."""
    return type(strategy).__module__.partition(".")[0] == "lockstep"


def kept_source(strategy: Strategy) -> Source | None:
    """The source that `strategy` was read from by `load_source`; None for what Python itself imported."""
    return source_of_loaded(type(strategy))


def load_source(source: Source) -> Strategy:
    """Run the source's module (once per process and content) and make its strategy."""
    return strategy_of(source, load_module(source))


def strategy_of(source: Source, module: ModuleType) -> Strategy:
    """The strategy that `source` names, made from a module of it. Raises StrategyError."""
    kind = getattr(module, source.class_name, None)
    if kind is None:
        own = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
        names = [item.__name__ for item in own if issubclass(item, Strategy)]
        raise StrategyError(
            f"{source.file_name} has no class {source.class_name!r}.{did_you_mean(source.class_name, names)} "
            f"Strategies in this file: {', '.join(names) or 'none; one is a subclass of ls.Strategy'}."
        )
    return _instance(kind, f"{source.file_name}:{source.class_name}")


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
