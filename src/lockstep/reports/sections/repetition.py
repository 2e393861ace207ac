"""A section on how to repeat a run: seed, hashes, command, the whole spec, and versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.reports.page import Block, Facts, Folded, Section, Text
from lockstep.reports.words import NOTHING
from lockstep.runs.folder import RunStatus
from lockstep.runs.store import reproduction

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

_TEXT = (
    "The same spec, data, code and versions give the same fingerprint, and the same fingerprint gives the same "
    "result, bit for bit. Elsewhere: export the run, import it there, and run the command."
)


def repetition(folder: RunFolder, result: TrainResult) -> list[Section]:
    """What reproduces the run. Hosts, paths and the diff of the working tree are left out: pages are passed on."""
    again = reproduction(folder)
    command = again["command"] if result.status == RunStatus.COMPLETE else f"lockstep resume {result.run_id}"
    rows = [
        ("seed", str(again["seed"])),
        ("fingerprint", again["fingerprint"]),
        ("data hash", again["data_hash"] or NOTHING),
        ("journal", result.journal_hash or NOTHING),
        ("command", command),
    ]
    more = []
    if isinstance(state := result.summary.get("state"), str):
        more.append(("final state", state))
    if commit := (result.environment.get("git") or {}).get("commit"):
        more.append(("git commit", str(commit)))
    spec = _flat(result.environment.get("spec") or result.spec)
    numerics = [(name, str(value)) for name, value in sorted(folder.read("numerics").items())]
    blocks: list[Block] = [Text(text=_TEXT, brief=False), Facts(rows=rows, code=True)]
    if more:
        blocks.append(Facts(rows=more, code=True, brief=False))
    blocks += [
        Folded(title="The whole spec, defaults included", facts=Facts(rows=spec, code=True)),
        Folded(title="Versions and CPU features that decide the last bits", facts=Facts(rows=numerics, code=True)),
    ]
    return [Section(title="To repeat this", blocks=blocks)]


def _flat(value: Mapping[str, Any], front: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            rows += _flat(item, f"{front}{name}.")
        else:
            rows.append((f"{front}{name}", NOTHING if item is None else str(item)))
    return rows
