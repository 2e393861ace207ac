"""What a recorded run learned from, by the names that its spec and its pinned data have for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.storage.blobs import FolderBlobStore

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder

EPISODES: Final = ".episodes"
"""Suffix of the snapshot of a run that learned from episodes."""
_NAMES: Final = ("windows", "classes", "returns", "scores", "profitable", "package", "episode_id", "id_length")


def symbol_of(folder: RunFolder) -> str | None:
    """The market that a run learned from; None where neither its data nor its spec name one."""
    data, spec = (folder.read(name) if folder.has(name) else {} for name in ("data", "spec"))
    tables = (data.get("candles"), data, spec.get("market"), spec.get("episodes"), spec)
    names = (table.get("symbol") for table in tables if isinstance(table, Mapping))
    return next((name for name in names if isinstance(name, str) and name), None)


def episode_ids_of(folder: RunFolder) -> list[str] | None:
    """Id of each sample of a run that learned from episodes, from the snapshot of its home; None for another run.

    Raises DataError where the home of the folder does not hold the snapshot, IntegrityError for a damaged one.
    """
    if not folder.has("spec") or folder.read("spec").get("kind") != "cnn-episodes":
        return None
    digest = folder.read("data")["digest"]
    return ids_in(FolderBlobStore(folder.path.parent.parent / "snapshots").get_arrays(digest, EPISODES, _NAMES))


def ids_in(arrays: Mapping[str, Any]) -> list[str]:
    """Episode ids in the order of the samples, from `episode_id` (UTF-8, end to end) and `id_length`."""
    # Ids have many lengths, and arrays of text cannot be stored without pickle.
    text, stops = arrays["episode_id"].tobytes(), np.cumsum(arrays["id_length"]).tolist()
    return [text[start:stop].decode() for start, stop in zip([0, *stops], stops, strict=False)]
