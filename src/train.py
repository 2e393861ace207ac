"""`from src.train import train` in a checkout; not in the wheel. The code is in lockstep.learning.supervised."""

from lockstep.learning.keras_trainer import set_seeds, setup_logging, train  # noqa: F401
