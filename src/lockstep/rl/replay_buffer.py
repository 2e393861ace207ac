"""`ProfitWeightedExperienceBuffer`: draws profitable experiences most, each one less after every draw.

Sampling (R9.22 to R9.25, R9.27), n = min(batch size, content):
    1. m = max(round(0.7 n), floor(n P / N) + 1) draws from the profitable account, P of all N (at most P),
    2. n - m draws from the rest of both accounts,
each proportional to w = (.05 + score)^.6 / (1 + .1 training count), without replacement, one after the other. A batch
that is not smaller than the content is all of it, in order of slots. Every draw raises its training count by one, so
an experience grows lighter the more often it was trained on. `prioritize_profitable=False` draws uniformly.

A full buffer evicts for every newcomer the experience with the lowest value, unprofitable ones first, of equal ones the
oldest. An experience whose outcome is not known yet has no value: it stays until newcomers have filled half the slots,
and is then evicted before all others, the oldest first (docs/decisions/0061). So give a buffer at least twice as many
slots as experiences that wait for their outcome at a time.

The profitable share of every batch exceeds that of the buffer (R9.23), unless the batch is all of it, or there is no
profit or no loss: m / n > P / N by step 1, and step 2 can only add. floor(n P / N) + 1 is at most P, as n < N. The
price: where more than 1 - 1 / n of the content is profitable, a batch holds nothing else.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from lockstep.core.errors import InputError, RefusedError
from lockstep.rl import buffer_file
from lockstep.rl import profit_kernels as kernels
from lockstep.rl.arguments import flags, real_numbers, same_shape, whole_batch_size
from lockstep.rl.buffer_statistics import BufferStatistics, account
from lockstep.rl.eviction import LowestKeys
from lockstep.rl.experience import ExperienceBatch, Outcome, RLExperience, check_outcome
from lockstep.rl.experience_store import (
    ACCOUNT,
    BASE,
    OUTCOME,
    UNKNOWN,
    VALUE,
    ExperienceStore,
    columns_of,
)
from lockstep.rl.sum_tree import SumForest
from lockstep.runs.seeds import DEFAULT_SEED, SeedTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.training import State

DEFAULT_CAPACITY: Final = 100_000
STATE_VERSION: Final = 2
FILE_KIND: Final = "profit-weighted"
_ROUNDS: Final = 4
"""Rounds of drawing and dropping duplicates before drawn slots are removed from the trees. For a few hundred draws out
of thousands the second round has almost nothing left to draw."""
_OUTCOME_RULES: Final = (
    "actual_profits are finite fractions",
    "profitability_scores lie in 0 .. 1",
    "losses score 0",
    "optimal_actions are whole numbers >= 0",
)


@dataclass(frozen=True, kw_only=True)
class ReplayRules:
    """The numbers of `docs/agents.md`, [buffer].

    profitable_share  share of a batch drawn from the profitable account, 0 .. 1; the account's size limits it, and at
                      least one more is drawn than the account's share of the buffer
    floor             added to the score, so that losses are drawn too; > 0
    exponent          how strongly the score counts, >= 0; 0 ignores it
    count_penalty     how strongly a training count lowers the weight, >= 0

    Raises InputError for a number outside its range.
    """

    profitable_share: float = 0.7
    floor: float = 0.05
    exponent: float = 0.6
    count_penalty: float = 0.1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("profitable_share", 0.0, 1.0),
            ("floor", 1e-12, 1e6),
            ("exponent", 0.0, 10.0),
            ("count_penalty", 0.0, 1e6),
        ):
            value = getattr(self, name)
            if not (low <= value <= high):
                raise InputError(f"replay rules: {name} lies in {low:g} .. {high:g}; found {value!r}.")


class ProfitWeightedExperienceBuffer:
    """The buffer of the module's docstring. Its draws depend only on `seed` and on the calls before them.

    capacity     largest number of experiences
    state_shape  shape of a state; None takes that of the first experience
    seed         a number, or the node of the seed tree that this buffer may use
    rules        the numbers of `docs/agents.md`, [buffer]
    """

    def __init__(
        self,
        capacity: int = DEFAULT_CAPACITY,
        *,
        state_shape: tuple[int, ...] | None = None,
        seed: int | SeedTree = DEFAULT_SEED,
        rules: ReplayRules | None = None,
    ) -> None:
        self.rules = rules if rules is not None else ReplayRules()
        self._store = ExperienceStore(capacity, state_shape)
        self._forest = SumForest(2, capacity)
        self._keys = LowestKeys(kernels.GROUPS, capacity)
        self._marked = np.zeros(capacity, np.uint8)
        self._counters = np.zeros(kernels.COUNTERS, np.int64)
        tree = seed if isinstance(seed, SeedTree) else SeedTree(seed)
        self._generator = tree.child("replay-buffer").generator()

    @property
    def capacity(self) -> int:
        """Largest number of experiences that the buffer holds."""
        return self._store.capacity

    @property
    def profitable_size(self) -> int:
        """How many experiences in the buffer have a known profit, P."""
        return int(self._counters[kernels.PROFITABLE])

    def __len__(self) -> int:
        return self._store.size

    def add(self, experience: RLExperience) -> int:
        """Store an experience. Returns its id, which later calls for its outcome and td error need."""
        return int(self.add_batch(**columns_of(experience))[0])

    def add_batch(self, **columns: Any) -> NDArray[np.int64]:
        """Store n experiences one after the other, as columns with the names of `ExperienceBatch`'s array fields.

        `states`, `actions`, `rewards` and `next_states` are required; `ids` and `weights` are not accepted. Returns
        int64 ids (n,). Where n exceeds the capacity, early ones of these may be evicted at once.

        Raises InputError where an array has another shape, or a value breaks a rule of `RLExperience`.
        """
        store = self._store
        words, floats, ints = store.rows(columns)
        new_ids = np.empty(len(floats), np.int64)
        forest, keys, rules = self._forest, self._keys, self.rules
        kernels.place(
            words, floats, ints, store.words, store.floats, store.ints, store.ids,
            forest.forest, forest.offsets, keys.keys, keys.shift, keys.best_key, keys.best_slot,
            self._counters, rules.floor, rules.exponent, rules.count_penalty, new_ids,
        )  # fmt: skip
        store.size, store.serial = int(self._counters[kernels.SIZE]), int(self._counters[kernels.SERIAL])
        return new_ids

    def _contents(self) -> kernels.Contents:
        """The buffer's arrays and rules for a kernel; a tuple of each call, since arrays can be replaced."""
        store, forest, keys, rules = self._store, self._forest, self._keys, self.rules
        return kernels.Contents(
            floats=store.floats,
            ints=store.ints,
            ids=store.ids,
            forest=forest.forest,
            offsets=forest.offsets,
            keys=keys.keys,
            shift=keys.shift,
            best_key=keys.best_key,
            best_slot=keys.best_slot,
            counters=self._counters,
            floor=rules.floor,
            exponent=rules.exponent,
            penalty=rules.count_penalty,
        )

    def sample_batch(self, batch_size: int, prioritize_profitable: bool = True) -> ExperienceBatch:
        """Draw experiences for training, by weight or uniformly. An empty buffer gives an empty batch.

        Raises InputError where `batch_size` is not a whole number >= 1.
        """
        count = whole_batch_size(batch_size)
        store, forest, rules = self._store, self._forest, self.rules
        if count >= store.size:
            slots = np.arange(store.size)
        elif prioritize_profitable:
            slots = self._draw_weighted(count)
        else:
            slots = self._draw_uniform(count)
        if prioritize_profitable:
            weights = kernels.weights_of(store.floats, store.ints, slots, rules.count_penalty)
        else:
            weights = np.ones(slots.size)
        kernels.count_draws(
            forest.forest, forest.offsets, store.floats, store.ints, slots, self._marked, rules.count_penalty
        )
        return store.batch(slots, weights)

    def _draw_weighted(self, count: int) -> NDArray[np.int64]:
        """Draw `count` distinct slots, fewer than the content, and leave them marked."""
        drawn = np.empty(count, np.int64)
        forest, offsets = self._forest.forest, self._forest.offsets
        share = min(self._reserved(count), self.profitable_size, count)
        drawn_count = 0
        # First the profitable account's share, then the rest from both. Marks carry over, so no slot comes twice.
        for target, all_trees in ((share, False), (count, True)):
            rounds = 0
            while drawn_count < target:
                uniforms = self._generator.random(target - drawn_count)
                if rounds == _ROUNDS:
                    kernels.draw_removing(
                        forest, offsets, self._store.ints, uniforms, all_trees, self._marked, drawn, drawn_count
                    )
                    drawn_count = target
                else:
                    drawn_count = kernels.draw_distinct(
                        forest, offsets, uniforms, all_trees, self._marked, drawn, drawn_count
                    )
                rounds += 1
        return drawn

    def _reserved(self, count: int) -> int:
        """m of the module's docstring, without the limit P."""
        more_than_its_share = count * self.profitable_size // len(self) + 1
        return max(math.floor(self.rules.profitable_share * count + 0.5), more_than_its_share)

    def _draw_uniform(self, count: int) -> NDArray[np.int64]:
        """Draw `count` distinct slots, all equally likely, and leave them marked."""
        drawn = np.empty(count, np.int64)
        drawn_count = rounds = 0
        while drawn_count < count:
            uniforms = self._generator.random(count - drawn_count)
            if rounds == _ROUNDS:
                kernels.shuffle_rest(len(self), uniforms, self._marked, drawn, drawn_count)
                break
            drawn_count = kernels.draw_uniform(len(self), uniforms, self._marked, drawn, drawn_count)
            rounds += 1
        return drawn

    def update_priorities(self, ids: Any, td_errors: Any) -> int:
        """Set the td errors of experiences, which changes their values. Returns how many are still stored.

        ids        whole numbers (n,), from `add` or a batch
        td_errors  finite numbers (n,); of an id that occurs twice the last one stays

        Raises InputError where an error is not finite, or an id was never assigned.
        """
        store, keys = self._store, self._keys
        slots, errors = store.slots_and_errors(ids, td_errors)
        kernels.set_errors(
            store.floats, store.ints, store.ids, keys.keys, keys.shift, keys.best_key, keys.best_slot, slots, errors
        )
        return int(np.count_nonzero(slots >= 0))

    def update_outcome(self, id: int, outcome: Outcome) -> bool:
        """Set the outcome of an experience, which decides its account, weight and value (R9.27).

        Returns whether the experience was still stored. Raises InputError where the outcome breaks a rule or the id
        was never assigned, RefusedError where another outcome was validated before.
        """
        check_outcome(outcome)
        fields = (outcome.actual_profit, outcome.profitability_score, outcome.optimal_action, outcome.outcome_validated)
        return self.update_outcomes([id], *([field] for field in fields)) == 1

    def update_outcomes(
        self, ids: Any, actual_profits: Any, profitability_scores: Any, optimal_actions: Any, validated: Any = None
    ) -> int:
        """`update_outcome` of n experiences at once, all arrays (n,), no id twice. All or none are updated.

        `validated` None means True for all. Returns how many are still stored.
        """
        store = self._store
        slots = store.slots_of(ids)
        # Every check comes before the first change: all or none are updated.
        profits = real_numbers("actual_profits", actual_profits)
        scores = real_numbers("profitability_scores", profitability_scores)
        best = np.asarray(optimal_actions)
        final = np.ones(slots.size, bool) if validated is None else flags("validated", validated)
        for name, array in (("actual_profits", profits), ("profitability_scores", scores), ("validated", final)):
            same_shape(name, array, slots)
        same_shape("optimal_actions", best, slots)
        _check_outcomes(profits, scores, best)
        best = best.astype(np.int64)
        row = kernels.conflict(store.floats, store.ints, slots, profits, scores, best, self._marked)
        if row >= 0:
            raise RefusedError(
                "buffer: an id is named once and a validated outcome does not change; experience "
                f"{np.asarray(ids)[row]} (number {row} of this call) would. Nothing was updated; leave it out."
            )
        here = slots >= 0
        if not here.all():
            slots, profits, scores = slots[here], profits[here], scores[here]
            best, final = best[here], final[here]
        kernels.set_outcomes(self._contents(), slots, profits, scores, best, final)
        return int(slots.size)

    def experience(self, id: int) -> RLExperience | None:
        """The experience of an id, or None where it was evicted. Raises InputError for an id never assigned."""
        return self._store.experience(id)

    def weight(self, id: int) -> float:
        """The present weight of an experience in a draw; 0 where it was evicted."""
        slot = int(self._store.slots_of([id])[0])
        return 0.0 if slot < 0 else float(self._forest.weights[:, slot].sum())

    def statistics(self) -> BufferStatistics:
        """Counts and means of the present content."""
        store = self._store
        sums = np.zeros((2, 6))
        kernels.account_sums(store.floats, store.ints, store.size, sums)
        unknown = int(self._counters[kernels.WAIT])
        lost, gained, waited = self._counters[kernels.EVICTED : kernels.EVICTED + kernels.GROUPS].tolist()
        return BufferStatistics(
            size=store.size,
            capacity=store.capacity,
            added=store.serial,
            unknown=unknown,
            evicted_unknown=waited,
            mean_score=None if store.size == 0 else float(sums[0, 1] + sums[1, 1]) / store.size,
            max_training_count=int(sums[:, 5].max()),
            unprofitable=account(sums[0], lost + waited, unknown),
            profitable=account(sums[1], gained, 0),
        )

    def observed(self, ids: Any) -> dict[str, NDArray[Any]]:
        """Observations of experiences as columns for an append-only segment, for a later `set_state(recorded=...)`.

        {"id": int64 (n,), "state": float32 (n, *shape), "next_state"}. Raises InputError where one was evicted.
        """
        return self._store.observed(ids)

    def get_state(self, *, observations: bool = True) -> dict[str, Any]:
        """Everything that later draws depend on, copied: contents, counts, generator.

        `observations=False` leaves out the states, by far the largest part, for a training that appends
        `observed(ids)` of each experience to a segment.
        """
        return {
            "version": STATE_VERSION,
            "store": self._store.get_state(observations=observations),
            "evicted": self._counters[kernels.EVICTED : kernels.EVICTED + kernels.GROUPS].tolist(),
            "generator": self._generator.bit_generator.state,
        }

    def set_state(self, state: State, *, recorded: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Restore a state that `get_state` returned; later draws are the same to the last bit.

        state     of a buffer of the same capacity and rules
        recorded  joined columns of `observed`, where the state has no observations

        Raises InputError for a state of another version or capacity, or without observations.
        """
        if state.get("version") != STATE_VERSION:
            raise InputError(f"buffer: a state of version {STATE_VERSION} is needed; found {state.get('version')!r}.")
        self._store.set_state(state["store"], recorded)
        self._generator.bit_generator.state = state["generator"]
        self._marked[:] = 0
        # Trees and keys are no part of a state: they follow from the rows, to the same bits.
        _derive(self._store, self.rules, self._forest, self._keys)
        profitable, waiting = _counted(self._store)
        self._counters[:] = (self._store.size, self._store.serial, *state["evicted"], profitable, waiting)

    def save(self, path: Path | str) -> None:
        """Write the buffer to a file, whole or not at all; `load` gives one whose draws go on as those of this one.

        Raises DiskError where that is impossible; what was at `path` is there then.
        """
        options = {"capacity": self.capacity, "rules": asdict(self.rules)}
        buffer_file.save(path, FILE_KIND, options, self.get_state())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """The buffer that `save` wrote to `path`.

        Raises DiskError where it cannot be read, IntegrityError where it is damaged or no buffer's, InputError where it
        is that of a buffer of another class.
        """
        return buffer_file.load(
            path, FILE_KIND, lambda options: cls(options["capacity"], rules=ReplayRules(**options["rules"]))
        )

    def check_valid(self) -> tuple[bool, str]:
        """Whether all parts agree; else (False, the rule that is broken). Reads everything."""
        store, counters = self._store, self._counters
        for ok, reason in (store.check_valid(), self._forest.check_valid(), self._keys.check_valid(store.ids)):
            if not ok:
                return False, reason
        if np.any(self._marked):
            return False, "nothing is marked between two calls; a slot is"
        # Derived anew from the facts into copies, and compared: incremental updates must lead to the same bits.
        again, forest = copy.copy(store), SumForest(2, self.capacity)
        keys = LowestKeys(kernels.GROUPS, self.capacity)
        again.floats, again.ints = store.floats.copy(), store.ints.copy()
        _derive(again, self.rules, forest, keys)
        evicted = int(counters[kernels.EVICTED : kernels.EVICTED + kernels.GROUPS].sum())
        profitable, waiting = _counted(again)
        rules: tuple[tuple[str, Any, Any], ...] = (
            ("added - evicted = size", store.serial - evicted, store.size),
            ("profitable are those with a known profit", self.profitable_size, profitable),
            ("waiting are those without an outcome", int(counters[kernels.WAIT]), waiting),
            ("the account is that of the outcome", store.ints[:, ACCOUNT], again.ints[:, ACCOUNT]),
            ("base = (floor + score) ^ exponent", store.floats[:, BASE], again.floats[:, BASE]),
            ("value follows equation (1)", store.floats[:, VALUE], again.floats[:, VALUE]),
            ("weight = base / (1 + penalty count), in the tree of the account", self._forest.forest, forest.forest),
            ("the key is the value, in the account, and 0 where one waits", self._keys.keys, keys.keys),
        )
        for rule, actual, expected in rules:
            if not np.array_equal(actual, expected):
                return False, f"{rule}; found {actual}, which had to be {expected}"
        return True, ""


def _derive(store: ExperienceStore, rules: ReplayRules, forest: SumForest, keys: LowestKeys) -> None:
    """Compute accounts, bases, values, weights and keys from the facts, to the same bits as call by call."""
    slots = np.arange(store.size)
    kernels.derive(store.floats, store.ints, slots, rules.floor, rules.exponent)
    accounts = store.ints[: store.size, ACCOUNT]
    forest.weights[:] = 0.0
    forest.weights[accounts, slots] = kernels.weights_of(store.floats, store.ints, slots, rules.count_penalty)
    forest.rebuild()
    waiting = store.ints[: store.size, OUTCOME] == UNKNOWN
    groups = np.where(waiting, kernels.WAITING, accounts)
    keys.keys[:] = np.inf
    keys.keys[groups, slots] = np.where(waiting, 0.0, store.floats[: store.size, VALUE])
    keys.forget()


def _counted(store: ExperienceStore) -> tuple[int, int]:
    """How many experiences are profitable, and how many wait for their outcome."""
    ints = store.ints[: store.size]
    return int(np.count_nonzero(ints[:, ACCOUNT])), int(np.count_nonzero(ints[:, OUTCOME] == UNKNOWN))


def _check_outcomes(profits: NDArray[np.float64], scores: NDArray[np.float64], best: NDArray[Any]) -> None:
    if best.dtype.kind not in "iu" and best.size:
        raise InputError(f"buffer: optimal_actions are whole numbers >= 0; found {best.dtype}.")
    number, k = kernels.broken_outcome(profits, scores, best)
    if number >= 0:
        raise InputError(
            f"buffer: {_OUTCOME_RULES[number]}; outcome {k} has profit {profits[k]}, score {scores[k]}, "
            f"action {best[k]}."
        )
