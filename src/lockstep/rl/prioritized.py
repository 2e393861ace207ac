"""`PrioritizedExperienceBuffer`: plain prioritised replay, for comparison with the profit-weighted one.

Schaul, Quan, Antonoglou and Silver, "Prioritized experience replay", ICLR 2016, the proportional form:

    p_i = (|delta_i| + epsilon)^alpha                       priority; a newcomer gets the highest so far          (1)
    P_i = p_i / sum of p                                    probability of each of the n draws, with replacement
    w_i = (N P_i)^-beta / max of w over the batch           importance weights of the loss                       (2)

One point is drawn in each of n equal slices of the sum (stratified, as in the paper). A full buffer evicts the oldest
experience. Profits, outcomes and training counts are stored but change no draw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from lockstep.core.compiled import kernel
from lockstep.core.errors import InputError
from lockstep.core.scalar_math import power
from lockstep.rl import buffer_file
from lockstep.rl.arguments import whole_batch_size
from lockstep.rl.experience import ExperienceBatch, Outcome, RLExperience, check_outcome
from lockstep.rl.experience_store import (
    BEST,
    COUNT,
    ERROR,
    OUTCOME,
    PROFIT,
    PROVISIONAL,
    SCORE,
    VALIDATED,
    ExperienceStore,
    columns_of,
)
from lockstep.rl.sum_tree import SumForest, find, set_weights
from lockstep.runs.seeds import DEFAULT_SEED, SeedTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.training import State

STATE_VERSION: Final = 1
FILE_KIND: Final = "prioritised"
SMALLEST_EPSILON: Final = 1e-200
"""Well above the smallest normal float64, so that shares of a sum of such priorities are exact to the last bit."""
_LARGEST: Final = float(np.finfo(np.float64).max)


def largest_error(capacity: int, alpha: float) -> float:
    """The largest |td error| whose priority by (1) can be that of `capacity` experiences with a finite sum.

    A quarter of what float64 has, so that no rounding of power or sum can pass it.
    """
    exponent = math.log(_LARGEST / (4.0 * capacity)) / alpha if alpha > 0.0 else math.inf
    return math.exp(exponent) if exponent < math.log(_LARGEST) else _LARGEST


def draw_stratified_python(
    forest: NDArray[np.float64], offsets: NDArray[np.int64], ints: NDArray[np.int64], uniforms: NDArray[np.float64],
    size: int, beta: float, slots: NDArray[np.int64], weights: NDArray[np.float64],
) -> None:  # fmt: skip
    """Draw a slot for each of uniforms (n,) in [0, 1); write slots (n,) and weights (n,) by (2); count each draw."""
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
    if largest < np.inf:
        for k in range(n):
            weights[k] /= largest
    else:
        # Priorities of extreme range: the same quotients, formed before anything can become infinite.
        smallest = np.inf
        for k in range(n):
            smallest = min(smallest, forest[0, offsets[offsets.size - 1] + slots[k]])
        for k in range(n):
            weights[k] = power(smallest / forest[0, offsets[offsets.size - 1] + slots[k]], beta)


draw_stratified = kernel(draw_stratified_python)


def set_priorities_python(
    forest: NDArray[np.float64], offsets: NDArray[np.int64], floats: NDArray[np.float64], slots: NDArray[np.int64],
    errors: NDArray[np.float64], alpha: float, epsilon: float, highest: float,
) -> float:  # fmt: skip
    """Set the td errors (n,) of slots (n,), and priorities by (1); a slot of -1 is skipped. Returns the highest
    |delta| so far."""
    here = np.empty(slots.size, np.int64)
    priorities = np.empty(slots.size, np.float64)
    count = 0
    for k in range(slots.size):
        if slots[k] >= 0:
            size = abs(errors[k])
            floats[slots[k], ERROR] = errors[k]
            here[count] = slots[k]
            # The usual alpha of 1 needs no power, which would dominate the time.
            priorities[count] = size + epsilon if alpha == 1.0 else power(size + epsilon, alpha)
            count += 1
            highest = max(highest, size)
    set_weights(forest, offsets, np.zeros(count, np.int64), here[:count], priorities[:count])
    return highest


set_priorities = kernel(set_priorities_python)


class PrioritizedExperienceBuffer:
    """Prioritised replay with the arguments of the paper.

    capacity     largest number of experiences
    state_shape  shape of a state; None takes that of the first experience
    seed         a number, or the node of the seed tree that this buffer may use
    alpha        how strongly the error counts, 0 (uniform) .. 1 (proportional)
    beta         how far the weights correct for unequal draws, 0 .. 1; `sample_batch` can override it
    epsilon      added to every error, so that each experience can be drawn; 1e-200 .. 1

    Raises InputError for a number outside its range.

    The priorities of a full buffer have a finite sum: td errors are refused that are so large that `capacity` of them
    would not. For alpha = 1 and a million slots that is beyond 4e301.
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
        if not SMALLEST_EPSILON <= epsilon <= 1.0:
            raise InputError(f"buffer: epsilon lies in {SMALLEST_EPSILON:g} .. 1; found {epsilon!r}.")
        self.alpha, self.beta, self.epsilon = float(alpha), float(beta), float(epsilon)
        self._store = ExperienceStore(capacity, state_shape, in_turn=True)
        self._largest_error = largest_error(capacity, self.alpha)
        self._forest = SumForest(1, capacity)
        self._highest = 0.0
        tree = seed if isinstance(seed, SeedTree) else SeedTree(seed)
        self._generator = tree.child("prioritized-replay").generator()

    @property
    def capacity(self) -> int:
        """Largest number of experiences that the buffer holds."""
        return self._store.capacity

    def __len__(self) -> int:
        return self._store.size

    def add(self, experience: RLExperience) -> int:
        """Store an experience. With a td error of 0 it gets the highest priority so far. Returns its id."""
        return int(self.add_batch(**columns_of(experience))[0])

    def add_batch(self, **columns: Any) -> NDArray[np.int64]:
        """Store n experiences, see `ProfitWeightedExperienceBuffer.add_batch`. Returns their ids (n,)."""
        store = self._store
        _, floats, ints = rows = store.rows(columns, self._largest_error)
        n = len(floats)
        serials = store.serial + np.arange(n)
        slots = serials % self.capacity
        # Where n exceeds the capacity, the last ones would overwrite the early ones at once: skip these.
        last = slice(max(0, n - self.capacity), n)
        surviving = slots[last]
        ids = serials * self.capacity + slots
        store.ids[surviving] = ids[last]
        store.words[surviving] = rows[0][last]
        store.floats[surviving, : floats.shape[1]] = floats[last]
        store.ints[surviving, : ints.shape[1]] = ints[last]
        store.serial += n
        store.size = min(store.serial, self.capacity)
        errors = floats[last, ERROR]
        # A newcomer without an error gets the highest so far, so that it is drawn soon; the first ones get 1.
        errors = np.where(errors == 0.0, self._highest if self._highest > 0.0 else 1.0, errors)
        self._prioritise(surviving, errors)
        store.floats[surviving, ERROR] = floats[last, ERROR]  # only the priority is a guess, not the stored error
        return ids

    def _prioritise(self, slots: NDArray[np.int64], errors: NDArray[np.float64]) -> None:
        forest, store = self._forest, self._store
        highest = set_priorities(
            forest.forest, forest.offsets, store.floats, slots, errors, self.alpha, self.epsilon, self._highest
        )
        self._highest = float(highest)

    def sample_batch(self, batch_size: int, beta: float | None = None) -> ExperienceBatch:
        """Draw `batch_size` experiences with replacement; `weights` are the importance weights. An empty buffer gives
        an empty batch.

        Raises InputError where `batch_size` is not a whole number >= 1, or `beta` is outside 0 .. 1.
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
        """Set td errors (n,) of experiences, and their priorities by (1). Returns how many are still stored.

        Raises InputError where an error is not finite or too large for a finite sum of priorities, or an id was never
        assigned. Nothing is updated then.
        """
        slots, errors = self._store.slots_and_errors(ids, td_errors, self._largest_error)
        self._prioritise(slots, errors)
        return int(np.count_nonzero(slots >= 0))

    def update_outcome(self, id: int, outcome: Outcome) -> bool:
        """Set the outcome of an experience, which changes no draw. Returns whether it was still stored.

        Raises InputError and RefusedError as `RLExperience.with_outcome` does.
        """
        check_outcome(outcome)
        slot = int(self._store.slots_of([id])[0])
        if slot < 0:
            return False
        after = self._store.batch(np.array([slot]), np.ones(1))[0].with_outcome(outcome)
        floats, ints = self._store.floats[slot], self._store.ints[slot]
        floats[PROFIT], floats[SCORE] = outcome.actual_profit, outcome.profitability_score
        ints[BEST] = outcome.optimal_action
        ints[OUTCOME] = VALIDATED if after.outcome_validated else PROVISIONAL
        return True

    def experience(self, id: int) -> RLExperience | None:
        """The experience of an id, or None where it was evicted. Raises InputError for an id never assigned."""
        return self._store.experience(id)

    def weight(self, id: int) -> float:
        """The priority of an experience; 0 where it was evicted."""
        slot = int(self._store.slots_of([id])[0])
        return 0.0 if slot < 0 else float(self._forest.weights[0, slot])

    def observed(self, ids: Any) -> dict[str, NDArray[Any]]:
        """Observations of experiences as columns for an append-only segment, see `ExperienceStore.observed`."""
        return self._store.observed(ids)

    def get_state(self, *, observations: bool = True) -> dict[str, Any]:
        """Everything that later draws depend on, priorities included, copied. `observations=False` leaves these out."""
        return {
            "version": STATE_VERSION,
            "store": self._store.get_state(observations=observations),
            "priorities": self._forest.weights[0, : len(self)].copy(),
            "highest": self._highest,
            "generator": self._generator.bit_generator.state,
        }

    def set_state(self, state: State, *, recorded: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Restore a state that `get_state` returned; later draws are the same to the last bit.

        `recorded` has the columns of `observed` where the state has no observations. Raises InputError for a state of
        another version or capacity.
        """
        if state.get("version") != STATE_VERSION:
            raise InputError(f"buffer: a state of version {STATE_VERSION} is needed; found {state.get('version')!r}.")
        self._store.set_state(state["store"], recorded)
        self._forest.weights[:] = 0.0
        self._forest.weights[0, : len(self)] = state["priorities"]
        self._forest.rebuild()
        self._highest = float(state["highest"])
        self._generator.bit_generator.state = state["generator"]

    def save(self, path: Path | str) -> None:
        """Write the buffer to a file, whole or not at all; `load` gives one whose draws go on as those of this one.

        Raises DiskError where that is impossible; what was at `path` is there then.
        """
        options = {"capacity": self.capacity, "alpha": self.alpha, "beta": self.beta, "epsilon": self.epsilon}
        buffer_file.save(path, FILE_KIND, options, self.get_state())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """The buffer that `save` wrote to `path`.

        Raises DiskError where it cannot be read, IntegrityError where it is damaged or no buffer's, InputError where it
        is that of a buffer of another class.
        """
        return buffer_file.load(path, FILE_KIND, lambda options: cls(**options))

    def check_valid(self) -> tuple[bool, str]:
        """Whether all parts agree; else (False, the rule that is broken). Reads everything."""
        store, priorities = self._store, self._forest.weights[0]
        for ok, reason in (store.check_valid(), self._forest.check_valid()):
            if not ok:
                return False, reason
        if not np.isfinite(self._forest.totals[0]):
            return False, f"the sum of the priorities is finite; it is {self._forest.totals[0]}"
        if not 0.0 <= self._highest <= self._largest_error:
            return False, f"the highest |td error| lies in 0 .. {self._largest_error:.4g}; it is {self._highest!r}"
        if np.any(priorities[: store.size] <= 0.0) or np.any(priorities[store.size :]):
            return False, "a slot has a priority > 0 iff it is in use; one has not"
        if store.size != min(store.serial, store.capacity):
            return False, f"the newest are kept: size is min(added, capacity); it is {store.size}"
        return True, ""
