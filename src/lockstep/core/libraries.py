"""Optional libraries: loaded at first use; a missing one is an error that names the extra to install."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

from lockstep.core.errors import MissingLibraryError


def require(module: str, *, extra: str, purpose: str) -> Any:
    """The module called `module`. Raises MissingLibraryError naming the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibraryError(
            f"{purpose} needs {module.partition('.')[0]}, which cannot be loaded here ({error}). "
            f"Install it with: pip install 'lockstep-trading[{extra}]'"
        ) from error


def installed(name: str) -> bool:
    """Whether a module called `name` is loaded, or could be."""
    if name in sys.modules:
        return sys.modules[name] is not None  # None marks a module that may not be imported
    return importlib.util.find_spec(name) is not None
