"""Read a run back: its steps, gradients and states, each verified by the digests of the run.

    record = SessionRecord(folder)
    record.step(17).gradients["direction.weight"], record.step(17).model_state

It works on a complete run and on an interrupted one, up to the last whole line of its journal. A state that was not
stored is rebuilt from the nearest snapshot before it and the stored gradients, and checked against the journal's
digest of it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import torch
from torch import nn

from lockstep.core import canonical
from lockstep.core.errors import InputError, IntegrityError, LockstepError, NotEqualError, RefusedError
from lockstep.core.hashing import digest_columns
from lockstep.learning.gradients import codec, determinism
from lockstep.learning.gradients.compiled_adam import compiled_adam
from lockstep.learning.gradients.learner import BUFFER, OPTIMIZER, WEIGHTS
from lockstep.learning.gradients.optim_state import (
    EMA_WEIGHTS,
    WeightAverage,
    load_optimizer_arrays,
    optimizer_arrays,
    set_rates,
)
from lockstep.learning.gradients.record_integrity import every_row, is_record, missing
from lockstep.learning.gradients.recorder import Description
from lockstep.learning.gradients.segment_names import BATCHES, BUFFERS, GRADIENTS, SNAPSHOTS, START, STEPS
from lockstep.learning.gradients.sources import episode_ids_of, symbol_of
from lockstep.runs.folder import RunFolder
from lockstep.runs.journal import read_lines
from lockstep.runs.sealed import require_lengths
from lockstep.runs.times import RunTimes
from lockstep.storage.segments import SegmentReader

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from lockstep.learning.gradients.optim_state import OptimizerSettings

    Arrays = dict[str, NDArray[Any]]

COMPILED_FROM: Final = 256
"""Updates from which on a replay computes Adam in compiled passes."""


class FlatOptimizer:
    """Weights and optimiser without a model: applies stored gradients, with no forward or backward pass.

    Adam is computed in compiled passes, where these give the bits of torch's (`compiled_adam`).
    """

    def __init__(self, settings: OptimizerSettings, state: Mapping[str, NDArray[Any]], updates: int = 0) -> None:
        """`updates` says how many are to come, 0 where a schedule moves the momentum: compiled code pays for many."""
        determinism.settle()
        self._weights = nn.Parameter(torch.from_numpy(state[WEIGHTS].copy()))
        moments = {name[len(OPTIMIZER) :]: array for name, array in state.items() if name.startswith(OPTIMIZER)}
        self._average = None
        if settings.ema_decay is not None:
            self._average = WeightAverage(self._weights, settings.ema_decay)
            self._average.set_arrays(state)
        many = updates >= COMPILED_FROM
        self._compiled = compiled_adam(settings, self._weights.detach().numpy(), moments) if many else None
        if self._compiled is not None:
            return
        self._optimizer = settings.make(self._weights)
        load_optimizer_arrays(self._optimizer, self._weights, moments)
        gradient = torch.zeros_like(self._weights)
        self._weights.grad = gradient
        self._gradient = gradient.numpy()

    def apply(self, gradient: NDArray[Any], learning_rate: float, momentum: float | None = None) -> None:
        """Update the weights with a stored gradient (size,), clipped already, at the rates that were recorded."""
        if self._compiled is not None:
            if momentum is not None:
                raise ValueError("compiled passes know one momentum; give updates=0 where a schedule moves it")
            self._compiled.apply(gradient, learning_rate)
        else:
            self._gradient[:] = gradient
            set_rates(self._optimizer, learning_rate, momentum)
            self._optimizer.step()
        if self._average is not None:
            self._average.add(self._weights.detach())

    def arrays(self) -> Arrays:
        """Weights, moments and average by name: views, valid until the next update."""
        if self._compiled is not None:
            moments = self._compiled.moments()
        else:
            moments = optimizer_arrays(self._optimizer, self._weights)
        return {
            WEIGHTS: self._weights.detach().numpy(),
            **{f"{OPTIMIZER}{name}": array for name, array in moments.items()},
            **({} if self._average is None else self._average.arrays()),
        }


class SessionRecord:
    """See the module's docstring. Raises InputError where there is no folder, RefusedError for a run that has no step
    of a gradient training, IntegrityError for damage."""

    def __init__(self, folder: RunFolder | Path | str) -> None:
        """`folder` is that of a run: as a value, or its path, which results and sessions have as `folder`."""
        folder = folder if isinstance(folder, RunFolder) else RunFolder(Path(folder))
        if not folder.path.is_dir():
            raise InputError(f"{folder.path}: no folder of a run. Give the `folder` of a result or of a session.")
        self.folder = folder
        self.session_id = folder.path.name
        require_lengths(folder, is_record)
        # Where each line lies, not what it says: a run may have millions.
        self._places = [(line.start, line.stop) for line in read_lines(folder.journal) if line.type == "step"]
        first = self.content(0)["scalars"] if self._places else {}
        if "record" not in first:
            cure = "Choose a run whose kind records gradients" if self._places else "Resume it first"
            raise RefusedError(
                f"{folder.path}: holds no step of a gradient training, so there is nothing to replay. {cure}; lockstep "
                "verify computes any run again."
            )
        self.description = Description.from_json(first["record"])
        # Frames of a step that the journal does not have yet belong to nothing.
        self._reader = SegmentReader(folder.segments, stop_step=len(self._places))

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of run {self.session_id}: {len(self)} steps>"

    @property
    def segments(self) -> SegmentReader:
        """The segments, up to the journal's last step."""
        return self._reader

    def content(self, step: int) -> dict[str, Any]:
        """The journal's content for `step`: scalars, digests, and the digest of each frame."""
        start, stop = self._places[step]
        with self.folder.journal.open("rb") as handle:
            handle.seek(start)
            content: dict[str, Any] = canonical.loads(handle.read(stop - start))["content"]
        return content

    def learning_rate(self, step: int) -> float:
        """Learning rate of the update of `step`, as recorded."""
        return float(self.columns["learning_rate"][step])

    def rates(self, step: int) -> tuple[float, float | None]:
        """Learning rate and momentum of the update of `step`; None where no schedule moved the momentum."""
        return self.learning_rate(step), float(self.columns["momentum"][step]) if self.momentum_moves else None

    @property
    def momentum_moves(self) -> bool:
        """Whether a schedule moves the momentum."""
        return "momentum" in self.columns

    @functools.cached_property
    def columns(self) -> Arrays:
        """Columns of segment `steps`, float64 (steps,) each. Raises IntegrityError when rows are missing."""
        return every_row(self.folder, self._reader, STEPS, 0, len(self))

    @functools.cached_property
    def symbol(self) -> str | None:
        """The market that the run learned from; None where neither its data nor its spec name one."""
        return symbol_of(self.folder)

    @functools.cached_property
    def times(self) -> RunTimes:
        """When the run and its steps were made; times are in no hash, and an export leaves them out."""
        return RunTimes.of(self.folder)

    @functools.cached_property
    def episode_ids(self) -> list[str] | None:
        """Id of each sample of a run that learned from episodes; None for another run.

        Raises DataError where the home does not hold the run's samples any more.
        """
        return episode_ids_of(self.folder)

    def step(self, index: int) -> TrainingStep:
        """A step by number; negative numbers count from the end. Raises IndexError."""
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"run {self.session_id} has steps 0 to {len(self) - 1}; found {index}")
        if "loss.q" in self.columns:
            return RLTrainingStep(self, number)
        kind = CNNTrainingStep if "loss.regression" in self.columns else TrainingStep
        return kind(self, number)

    def steps(self) -> Iterator[TrainingStep]:
        """All steps in their order, read one at a time."""
        return (self.step(index) for index in range(len(self)))

    def by_value(self) -> list[int]:
        """Numbers of all steps, the most valuable first (R9.33); of equals the earlier."""
        values = self.columns["value"]
        return sorted(range(len(values)), key=lambda step: (-values[step], step))

    def require_gradients(self) -> None:
        """Raise RefusedError when the record does not hold every gradient."""
        if not self.description.recording.replayable:
            recording = self.description.recording
            raise RefusedError(
                f"run {self.session_id}: applying stored gradients needs the gradient of every parameter at every "
                f'step; this one was recorded with level = "{recording.level}", every = {recording.every}, select = '
                f"{list(recording.select)}. Recompute it instead."
            )

    def gradients(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """(step, gradient) for the steps in [start, stop) that keep one: flat, after clipping and selection."""
        for frame in self._reader.frames(GRADIENTS, start, stop):
            yield frame.step, self.unpacked(frame.columns)

    def gradients_end(self, step: int) -> LockstepError:
        """The error for a record without the gradient of `step`: damage, or a record that stopped keeping them."""
        if self.has_frame(GRADIENTS, step):
            return missing(self.folder, GRADIENTS, f"none of step {step}")
        return RefusedError(
            f'run {self.session_id} keeps gradients up to step {step - 1}: it fell to level "norms" at max_bytes. '
            f"Replay up to there (--to {step - 1}), or recompute it."
        )

    def has_frame(self, name: str, step: int) -> bool:
        """Whether the journal names a frame of `step` in a segment."""
        return name in self.content(step)["segments"]

    def unpacked(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The gradient, flat and after selection, in the columns of a frame of segment `gradients`."""
        return codec.unpack(columns, self.description.layout.dtype)

    def frame(self, name: str, step: int) -> Arrays:
        """Columns of one step's frame of a segment, verified by the journal's digest.

        Raises RefusedError when the step has no such frame, IntegrityError when it is lost or differs.
        """
        content = self.content(step)
        if name not in content["segments"]:
            raise RefusedError(
                f"run {self.session_id} has no {name} of step {step}: level is "
                f'"{content["scalars"]["level"]}" there. Recompute the step instead.'
            )
        for frame in self._reader.frames(name, step, step + 1):
            if frame.digest != content["segments"][name]:
                raise IntegrityError(
                    f"{self.folder.segments / name}.*.seg: the frame of step {step} is not the one that the journal "
                    "names. It is not used; restore the file from a copy."
                )
            return frame.columns
        raise missing(self.folder, name, f"none of step {step}")

    def start_state(self) -> Arrays:
        """The whole state before step 0. Raises RefusedError at levels below "full"."""
        return {name: array[0] for name, array in self.frame(START, 0).items()}

    def snapshot_before(self, step: int) -> tuple[int, Arrays]:
        """The newest stored state of at most `step` steps: its number of steps, and its arrays."""
        every = self.description.recording.snapshot_every
        steps = step // every * every
        while steps > 0:
            if self.has_frame(SNAPSHOTS, steps - 1):
                return steps, {name: array[0] for name, array in self.frame(SNAPSHOTS, steps - 1).items()}
            steps -= every  # after a fall to "norms" there are no more
        return 0, self.start_state()

    def state_after(self, step: int) -> Arrays:
        """The whole state after `step`: read where it is stored, else rebuilt and checked.

        Raises RefusedError where gradients are missing, NotEqualError when the state does not have the digest that
        the journal has for it, IntegrityError for damage.
        """
        steps, state = self.snapshot_before(step + 1)
        if steps < step + 1:
            self.require_gradients()
            machine = FlatOptimizer(self.description.optimizer, state)
            last = steps - 1
            for last, gradient in self.gradients(steps, step + 1):
                machine.apply(gradient, *self.rates(last))
            if last != step:
                raise self.gradients_end(last + 1)
            buffers = self._reader.latest(BUFFERS, step)
            state = machine.arrays() | {name: array[0] for name, array in buffers.items()}
        self.check_state(step, state)
        return state

    def check_state(self, step: int, state: Mapping[str, NDArray[Any]]) -> bool:
        """Compare a state with the journal; False where the journal has no digest of it. Raises NotEqualError."""
        then = self.content(step)["digests"].get("state")
        if then is not None and digest_columns(state) != then:
            raise NotEqualError(
                f"run {self.session_id}: the state after step {step}, rebuilt from the record, does not have the "
                "digest that the journal has for it. Something other than the optimiser changed weights (a network "
                "that clips its own in forward), versions or instruction sets of torch differ, or memory is bad."
            )
        return then is not None


class TrainingStep:
    """One recorded step. Scalars are in memory; arrays are read from disk at each access."""

    def __init__(self, record: SessionRecord, index: int) -> None:
        self._record = record
        self._scalars = record.content(index)["scalars"]
        self.index = index
        self.session_id = record.session_id
        self.step_id = f"{record.session_id}:{index}"

    def __repr__(self) -> str:
        losses = ", ".join(f"{name} {value:.4g}" for name, value in self.losses.items())
        return f"<{type(self).__name__} {self.index} of run {self.session_id}: loss {losses}>"

    @property
    def symbol(self) -> str | None:
        """The market that the run learned from; None where it names none."""
        return self._record.symbol

    @property
    def timestamp(self) -> datetime | None:
        """When the step was made, UTC; None where no time of it is kept, as in a run that came from elsewhere."""
        return self._record.times.of_step(self.index)

    @property
    def losses(self) -> Mapping[str, float]:
        """Loss of the batch by name: "total" and its parts."""
        return cast("Mapping[str, float]", self._scalars["loss"])

    @property
    def learning_rate(self) -> float:
        """Learning rate of this update, as recorded."""
        return float(self._scalars["learning_rate"])

    @property
    def gradient_norm(self) -> float:
        """L2 norm of the gradient before clipping."""
        return float(self._scalars["gradient_norm"])

    @property
    def value(self) -> float:
        """Training value, `training_value`, eq. (1)."""
        return float(self._scalars["value"])

    @property
    def profitability(self) -> float:
        """Mean profitability score of the batch."""
        return float(self._record.columns["profitability"][self.index])

    @property
    def samples(self) -> NDArray[np.int64]:
        """Ids of the samples that it learned from, int64 (samples,)."""
        return self._record.frame(BATCHES, self.index)["index"]

    @property
    def gradients(self) -> Arrays:
        """The gradient of every recorded parameter by name, as applied (after clipping)."""
        flat = self._record.unpacked(self._record.frame(GRADIENTS, self.index))
        description = self._record.description
        if len(description.selected) == len(description.layout.slots):
            return description.layout.named(flat)
        named, start = {}, 0
        for slot in description.layout.slots:
            if slot.name in description.selected:
                stop = start + slot.stop - slot.start
                named[slot.name] = flat[start:stop].reshape(slot.shape)
                start = stop
        return named

    @property
    def model_state(self) -> Arrays:
        """Weights by parameter and buffers by name after this step, stored or rebuilt exactly."""
        state = self._record.state_after(self.index)
        buffers = {name[len(BUFFER) :]: array for name, array in state.items() if name.startswith(BUFFER)}
        return self._record.description.layout.named(state[WEIGHTS]) | buffers

    @property
    def averaged_weights(self) -> Arrays | None:
        """The moving average of the weights by parameter after this step; None in a run that keeps none."""
        average = self._record.state_after(self.index).get(EMA_WEIGHTS)
        return None if average is None else self._record.description.layout.named(average)

    @property
    def optimizer_state(self) -> Arrays:
        """The optimiser's moments after this step by name, flat; `layout.named` splits each by parameter."""
        state = self._record.state_after(self.index)
        return {name[len(OPTIMIZER) :]: array for name, array in state.items() if name.startswith(OPTIMIZER)}


class CNNTrainingStep(TrainingStep):
    """A step of a network with three heads (R9.14 to R9.16)."""

    @property
    def episode_ids(self) -> list[str] | None:
        """Ids of the episodes of its batch, in order; None for a run whose samples are no episodes.

        Raises DataError where the home does not hold the run's samples any more.
        """
        ids = self._record.episode_ids
        return None if ids is None else [ids[sample] for sample in self.samples.tolist()]

    @property
    def total_loss(self) -> float:
        """Weighted sum of the three parts, which the update descended."""
        return self.losses["total"]

    @property
    def classification_loss(self) -> float:
        """Cross-entropy of the direction or pivot class."""
        return self.losses["classification"]

    @property
    def regression_loss(self) -> float:
        """Smooth L1 of the return."""
        return self.losses["regression"]

    @property
    def confidence_loss(self) -> float:
        """Binary cross-entropy of the confidence."""
        return self.losses["confidence"]


class _HasLosses(Protocol):
    @property
    def losses(self) -> Mapping[str, float]: ...


class AgentLosses:
    """Losses of an agent's step by name, for recorded steps and for those in memory (`rl.live`)."""

    @property
    def total_loss(self: _HasLosses) -> float:
        """Sum of the parts, which the update descended."""
        return self.losses["total"]

    @property
    def q_loss(self: _HasLosses) -> float:
        """Loss of the action values."""
        return self.losses["q"]

    @property
    def policy_loss(self: _HasLosses) -> float | None:
        """Loss of the policy; None for an agent without one, which acts by its action values (a DQN)."""
        return self.losses.get("policy")


class RLTrainingStep(AgentLosses, TrainingStep):
    """A step of an agent: `samples` are the ids of the experiences it learned from."""

    @property
    def td_errors(self) -> NDArray[np.float64]:
        """Temporal-difference error of each experience of the batch, before the update: float64 (samples,)."""
        return self._record.frame(BATCHES, self.index)["td_error"]

    @property
    def mean_score(self) -> float:
        """Mean profitability score of the batch."""
        return self.profitability

    @property
    def profitable_share(self) -> float:
        """Share of the batch whose outcome is a profit."""
        return float(self._record.columns["profitable"][self.index])

    @property
    def mean_reward(self) -> float:
        """Mean reward of the batch, before the agent's reward scale."""
        return float(self._record.columns["mean_reward"][self.index])
