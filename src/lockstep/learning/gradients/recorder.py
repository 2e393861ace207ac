"""The gradient recorder: what of each step is kept, as columns of append-only segments.

    segment     rows        columns
    steps       1 a step    loss.NAME (total and parts), learning_rate, gradient_norm, clip, value, profitability,
                            profitable, momentum where a schedule moves it, further scalars of the training: float64.
                            Kept at every level.
    batches     1 a sample  index int64: which samples the step learned from; further columns of the
                            training (an agent: td_error)                                               full, norms
    norms       1 a step    gradient, weight, update (parameters,): L2 norm of each parameter's         full, norms
                            gradient as applied, weights and change of weights
    buffers     0 or 1      one column a buffer, after the step, where one changed since they were written last
                            (BatchNorm's are in no gradient, nor are target networks)                   full
    gradients   1, or bytes gradient (size,), as applied: the flat array of `flat`, or packed (`codec`) full
    start       1           the whole state before step 0                                               full
    snapshots   1           the whole state after the step, every `snapshot_every` steps                full

The journal's line of a step names the digest of each frame and, every `digest_every` steps, `state`: the digest of the
whole state after the step, at every level. So two runs that differ in one bit of one weight have different journals,
and a state that is rebuilt is checked. The line of step 0 describes the record itself (`Description`).

`max_bytes` limits what the segments take. Where the next step would exceed it the run ends, or falls to level
`norms`; where that happens depends on sizes alone, so a repeated run ends or falls at the same step.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch

from lockstep.core.errors import InputError
from lockstep.core.hashing import digest_columns
from lockstep.learning.gradients import codec
from lockstep.learning.gradients.flat import Layout
from lockstep.learning.gradients.learner import BUFFER, Learner, Update
from lockstep.learning.gradients.optim_state import OptimizerSettings
from lockstep.learning.gradients.segment_names import BATCHES, BUFFERS, GRADIENTS, NORMS, SNAPSHOTS, START, STEPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.storage.columns import Columns

LEVELS: Final = ("full", "norms", "none")
MAX_BYTES: Final = 20_000_000_000
FRAME_BYTES: Final = 64
"""Head and seal of a frame (`storage.segment_format`)."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a run keeps of its steps.

    level           which segments are written, see the module's docstring
    select          patterns (`fnmatch`) of the parameters whose gradients are kept
    every           gradients of every n-th step are kept. With this or `select`, gradients cannot be replayed, but
                    steps can still be recomputed
    codec           "blosc2" packs gradients without loss (`codec`)
    snapshot_every  steps between two stored states
    digest_every    steps between two digests of the state in the journal
    max_bytes       limit of all segments together
    at_limit        whether the run ends there, or goes on at level "norms"
    """

    level: Literal["full", "norms", "none"] = "full"
    select: tuple[str, ...] = ("*",)
    every: int = 1
    codec: Literal["raw", "blosc2"] = "raw"
    snapshot_every: int = 100
    digest_every: int = 1
    max_bytes: int = MAX_BYTES
    at_limit: Literal["end", "norms"] = "end"

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise InputError(f"a recorder's level is one of {', '.join(LEVELS)}; found {self.level!r}")
        if self.codec not in codec.CODECS:
            raise InputError(f"codec is one of {', '.join(codec.CODECS)}; found {self.codec!r}")
        if self.at_limit not in ("end", "norms"):
            raise InputError(f'at_limit is "end" or "norms"; found {self.at_limit!r}')
        for name in ("every", "snapshot_every", "digest_every", "max_bytes"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1; found {getattr(self, name)!r}")
        if not self.select:
            raise InputError('select names at least one pattern of parameters; found none. Use ("*",) for all.')

    @property
    def replayable(self) -> bool:
        """Whether the gradients suffice to replay the run without forward and backward passes."""
        return self.level == "full" and self.every == 1 and "*" in self.select

    def numerics(self) -> dict[str, str]:
        """The codec's version, for the run's numerics: the journal has digests of packed bytes, and another version
        may pack differently. Empty for raw gradients. Raises MissingLibraryError."""
        if self.level != "full" or self.codec == "raw":
            return {}
        return {self.codec: str(codec.library().__version__)}

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON values for the journal."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recording:
        """Rebuild a recording from what `to_json` returned."""
        return cls(**{**value, "select": tuple(value["select"])})


@dataclass(frozen=True)
class Description:
    """The record described in the journal's line of step 0: enough to replay it without the model's code."""

    layout: Layout
    selected: tuple[str, ...]
    """Names of the parameters whose gradients are kept, in the order of the layout."""
    optimizer: OptimizerSettings
    recording: Recording

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as JSON values for the journal."""
        return {
            "layout": self.layout.to_json(),
            "selected": list(self.selected),
            "optimizer": self.optimizer.to_json(),
            "recording": self.recording.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Description:
        """Rebuild a description from what `to_json` returned."""
        return cls(
            Layout.from_json(value["layout"]),
            tuple(value["selected"]),
            OptimizerSettings.from_json(value["optimizer"]),
            Recording.from_json(value["recording"]),
        )


def selected_names(layout: Layout, select: Sequence[str]) -> tuple[str, ...]:
    """Names of the parameters of `layout` that match a pattern of `select`. Raises InputError when none does."""
    names = tuple(
        slot.name for slot in layout.slots if any(fnmatch.fnmatchcase(slot.name, pattern) for pattern in select)
    )
    if not names:
        raise InputError(
            f"select names parameters to record; none of {', '.join(slot.name for slot in layout.slots)} matches "
            f"{', '.join(select)}."
        )
    return names


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """What a training reports of a step beside the update.

    batch          int64 (samples,), ids of the samples that the step learned from
    profitability  mean profitability score of the samples
    profitable     share of them that made a profit
    scalars        further columns of segment `steps`, the same names at every step
    samples        further columns of segment `batches`, (samples,) each, the same names at every step
    """

    batch: NDArray[np.int64]
    profitability: float = 0.0
    profitable: float = 0.0
    scalars: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)


class Recorder:
    """Makes the columns of each step; the run writes them."""

    def __init__(self, recording: Recording, learner: Learner) -> None:
        layout = learner.flat.layout
        self._recording = recording
        self._learner = learner
        self.description = Description(layout, selected_names(layout, recording.select), learner.settings, recording)
        self._pieces = [slot for slot in layout.slots if slot.name in self.description.selected]
        self._bytes = 0
        self._fallen = False
        self._before: torch.Tensor | None = None
        self._written: dict[str, bytes] = {}
        self._change_views: list[torch.Tensor] = []
        self._sizes = frame_sizes(layout, learner.settings, learner.buffer_arrays())

    @property
    def level(self) -> str:
        """The level in force: that of the recording, or "norms" once `max_bytes` is reached."""
        return "norms" if self._fallen else self._recording.level

    @property
    def bytes(self) -> int:
        """Bytes that all segments take so far, frame heads included."""
        return self._bytes

    def has_room(self, step: int) -> bool:
        """Whether the large frames of `step` stay within `max_bytes`, packed ones taken as if they would not shrink."""
        return self.level != "full" or self._bytes + self._large_bytes(step) <= self._recording.max_bytes

    def fall(self) -> None:
        """Record at level "norms" from now on; there is no way back."""
        self._fallen = True

    def may_end_early(self, steps: int | None) -> bool:
        """Whether a run of `steps` steps might be ended by `max_bytes`: a coarse answer, on the safe side."""
        recording = self._recording
        if recording.level != "full" or recording.at_limit != "end":
            return False
        if steps is None:
            return True
        # Step 0 has every frame but perhaps the gradients of later steps; batch identities may double the small ones.
        each = 2 * self._large_bytes(1) + self._large_bytes(0) // recording.snapshot_every
        return self._large_bytes(0) + steps * each > recording.max_bytes

    def begin(self, step: int) -> dict[str, Columns]:
        """Frames to write ahead of the update of `step`: the start state at step 0. Call it before the update."""
        if self.level == "none":
            return {}
        weights = self._learner.flat.weights.detach()
        if self._before is None:
            self._before = weights.clone()
            # While norms are taken, it holds the change of the weights.
            self._change_views = list(self._learner.flat.views(self._before))
        return {START: _one_row(self._copied())} if step == 0 and self.level == "full" else {}

    def record(
        self, step: int, update: Update, facts: StepFacts, before: Mapping[str, Columns], *, value: float
    ) -> tuple[dict[str, Columns], dict[str, str]]:
        """Segments and digests of a step that was just made.

        before  what `begin` returned
        value   training value of the step (`training_value`, eq. 1)
        """
        segments: dict[str, Columns] = {STEPS: _facts(update, facts, value), **before}
        if self.level != "none":
            segments[BATCHES] = {"index": facts.batch, **facts.samples}
            segments[NORMS] = self._norms()
        due = (step + 1) % self._recording.digest_every == 0
        arrays = self._learner.arrays() if due or self.level == "full" else {}
        if self.level == "full":
            if changed := self._changed_buffers(arrays):
                segments[BUFFERS] = _one_row(changed)
            if step % self._recording.every == 0:
                segments[GRADIENTS] = codec.pack(self._gradient(), self._recording.codec)
            if (step + 1) % self._recording.snapshot_every == 0:
                segments[SNAPSHOTS] = _one_row(arrays)
        self._bytes += sum(map(_frame_bytes, segments.values()))
        return segments, {"state": digest_columns(arrays)} if due else {}

    def count(self, columns: Columns) -> None:
        """Count a frame of a segment that the training adds itself: `max_bytes` is for all segments."""
        self._bytes += _frame_bytes(columns)

    def get_state(self) -> dict[str, Any]:
        """Bytes so far and whether the level fell, for a checkpoint."""
        return {"bytes": self._bytes, "fallen": self._fallen}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned; set the learner's state first."""
        self._bytes, self._fallen = state["bytes"], state["fallen"]
        self._before = None
        # Between two steps the buffers are what was written last, unless nothing was written yet.
        written = self._learner.buffer_arrays() if self._bytes else {}
        self._written = {name: array.tobytes() for name, array in written.items()}

    def _copied(self) -> dict[str, NDArray[np.generic]]:
        return {name: array.copy() for name, array in self._learner.arrays().items()}

    def _changed_buffers(self, arrays: Mapping[str, NDArray[np.generic]]) -> Mapping[str, NDArray[np.generic]]:
        """All buffers of the module, if one of them differs in any bit from what was last written; else empty.

        BatchNorm's change at every step, a target network that is copied every n updates at each n-th, constants never.
        """
        buffers = {name: array for name, array in arrays.items() if name.startswith(BUFFER)}
        now = {name: array.tobytes() for name, array in buffers.items()}
        if now == self._written:
            return {}
        self._written = now
        return buffers

    def _gradient(self) -> NDArray[np.generic]:
        flat = self._learner.gradient()
        # The segment writes it before the next update, so the whole array needs no copy.
        if len(self._pieces) == len(self.description.layout.slots):
            return flat
        return np.concatenate([flat[slot.start : slot.stop] for slot in self._pieces])

    def _norms(self) -> Columns:
        flat, before = self._learner.flat, self._before
        if before is None:
            raise RuntimeError("begin() comes before record()")
        weights = flat.weights.detach()
        torch.sub(weights, before, out=before)
        # One call over all parameters: norms one by one would cost more than the append.
        views = [*flat.gradient_views, *flat.weight_views, *self._change_views]
        rows = torch.stack(torch._foreach_norm(views)).cpu().numpy().reshape(3, 1, -1)
        before.copy_(weights)
        return dict(zip(("gradient", "weight", "update"), rows, strict=True))

    def _large_bytes(self, step: int) -> int:
        """Bytes of the frames of `step` at level full, all but the batch identities."""
        sizes = self._sizes
        total = sizes.steps + sizes.norms + sizes.buffers
        if step % self._recording.every == 0:
            elements = sum(slot.stop - slot.start for slot in self._pieces)
            total += FRAME_BYTES + elements * self.description.layout.itemsize
            total += 0 if self._recording.codec == "raw" else codec.OVERHEAD
        if step == 0:
            total += sizes.snapshot
        return total + (sizes.snapshot if (step + 1) % self._recording.snapshot_every == 0 else 0)


@dataclass(frozen=True)
class FrameSizes:
    """Bytes of one frame of each segment, except gradients, which depend on the selection, and batches."""

    steps: int
    norms: int
    buffers: int
    snapshot: int


def frame_sizes(
    layout: Layout, optimizer: OptimizerSettings, buffers: Mapping[str, NDArray[np.generic]], losses: int = 4
) -> FrameSizes:
    """Frame sizes for a model of `layout`; `losses` counts the named losses, the total included."""
    held = sum(array.nbytes for array in buffers.values())
    return FrameSizes(
        steps=FRAME_BYTES + 8 * (6 + losses),
        norms=FRAME_BYTES + 3 * layout.itemsize * len(layout.slots),
        buffers=FRAME_BYTES + held if buffers else 0,
        # Beside the arrays, the scalars: the optimiser's count of steps, NAdam's product, the updates of an average.
        snapshot=FRAME_BYTES
        + held
        + layout.itemsize * layout.size * (1 + optimizer.moments)
        + 8 * (1 + (optimizer.name == "nadam") + (optimizer.ema_decay is not None)),
    )


def _frame_bytes(columns: Columns) -> int:
    # A segment pads each column to 8 bytes (`storage.segment_format`).
    return FRAME_BYTES + sum(-(-array.nbytes // 8) * 8 for array in columns.values())


def _one_row(arrays: Mapping[str, NDArray[np.generic]]) -> Columns:
    return {name: array[None] for name, array in arrays.items()}


def _facts(update: Update, facts: StepFacts, value: float) -> Columns:
    row = {
        **{f"loss.{name}": loss for name, loss in update.losses.items()},
        "learning_rate": update.learning_rate,
        "gradient_norm": update.gradient_norm,
        "clip": update.clip,
        "value": value,
        "profitability": facts.profitability,
        "profitable": facts.profitable,
        **({} if update.momentum is None else {"momentum": update.momentum}),
        **facts.scalars,
    }
    if any(type(number) is not float for number in row.values()):
        return {name: np.array([number]) for name, number in row.items()}
    # One array for all: a dozen of one number each take ten times as long.
    numbers = np.array(list(row.values()))
    return {name: numbers[place : place + 1] for place, name in enumerate(row)}
