"""Documents that check themselves: one line of canonical JSON with the digest of its own bytes at its front.

    {"blake3": ..., "body": ..., "document": <kind>, "version": 1}

The digest covers kind, version and body. The bytes read are checked to be exactly those, so a changed byte is always
seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from lockstep.core import canonical
from lockstep.core.errors import IntegrityError
from lockstep.core.hashing import blake3_hex

DOCUMENT_VERSION: Final = 1
_SEAL_BYTES: Final = len('{"blake3":"') + 64 + len('",')


def document_hash(body: Any) -> str:
    """BLAKE3 of the canonical JSON of a document's body: what the journal's first line records."""
    return blake3_hex(canonical.dumps(body))


def document_bytes(kind: str, body: Any) -> bytes:
    """The bytes of a document: one line of canonical JSON, digest first, and a line feed."""
    content = {"body": body, "document": kind, "version": DOCUMENT_VERSION}
    digest = blake3_hex(canonical.dumps(content))
    return canonical.dumps({**content, "blake3": digest}) + b"\n"


def _is_sealed(data: bytes) -> bool:
    """Whether the digest at the front is that of the bytes behind it (canonical JSON puts its key first).

    The bytes are hashed as they are: writing the value anew to compare would cost more than reading it.
    """
    content = b"{" + data[_SEAL_BYTES:-1]
    return data == b'{"blake3":"' + blake3_hex(content).encode() + b'",' + data[_SEAL_BYTES:-1] + b"\n"


def parse_document(data: bytes, kind: str, place: Path) -> Any:
    """The body of a document. Raises IntegrityError naming `place` when a byte is not what was written."""
    try:
        value = canonical.loads(data)
        version = value["version"] if isinstance(value, dict) and value.get("document") == kind else None
    except (ValueError, KeyError, RecursionError):  # damage can also nest brackets without end
        version = None
    if version is not None and version != DOCUMENT_VERSION and isinstance(version, int):
        raise IntegrityError(
            f"{place}: a document of version {version}, this release reads version {DOCUMENT_VERSION}. "
            "Use a release that reads it, or restore the file when nobody has written it anew."
        )
    if version is None or "body" not in value or not _is_sealed(data):
        raise IntegrityError(
            f"{place}: not the self-checking {kind!r} document that was written (its digest does not match its bytes). "
            "It is not used; restore the file from a copy."
        )
    return value["body"]
