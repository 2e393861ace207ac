"""`train` with Keras, under the name that users know; the code is in `learning.supervised.keras_trainer`."""

from lockstep.learning.supervised.keras_trainer import set_seeds, setup_logging, train

__all__ = ["set_seeds", "setup_logging", "train"]
