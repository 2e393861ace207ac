"""Documents of one line that carry the digest of their own bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.core import canonical
from lockstep.core.errors import IntegrityError
from lockstep.core.hashing import blake3_hex
from lockstep.storage.documents import document_bytes, parse_document

PLACE = Path("some.json")


def test_a_document_is_one_line_of_canonical_json_with_its_digest() -> None:
    content = b'{"body":{"x":1},"document":"spec","version":1}'
    digest = blake3_hex(content)
    assert document_bytes("spec", {"x": 1}) == b'{"blake3":"' + digest.encode() + b'",' + content[1:] + b"\n"


bodies = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(exclude_categories=["Cs"]))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(bodies, st.data())
def test_documents_round_trip_and_any_changed_byte_is_seen(body: Any, data: st.DataObject) -> None:
    good = document_bytes("kind", body)
    assert canonical.dumps(parse_document(good, "kind", PLACE)) == canonical.dumps(body)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :]
    for damaged in (bad, good[:at], good + b"\n"):
        with pytest.raises(IntegrityError, match=r"some\.json: "):
            parse_document(damaged, "kind", PLACE)


def test_a_document_in_anothers_place_is_seen() -> None:
    with pytest.raises(IntegrityError, match="not the self-checking 'data' document"):
        parse_document(document_bytes("spec", {}), "data", PLACE)


def test_a_document_of_a_later_version_says_so() -> None:
    content = {"body": {}, "document": "spec", "version": 2}
    data = canonical.dumps({**content, "blake3": blake3_hex(canonical.dumps(content))}) + b"\n"
    with pytest.raises(IntegrityError, match="a document of version 2, this release reads version 1"):
        parse_document(data, "spec", PLACE)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"[" * 100_000, b'{"version":1}', b'{"document":"spec"}'])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_document(data, "spec", PLACE)
