"""Training by gradients: one step is one optimiser update. What is learned is a `Task`; everything else is here.

    GradientTraining(task, learner, Recorder(recording, learner))      -> a `runs.training.Training`

A task says which samples each step learns from and what their loss is. It is asked by step number, so it needs no
cursor; what it does remember (a best score, a patience) is in its own `get_state`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from safetensors.numpy import save as save_arrays

from lockstep.core.errors import IntegrityError
from lockstep.learning.gradients.epochs import Epochs as Epochs
from lockstep.learning.gradients.recorder import Recorder, StepFacts
from lockstep.learning.gradients.step_log import StepLog
from lockstep.runs.training import Result, RunRecord, State, Step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from lockstep.learning.gradients.learner import Learner, Losses

WEIGHTS_FILE: Final = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step learns from.

    `ids` int64 (samples,) name the samples; `compute` gives the loss of the model on them, forward pass included.
    `profitability` is the mean profitability score of the samples, `profitable` the share that made a profit.
    """

    ids: NDArray[np.int64]
    compute: Callable[[nn.Module], Losses]
    profitability: float = 0.0
    profitable: float = 0.0


class Task:
    """What is learned. Subclass and implement `batch`; the rest has a default."""

    def batch(self, step: int) -> Batch | None:
        """The samples of `step`, a function of the step (and of `get_state`) alone; None when the session is over."""
        raise NotImplementedError

    @property
    def total_steps(self) -> int | None:
        """How many steps there will be, None where that is open."""
        return None

    def learning_rate(self, step: int) -> float | None:
        """The learning rate of `step`; None for the optimiser's own."""
        return None

    def after(self, step: int, learner: Learner) -> Mapping[str, Any]:
        """Called after the update of `step`, for an evaluation at the end of an epoch, say; what it returns goes into
        the journal's line. It may change nothing of the learner."""
        return {}

    def result(self, learner: Learner) -> Mapping[str, Any]:
        """What the finished session adds to its summary."""
        return {}

    def artifacts(self, learner: Learner) -> Mapping[str, bytes]:
        """Files of the finished session beside its weights, by flat name."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """What `batch`, `after`, `result` and `artifacts` remember."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `get_state`."""


class GradientTraining:
    """See the module's docstring. `session` is what the summary says of the session: model name, symbol, what it is a
    replay of; it has to be part of the spec, since it is part of the result."""

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
        """Model and optimiser."""
        return self._learner

    @property
    def task(self) -> Task:
        """What is learned."""
        return self._task

    @property
    def total_steps(self) -> int | None:
        """The task's, unless the byte limit could end the session before."""
        return self._log.total_steps(self._task.total_steps)

    def attach(self, record: RunRecord) -> None:
        """Keep the record: the session's value is a function of all its steps."""
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
        """Weights, optimiser, buffers, counters, the task's own."""
        return {
            "next": self._next,
            "learner": self._learner.get_state(),
            **self._log.get_state(),
            "task": self._task.get_state(),
        }

    def set_state(self, state: State) -> None:
        """Go to a state of `get_state`."""
        self._next = state["next"]
        self._learner.set_state(state["learner"])
        self._log.set_state(state)
        self._task.set_state(state["task"])

    def finish(self) -> Result:
        """Value and convergence of the session, the digest of the last state, and the weights as safetensors."""
        limited = self._log.ends_before(self._next) and self._task.batch(self._next) is not None
        facts = self._log.session_facts(self._learner, steps=self._next, limited=limited)
        summary = {"session": self._session, **facts, **self._task.result(self._learner)}
        weights = save_arrays(model_arrays(self._learner))
        return Result(summary=summary, artifacts={WEIGHTS_FILE: weights, **self._task.artifacts(self._learner)})


def model_arrays(learner: Learner) -> dict[str, NDArray[Any]]:
    """The model as `state_dict` names it, trained, frozen and buffers: copies, sorted by name."""
    state = learner.module.state_dict()
    return {name: state[name].detach().cpu().numpy().copy() for name in sorted(state)}


def load_model_arrays(module: nn.Module, data: bytes) -> None:
    """The inverse: put the weights of a `WEIGHTS_FILE` into a module. Raises IntegrityError when they do not fit it."""
    import torch
    from safetensors import SafetensorError
    from safetensors.numpy import load

    state = module.state_dict()
    try:
        arrays = load(data)
    except SafetensorError as error:
        raise IntegrityError(f"{WEIGHTS_FILE}: no file of weights ({error}). Restore it from a copy.") from error
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    if shapes != {name: array.shape for name, array in arrays.items()}:
        raise IntegrityError(
            "these weights belong to another model: names or shapes differ. Give the model they are of."
        )
    with torch.no_grad():
        for name, value in state.items():
            value.copy_(torch.from_numpy(arrays[name].copy()))
