"""What a session will take, told before it starts and without allocating it: the model is built on the meta device.

    estimate(lambda: PatternCNN(), optimizer, recording, steps=10_000, batch=64)

Memory is what the state itself takes; what the forward pass keeps for the backward pass depends on the batch and is
not in it. A billion parameters in float32 under Adam are 4 GB of weights, 4 GB of gradient and 8 GB of moments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lockstep.learning.codec import OVERHEAD
from lockstep.learning.flat import Layout
from lockstep.learning.recorder import FRAME_BYTES, Recording, frame_sizes, selected_names
from lockstep.runs.kind import Estimate

if TYPE_CHECKING:
    from torch import nn

    from lockstep.learning.optim_state import OptimizerSettings

_LINE_BYTES = 580
"""A line of the journal: losses, rates, the digest of the state, hashes."""
_DIGEST_BYTES = 80
"""And the digest of each frame."""


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
    memory_bytes: int
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
        """Segments and journal together; checkpoints come on top, `CheckpointPolicy.keep_bytes` at most."""
        return self.segment_bytes + self.journal_bytes

    def as_run_estimate(self, *, seconds: float | None = None, held_bytes: int = 0) -> Estimate:
        """As a kind reports it; `held_bytes` is what the process takes besides."""
        return Estimate(
            seconds=seconds,
            disk_bytes=self.disk_bytes,
            memory_bytes=self.memory_bytes + held_bytes,
            steps=self.steps,
        )

    def lines(self) -> list[str]:
        """In words, for a person."""
        lines = [
            f"{self.parameters:,} trained parameters; {_size(self.step_bytes)} a step, "
            f"{_size(self.disk_bytes)} in all, {_size(self.memory_bytes)} of memory for the state"
        ]
        if self.limit_step is not None:
            lines.append(f"max_bytes is reached before step {self.limit_step} of {self.steps}")
        if self.packed:
            lines.append("gradients are packed: these are bounds, most gradients shrink by about a tenth")
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
    gradient = 0.0
    if recording.level == "full":
        chosen = set(selected_names(layout, recording.select))
        kept = sum(slot.stop - slot.start for slot in layout.slots if slot.name in chosen)
        whole = len(chosen) == len(layout.slots)
        packed = 0 if recording.codec == "raw" else OVERHEAD
        gradient = (FRAME_BYTES + packed + item * (layout.size if whole else kept)) / recording.every
        per_step += FRAME_BYTES + held if held else 0
        snapshot = begin = sizes.snapshot + held
    average = per_step + gradient + snapshot / recording.snapshot_every
    limited = recording.level == "full" and begin + average * steps > recording.max_bytes
    limit = int(max(recording.max_bytes - begin, 0) / average) if limited else None
    last = steps if limit is None or recording.at_limit == "norms" else limit
    full_steps = last if limit is None else limit
    # After a fall only the small frames go on.
    small = sizes.steps + FRAME_BYTES + 8 * batch + sizes.norms
    return SessionEstimate(
        parameters=layout.parameters,
        steps=steps,
        step_bytes=round(average),
        snapshot_bytes=snapshot,
        segment_bytes=round(begin + average * full_steps + small * (last - full_steps)),
        journal_bytes=(_LINE_BYTES + _DIGEST_BYTES * frames) * last,
        # Weights, gradient, moments; the recorder's two copies for the norms; buffers and frozen parameters.
        memory_bytes=item * layout.size * (2 + optimizer.moments + (0 if recording.level == "none" else 2))
        + held
        + frozen,
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
