"""What every replay buffer must do, as tests: subclass `ReplayBufferContract`, say how to make yours, run pytest.

    class TestMine(ReplayBufferContract):
        def make(self, seed, capacity):
            return MyBuffer(capacity, seed=seed)

The suite plays a seeded little training against it: adds, batches, td errors, and outcomes where the buffer takes them.
"""

# ruff: noqa: S101 - these are tests; pytest rewrites their assertions where they are subclassed

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np

from lockstep.core import canonical
from lockstep.core.errors import InputError
from lockstep.core.hashing import digest_columns
from lockstep.rl.experience import ExperienceBatch, RLExperience
from lockstep.runs.checkpoint import through_storage
from lockstep.runs.training import State


class ReplayBuffer(Protocol):
    """The methods that a training calls on a buffer."""

    def __len__(self) -> int: ...

    def add(self, experience: RLExperience) -> int:
        """Store an experience; returns its id."""
        ...

    def sample_batch(self, batch_size: int) -> ExperienceBatch:
        """At most `batch_size` experiences, drawn from the buffer's own generator."""
        ...

    def update_priorities(self, ids: Any, td_errors: Any) -> int:
        """Take td errors (n,) of the experiences `ids` (n,); returns how many ids were still there."""
        ...

    def experience(self, id: int) -> RLExperience | None:
        """The experience of an id; None when it was evicted."""
        ...

    def observed(self, ids: Any) -> dict[str, Any]:
        """The large, unchanging part, for a segment."""
        ...

    def get_state(self, *, observations: bool = True) -> State:
        """Everything that later draws depend on."""
        ...

    def set_state(self, state: State, *, recorded: Any = None) -> None:
        """Continue from a state; `recorded` holds the observations that it may lack."""
        ...

    def check_valid(self) -> tuple[bool, str]:
        """Whether all internal parts agree, and if not, which do not."""
        ...


def experience(number: int, *, profit: float | None = None) -> RLExperience:
    """A made-up experience, told from others by its number; with an outcome where `profit` is given."""
    has_outcome = profit is not None
    return RLExperience(
        state=np.array([number, number % 7, 1.0], np.float32),
        action=number % 3,
        reward=number / 8.0,
        next_state=np.array([number + 1, (number + 1) % 7, 1.0], np.float32),
        done=number % 5 == 0,
        actual_profit=profit,
        profitability_score=min(max(profit / 0.01, 0.0), 1.0) if profit is not None else 0.0,
        optimal_action=(number // 2) % 3 if has_outcome else None,
        outcome_validated=has_outcome,
    )


def batch_digest(batch: ExperienceBatch) -> str:
    """Digest of every field of a batch."""
    return digest_columns(vars(batch))


def play(buffer: ReplayBuffer, seed: int, rounds: int) -> list[str]:
    """A little training of adds, batches and td errors; returns the digests of its batches."""
    rng = np.random.Generator(np.random.Philox(seed))
    digests = []
    for _ in range(rounds):
        for _ in range(3):
            number = int(rng.integers(0, 1000))
            buffer.add(experience(number, profit=float(rng.normal(0.0, 0.01)) if number % 4 else None))
        batch = buffer.sample_batch(5)
        digests.append(batch_digest(batch))
        buffer.update_priorities(batch.ids, rng.normal(0.0, 1.0, len(batch)))
    return digests


class ReplayBufferContract(ABC):
    """Tests of one buffer; a subclass defines `make` only."""

    @abstractmethod
    def make(self, seed: int, capacity: int) -> ReplayBuffer:
        """A new, empty buffer for `capacity` experiences."""

    def test_the_same_seed_draws_the_same_batches(self) -> None:
        """R9.51: also seed 0, also twice in one process."""
        for seed in (0, 42):
            assert play(self.make(seed, 20), 1, 30) == play(self.make(seed, 20), 1, 30)

    def test_another_seed_draws_other_batches(self) -> None:
        """A seed that changes nothing is not used."""
        first, second, third = (play(self.make(seed, 20), 1, 30) for seed in (0, 1, 42))
        assert first != second != third != first

    def test_interrupted_anywhere_it_goes_on_as_if_it_had_not_been(self) -> None:
        """R9.51: a state taken after any round, stored as a checkpoint and set in a new buffer, continues the draws."""
        for rounds in range(0, 16, 3):
            first = self.make(42, 20)
            play(first, 1, rounds)
            second = self.make(43, 20)
            second.set_state(through_storage(first.get_state()))
            assert second.check_valid() == (True, "")
            assert play(first, 2, 10) == play(second, 2, 10)

    def test_a_state_is_a_copy(self) -> None:
        """Going on does not change a state taken before; going back to it does undo what came after."""
        buffer = self.make(42, 20)
        play(buffer, 1, 10)
        state = buffer.get_state()
        after = play(buffer, 2, 10)
        buffer.set_state(state)
        assert play(buffer, 2, 10) == after

    def test_a_state_without_observations_goes_on_with_those_that_were_recorded(self) -> None:
        """Buffers live in append-only segments; a checkpoint stays small."""
        first = self.make(42, 20)
        recorded: list[dict[str, Any]] = []
        for number in range(50):
            recorded.append(first.observed([first.add(experience(number))]))
        joined = {name: np.concatenate([columns[name] for columns in recorded]) for name in recorded[0]}
        state = through_storage(first.get_state(observations=False))
        second = self.make(43, 20)
        second.set_state(state, recorded=joined)
        assert second.check_valid() == (True, "")
        assert play(first, 2, 10) == play(second, 2, 10)
        for columns in (None, {name: values[:-1] for name, values in joined.items()}):
            refused(lambda columns=columns: self.make(1, 20).set_state(state, recorded=columns))

    def test_a_state_of_another_capacity_is_refused(self) -> None:
        """Ids name slots: they mean nothing in another buffer."""
        state = self.make(42, 20).get_state()
        refused(lambda: self.make(42, 21).set_state(state))

    def test_an_experience_comes_back_as_it_was_added(self) -> None:
        """R9.21: by its id, as long as it is there."""
        buffer = self.make(42, 20)
        original = experience(13, profit=0.004)
        copy = buffer.experience(buffer.add(original))
        assert copy is not None
        for name, value in vars(original).items():
            assert np.array_equal(getattr(copy, name), value), name

    def test_every_row_of_a_batch_is_one_experience(self) -> None:
        """Columns are not mixed up: state, next state, reward and action belong together."""
        buffer = self.make(42, 20)
        ids = {buffer.add(experience(number)): number for number in range(20)}
        batch = buffer.sample_batch(8)
        for k, row in enumerate(batch):
            original = experience(ids[int(batch.ids[k])])
            assert np.array_equal(row.state, original.state)
            assert np.array_equal(row.next_state, original.next_state)
            assert (row.action, row.reward, row.done) == (original.action, original.reward, original.done)

    def test_it_never_holds_more_than_its_capacity_and_forgets_ids_that_are_gone(self) -> None:
        """An update of something evicted is passed over, not put somewhere else."""
        buffer = self.make(42, 4)
        ids = [buffer.add(experience(number)) for number in range(10)]
        assert len(buffer) == 4
        here = [id for id in ids if buffer.experience(id) is not None]
        assert len(here) == 4
        assert buffer.update_priorities(ids, np.ones(10)) == 4
        assert buffer.check_valid() == (True, "")

    def test_capacity_one_works(self) -> None:
        """The smallest tree is a root and a leaf."""
        buffer = self.make(42, 1)
        buffer.add(experience(1))
        last = buffer.add(experience(2))
        assert buffer.sample_batch(1).ids.tolist() == [last]
        assert buffer.check_valid() == (True, "")

    def test_an_empty_buffer_gives_an_empty_batch(self) -> None:
        """It draws no random number for it."""
        buffer = self.make(42, 4)
        before = canonical.dumps(plain_generator(buffer.get_state()))
        assert len(buffer.sample_batch(8)) == 0
        assert canonical.dumps(plain_generator(buffer.get_state())) == before

    def test_what_cannot_be_used_is_refused_and_changes_nothing(self) -> None:
        """Batch sizes, errors, ids and shapes."""
        buffer = self.make(42, 4)
        id = buffer.add(experience(1))
        other = RLExperience(state=np.ones(2, np.float32), action=0, reward=0.0, next_state=np.ones(2, np.float32))
        before = buffer.get_state()
        for call in (
            lambda: buffer.sample_batch(0),
            lambda: buffer.sample_batch(1.5),  # type: ignore[arg-type]
            lambda: buffer.sample_batch(True),
            lambda: buffer.update_priorities([id], [np.nan]),
            lambda: buffer.update_priorities([id], [1.0, 2.0]),
            lambda: buffer.update_priorities([id + 4], [1.0]),
            lambda: buffer.update_priorities([-1], [1.0]),
            lambda: buffer.update_priorities([0.5], [1.0]),
            lambda: buffer.experience(id + 4),
            lambda: buffer.add(other),
        ):
            refused(call)
        assert repr(before) == repr(buffer.get_state())
        assert buffer.check_valid() == (True, "")

    def test_global_generators_are_neither_read_nor_moved(self) -> None:
        """NumPy's global state is the same afterwards, and changing it changes nothing."""
        np.random.seed(1)  # noqa: NPY002 - the global generator is what this test is about
        before = np.random.get_state()[1].tolist()  # type: ignore[index] # noqa: NPY002
        first = play(self.make(42, 20), 1, 5)
        assert np.random.get_state()[1].tolist() == before  # type: ignore[index] # noqa: NPY002
        np.random.seed(2)  # noqa: NPY002
        assert play(self.make(42, 20), 1, 5) == first


def plain_generator(state: State) -> dict[str, Any]:
    """The generator of a state as canonical JSON can hold it."""
    generator = state["generator"]
    return {name: repr(value) for name, value in generator.items()}


def refused(call: Any) -> None:
    """Asserts that `call` raises an InputError."""
    try:
        call()
    except InputError:
        return
    raise AssertionError("the buffer accepted what it has to refuse with an InputError")
