"""The order of updates, the epochs' figures and the state of a fit, with a learner of plain NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lockstep.core.errors import InputError, RefusedError
from lockstep.learning.supervised.fit import Fit, FitProgress, FitSettings, Measured
from lockstep.runs.checkpoint import through_storage
from lockstep.runs.seeds import SeedTree


class Descends:
    """A "network" of one weight: loss |w| per sample, halved at each update, or as `losses` says per epoch."""

    def __init__(self, samples: int = 10, losses: list[float] | None = None, batches: int = 4) -> None:
        self.samples = samples
        self.w = 8.0
        self.seen: list[list[int]] = []
        self.updates = 0
        self._losses, self._batches = losses, batches

    def update(self, index: int, rows: np.ndarray) -> Measured:
        self.seen.append(rows.tolist())
        loss = self.w if self._losses is None else self._losses[index // self._batches]
        self.w /= 2.0
        self.updates += 1
        return Measured(loss_sum=loss * len(rows), correct=1, count=len(rows))

    def validate(self) -> Measured | None:
        return None

    def weights(self) -> dict[str, np.ndarray]:
        return {"w": np.array([self.w])}

    def get_state(self) -> dict[str, Any]:
        return {"w": self.w, "updates": self.updates}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.w, self.updates = state["w"], state["updates"]


def fit_of(learner: Descends | None = None, *, epochs: int = 3, keep_best: bool = False, seed: int = 42) -> Fit:
    settings = FitSettings(epochs=epochs, batch_size=3, learning_rate=0.1)
    return Fit(learner if learner is not None else Descends(), settings, SeedTree(seed), keep_best=keep_best)


def test_every_epoch_sees_every_sample_once_in_an_order_of_its_own() -> None:
    learner = Descends()
    fit = fit_of(learner)
    updates = list(fit.steps())
    assert fit.total_steps == len(updates) == 3 * 4  # ceil(10 / 3) = 4
    assert [len(rows) for rows in learner.seen[:4]] == [3, 3, 3, 1]
    epochs = [[row for rows in learner.seen[i : i + 4] for row in rows] for i in (0, 4, 8)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [update.ended is not None for update in updates] == [False, False, False, True] * 3


def test_the_loss_of_an_epoch_is_the_mean_over_its_samples() -> None:
    fit = fit_of(epochs=1)
    list(fit.steps())
    # Batches of 3, 3, 3, 1 at losses 8, 4, 2, 1.
    assert fit.progress.epochs[0].loss == (3 * 8.0 + 3 * 4.0 + 3 * 2.0 + 1 * 1.0) / 10
    assert fit.progress.epochs[0].accuracy == 4 / 10


def test_only_a_strictly_lower_loss_is_the_best() -> None:
    """Strictly lower loss wins, so of equal epochs the first stays the best."""
    learner = Descends(losses=[3.0, 2.0, 2.0, 2.5, 1.0])
    fit = fit_of(learner, epochs=5)
    list(fit.steps())
    assert [epoch.is_best for epoch in fit.progress.epochs] == [True, True, False, False, True]
    again = fit_of(Descends(losses=[3.0, 2.0, 2.0]))
    list(again.steps())
    assert again.progress.best.number == 2


def test_the_best_weights_are_those_at_the_end_of_the_best_epoch() -> None:
    fit = fit_of(Descends(losses=[1.0, 2.0, 3.0]), keep_best=True)
    list(fit.steps())
    assert fit.progress.best_weights is not None
    assert fit.progress.best_weights["w"][0] == 8.0 / 2**4  # after the four updates of epoch 1


@pytest.mark.parametrize("stop", range(12))
def test_a_fit_stopped_after_any_update_goes_on_as_if_nothing_had_happened(stop: int) -> None:
    """R11.14 beyond one process: inside an epoch too, by a state that went through storage."""
    whole, learner = fit_of(keep_best=True), Descends()
    expected = [(u.index, u.rows.tolist(), u.measured, u.ended) for u in whole.steps()]
    first = fit_of(learner, keep_best=True)
    updates = first.steps()
    got = [(u.index, u.rows.tolist(), u.measured, u.ended) for u in (next(updates) for _ in range(stop))]
    second = fit_of(keep_best=True)
    second.set_state(through_storage(first.get_state()))
    got += [(u.index, u.rows.tolist(), u.measured, u.ended) for u in second.steps()]
    assert got == expected
    assert second.progress.history() == whole.progress.history()
    assert second.progress.best_weights == whole.progress.best_weights
    assert second.digest() == whole.digest()


def test_another_seed_gives_another_order() -> None:
    one, other = Descends(), Descends()
    list(fit_of(one, seed=0).steps())
    list(fit_of(other, seed=1).steps())
    assert one.seen != other.seen


def test_a_training_that_diverges_says_where_and_what_to_do() -> None:
    learner = Descends(losses=[1.0, float("nan"), 1.0])
    with pytest.raises(RefusedError, match=r"the loss is nan at update 4 \(epoch 2\).*Lower learning_rate \(0.1\)"):
        list(fit_of(learner).steps())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs is a whole number of at least 1; found 0"),
        ({"epochs": True}, "epochs is a whole number of at least 1; found True"),
        ({"batch_size": 2.0}, "batch_size is a whole number of at least 1; found 2.0"),
        ({"learning_rate": 0.0}, "learning_rate is a number above 0; found 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is a number above 0; found nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FitSettings(**{"epochs": 1, "batch_size": 1, "learning_rate": 0.1, **values})


def test_the_best_epoch_is_that_of_the_lowest_loss_on_validation_samples() -> None:
    """Training losses 3, 2, 1; validation losses 5, 4, 6: epoch 2 of 3, and its weights are kept."""
    progress = FitProgress(FitSettings(epochs=3, batch_size=2, learning_rate=0.1), keep_best=True, by_validation=True)
    for number, (loss, held_out) in enumerate([(3.0, 5.0), (2.0, 4.0), (1.0, 6.0)], start=1):
        progress.add(Measured(loss_sum=loss, correct=0, count=1))
        progress.end_epoch(Measured(loss_sum=held_out, correct=0, count=1), lambda n=number: {"w": np.array([n])})
    assert [epoch.is_best for epoch in progress.epochs] == [True, True, False]
    assert progress.best_weights == {"w": np.array([2])}
    assert progress.summary() == {"loss": 2.0, "epoch": 2, "last_loss": 1.0, "val_loss": 4.0, "epochs": 3}
