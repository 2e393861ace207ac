"""Retrain an agent, or train another one, on the batches of a recorded run in their order (R9.32).

    RecordedExperiences    the experiences by id, and the ids of each step's batch
    RecordedBuffer         gives these batches; its training counts and td errors are those of the new agent
    RecordedReplay         stands in for `rl.training.Replay`

Experiences, outcomes included, are those that entered the buffer of the recorded run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import DataError, InputError
from lockstep.rl.experience import ExperienceBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

FACTS: Final[Mapping[str, type[np.generic]]] = {
    "states": np.float32,
    "actions": np.int64,
    "rewards": np.float64,
    "next_states": np.float32,
    "dones": np.bool_,
    "actual_profits": np.float64,
    "profitability_scores": np.float64,
    "optimal_actions": np.int64,
    "outcome_validated": np.bool_,
}
"""Fields of `ExperienceBatch` that do not depend on the agent, with their types; states may be float64."""


class RecordedExperiences:
    """n experiences and the batches of some steps; `arrays` is the stored form.

    ids      int64 (n,), ascending, each once
    facts    the fields `FACTS`, one row for each experience
    samples  int64 (samples,), ids of all batches, step after step
    stops    int64 (steps,), where each step's samples end in `samples`
    weights  float64 (samples,), importance weights of the loss; None where all are 1

    Raises DataError where a column is missing or has another length, or where a sample is none of the experiences.
    """

    def __init__(
        self,
        *,
        ids: NDArray[np.int64],
        facts: Mapping[str, NDArray[Any]],
        samples: NDArray[np.int64],
        stops: NDArray[np.int64],
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        wrong = [name for name in FACTS if name not in facts or len(facts[name]) != len(ids)]
        # Ids ascend, so a binary search replaces a table from id to row.
        rows = np.searchsorted(ids, samples)
        if wrong or np.any(np.diff(ids) <= 0) or (weights is not None and weights.shape != samples.shape):
            raise DataError(f"recorded experiences have one row of every fact per id; not so: {', '.join(wrong)}.")
        if np.any(rows >= len(ids)) or np.any(ids[np.minimum(rows, len(ids) - 1)] != samples):
            raise DataError("recorded batches are made of recorded experiences; one sample is none of them.")
        if np.any(np.diff(stops, prepend=0) < 1) or (len(stops) and stops[-1] != len(samples)):
            raise DataError("recorded batches hold at least one sample each, and all samples; these do not.")
        self._ids = ids
        # States of float64 stay so: rounding them would retrain on other numbers.
        self._facts = {
            name: np.asarray(facts[name], np.result_type(kind, facts[name]) if kind is np.float32 else kind)
            for name, kind in FACTS.items()
        }
        self._rows, self._samples, self._stops, self._weights = rows, samples, stops, weights

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def steps(self) -> int:
        """How many steps, each with one batch, were recorded."""
        return len(self._stops)

    @property
    def weighted(self) -> bool:
        """Whether samples have importance weights of the loss."""
        return self._weights is not None

    @property
    def profitable(self) -> NDArray[np.bool_]:
        """bool (n,): whether the outcome is known and a profit."""
        profitable: NDArray[np.bool_] = self._facts["actual_profits"] > 0.0
        return profitable

    def ids(self, step: int) -> NDArray[np.int64]:
        """Ids of a step's batch, int64 (samples,)."""
        return self._samples[self._place(step)]

    def rows(self, step: int) -> NDArray[np.int64]:
        """Rows of a step's batch in the columns of all experiences, int64 (samples,)."""
        return self._rows[self._place(step)]

    def rows_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of experiences in the columns of all, int64; the ids must be among them."""
        return np.searchsorted(self._ids, ids)

    def batch(self, step: int, *, td_errors: NDArray[np.float64], counts: NDArray[np.int64]) -> ExperienceBatch:
        """The batch of a step, copied; `td_errors` and `counts` (n,) have a row for each experience."""
        place, rows = self._place(step), self.rows(step)
        return ExperienceBatch(
            ids=self._samples[place].copy(),
            td_errors=td_errors[rows],
            training_counts=counts[rows],
            weights=np.ones(len(rows)) if self._weights is None else self._weights[place].copy(),
            **{name: column[rows] for name, column in self._facts.items()},
        )

    def _place(self, step: int) -> slice:
        return slice(0 if step == 0 else int(self._stops[step - 1]), int(self._stops[step]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns by name, as a snapshot stores them; `of` reads them."""
        arrays = {"ids": self._ids, "samples": self._samples, "stops": self._stops, **self._facts}
        return arrays if self._weights is None else {**arrays, "weights": self._weights}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> RecordedExperiences:
        """Rebuild from `arrays`. Raises DataError where one is missing or does not fit."""
        missing = {"ids", "samples", "stops"} - arrays.keys()
        if missing:
            raise DataError(f"recorded experiences lack {', '.join(sorted(missing))}: these are none of an agent.")
        return cls(
            ids=arrays["ids"],
            facts={name: arrays[name] for name in FACTS if name in arrays},
            samples=arrays["samples"],
            stops=arrays["stops"],
            weights=arrays.get("weights"),
        )

    def chosen(
        self,
        samples: NDArray[np.int64],
        stops: NDArray[np.int64],
        weights: NDArray[np.float64] | None,
    ) -> RecordedExperiences:
        """A copy with other batches, and only with the experiences in them. Raises DataError as the class does."""
        used = np.isin(self._ids, samples)
        return RecordedExperiences(
            ids=self._ids[used],
            facts={name: column[used] for name, column in self._facts.items()},
            samples=samples,
            stops=stops,
            weights=weights,
        )


class RecordedBuffer:
    """Stands in for a replay buffer: it gives the recorded batches and stores the new agent's td errors."""

    def __init__(self, experiences: RecordedExperiences) -> None:
        self.experiences = experiences
        self._errors = np.zeros(len(experiences))
        self._counts = np.zeros(len(experiences), np.int64)

    def __len__(self) -> int:
        return len(self.experiences)

    def deal(self, step: int) -> ExperienceBatch:
        """The batch of a step; the training counts of its experiences rise by one."""
        # Not `counts[rows] += 1`: prioritised replay draws with replacement, and a row drawn twice counts twice.
        np.add.at(self._counts, self.experiences.rows(step), 1)
        return self.experiences.batch(step, td_errors=self._errors, counts=self._counts)

    def update_priorities(self, ids: NDArray[np.int64], td_errors: NDArray[np.float64]) -> int:
        """Store td errors (n,), which change no draw. Returns n."""
        self._errors[self.experiences.rows_of(ids)] = td_errors
        return len(ids)

    def statistics(self) -> dict[str, Any]:
        """Entries about the buffer for the run's summary."""
        profitable, counts = self.experiences.profitable, self._counts
        gained = int(np.count_nonzero(profitable))
        return {
            "experiences": len(self),
            "max_training_count": int(counts.max(initial=0)),
            "profitable": gained,
            "profitable_draws": int(counts[profitable].sum()),
            "unprofitable": len(self) - gained,
            "unprofitable_draws": int(counts[~profitable].sum()),
        }

    def get_state(self, *, observations: bool = True) -> dict[str, Any]:
        """Errors and counts. The experiences are the run's data, so `observations` has no effect."""
        return {"td_errors": self._errors.copy(), "training_counts": self._counts.copy()}

    def set_state(self, state: Mapping[str, Any], *, recorded: Any = None) -> None:
        """Restore a state that `get_state` returned. Raises InputError for that of other experiences."""
        for name, array in (("td_errors", self._errors), ("training_counts", self._counts)):
            if len(state[name]) != len(array):
                raise InputError(
                    f"buffer: a state fits its own {len(array)} recorded experiences; found {len(state[name])}."
                )
            array[:] = state[name]


@dataclass(frozen=True, kw_only=True)
class RecordedReplay:
    """Draws the batches of `experiences` in their order; stands in for `rl.training.Replay`."""

    experiences: RecordedExperiences
    mode: str = "recorded"

    @property
    def updates(self) -> int:
        """Number of updates, one for each recorded batch."""
        return self.experiences.steps

    @property
    def weighted(self) -> bool:
        """Whether samples have importance weights of the loss."""
        return self.experiences.weighted

    def fits(self, buffer: object) -> bool:
        """Whether `buffer` holds these very experiences."""
        return isinstance(buffer, RecordedBuffer) and buffer.experiences is self.experiences

    def draw(self, buffer: Any, step: int) -> ExperienceBatch:
        """The batch of update `step`; `buffer` has to fit."""
        batch: ExperienceBatch = buffer.deal(step)
        return batch
