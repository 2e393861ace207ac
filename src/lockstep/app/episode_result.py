"""The result of a training on episodes: its weights, every byte checked, and how often it used each episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lockstep.core.errors import RefusedError
from lockstep.kinds.cnn_episodes import data as episodes_data
from lockstep.runs.sealed import sealed_bytes
from lockstep.runs.store import RunStore

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """What a complete run of kind "cnn-episodes" leaves.

    weights   bytes of the safetensors file
    trained   by episode id, how many times it was in a batch
    losses    by part of the loss, its mean over the steps
    """

    weights: bytes
    trained: Mapping[str, int]
    losses: Mapping[str, float]


def episode_result(run: str, store: RunStore) -> EpisodeResult:
    """The result of `run`, complete and of kind "cnn-episodes". Raises IntegrityError, RefusedError, DataError."""
    # They load torch; a home without it can still be read by everything else.
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.learning.gradients.segment_names import BATCHES
    from lockstep.learning.gradients.training import WEIGHTS_FILE

    folder = store.find(run)
    ids = episodes_data.restore(folder.read("data"), store.blobs).ids
    record = SessionRecord(folder)
    # Level "none" records no batches, but an epoch has every episode once.
    rows = record.segments.read(BATCHES).get("index", np.repeat(np.arange(len(ids)), _epochs(folder.read("spec"))))
    times = np.bincount(rows, minlength=len(ids)).tolist()
    weights = sealed_bytes(folder, f"artifacts/{WEIGHTS_FILE}")
    if weights is None:
        raise RefusedError(f"{folder.path}: the run has not ended, and so left no weights. Resume it first.")
    losses = {
        name.removeprefix("loss."): sum(column.tolist()) / len(column)
        for name, column in record.columns.items()
        if name.startswith("loss.")
    }
    return EpisodeResult(weights=weights, trained=dict(zip(ids, times, strict=True)), losses=losses)


def _epochs(spec: Mapping[str, Mapping[str, int]]) -> int:
    return spec["training"]["epochs"]
