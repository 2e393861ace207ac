"""Record one update: the frames, digests and journal line that every training by gradients writes of a step.

    log.begin(index)                                  # before the update: level, and the state the run begins with
    update = learner.update(...)
    return log.step(index, update, facts, extra=...)

A run's value, its byte limit and the summary of its record are here too. That leaves to a training what differs:
which samples a step learns from, and how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.learning.gradients.recorder import Recorder, StepFacts
from lockstep.learning.gradients.segment_names import STEPS
from lockstep.learning.gradients.training_value import EDITION, StepValues, session_value
from lockstep.runs.training import RunRecord, Step

if TYPE_CHECKING:
    from lockstep.learning.gradients.learner import Learner, Update
    from lockstep.storage.columns import Columns

_NOTHING: Final = np.empty(0)


class StepLog:
    """Writes the steps of one run. The training adds the log's state to its own."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._values = StepValues()
        self._record: RunRecord | None = None
        self._before: tuple[int, Mapping[str, Columns]] | None = None

    def attach(self, record: RunRecord) -> None:
        """Keep the run's record: the value of a run is a function of all its steps."""
        self._record = record

    @property
    def record(self) -> RunRecord:
        """The record that `attach` received. Raises RuntimeError before that."""
        if self._record is None:
            raise RuntimeError("attach() comes before a state is set or the run finished")
        return self._record

    def total_steps(self, planned: int | None) -> int | None:
        """`planned`, or None where the byte limit could end the run before."""
        return None if self._recorder.may_end_early(planned) else planned

    def ends_before(self, step: int) -> bool:
        """Whether the byte limit ends the run before `step`."""
        return self._recorder.description.recording.at_limit == "end" and not self._recorder.has_room(step)

    def begin(self, index: int) -> None:
        """Prepare the record of step `index`; call it before the update. Falls to level "norms" at the byte limit."""
        if not self._recorder.has_room(index):
            self._recorder.fall()
        self._before = index, self._recorder.begin(index)

    def step(
        self,
        index: int,
        update: Update,
        facts: StepFacts,
        *,
        extra: Callable[[], Mapping[str, Any]] = dict,
        further: Mapping[str, Columns] | None = None,
    ) -> Step:
        """The step of the update that the learner has just done.

        extra    gives more scalars for the journal's line; called once the update is recorded, so it may evaluate
        further  frames of further segments of this training; `max_bytes` counts them
        """
        if self._before is None or self._before[0] != index:
            raise RuntimeError(f"begin({index}) comes before step({index})")
        _, before = self._before
        self._before = None
        value = self._values.add(
            loss=update.losses["total"], gradient_norm=update.gradient_norm, profitability=facts.profitability
        )
        segments, digests = self._recorder.record(index, update, facts, before, value=value)
        for name, columns in (further or {}).items():
            segments[name] = columns
            self._recorder.count(columns)
        scalars: dict[str, Any] = {
            "loss": update.losses,
            "learning_rate": update.learning_rate,
            "gradient_norm": update.gradient_norm,
            "value": value,
            "samples": len(facts.batch),
            **({} if update.momentum is None else {"momentum": update.momentum}),
            "level": self._recorder.level,
            **extra(),
        }
        # Once per run: the record is read without the spec, so it describes itself.
        if index == 0:
            scalars["record"] = self._recorder.description.to_json()
        return Step(index=index, scalars=scalars, digests=digests, segments=segments)

    def session_facts(self, learner: Learner, *, steps: int, limited: bool) -> dict[str, Any]:
        """Entries that lists read in the summary of every finished run: value, convergence, last state, losses.

        steps    how many steps the run has
        limited  whether `max_bytes` ended the run
        """
        columns = self.record.segments.read(STEPS) or dict.fromkeys(("loss.total", "value", "profitable"), _NOTHING)
        losses = columns["loss.total"]
        return {
            "steps": steps,
            "ended": "max_bytes" if limited else "complete",
            "level": self._recorder.level,
            "segment_bytes": self._recorder.bytes,
            "state": learner.digest(),
            "first_loss": float(losses[0]) if len(losses) else None,
            "last_loss": float(losses[-1]) if len(losses) else None,
            "best_loss": float(losses.min()) if len(losses) else None,
            "best_step": int(losses.argmin()) if len(losses) else None,
            **session_value(losses, columns["value"], columns["profitable"]).to_json(),
            "editions": {"value": EDITION},
        }

    def get_state(self) -> dict[str, Any]:
        """For a checkpoint: the entries `recorder` and `values`."""
        return {"recorder": self._recorder.get_state(), "values": self._values.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore the two entries of `get_state`; others are ignored. Set the learner's state first."""
        self._recorder.set_state(state["recorder"])
        self._values.set_state(state["values"])
        self._before = None
