"""Training by gradients: one step is one optimiser update. A `Task` says what is learned; everything else is here.

    GradientTraining(task, learner, Recorder(recording, learner))      -> a `runs.training.Training`

A task names the samples of each step and computes their loss. It is asked by step number, so it needs no cursor; what
it does remember (a best score, a patience) is in its own `get_state`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from safetensors.numpy import save as save_arrays

from lockstep.core.errors import IntegrityError
from lockstep.learning.gradients.learner import MicroBatch
from lockstep.learning.gradients.module_state import load_module_arrays, module_arrays
from lockstep.learning.gradients.recorder import Recorder, StepFacts
from lockstep.learning.gradients.step_log import StepLog
from lockstep.runs.training import Result, RunRecord, State, Step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from lockstep.learning.gradients.learner import Compute, Learner

WEIGHTS_FILE: Final = "weights.safetensors"
EMA_FILE: Final = "ema_weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step learns from.

    ids            int64 (samples,), the samples
    compute        gives the loss of the model on them, forward pass included; or their micro-batches in order
    profitability  mean profitability score of the samples
    profitable     share of them that made a profit
    """

    ids: NDArray[np.int64]
    compute: Compute | Sequence[MicroBatch]
    profitability: float = 0.0
    profitable: float = 0.0


def micro_batches(
    ids: NDArray[np.int64], size: int | None, loss_of: Callable[[NDArray[np.int64]], Compute]
) -> Compute | list[MicroBatch]:
    """The losses of the samples of a step, at most `size` in one forward pass; None takes them all at once."""
    if size is None or len(ids) <= size:
        return loss_of(ids)
    parts = [ids[start : start + size] for start in range(0, len(ids), size)]
    return [MicroBatch(len(part), loss_of(part)) for part in parts]


class Task:
    """Base of what a run learns. Subclass it and implement `batch`; the rest has a default."""

    def batch(self, step: int) -> Batch | None:
        """The samples of `step`, a function of the step (and of `get_state`) alone; None when the run is over."""
        raise NotImplementedError

    @property
    def total_steps(self) -> int | None:
        """How many steps the run will have; None where that is open."""
        return None

    def learning_rate(self, step: int) -> float | None:
        """The learning rate of `step`; None for the optimiser's own."""
        return None

    def after(self, step: int, learner: Learner) -> Mapping[str, Any]:
        """Scalars to add to the journal's line of `step`, an evaluation at the end of an epoch for example.

        Called after the update. It may change nothing of the learner: a replay does not call it.
        """
        return {}

    def result(self, learner: Learner) -> Mapping[str, Any]:
        """Entries that the finished run adds to its summary."""
        return {}

    def artifacts(self, learner: Learner) -> Mapping[str, bytes]:
        """Files of the finished run beside its weights, by flat name."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """Everything that later calls of `batch`, `after`, `result` and `artifacts` depend on."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""


class GradientTraining:
    """A `runs.training.Training` of a task.

    `session` is metadata for the summary: model name, symbol, the run it retrains. It has to follow from the spec,
    since it is part of the result.
    """

    def __init__(
        self, task: Task, learner: Learner, recorder: Recorder, session: Mapping[str, Any] | None = None
    ) -> None:
        self._task = task
        self._learner = learner
        self._log = StepLog(recorder)
        self._session = dict(session or {})
        self._next = 0

    @property
    def learner(self) -> Learner:
        """Model and optimiser, which each step updates."""
        return self._learner

    @property
    def task(self) -> Task:
        """The task, which names batches and losses."""
        return self._task

    @property
    def total_steps(self) -> int | None:
        """Steps of the task; None where that is open, or where the byte limit could end the run before."""
        return self._log.total_steps(self._task.total_steps)

    def attach(self, record: RunRecord) -> None:
        """Keep the record: the run's value is a function of all its steps."""
        self._log.attach(record)

    def steps(self) -> Iterator[Step]:
        """One step per update, from the present state on."""
        while not self._log.ends_before(self._next) and (batch := self._task.batch(self._next)) is not None:
            yield self._step(self._next, batch)

    def _step(self, index: int, batch: Batch) -> Step:
        self._log.begin(index)
        update = self._learner.update(index, batch.compute, self._task.learning_rate(index))
        facts = StepFacts(batch=batch.ids, profitability=batch.profitability, profitable=batch.profitable)
        step = self._log.step(index, update, facts, extra=lambda: self._task.after(index, self._learner))
        self._next = index + 1
        return step

    def get_state(self) -> State:
        """Weights, optimiser, buffers, counters, and the state of the task."""
        return {
            "next": self._next,
            "learner": self._learner.get_state(),
            **self._log.get_state(),
            "task": self._task.get_state(),
        }

    def set_state(self, state: State) -> None:
        """Restore a state that `get_state` returned."""
        self._next = state["next"]
        self._learner.set_state(state["learner"])
        self._log.set_state(state)
        self._task.set_state(state["task"])

    def finish(self) -> Result:
        """Value and convergence of the run, the digest of the last state, and the weights as safetensors."""
        limited = self._log.ends_before(self._next) and self._task.batch(self._next) is not None
        facts = self._log.session_facts(self._learner, steps=self._next, limited=limited)
        summary = {"session": self._session, **facts, **self._task.result(self._learner)}
        artifacts = {WEIGHTS_FILE: save_arrays(model_arrays(self._learner))}
        if self._learner.averages:
            with self._learner.averaged():
                artifacts[EMA_FILE] = save_arrays(model_arrays(self._learner))
        return Result(summary=summary, artifacts={**artifacts, **self._task.artifacts(self._learner)})


def model_arrays(learner: Learner) -> dict[str, NDArray[Any]]:
    """The whole `state_dict` of the model, frozen parameters and buffers included: copies, sorted by name."""
    return dict(sorted(module_arrays(learner.module).items()))


def load_model_arrays(module: nn.Module, data: bytes) -> None:
    """Put the weights of a `WEIGHTS_FILE` into a module. Raises IntegrityError when names or shapes differ."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
    except SafetensorError as error:
        raise IntegrityError(f"{WEIGHTS_FILE}: no file of weights ({error}). Restore it from a copy.") from error
    shapes = {name: array.shape for name, array in module_arrays(module).items()}
    if shapes != {name: array.shape for name, array in arrays.items()}:
        raise IntegrityError(
            "these weights belong to another model: names or shapes differ. Give the model they are of."
        )
    load_module_arrays(module, arrays)
