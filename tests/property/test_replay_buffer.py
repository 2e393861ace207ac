"""Whatever is done to a replay buffer, in whatever order: all its parts agree, and a plain model says the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lockstep.core.errors import RefusedError
from lockstep.rl import PrioritizedExperienceBuffer, ProfitWeightedExperienceBuffer
from lockstep.rl.experience import RLExperience
from lockstep.runs.checkpoint import through_storage

# Few values, so that ties, zeros and repetitions are frequent; the odd ones are there too.
PROFITS = st.one_of(st.none(), st.sampled_from([-0.01, 0.0, 1e-300, 0.001, 0.01, 0.5]))
ERRORS = st.sampled_from([0.0, 0.5, -0.5, 1.0, 1e300, 5e-324])
ACTIONS = st.integers(0, 2)


@dataclass
class Modelled:
    """What the buffer should know of one experience."""

    number: int
    action: int
    profit: float | None
    best: int | None
    validated: bool
    error: float = 0.0
    count: int = 0

    @property
    def score(self) -> float:
        return 0.0 if self.profit is None else min(max(self.profit / 0.01, 0.0), 1.0)

    @property
    def profitable(self) -> bool:
        return self.profit is not None and self.profit > 0.0

    @property
    def value(self) -> float:
        size = abs(self.error)
        mistake = 1.0 if self.best is not None and self.best != self.action else 0.0
        return 0.4 * self.score + 0.4 * (size / (1.0 + size)) + 0.2 * mistake

    @property
    def weight(self) -> float:
        return float((0.05 + self.score) ** 0.6 / (1.0 + 0.1 * self.count))

    def experience(self) -> RLExperience:
        return RLExperience(
            state=np.full(2, self.number % 100),
            action=self.action,
            reward=float(self.number),
            next_state=np.full(2, self.number % 100 + 0.5),
            actual_profit=self.profit,
            profitability_score=self.score,
            optimal_action=self.best,
            outcome_validated=self.validated,
            td_error=self.error,
        )


class ProfitWeighted(RuleBasedStateMachine):
    """A dict by id, and the rules of docs/agents.md written down the short and slow way."""

    @initialize(capacity=st.integers(1, 20), seed=st.integers(0, 5))
    def begin(self, capacity: int, seed: int) -> None:
        self.buffer = ProfitWeightedExperienceBuffer(capacity, seed=seed)
        self.model: dict[int, Modelled] = {}
        self.gone: list[int] = []
        self.number = self.waited = 0

    def evicted(self) -> int:
        """The oldest that waits, if more than half the slots' worth came after it. Else unprofitable first, the lowest
        value, the oldest, but none that waits; ids ascend with age."""
        waiting = [id for id, found in self.model.items() if found.profit is None]
        if waiting and 2 * (self.number - self.model[min(waiting)].number) > self.buffer.capacity:
            return min(waiting)
        judged = [id for id in self.model if id not in waiting]
        return min(judged, key=lambda id: (self.model[id].profitable, self.model[id].value, id))

    @rule(profit=PROFITS, action=ACTIONS, best=ACTIONS, validated=st.booleans(), error=ERRORS)
    def add(self, profit: float | None, action: int, best: int, validated: bool, error: float) -> None:
        known = profit is not None
        new = Modelled(self.number, action, profit, best if known else None, known and validated, error)
        if len(self.model) == self.buffer.capacity:
            id = self.evicted()
            self.waited += self.model[id].profit is None
            del self.model[id]
            self.gone.append(id)
        self.number += 1
        self.model[self.buffer.add(new.experience())] = new

    @rule(size=st.integers(1, 25), prioritize=st.booleans())
    def sample(self, size: int, prioritize: bool) -> None:
        batch = self.buffer.sample_batch(size, prioritize)
        ids = batch.ids.tolist()
        assert len(ids) == len(set(ids)) == min(size, len(self.model))
        profitable = sum(found.profitable for found in self.model.values())
        if prioritize and size < len(self.model):
            first = min(max(math.floor(0.7 * size + 0.5), size * profitable // len(self.model) + 1), profitable)
            assert all(self.model[id].profitable for id in ids[:first])
            drawn = sum(self.model[id].profitable for id in ids)
            assert profitable in (0, len(self.model)) or drawn * len(self.model) > size * profitable
        for k, id in enumerate(ids):
            modelled = self.model[id]
            if prioritize:
                assert math.isclose(batch.weights[k], modelled.weight, rel_tol=1e-13)
            modelled.count += 1
            assert batch.rewards[k] == modelled.number
            assert batch.states[k].tolist() == [modelled.number % 100] * 2
            assert batch.training_counts[k] == modelled.count

    @precondition(lambda self: self.model)
    @rule(data=st.data(), errors=st.lists(ERRORS, min_size=1, max_size=6))
    def update_priorities(self, data: Any, errors: list[float]) -> None:
        known = [*self.model, *self.gone]
        ids = data.draw(st.lists(st.sampled_from(known), min_size=len(errors), max_size=len(errors)))
        here = self.buffer.update_priorities(ids, errors)
        assert here == sum(id in self.model for id in ids)
        for id, error in zip(ids, errors, strict=True):
            if id in self.model:
                self.model[id].error = error

    @precondition(lambda self: self.model)
    @rule(data=st.data(), outcomes=st.lists(st.tuples(PROFITS, ACTIONS, st.booleans()), min_size=1, max_size=5))
    def update_outcomes(self, data: Any, outcomes: list[tuple[float | None, int, bool]]) -> None:
        known = [*self.model, *self.gone]
        ids = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=len(outcomes), unique=True))
        rows = [(0.002 if profit is None else profit, best, final) for profit, best, final in outcomes[: len(ids)]]
        scores = [min(max(profit / 0.01, 0.0), 1.0) for profit, _, _ in rows]
        refused = any(
            id in self.model and self.model[id].validated and (self.model[id].profit, self.model[id].best) != row[:2]
            for id, row in zip(ids, rows, strict=True)
        )
        try:
            here = self.buffer.update_outcomes(
                ids, [row[0] for row in rows], scores, [row[1] for row in rows], [row[2] for row in rows]
            )
        except RefusedError:
            assert refused
            return
        assert not refused
        assert here == sum(id in self.model for id in ids)
        for id, (profit, best, final) in zip(ids, rows, strict=True):
            if id in self.model:
                found = self.model[id]
                found.profit, found.best, found.validated = profit, best, found.validated or final

    @rule()
    def store_and_go_on_in_another(self) -> None:
        again = ProfitWeightedExperienceBuffer(self.buffer.capacity, seed=99)
        again.set_state(through_storage(self.buffer.get_state()))
        assert repr(again.get_state()) == repr(self.buffer.get_state())
        self.buffer = again

    @invariant()
    def all_parts_agree(self) -> None:
        if not hasattr(self, "buffer"):
            return
        assert self.buffer.check_valid() == (True, "")
        assert len(self.buffer) == len(self.model)
        assert self.buffer.profitable_size == sum(found.profitable for found in self.model.values())
        statistics = self.buffer.statistics()
        assert statistics.max_training_count == max((found.count for found in self.model.values()), default=0)
        assert statistics.profitable.evicted + statistics.unprofitable.evicted == len(self.gone)
        assert statistics.evicted_unknown == self.waited
        assert statistics.unknown == sum(found.profit is None for found in self.model.values())
        for id, modelled in self.model.items():
            found = self.buffer.experience(id)
            assert found is not None
            assert found.experience_value == modelled.value
            assert (found.actual_profit, found.outcome_validated) == (modelled.profit, modelled.validated)
            assert math.isclose(self.buffer.weight(id), modelled.weight, rel_tol=1e-13)
        for id in self.gone[-5:]:
            assert self.buffer.experience(id) is None


class Prioritized(RuleBasedStateMachine):
    """A list of the newest, and (|delta| + epsilon)^alpha."""

    @initialize(capacity=st.integers(1, 20), alpha=st.sampled_from([0.0, 0.6, 1.0]))
    def begin(self, capacity: int, alpha: float) -> None:
        self.buffer = PrioritizedExperienceBuffer(capacity, alpha=alpha, epsilon=1e-3)
        self.alpha = alpha
        self.priorities: dict[int, float] = {}
        self.highest = 0.0

    def priority(self, error: float) -> float:
        self.highest = max(self.highest, abs(error))
        return float((abs(error) + 1e-3) ** self.alpha)

    @rule(error=st.sampled_from([0.0, 0.5, -2.0, 1e6]))
    def add(self, error: float) -> None:
        if len(self.priorities) == self.buffer.capacity:
            del self.priorities[min(self.priorities)]
        id = self.buffer.add(Modelled(1, 0, None, None, False, error).experience())
        self.priorities[id] = self.priority(error if error != 0.0 else self.highest if self.highest > 0.0 else 1.0)

    @precondition(lambda self: self.priorities)
    @rule(size=st.integers(1, 25))
    def sample(self, size: int) -> None:
        batch = self.buffer.sample_batch(size)
        assert len(batch) == size
        assert set(batch.ids.tolist()) <= set(self.priorities)
        assert batch.weights.max() == 1.0

    @precondition(lambda self: self.priorities)
    @rule(data=st.data(), errors=st.lists(st.sampled_from([0.0, 0.1, -3.0]), min_size=1, max_size=5))
    def update_priorities(self, data: Any, errors: list[float]) -> None:
        ids = data.draw(st.lists(st.sampled_from(list(self.priorities)), min_size=len(errors), max_size=len(errors)))
        assert self.buffer.update_priorities(ids, errors) == len(ids)
        for id, error in zip(ids, errors, strict=True):
            self.priorities[id] = self.priority(error)

    @rule()
    def store_and_go_on_in_another(self) -> None:
        again = PrioritizedExperienceBuffer(self.buffer.capacity, alpha=self.alpha, epsilon=1e-3, seed=99)
        again.set_state(through_storage(self.buffer.get_state()))
        self.buffer = again

    @invariant()
    def all_parts_agree(self) -> None:
        if not hasattr(self, "buffer"):
            return
        assert self.buffer.check_valid() == (True, "")
        assert len(self.buffer) == len(self.priorities)
        for id, priority in self.priorities.items():
            assert math.isclose(self.buffer.weight(id), priority, rel_tol=1e-13)


TestProfitWeighted = ProfitWeighted.TestCase
TestProfitWeighted.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPrioritized = Prioritized.TestCase
TestPrioritized.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
