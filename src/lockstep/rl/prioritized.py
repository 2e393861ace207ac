"""`PrioritizedExperienceBuffer`: plain prioritised replay, for comparison with the profit-weighted one.

Schaul, Quan, Antonoglou and Silver, "Prioritized experience replay", ICLR 2016, the proportional form:

    p_i = (|delta_i| + epsilon)^alpha                       priority; a newcomer gets the highest so far          (1)
    P_i = p_i / sum of p                                    probability of each of the n draws, with replacement
    w_i = (N P_i)^-beta / max of w over the batch           importance weights of the loss                       (2)

One point is drawn in each of n equal slices of the sum (stratified, as in the paper). The oldest experience goes first.
Profits, outcomes and training counts are kept but change no draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.compiled import kernel
from lockstep.core.errors import InputError
from lockstep.core.scalar_math import power
from lockstep.rl.experience import ExperienceBatch, Outcome, RLExperience, check_outcome
from lockstep.rl.experience_store import (
    BEST,
    COUNT,
    ERROR,
    KNOWN,
    OUTCOME,
    PROFIT,
    SCORE,
    VALIDATED,
    ExperienceStore,
    columns_of,
    same_shape,
    whole_batch_size,
)
from lockstep.rl.sum_tree import SumForest, find, set_weights
from lockstep.runs.seeds import DEFAULT_SEED, SeedTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.training import State

STATE_VERSION: Final = 1


def draw_stratified_python(
    forest: NDArray[np.float64], offsets: NDArray[np.int64], ints: NDArray[np.int64], uniforms: NDArray[np.float64],
    size: int, beta: float, slots: NDArray[np.int64], weights: NDArray[np.float64],
) -> None:  # fmt: skip
    """A draw for each of uniforms (n,) in [0, 1) into slots (n,), weights (n,) after (2); counts each draw."""
    n = uniforms.size
    slice_ = forest[0, 0] / n
    points = np.empty(n, np.float64)
    for k in range(n):
        points[k] = (k + uniforms[k]) * slice_
    find(forest, offsets, np.zeros(n, np.int64), points, slots)
    largest = 0.0
    for k in range(n):
        ints[slots[k], COUNT] += 1
        share = forest[0, offsets[offsets.size - 1] + slots[k]] / forest[0, 0]
        weights[k] = power(size * share, -beta)
        largest = max(largest, weights[k])
    for k in range(n):
        weights[k] /= largest


draw_stratified: Any = kernel(draw_stratified_python)


def set_priorities_python(
    forest: NDArray[np.float64], offsets: NDArray[np.int64], floats: NDArray[np.float64], slots: NDArray[np.int64],
    errors: NDArray[np.float64], alpha: float, epsilon: float, highest: float,
) -> float:  # fmt: skip
    """Give slots (n,; -1 is passed over) their td errors and (1). Returns the highest |delta| so far."""
    here = np.empty(slots.size, np.int64)
    priorities = np.empty(slots.size, np.float64)
    count = 0
    for k in range(slots.size):
        if slots[k] >= 0:
            size = abs(errors[k])
            floats[slots[k], ERROR] = errors[k]
            here[count] = slots[k]
            priorities[count] = size + epsilon if alpha == 1.0 else power(size + epsilon, alpha)
            count += 1
            highest = max(highest, size)
    set_weights(forest, offsets, np.zeros(count, np.int64), here[:count], priorities[:count])
    return highest


set_priorities: Any = kernel(set_priorities_python)


class PrioritizedExperienceBuffer:
    """See the module's docstring.

    Args:
        capacity: Experiences kept at most.
        state_shape: Shape of a state; None takes that of the first experience.
        seed: A number, or the node of the seed tree that this buffer may use.
        alpha: How strongly the error counts, 0 (uniform) .. 1 (proportional).
        beta: How far the weights correct for unequal draws, 0 .. 1; `sample_batch` may be given another.
        epsilon: Added to every error, so that none is never drawn; > 0.
    """

    def __init__(
        self,
        capacity: int = 100_000,
        *,
        state_shape: tuple[int, ...] | None = None,
        seed: int | SeedTree = DEFAULT_SEED,
        alpha: float = 0.6,
        beta: float = 0.4,
        epsilon: float = 1e-6,
    ) -> None:
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not 0.0 <= value <= 1.0:
                raise InputError(f"buffer: {name} lies in 0 .. 1; found {value!r}.")
        if not 0.0 < epsilon <= 1.0:
            raise InputError(f"buffer: epsilon lies in (0, 1]; found {epsilon!r}.")
        self.alpha, self.beta, self.epsilon = float(alpha), float(beta), float(epsilon)
        self._store = ExperienceStore(capacity, state_shape)
        self._forest = SumForest(1, capacity)
        self._highest = 0.0
        tree = seed if isinstance(seed, SeedTree) else SeedTree(seed)
        self._generator = tree.child("prioritized-replay").generator()

    @property
    def capacity(self) -> int:
        """Experiences kept at most."""
        return self._store.capacity

    def __len__(self) -> int:
        return self._store.size

    def add(self, experience: RLExperience) -> int:
        """Store an experience; with a td error of 0 it gets the highest priority so far. Returns its id."""
        return int(self.add_batch(**columns_of(experience))[0])

    def add_batch(self, **columns: Any) -> NDArray[np.int64]:
        """Store n experiences, see `ProfitWeightedExperienceBuffer.add_batch`. Returns their ids (n,)."""
        store = self._store
        observations, floats, ints = store.rows(columns)
        n = len(floats)
        serials = store.serial + np.arange(n)
        slots = serials % self.capacity
        # Where n exceeds the capacity the early ones are overwritten at once.
        last = slice(max(0, n - self.capacity), n)
        surviving = slots[last]
        ids = serials * self.capacity + slots
        store.ids[surviving] = ids[last]
        store.observations[surviving] = observations[last]
        store.floats[surviving, : floats.shape[1]] = floats[last]
        store.ints[surviving, : ints.shape[1]] = ints[last]
        store.serial += n
        store.size = min(store.serial, self.capacity)
        errors = floats[last, ERROR]
        # Before anything is known of errors, every newcomer is as good as one that is off by 1.
        errors = np.where(errors == 0.0, self._highest if self._highest > 0.0 else 1.0, errors)
        self._prioritise(surviving, errors)
        store.floats[surviving, ERROR] = floats[last, ERROR]  # the priority is a guess, the error is not known yet
        return ids

    def _prioritise(self, slots: NDArray[np.int64], errors: NDArray[np.float64]) -> None:
        forest, store = self._forest, self._store
        highest = set_priorities(
            forest.forest, forest.offsets, store.floats, slots, errors, self.alpha, self.epsilon, self._highest
        )
        self._highest = float(highest)

    def sample_batch(self, batch_size: int, beta: float | None = None) -> ExperienceBatch:
        """`batch_size` draws with replacement; `weights` are the importance weights. An empty buffer gives none.

        Raises:
            InputError: `batch_size` is not a whole number >= 1, or `beta` is outside 0 .. 1.
        """
        count = whole_batch_size(batch_size)
        beta = self.beta if beta is None else beta
        if not 0.0 <= beta <= 1.0:
            raise InputError(f"buffer: beta lies in 0 .. 1; found {beta!r}.")
        if not len(self):
            count = 0
        slots, weights = np.empty(count, np.int64), np.empty(count)
        if count:
            forest, offsets, ints = self._forest.forest, self._forest.offsets, self._store.ints
            uniforms = self._generator.random(count)
            draw_stratified(forest, offsets, ints, uniforms, len(self), float(beta), slots, weights)
        return self._store.batch(slots, weights)

    def update_priorities(self, ids: Any, td_errors: Any) -> int:
        """Give experiences their td errors, (1). Returns how many are still here; see `replay_buffer`.

        Raises:
            InputError: An error is not finite, or an id is not one that `add` has returned.
        """
        errors = np.asarray(td_errors, np.float64)
        slots = self._store.slots_of(ids)
        same_shape("td_errors", errors, slots)
        if not np.all(np.isfinite(errors)):
            raise InputError("buffer: td_errors are finite; found NaN or infinity. The loss has diverged: stop there.")
        self._prioritise(slots, errors)
        return int(np.count_nonzero(slots >= 0))

    def update_outcome(self, id: int, outcome: Outcome) -> bool:
        """Give an experience its outcome, which changes no draw; see `replay_buffer`. Returns whether it was here."""
        check_outcome(outcome)
        slot = int(self._store.slots_of([id])[0])
        if slot < 0:
            return False
        after = self._store.batch(np.array([slot]), np.ones(1))[0].with_outcome(outcome)
        floats, ints = self._store.floats[slot], self._store.ints[slot]
        floats[PROFIT], floats[SCORE] = outcome.actual_profit, outcome.profitability_score
        ints[BEST] = outcome.optimal_action
        ints[OUTCOME] = VALIDATED if after.outcome_validated else KNOWN
        return True

    def experience(self, id: int) -> RLExperience | None:
        """The experience of an id, or None where it is gone. Raises InputError for what is no id yet."""
        slots = self._store.slots_of([id])
        return None if slots[0] < 0 else self._store.batch(slots, np.ones(1))[0]

    def weight(self, id: int) -> float:
        """The priority of an experience; 0 where it is gone."""
        slot = int(self._store.slots_of([id])[0])
        return 0.0 if slot < 0 else float(self._forest.weights[0, slot])

    def observed(self, ids: Any) -> dict[str, NDArray[Any]]:
        """States of experiences as columns for an append-only segment; see `replay_buffer`."""
        return self._store.observed(ids)

    def get_state(self, *, observations: bool = True) -> dict[str, Any]:
        """Everything that later draws depend on, priorities included, copied; see `replay_buffer`."""
        return {
            "version": STATE_VERSION,
            "store": self._store.get_state(observations=observations),
            "priorities": self._forest.weights[0, : len(self)].copy(),
            "highest": self._highest,
            "generator": self._generator.bit_generator.state,
        }

    def set_state(self, state: State, *, recorded: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Go to a state of `get_state`; what follows is the same to the last bit. See `replay_buffer`."""
        if state.get("version") != STATE_VERSION:
            raise InputError(f"buffer: a state of version {STATE_VERSION} is needed; found {state.get('version')!r}.")
        self._store.set_state(state["store"], recorded)
        self._forest.weights[:] = 0.0
        self._forest.weights[0, : len(self)] = state["priorities"]
        self._forest.rebuild()
        self._highest = float(state["highest"])
        self._generator.bit_generator.state = state["generator"]

    def check_valid(self) -> tuple[bool, str]:
        """Whether every part agrees with every other, and the rule that is broken where not. Reads everything."""
        store, priorities = self._store, self._forest.weights[0]
        for ok, reason in (store.check_valid(), self._forest.check_valid()):
            if not ok:
                return False, reason
        if np.any(priorities[: store.size] <= 0.0) or np.any(priorities[store.size :]):
            return False, "a slot has a priority > 0 iff it is in use; one has not"
        if store.size != min(store.serial, store.capacity):
            return False, f"the newest are kept: size is min(added, capacity); it is {store.size}"
        return True, ""
