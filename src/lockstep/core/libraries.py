"""Optional libraries: loaded when they are needed, and asked for by name when they are missing."""

from __future__ import annotations

import importlib
import importlib.util
import os
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


def require_keras() -> Any:
    """Keras 3, on TensorFlow where that is installed, else on torch; KERAS_BACKEND decides where it is set.

    Raises MissingLibraryError when Keras or a backend is missing.
    """
    # Keras reads the variable once, while it loads; a configuration file in the home folder would come after it.
    if not os.environ.get("KERAS_BACKEND"):
        os.environ["KERAS_BACKEND"] = "tensorflow" if installed("tensorflow") else "torch"
    backend = os.environ["KERAS_BACKEND"]
    if not installed("keras"):
        require("keras", extra="keras", purpose="training with Keras")
    if not installed(backend):
        raise MissingLibraryError(
            f"Keras computes with {backend}, which is not installed here. Install it, or set KERAS_BACKEND to a "
            "backend that is (torch: pip install 'lockstep-trading[ml]')"
        )
    if backend == "torch":
        # Its variables have to be in place before torch computes.
        importlib.import_module("lockstep.learning.gradients.determinism")
    keras = require("keras", extra="keras", purpose="training with Keras")
    if int(str(keras.__version__).partition(".")[0]) < 3:
        raise MissingLibraryError(f"training with Keras needs Keras 3; found {keras.__version__}. Upgrade keras.")
    return keras
