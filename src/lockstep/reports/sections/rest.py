"""A section on the keys of a summary that no other section shows, so that a new kind has a report too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from lockstep.reports.page import Block, Facts, Folded, Section, Table
from lockstep.reports.sections import agent, gradients, predictions, search
from lockstep.reports.words import count, plain_name, size, value_in_words
from lockstep.runs.sealed import listed_files

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

_SHOWN: Final = 40
"""Rows that a page shows before it folds the rest."""
_BRIEF: Final = 12
"""Rows for a short report."""
_DETAILS: Final = frozenset({"agent", "baselines", "history", "model", "network", "replay", "strategy", "training"})
"""Keys of a summary that only a full report shows."""


def summary(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Values that no other section shows, and the files that the run left."""
    others = _others(result.summary)
    plain = _flat_words({name: value for name, value in others.items() if name not in _DETAILS})
    details = _flat_words({name: value for name, value in others.items() if name in _DETAILS})
    blocks: list[Block] = [Facts(rows=plain[:_BRIEF])] if plain else []
    rest = [*plain[_BRIEF:], *details]
    if rest[:_SHOWN]:
        blocks.append(Facts(rows=rest[:_SHOWN], brief=False))
    if rest[_SHOWN:]:
        blocks.append(Folded(title=f"{count(len(rest) - _SHOWN)} more", facts=Facts(rows=rest[_SHOWN:])))
    if left := _artifacts(folder):
        blocks.append(Table(caption="Files that the run left", header=("file", "size"), rows=left, brief=False))
    return [Section(title="Summary", blocks=blocks)] if blocks else []


def _others(summary: Mapping[str, Any]) -> dict[str, Any]:
    sections = (search.keys(summary), predictions.keys(summary), agent.keys(summary), gradients.keys(summary))
    keys = {"data", "editions", "verdict", "sentence", "beats_baselines"}.union(*sections)
    return {name: value for name, value in summary.items() if name not in keys}


def _flat_words(value: Mapping[str, Any], front: str = "") -> list[tuple[str, str]]:
    """Names and values; the name of a value in a table begins with that of the table."""
    rows = []
    for name, item in value.items():
        if isinstance(item, Mapping):
            rows += _flat_words(item, f"{front}{plain_name(name)}, ")
        elif (figure := value_in_words(item)) is not None:
            rows.append((f"{front}{plain_name(name)}", figure))
    return rows


def _artifacts(folder: RunFolder) -> list[tuple[str, str]]:
    """Names and sizes, as they were sealed; a run that has not ended has left none yet."""
    front = "artifacts/"
    listed = sorted(listed_files(folder).items())
    return [(name.removeprefix(front), size(entry["length"])) for name, entry in listed if name.startswith(front)]
