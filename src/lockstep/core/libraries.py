"""Optional libraries: loaded at first use; a missing one is an error that names the extra to install."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from lockstep.core.errors import MissingLibraryError


def require(module: str, *, extra: str, purpose: str) -> Any:
    """The module called `module`. Raises MissingLibraryError naming the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibraryError(
            f"{purpose} needs {module.partition('.')[0]}, which cannot be loaded here ({error}). "
            f"Install it with: {install_line(extra)}"
        ) from error


def install_line(extra: str) -> str:
    """The command that installs an extra: from the checkout where this is one, by the distribution's name elsewhere."""
    checkout = Path(__file__).parents[3]
    if (checkout / "pyproject.toml").is_file():
        return f"pip install -e '{checkout}[{extra}]'"
    return f"pip install 'lockstep-trading[{extra}]'"


def installed(name: str) -> bool:
    """Whether a module called `name` is loaded, or could be."""
    if name in sys.modules:
        return sys.modules[name] is not None  # None marks a module that may not be imported
    return importlib.util.find_spec(name) is not None
