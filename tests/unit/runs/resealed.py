"""A run's folder changed and sealed again, as somebody would who recomputes every digest."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.core.hashing import blake3_hex
from lockstep.runs.checkpoint import CheckpointStore, Index, IndexEntry
from lockstep.runs.folder import IDENTITY_DOCUMENTS, RunFolder
from lockstep.runs.identity import fingerprint
from lockstep.runs.input_manifest import file_entry, is_input
from lockstep.runs.journal import NO_HASH, encode_line
from lockstep.storage.documents import document_bytes, document_hash

Change = Callable[[dict[str, Any], list[dict[str, Any]]], None]


def reseal(path: Path, change: Change, *, manifest: dict[str, Any] | None = None) -> None:
    """Let `change` edit the bodies of the documents and the contents of the journal's lines; then seal all anew.

    manifest   entries put over those of the manifest's body
    """
    folder = RunFolder(path)
    names = (*IDENTITY_DOCUMENTS, "environment", "result")
    bodies = {kind: folder.read(kind) for kind in names if folder.has(kind)}
    lines = [json.loads(line)["content"] for line in folder.journal.read_bytes().splitlines()]
    before = copy.deepcopy(lines[0])
    change(bodies, lines)
    for kind, body in bodies.items():
        folder.document(kind).write_bytes(document_bytes(kind, body))
    hashes = {kind: document_hash(bodies[kind]) for kind in IDENTITY_DOCUMENTS}
    if lines[0]["fingerprint"] == before["fingerprint"]:
        lines[0].update({**hashes, "fingerprint": fingerprint(hashes)})
    if lines[-1]["type"] == "end":
        lines[-1]["result"] = blake3_hex(folder.document("result").read_bytes())
    encoded, prev = [], NO_HASH
    for content in lines:
        data, prev = encode_line(content, prev)
        encoded.append(data)
    folder.journal.write_bytes(b"".join(encoded))
    _tie_checkpoints(folder, encoded)
    inputs = {name: file_entry(item) for name, item in folder.listing().items() if is_input(name)}
    folder.document("inputs").write_bytes(document_bytes("inputs", {"files": inputs}))
    if folder.has("manifest"):
        listed = {name: file_entry(item) for name, item in folder.listing().items() if name != "MANIFEST.json"}
        steps = sum(content["type"] == "step" for content in lines)
        body = {"files": listed, "fingerprint": lines[0]["fingerprint"], "journal_hash": prev, "steps": steps}
        folder.document("manifest").write_bytes(document_bytes("manifest", {**body, **(manifest or {})}))


def _tie_checkpoints(folder: RunFolder, encoded: list[bytes]) -> None:
    store, entries = CheckpointStore(folder.checkpoints), []
    for steps in store.stored_steps():
        upto = encoded[: steps + 1]
        checkpoint = replace(
            store.load(steps), journal_hash=json.loads(upto[-1])["hash"], journal_length=sum(map(len, upto))
        )
        data = checkpoint.encode()
        store.path(steps).write_bytes(data)
        entries.append(IndexEntry(steps=steps, length=len(data), blake3=blake3_hex(data)))
    store.index_path.write_bytes(document_bytes("index", Index(entries=tuple(entries)).body()))
