"""`train` with Keras, under the name that SPEC 0.1 gives it; the code is in `learning.supervised.keras_trainer`."""

from lockstep.learning.supervised.keras_trainer import set_seeds, setup_logging, train

__all__ = ["set_seeds", "setup_logging", "train"]
