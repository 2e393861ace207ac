"""Keras, loaded when it is used, on a backend that is installed."""

from __future__ import annotations

import os
from typing import Any

from lockstep.core.errors import MissingLibraryError
from lockstep.core.libraries import installed, require


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
        # Its variables have to be in place before torch computes, and only with this backend is torch sure to be there.
        import lockstep.learning.gradients.determinism  # noqa: F401
    keras = require("keras", extra="keras", purpose="training with Keras")
    if int(str(keras.__version__).partition(".")[0]) < 3:
        raise MissingLibraryError(f"training with Keras needs Keras 3; found {keras.__version__}. Upgrade keras.")
    return keras
