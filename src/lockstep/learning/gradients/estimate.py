"""Estimate disk and memory of a run before it starts, without allocating it: the model is built on the meta device.

    estimate(lambda: PatternCNN(), optimizer, recording, steps=10_000, batch=64)

Memory is that of the state, and what a checkpoint adds while it is written. Activations are not in it: they depend on
the batch. A billion parameters in float32 under Adam are 4 GB of weights, 4 GB of gradient and 8 GB of moments.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lockstep.learning.gradients.codec import OVERHEAD
from lockstep.learning.gradients.flat import Layout
from lockstep.learning.gradients.recorder import FRAME_BYTES, Recording, frame_sizes, selected_names
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.kind import Duration, Estimate

if TYPE_CHECKING:
    from torch import nn

    from lockstep.learning.gradients.optim_state import OptimizerSettings

_LINE_BYTES = 580
"""A line of the journal: losses, rates, the digest of the state, hashes."""
_WRITTEN_PER_S = 200e6
"""Bytes that a common disk writes in a second, hashed and flushed."""
_COPIED_PER_S = 1e9
"""Bytes that a processor hands to the system and has back at the end in a second; hashing is timed with the steps."""
_DIGEST_BYTES = 80
"""Added to the journal's line by each frame."""
_CHECKPOINT_COPIES = 3
"""Copies in memory while a checkpoint is written, at most: of arrays, of bytes by tensor, of all bytes in one piece."""


@dataclass(frozen=True, kw_only=True)
class SessionEstimate:
    """Bytes and counts of a run of `steps` steps."""

    parameters: int
    steps: int
    step_bytes: int
    snapshot_bytes: int
    segment_bytes: int
    journal_bytes: int
    state_bytes: int
    """Weights, gradient, moments, buffers, and the recorder's copies."""
    checkpoint_bytes: int
    weight_bytes: int
    """Weights and buffers alone, as an artifact holds them."""
    limit_step: int | None
    """The first step that `max_bytes` leaves no room for; None where all fit."""
    ends_at: int | None = None
    """The step that `max_bytes` ends the run before; None where the run goes on at level "norms", or all steps fit."""
    packed: bool = False
    """Whether gradients are packed: then sizes are upper bounds, and `limit_step` is the earliest possible one."""

    @property
    def last_step(self) -> int:
        """How many steps the run has, `ends_at` taken into account."""
        return self.steps if self.ends_at is None else self.ends_at

    @property
    def disk_bytes(self) -> int:
        """Bytes of segments and journal; checkpoints and artifacts come on top."""
        return self.segment_bytes + self.journal_bytes

    @property
    def memory_bytes(self) -> int:
        """Bytes of the state, and of the copies that a checkpoint needs while it is written."""
        return self.state_bytes + _CHECKPOINT_COPIES * self.checkpoint_bytes

    def as_run_estimate(
        self,
        *,
        training: Duration | None = None,
        judging: Duration = Duration(),  # noqa: B008 - it is frozen
        held_bytes: int = 0,
        kept_bytes: int = 0,
        judged_bytes: int = 0,
        models: int = 1,
    ) -> Estimate:
        """The estimate of a whole run, checkpoints and artifacts included.

        training       time of all steps, None where unknown; writing comes on top
        judging        time of all evaluations
        held_bytes     memory of the process for other things, such as data and what a forward pass needs
        kept_bytes     bytes of a checkpoint beside the state
        judged_bytes   memory that judging takes beside the state
        models         how many files of weights the run leaves
        """
        seconds = None if training is None else training.wall + judging.wall
        checkpoints = CheckpointPolicy().disk_bytes(self.checkpoint_bytes + kept_bytes, seconds)
        disk = self.disk_bytes + checkpoints + models * self.weight_bytes
        written = Duration(cpu=disk / _COPIED_PER_S, wall=disk / _WRITTEN_PER_S)
        # A run writes its last checkpoint before it is judged, so it never needs both at once.
        most = max(self.memory_bytes + _CHECKPOINT_COPIES * kept_bytes, self.state_bytes + kept_bytes + judged_bytes)
        return Estimate(
            seconds=None if seconds is None else seconds + written.wall,
            training=None if training is None else training + written,
            judging=None if training is None else judging,
            disk_bytes=disk,
            memory_bytes=most + held_bytes,
            steps=self.last_step,
        )

    def lines(self) -> list[str]:
        """The estimate as sentences, for the terminal."""
        lines = [
            f"{self.parameters:,} trained parameters; {_size(self.step_bytes)} a step, "
            f"{_size(self.disk_bytes)} in all, {_size(self.state_bytes)} of memory for the state"
        ]
        if self.limit_step is not None:
            lines.append(f"max_bytes is reached before step {self.limit_step} of {self.steps}")
        if self.packed:
            lines.append("gradients are packed: these are bounds, most gradients shrink by a tenth to a third")
        return lines


def estimate(
    build: Callable[[], nn.Module],
    optimizer: OptimizerSettings,
    recording: Recording,
    *,
    steps: int,
    batch: int,
    losses: int = 4,
) -> SessionEstimate:
    """Estimate `steps` steps of `batch` samples. `build` makes the model; on the meta device it allocates nothing."""
    with torch.device("meta"):
        module = build()
    return estimate_of(module, optimizer, recording, steps=steps, batch=batch, losses=losses)


def estimate_of(
    module: nn.Module,
    optimizer: OptimizerSettings,
    recording: Recording,
    *,
    steps: int,
    batch: int,
    losses: int = 4,
) -> SessionEstimate:
    """`estimate` for an existing model, on any device; `losses` counts the named losses, the total included."""
    layout = Layout.of(module)
    item = layout.itemsize
    held = sum(value.numel() * value.element_size() for value in module.buffers())
    sizes = frame_sizes(layout, optimizer, {}, losses)
    frozen = sum(value.numel() * value.element_size() for value in module.parameters() if not value.requires_grad)
    per_step, snapshot, begin = sizes.steps, 0, 0
    frames = {"none": 1, "norms": 3, "full": 4}[recording.level] + bool(held)
    if recording.level != "none":
        per_step += FRAME_BYTES + 8 * batch + sizes.norms
    gradient = 0
    if recording.level == "full":
        chosen = set(selected_names(layout, recording.select))
        elements = sum(slot.stop - slot.start for slot in layout.slots if slot.name in chosen)
        whole = len(chosen) == len(layout.slots)
        packed = 0 if recording.codec == "raw" else OVERHEAD
        gradient = FRAME_BYTES + packed + item * (layout.size if whole else elements)
        per_step += FRAME_BYTES + held if held else 0
        snapshot = begin = sizes.snapshot + held

    def taken(steps: int) -> int:
        """Bytes of the segments after `steps` steps, if none of them falls to level "norms"."""
        gradients, snapshots = -(-steps // recording.every), steps // recording.snapshot_every
        return (begin if steps else 0) + steps * per_step + gradients * gradient + snapshots * snapshot

    # `taken` grows with the steps, so the limit is found by bisection, not by counting to a million.
    limit = None
    if recording.level == "full" and taken(steps) > recording.max_bytes:
        limit = bisect.bisect_right(range(steps), recording.max_bytes, key=lambda step: taken(step + 1))
    full_steps = steps if limit is None else limit
    last = full_steps if recording.at_limit == "end" else steps
    # After a fall only the small frames go on.
    small = sizes.steps + FRAME_BYTES + 8 * batch + sizes.norms
    return SessionEstimate(
        parameters=layout.parameters,
        steps=steps,
        step_bytes=round(per_step + gradient / recording.every + snapshot / recording.snapshot_every),
        snapshot_bytes=snapshot,
        segment_bytes=taken(full_steps) + small * (last - full_steps),
        journal_bytes=(_LINE_BYTES + _DIGEST_BYTES * frames) * last,
        # Weights, gradient, moments; the recorder's two copies for the norms; buffers and frozen parameters.
        state_bytes=item * layout.size * (2 + optimizer.moments + (0 if recording.level == "none" else 2))
        + held
        + frozen,
        checkpoint_bytes=item * layout.size * (1 + optimizer.moments) + held,
        weight_bytes=item * layout.parameters + held + frozen,
        limit_step=limit,
        ends_at=None if recording.at_limit == "norms" else limit,
        packed=recording.level == "full" and recording.codec != "raw",
    )


def _size(count: float) -> str:
    """Bytes in the nearest unit, 3 digits: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000.0:
            return f"{count:.3g} {unit}"
        count /= 1000.0
    return f"{count:.3g} TB"
