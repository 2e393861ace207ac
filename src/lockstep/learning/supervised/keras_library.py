"""`require_keras`: import Keras with a backend that is installed."""

from __future__ import annotations

import os
from typing import Any

from lockstep.core.errors import MissingLibraryError
from lockstep.core.libraries import install_line, installed, require


def require_keras() -> Any:
    """The module keras, version 3. Its backend is KERAS_BACKEND, else TensorFlow where installed, else torch.

    Raises MissingLibraryError when Keras or a backend is missing.
    """
    # Keras reads the variable once, at import, and prefers it to a configuration file in the home folder.
    if not os.environ.get("KERAS_BACKEND"):
        os.environ["KERAS_BACKEND"] = "tensorflow" if installed("tensorflow") else "torch"
    backend = os.environ["KERAS_BACKEND"]
    if not installed("keras"):
        require("keras", extra="keras", purpose="training with Keras")
    if not installed(backend):
        raise MissingLibraryError(
            f"Keras computes with {backend}, which is not installed here. Install it, or set KERAS_BACKEND to a "
            f"backend that is (torch: {install_line('ml')})"
        )
    if backend == "torch":
        # That module sets variables that torch reads at its first operation.
        import lockstep.learning.gradients.determinism  # noqa: F401
    keras = require("keras", extra="keras", purpose="training with Keras")
    if int(str(keras.__version__).partition(".")[0]) < 3:
        raise MissingLibraryError(f"training with Keras needs Keras 3; found {keras.__version__}. Upgrade keras.")
    return keras
