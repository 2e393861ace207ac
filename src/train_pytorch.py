"""`python -m src.train_pytorch` in a checkout; not in the wheel. The code is in lockstep.learning."""

from lockstep.faces.train_pytorch import (  # noqa: F401
    CheckpointManager,
    main,
    set_seeds,
    setup_logging,
    train_pytorch_model,
)

if __name__ == "__main__":
    raise SystemExit(main())
