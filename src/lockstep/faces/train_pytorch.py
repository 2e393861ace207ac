"""`python -m lockstep.faces.train_pytorch`: train the PyTorch classifier with its defaults, or with those given.

From Python: `from lockstep.faces.train_pytorch import train_pytorch_model`. The code is in `learning.supervised`.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import LockstepError, MissingLibraryError
from lockstep.core.libraries import install_line

if TYPE_CHECKING:
    from lockstep.learning.supervised.pytorch_trainer import (
        CheckpointManager,
        TrainedModel,
        set_seeds,
        setup_logging,
        train_pytorch_model,
    )

__all__ = ["CheckpointManager", "TrainedModel", "main", "set_seeds", "setup_logging", "train_pytorch_model"]

_TYPES: Final[dict[str, Any]] = {
    "epochs": int,
    "batch_size": int,
    "learning_rate": float,
    "samples_per_class": int,
    "output_dir": str,
    "seed": int,
    "device": str,
}


def __getattr__(name: str) -> Any:
    # Loaded at first use, so that a machine without torch gets a message with a cure.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    try:
        from lockstep.learning.supervised import pytorch_trainer
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingLibraryError(
            f"training with PyTorch needs torch, which is not installed here. Install it with: {install_line('ml')}"
        ) from error
    return getattr(pytorch_trainer, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; every parameter of `train_pytorch_model` is an option. Returns the exit code."""
    try:
        train = __getattr__("train_pytorch_model")
        parser = argparse.ArgumentParser(prog="python -m lockstep.faces.train_pytorch", description=__doc__)
        for name, item in inspect.signature(train).parameters.items():
            if name in _TYPES:
                option = f"--{name.replace('_', '-')}"
                parser.add_argument(option, type=_TYPES[name], default=item.default, help=f"default {item.default}")
        train(**vars(parser.parse_args(arguments)))
    except LockstepError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
