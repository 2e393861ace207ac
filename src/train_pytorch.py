"""`python -m src.train_pytorch` in a checkout; not in the wheel. The code is in lockstep.faces, lockstep.learning."""

from lockstep.faces.train_pytorch import CheckpointManager, main, set_seeds, setup_logging, train_pytorch_model  # noqa: F401

if __name__ == "__main__":
    raise SystemExit(main())
