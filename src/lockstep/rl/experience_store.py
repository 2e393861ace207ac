"""`ExperienceStore`: the rows behind a replay buffer, one of facts and one of observations per slot.

Notation
    slot     0 .. capacity - 1; the first `size` are in use, without a hole
    serial   how many experiences were added before this one; never used twice
    id       serial * capacity + slot: a later experience has a larger id, and its slot is id mod capacity, so no table
             is needed. An id whose slot holds another id belongs to an experience that was evicted

A row of facts fills one cache line, and so do 16 features: an experience costs a few memory accesses, however many
fields are read. Floats and whole numbers are separate arrays because an array has one type:

    floats   float64 (capacity, 8): reward, profit, score, td error, base of the weight, value
    ints     int64 (capacity, 8): action, optimal action, training count, done, outcome (0 unknown, 1 provisional,
             2 validated), account (0 not profitable, 1 profitable)

Base, value and account are derived from the others and no part of a state.

Observations are float32 until the first float64 state comes, and float64 from then on. Kernels only move them, as words
of 4 bytes, so that one compiled form serves both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.compiled import kernel
from lockstep.core.errors import InputError
from lockstep.rl.arguments import check_errors, fact_column, real_numbers, same_shape, state_column
from lockstep.rl.experience import UNKNOWN_ACTION, ExperienceBatch, RLExperience
from lockstep.rl.observations import wider
from lockstep.rl.prefetch import LINE, prefetch
from lockstep.rl.sum_tree import aligned_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.training import State

REWARD: Final = 0
PROFIT: Final = 1
SCORE: Final = 2
ERROR: Final = 3
BASE: Final = 4
VALUE: Final = 5

ACTION: Final = 0
BEST: Final = 1
COUNT: Final = 2
DONE: Final = 3
OUTCOME: Final = 4
ACCOUNT: Final = 5

UNKNOWN: Final = 0
PROVISIONAL: Final = 1
VALIDATED: Final = 2

# 8 columns of 8 bytes are one cache line; the last two are unused.
_COLUMNS: Final = 8
_STORED_FLOATS: Final = 4  # reward .. td error
_STORED_INTS: Final = 5  # action .. outcome
_AHEAD: Final = 4
"""How many rows ahead of the one that is copied the next one is fetched; from 2 on it makes no difference."""
_LARGEST_COUNT: Final = 2**53
"""Far above any real training count, and far enough below int64's end that draws never reach it."""


def gather_python(
    words: NDArray[np.uint32],
    floats: NDArray[np.float64],
    ints: NDArray[np.int64],
    slots: NDArray[np.int64],
    states: NDArray[np.uint32],
    next_states: NDArray[np.uint32],
    float_rows: NDArray[np.float64],
    int_rows: NDArray[np.int64],
) -> None:
    """Copy the rows of slots (n,): observations into (n, words) twice, facts transposed into (columns, n)."""
    count = states.shape[1]
    pairs = words.reshape(words.shape[0], 2 * count)
    # Slot by slot, so that each row is fetched once: fancy indexing in NumPy reads it once per column.
    for k in range(slots.size):
        slot = slots[k]
        if k + _AHEAD < slots.size:
            for word in range(0, 2 * count, 2 * LINE):
                prefetch(pairs, slots[k + _AHEAD], word)
        for column in range(float_rows.shape[0]):
            float_rows[column, k] = floats[slot, column]
        for column in range(int_rows.shape[0]):
            int_rows[column, k] = ints[slot, column]
        for word in range(count):
            states[k, word] = words[slot, 0, word]
        for word in range(count):
            next_states[k, word] = words[slot, 1, word]


gather = kernel(gather_python)


def find_slots_python(
    ids: NDArray[np.int64], serial: int, in_turn: bool, sought: NDArray[np.int64], slots: NDArray[np.int64]
) -> int:
    """Write the slots (n,) of ids `sought` (n,), -1 where the experience was evicted.

    Returns the first k whose id was never assigned, or -1. Slots are first filled in their order; where they are
    reused `in_turn` as well, every foreign id is seen. Else one may pass for evicted: the slot of an experience that
    left long ago is written down nowhere.
    """
    for k in range(sought.size):
        number = sought[k] // ids.size
        slot = sought[k] % ids.size
        if sought[k] < 0 or number >= serial or ((in_turn or number < ids.size) and slot != number % ids.size):
            return k
        # Later experiences replace earlier ones, never the other way round.
        if sought[k] > ids[slot]:
            return k
        slots[k] = slot if ids[slot] == sought[k] else -1
    return -1


find_slots = kernel(find_slots_python)


class ExperienceStore:
    """Rows of up to `capacity` experiences. The buffer decides which slot an experience gets.

    ids           int64 (capacity,), -1 where the slot is empty
    floats, ints  see the module's docstring
    observations  float32 or float64 (capacity, 2, features): state and next state, flat; features is 0 until the shape
                  is known
    size          slots in use
    serial        experiences added so far
    in_turn       whether a full buffer reuses the slots in their order

    Raises InputError for a capacity outside 1 .. 2**31.
    """

    def __init__(self, capacity: int, state_shape: tuple[int, ...] | None, *, in_turn: bool = False) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or not 1 <= capacity <= 2**31:
            raise InputError(f"buffer: capacity is a whole number from 1 to 2**31; found {capacity!r}.")
        self.capacity = capacity
        self.in_turn = in_turn
        self.ids = np.full(capacity, -1, np.int64)
        self.floats: NDArray[np.float64] = aligned_zeros((capacity, _COLUMNS), np.float64)
        self.ints: NDArray[np.int64] = aligned_zeros((capacity, _COLUMNS), np.int64)
        self.size = 0
        self.serial = 0
        self.state_shape: tuple[int, ...] | None = None
        self.observations: NDArray[Any] = np.zeros((capacity, 2, 0), np.float32)
        if state_shape is not None:
            self._shape(tuple(state_shape), np.float32)

    @property
    def words(self) -> NDArray[np.uint32]:
        """The observations as kernels move them, uint32 (capacity, 2, words): a view."""
        return self.observations.view(np.uint32)

    def _shape(self, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        self.state_shape = shape
        self.observations = aligned_zeros((self.capacity, 2, math.prod(shape)), dtype)

    def _fit(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Take states of `shape`, and hold numbers of `dtype` from now on."""
        before = self.observations
        if self.state_shape is None or dtype != before.dtype:
            self._shape(shape, dtype.type)
            if before.shape == self.observations.shape:
                self.observations[: self.size] = before[: self.size]

    def rows(
        self, columns: Mapping[str, Any], largest_error: float = math.inf
    ) -> tuple[NDArray[np.uint32], NDArray[np.float64], NDArray[np.int64]]:
        """Check columns of n new experiences and turn them into rows: observations (n, 2, words), floats (n, 4),
        ints (n, 5).

        `columns` are the array fields of `ExperienceBatch` without ids and weights. Only states, actions, rewards and
        next_states are required. `largest_error` limits the td errors.

        Raises InputError where a column has another length or shape, or a value breaks a rule of `RLExperience`;
        nothing has changed then.
        """
        pair = [state_column(columns, name) for name in ("states", "next_states")]
        n = len(pair[0])
        shape = pair[0].shape[1:] if self.state_shape is None else self.state_shape
        for name, array in zip(("states", "next_states"), pair, strict=True):
            if array.shape != (n, *shape):
                raise InputError(f"buffer: {name} has the shape {(n, *shape)} here; found {array.shape}.")
        # One type for all: what is already here, or what comes, may need float64.
        dtype = wider(self.observations, *pair)
        joined = np.empty((n, 2, math.prod(shape)), dtype)
        for place, array in enumerate(pair):
            joined[:, place] = array.reshape(n, -1) if n else 0.0
        floats, ints = np.zeros((n, _STORED_FLOATS)), np.zeros((n, _STORED_INTS), np.int64)
        floats[:, REWARD] = fact_column(columns, "rewards", n, None)
        floats[:, PROFIT] = fact_column(columns, "actual_profits", n, math.nan)
        floats[:, SCORE] = fact_column(columns, "profitability_scores", n, 0.0)
        floats[:, ERROR] = fact_column(columns, "td_errors", n, 0.0)
        ints[:, ACTION] = fact_column(columns, "actions", n, None)
        ints[:, BEST] = fact_column(columns, "optimal_actions", n, UNKNOWN_ACTION)
        ints[:, COUNT] = fact_column(columns, "training_counts", n, 0)
        ints[:, DONE] = fact_column(columns, "dones", n, 0)
        validated = np.asarray(fact_column(columns, "outcome_validated", n, 0), bool)
        # Validated without a profit breaks a rule: `check_facts` reports it.
        ints[:, OUTCOME] = np.where(validated, VALIDATED, ~np.isnan(floats[:, PROFIT]))
        check_facts(floats, ints)
        check_errors(floats[:, ERROR], largest_error, "row", range(n))
        if columns.get("training_counts") is not None and ints[:, COUNT].max(initial=0) > _LARGEST_COUNT:
            raise InputError(
                f"buffer: training_counts of newcomers are at most 2**53; found {ints[:, COUNT].max()}. Begin with 0."
            )
        if n:
            self._fit(shape, dtype)  # only now: columns that break a rule must not fix shape or type
        return joined.view(np.uint32), floats, ints

    def slots_of(self, ids: Any) -> NDArray[np.int64]:
        """The slot of every id, -1 where the experience was evicted. Raises InputError for ids never assigned."""
        sought = np.asarray(ids)
        if sought.ndim != 1 or (sought.dtype.kind not in "iu" and sought.size):
            raise InputError(f"buffer: ids are whole numbers (n,); found {sought.dtype} of shape {sought.shape}.")
        # An unsigned number beyond int64 becomes negative, which no id is.
        sought = sought.astype(np.int64, copy=False)
        slots = np.empty(sought.size, np.int64)
        foreign = find_slots(self.ids, self.serial, self.in_turn, sought, slots)
        if foreign >= 0:
            raise InputError(
                f"buffer: an id is one that add() returned; found {np.asarray(ids)[foreign]}. Use ids of this buffer "
                "only; nothing was changed."
            )
        return slots

    def slots_and_errors(
        self, ids: Any, td_errors: Any, largest_error: float = math.inf
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Check td errors (n,) for ids (n,). Returns slots, -1 where evicted, and the errors as float64.

        Raises InputError where an error is not finite or too large, or an id was never assigned.
        """
        errors = real_numbers("td_errors", td_errors)
        slots = self.slots_of(ids)
        same_shape("td_errors", errors, slots)
        check_errors(errors, largest_error, "experience", ids)
        return slots, errors

    def experience(self, id: int) -> RLExperience | None:
        """The experience of an id, or None where it was evicted. Raises InputError for an id never assigned."""
        slots = self.slots_of([id])
        return None if slots[0] < 0 else self.batch(slots, np.ones(1))[0]

    def batch(self, slots: NDArray[np.int64], weights: NDArray[np.float64]) -> ExperienceBatch:
        """The experiences in slots (n,), copied, with weights (n,)."""
        n, dtype = slots.size, self.observations.dtype
        states, following = (np.empty((n, self.observations.shape[2]), dtype) for _ in range(2))
        floats, ints = np.empty((_STORED_FLOATS, n)), np.empty((_STORED_INTS, n), np.int64)
        pair = (states.view(np.uint32), following.view(np.uint32))
        gather(self.words, self.floats, self.ints, slots, *pair, floats, ints)
        shape = (n, *(self.state_shape or ()))
        return ExperienceBatch(
            ids=self.ids[slots],
            states=states.reshape(shape),
            actions=ints[ACTION],
            rewards=floats[REWARD],
            next_states=following.reshape(shape),
            dones=ints[DONE] != 0,
            actual_profits=floats[PROFIT],
            profitability_scores=floats[SCORE],
            optimal_actions=ints[BEST],
            outcome_validated=ints[OUTCOME] == VALIDATED,
            td_errors=floats[ERROR],
            training_counts=ints[COUNT],
            weights=weights,
        )

    def observed(self, ids: Any) -> dict[str, NDArray[Any]]:
        """The large columns that never change: {"id" (n,), "state" (n, *shape), "next_state"}.

        Raises InputError where an experience was evicted.
        """
        slots = self.slots_of(ids)
        if np.any(slots < 0):
            raise InputError("buffer: one of the experiences is no longer here. Record them before adding others.")
        shape = (slots.size, *(self.state_shape or ()))
        return {
            "id": self.ids[slots],
            "state": self.observations[slots, 0].reshape(shape),
            "next_state": self.observations[slots, 1].reshape(shape),
        }

    def get_state(self, *, observations: bool) -> dict[str, Any]:
        """Copies of the rows in use; `observations=False` leaves these out, for callers that record them elsewhere."""
        used = slice(0, self.size)
        state: dict[str, Any] = {
            "capacity": self.capacity,
            "state_shape": None if self.state_shape is None else list(self.state_shape),
            "serial": self.serial,
            "ids": self.ids[used].copy(),
            "floats": self.floats[used, :_STORED_FLOATS].copy(),
            "ints": self.ints[used, :_STORED_INTS].copy(),
        }
        if observations:
            state["observations"] = self.observations[used].copy()
        return state

    def set_state(self, state: State, recorded: Mapping[str, NDArray[Any]] | None) -> None:
        """Restore a state that `get_state` returned; `recorded` has the columns of `observed` where the state has no
        observations.

        Raises InputError for a state of another capacity, or where an experience was not recorded.
        """
        if state["capacity"] != self.capacity:
            raise InputError(
                f"buffer: a state fits a buffer of its own capacity, {state['capacity']}; found {self.capacity}."
            )
        ids = np.array(state["ids"], np.int64)
        size = ids.size
        shape = state["state_shape"]
        observed = state.get("observations")
        if observed is None and size:
            observed = _recorded_rows(ids, recorded)
        self.state_shape = None
        self.observations = np.zeros((self.capacity, 2, 0), np.float32)
        if shape is not None:
            # The type is that of the numbers: an empty buffer has had no float64 yet.
            self._shape(tuple(shape), np.result_type(np.float32, np.asarray(observed)).type if size else np.float32)
        if size:
            self.observations[:size] = np.asarray(observed).reshape(size, 2, -1)
        self.ids[:] = -1
        self.floats[:] = 0.0
        self.ints[:] = 0
        self.ids[:size] = ids
        self.floats[:size, :_STORED_FLOATS] = state["floats"]
        self.ints[:size, :_STORED_INTS] = state["ints"]
        self.size, self.serial = size, int(state["serial"])

    def check_valid(self) -> tuple[bool, str]:
        """Whether ids, slots and facts agree; else (False, the rule that is broken)."""
        used, rest = self.ids[: self.size], self.ids[self.size :]
        if not 0 <= self.size <= self.capacity or self.size > self.serial:
            return False, f"size is 0 .. capacity and at most serial; it is {self.size} of {self.serial}"
        if np.any(used % self.capacity != np.arange(self.size)) or np.any(used < 0):
            return False, "an id names its slot; one does not"
        if np.any(used // self.capacity >= self.serial) or np.any(rest != -1):
            return False, "an id comes from an experience that was added; one does not"
        if len(np.unique(used // self.capacity)) != self.size:
            return False, "a serial is used once; one is used twice"
        if not np.all(np.isfinite(self.observations[: self.size])):
            return False, "states hold finite numbers; one is NaN or infinite"
        try:
            check_facts(self.floats[: self.size], self.ints[: self.size])
        except InputError as error:
            return False, str(error)
        return True, ""


def columns_of_state(state: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The experiences in a state of `get_state(observations=True)` as columns, ascending by id.

    ids                  int64 (n,)
    states, next_states  float32 or float64 (n, *shape)

    and (n,) each: actions, rewards, dones, actual_profits, profitability_scores, optimal_actions, outcome_validated.
    """
    floats, ints, shape = state["floats"], state["ints"], tuple(state["state_shape"] or ())
    ids = np.asarray(state["ids"], np.int64)
    observations = np.asarray(state["observations"]).reshape(len(ids), 2, *shape)
    columns = {
        "ids": ids,
        "states": observations[:, 0],
        "actions": ints[:, ACTION],
        "rewards": floats[:, REWARD],
        "next_states": observations[:, 1],
        "dones": ints[:, DONE] != 0,
        "actual_profits": floats[:, PROFIT],
        "profitability_scores": floats[:, SCORE],
        "optimal_actions": ints[:, BEST],
        "outcome_validated": ints[:, OUTCOME] == VALIDATED,
    }
    order = np.argsort(ids, kind="stable")
    return {name: column[order] for name, column in columns.items()}


# The rules of `RLExperience` and `check_outcome` as `broken_rule` numbers them, with the column each is about.
_RULES: Final = (
    ("rewards are finite", "floats", REWARD),
    ("td_errors are finite", "floats", ERROR),
    ("actual_profits are finite, or NaN where unknown", "floats", PROFIT),
    ("profitability_scores lie in 0 .. 1", "floats", SCORE),
    ("losses and unknown outcomes score 0", "floats", SCORE),
    ("actions are whole numbers >= 0", "ints", ACTION),
    ("optimal_actions are known where profits are, else -1", "ints", BEST),
    ("training_counts are not negative", "ints", COUNT),
    ("only known outcomes are validated", "ints", OUTCOME),
)


def broken_rule_python(floats: NDArray[np.float64], ints: NDArray[np.int64]) -> tuple[int, int]:
    """Index into `_RULES` and row of the first rule that rows (n, columns) break, (-1, -1) for none."""
    for row in range(floats.shape[0]):
        profit = floats[row, PROFIT]
        score = floats[row, SCORE]
        settled = profit == profit  # NaN is not equal to itself
        if not np.isfinite(floats[row, REWARD]):
            return 0, row
        if not np.isfinite(floats[row, ERROR]):
            return 1, row
        if np.isinf(profit):
            return 2, row
        if not 0.0 <= score <= 1.0:
            return 3, row
        if score > 0.0 and not profit > 0.0:
            return 4, row
        if ints[row, ACTION] < 0:
            return 5, row
        if (settled and ints[row, BEST] < 0) or (not settled and ints[row, BEST] != UNKNOWN_ACTION):
            return 6, row
        if ints[row, COUNT] < 0:
            return 7, row
        if settled != (ints[row, OUTCOME] != UNKNOWN):
            return 8, row
    return -1, -1


broken_rule = kernel(broken_rule_python)


def check_facts(floats: NDArray[np.float64], ints: NDArray[np.int64]) -> None:
    """Raise InputError for the first of the rows (n, columns) that breaks a rule."""
    number, row = broken_rule(floats, ints)
    if number >= 0:
        rule, table, column = _RULES[number]
        value = (floats if table == "floats" else ints)[row, column]
        raise InputError(f"buffer: {rule}; found {value} in row {row}.")


def _recorded_rows(ids: NDArray[np.int64], recorded: Mapping[str, NDArray[Any]] | None) -> NDArray[Any]:
    """Observations (n, 2, features) of ids (n,), from recorded columns in any order."""
    if recorded is None:
        raise InputError("buffer: this state was taken without observations. Give the columns that were recorded.")
    order = np.argsort(recorded["id"], kind="stable")
    recorded_ids = recorded["id"][order]
    at = np.minimum(np.searchsorted(recorded_ids, ids), max(recorded_ids.size - 1, 0))
    missing = ids if recorded_ids.size == 0 else ids[recorded_ids[at] != ids]
    if missing.size:
        raise InputError(
            f"buffer: {missing.size} experiences of the state were not recorded, the first is {missing[0]}."
        )
    rows = order[at]
    pair = (recorded["state"][rows], recorded["next_state"][rows])
    return np.stack([np.asarray(array).reshape(ids.size, -1) for array in pair], axis=1)


def columns_of(experience: RLExperience) -> dict[str, Any]:
    """One experience as columns of length 1, for `ExperienceStore.rows`."""
    settled = experience.actual_profit is not None
    return {
        "states": experience.state[np.newaxis],
        "actions": np.array([experience.action]),
        "rewards": np.array([experience.reward]),
        "next_states": experience.next_state[np.newaxis],
        "dones": np.array([experience.done]),
        "actual_profits": np.array([experience.actual_profit if settled else math.nan], np.float64),
        "profitability_scores": np.array([experience.profitability_score]),
        "optimal_actions": np.array([experience.optimal_action if settled else UNKNOWN_ACTION]),
        "outcome_validated": np.array([experience.outcome_validated]),
        "td_errors": np.array([experience.td_error]),
        "training_counts": np.array([experience.training_count]),
    }
