"""The toy training keeps the contract that every kind has to keep."""

from lockstep.runs.training import Training
from lockstep.testing.contracts.training_kind import TrainingContract
from lockstep.testing.toy_training import ToySpec, ToyTraining


class TestToyTraining(TrainingContract):
    def make(self, seed: int) -> Training:
        return ToyTraining(ToySpec(seed=seed, steps=6, batch=5))
