"""What a session will take, told before it starts and without allocating it: the model is built on the meta device.

    estimate(lambda: PatternCNN(), optimizer, recording, steps=10_000, batch=64)

Memory is what the state itself takes, and what a checkpoint adds while it is written; what the forward pass keeps for
the backward pass depends on the batch and is not in it. A billion parameters in float32 under Adam are 4 GB of weights,
4 GB of gradient and 8 GB of moments.
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
from lockstep.runs.kind import Estimate

if TYPE_CHECKING:
    from torch import nn

    from lockstep.learning.gradients.optim_state import OptimizerSettings

_LINE_BYTES = 580
"""A line of the journal: losses, rates, the digest of the state, hashes."""
_WRITTEN_PER_S = 200e6
"""Bytes that a common disk takes in a second, hashed and flushed."""
_DIGEST_BYTES = 80
"""And the digest of each frame."""
_CHECKPOINT_COPIES = 3
"""A checkpoint being written, at most: the state copied, as bytes tensor by tensor, and in one piece."""


@dataclass(frozen=True, kw_only=True)
class SessionEstimate:
    """Bytes and counts of a session of `steps` steps. `limit_step` is the first step that `max_bytes` leaves no room
    for, None where there is none."""

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
    ends_at: int | None = None
    """The step that `max_bytes` ends the session before; None where it goes on at level "norms", or is not met."""
    packed: bool = False
    """Whether gradients are packed: then sizes are bounds, and `limit_step` comes at the earliest."""

    @property
    def last_step(self) -> int:
        """How many steps there will be."""
        return self.steps if self.ends_at is None else self.ends_at

    @property
    def disk_bytes(self) -> int:
        """Segments and journal together; checkpoints and artifacts come on top."""
        return self.segment_bytes + self.journal_bytes

    @property
    def memory_bytes(self) -> int:
        """The state, and at most what a checkpoint takes while it is written."""
        return self.state_bytes + _CHECKPOINT_COPIES * self.checkpoint_bytes

    def as_run_estimate(
        self, *, seconds: float | None = None, held_bytes: int = 0, kept_bytes: int = 0, models: int = 1
    ) -> Estimate:
        """As a kind reports it, checkpoints and artifacts included.

        seconds      of computing all steps, None where that is not known; writing comes on top
        held_bytes   what the process takes besides
        kept_bytes   what a checkpoint holds beside the state
        models       how many files of weights the run leaves
        """
        checkpoints = CheckpointPolicy().disk_bytes(self.checkpoint_bytes + kept_bytes, seconds)
        disk = self.disk_bytes + checkpoints + models * self.weight_bytes
        return Estimate(
            seconds=None if seconds is None else seconds + disk / _WRITTEN_PER_S,
            disk_bytes=disk,
            memory_bytes=self.memory_bytes + _CHECKPOINT_COPIES * kept_bytes + held_bytes,
            steps=self.last_step,
        )

    def lines(self) -> list[str]:
        """In words, for a person."""
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
    """What `steps` steps of `batch` samples take. `build` makes the model; here it allocates nothing."""
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
    """The same for a model that is there, on any device, the meta device included."""
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
        """Bytes of the segments after so many steps, all of them at the level asked for."""
        gradients, snapshots = -(-steps // recording.every), steps // recording.snapshot_every
        return (begin if steps else 0) + steps * per_step + gradients * gradient + snapshots * snapshot

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
    """Bytes for a person: 1.5 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000.0:
            return f"{count:.3g} {unit}"
        count /= 1000.0
    return f"{count:.3g} TB"
