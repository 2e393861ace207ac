"""Known name of `learning.supervised.keras_trainer`: `from lockstep.learning.keras_trainer import train`."""

from lockstep.learning.supervised.keras_trainer import set_seeds, setup_logging, train

__all__ = ["set_seeds", "setup_logging", "train"]
