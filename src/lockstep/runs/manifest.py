"""MANIFEST.json: length and digest of every file of a complete run. Written last; it is what makes a run complete."""

from __future__ import annotations

from typing import Any

from lockstep.core.errors import IntegrityError
from lockstep.runs.audit import Auditor
from lockstep.runs.folder import RunFolder
from lockstep.runs.input_manifest import file_entry


def seal(folder: RunFolder) -> dict[str, Any]:
    """Read everything back, check journal and segments against each other, and write the manifest; returns its body.

    Raises IntegrityError when the disk does not hold what was written to it, DiskError.
    """
    audit = Auditor(folder).run()
    audit.raise_first()
    if audit.end is None or audit.genesis is None or audit.notes:
        raise IntegrityError(f"{folder.journal}: the run cannot be sealed: {'; '.join(audit.notes) or 'no last line'}.")
    listed: dict[str, Any] = {}
    for name, path in folder.listing().items():
        if name == "MANIFEST.json":
            continue
        read = audit.digests.get(name)
        listed[name] = {"blake3": read[1], "length": read[0]} if read is not None else file_entry(path)
    _check_outputs(folder, audit.end.content, listed)
    body = {
        "files": listed,
        "fingerprint": audit.genesis.content["fingerprint"],
        "journal_hash": audit.journal_hash,
        "steps": audit.steps,
    }
    folder.write("manifest", body)
    return body


def _check_outputs(folder: RunFolder, end: dict[str, Any], listed: dict[str, Any]) -> None:
    for name, message in output_differences(end, {name: entry["blake3"] for name, entry in listed.items()}):
        raise IntegrityError(f"{folder.path / name}: {message}")


def output_differences(end: dict[str, Any], digests: dict[str, str]) -> list[tuple[str, str]]:
    """Files of the result (name, message) whose digests differ from those in the journal's last line."""
    promised = {f"artifacts/{name}": digest for name, digest in end["artifacts"].items()}
    promised["result.json"] = end["result"]
    wrong = [
        (name, "missing, or not the bytes that the journal's last line names. Restore it from a copy.")
        for name, digest in promised.items()
        if digests.get(name) != digest
    ]
    extra = [name for name in digests if name.startswith("artifacts/") and name not in promised]
    return wrong + [
        (name, "an artifact that the journal's last line does not name. Move it elsewhere.") for name in extra
    ]
