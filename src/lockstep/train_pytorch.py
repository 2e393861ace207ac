"""Known name of `faces.train_pytorch`: `from lockstep.train_pytorch import train_pytorch_model`, `set_seeds` and more.

`python -m lockstep.train_pytorch` trains too.
"""

from lockstep.faces.train_pytorch import (
    CheckpointManager,
    TrainedModel,
    main,
    set_seeds,
    setup_logging,
    train_pytorch_model,
)

__all__ = ["CheckpointManager", "TrainedModel", "main", "set_seeds", "setup_logging", "train_pytorch_model"]

if __name__ == "__main__":
    raise SystemExit(main())
