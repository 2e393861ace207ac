"""Kinds by name. A kind may register as an import path, so that a list of names imports nothing heavy."""

from __future__ import annotations

import importlib
from typing import cast

from lockstep.core.errors import UnknownNameError
from lockstep.core.near_names import did_you_mean
from lockstep.runs.kind import Kind

_PATHS: dict[str, str] = {}
_KINDS: dict[str, Kind] = {}


def register(name: str, kind: Kind | str) -> None:
    """Register a kind: the object itself, or where it lives, "package.module:ATTRIBUTE".

    The same registration again changes nothing. Raises ValueError when the name means something else already.
    """
    if isinstance(kind, str):
        if kind.count(":") != 1:
            raise ValueError(f'a kind lives at "package.module:ATTRIBUTE"; found {kind!r}')
        if _PATHS.get(name, kind) != kind or (name in _KINDS and name not in _PATHS):
            raise ValueError(f"the kind {name!r} is registered already; choose another name")
        _PATHS[name] = kind
        return
    if name in _PATHS or _KINDS.get(name, kind) is not kind:
        raise ValueError(f"the kind {name!r} is registered already; choose another name")
    _KINDS[name] = kind


def unregister(name: str) -> None:
    """Forget a kind, so that a notebook's cell that runs again can register its new object; `register` would refuse."""
    _PATHS.pop(name, None)
    _KINDS.pop(name, None)


def names() -> list[str]:
    """All names, sorted; loads no kind."""
    return sorted(_PATHS.keys() | _KINDS.keys())


def path(name: str) -> str | None:
    """Where the kind called `name` lives, for another process; None when it was registered as an object."""
    return _PATHS.get(name)


def get(name: str) -> Kind:
    """The kind called `name`. Raises UnknownNameError listing all names."""
    if name not in _KINDS:
        if name not in _PATHS:
            hint = did_you_mean(name, names())
            listing = ", ".join(names()) or "none"
            raise UnknownNameError(f"kind = {name!r}: no such kind of training.{hint} Known kinds: {listing}.")
        module, attribute = _PATHS[name].split(":")
        _KINDS[name] = cast("Kind", getattr(importlib.import_module(module), attribute))
    return _KINDS[name]
