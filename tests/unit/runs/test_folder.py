"""The folder of a run: documents that check themselves, the lock, the status."""

from __future__ import annotations

import math
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.core import canonical
from lockstep.core.errors import DiskError, IntegrityError, RefusedError
from lockstep.core.hashing import blake3_hex
from lockstep.runs.folder import RunFolder, RunStatus, flat_name, require_folder
from lockstep.storage.documents import document_bytes, document_hash, parse_document

PLACE = Path("some.json")
DOCUMENTS = ("spec", "data", "code", "numerics", "environment")


def new(path: Path, **sources: bytes) -> RunFolder:
    bodies: dict[str, Any] = {kind: {"of": kind} for kind in DOCUMENTS}
    return RunFolder.create(path, **bodies, sources={f"{name}.py": content for name, content in sources.items()})


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


def test_creating_writes_five_documents_and_the_sources(tmp_path: Path) -> None:
    folder = new(tmp_path / "runs" / "one", mine=b"x = 1\n")
    assert set(folder.listing()) == {"code/mine.py", *(f"{kind}.json" for kind in DOCUMENTS)}
    assert folder.read("spec") == {"of": "spec"}
    assert folder.identity_hashes()["data"] == document_hash({"of": "data"}) == blake3_hex(b'{"of":"data"}')
    assert "environment" not in folder.identity_hashes()


def test_a_folder_with_files_is_not_made_a_run(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("hello")
    with pytest.raises(RefusedError, match=r"needs an empty folder; .* holds files"):
        new(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_status_follows_from_the_files_alone(tmp_path: Path) -> None:
    folder = new(tmp_path / "run")
    assert folder.status() is RunStatus.INTERRUPTED
    with folder.lock():
        assert folder.status() is RunStatus.RUNNING
    folder.write("failure", {})
    assert folder.status() is RunStatus.FAILED
    folder.write("manifest", {})
    assert folder.status() is RunStatus.COMPLETE
    assert (folder.path / "MANIFEST.json").exists()


def test_a_second_writer_is_refused_naming_the_first(tmp_path: Path) -> None:
    folder = new(tmp_path / "run")
    message = (
        rf"one process at a time .* {folder.path} is being written by process {os.getpid()} on .* stop it and resume"
    )
    with folder.lock(), pytest.raises(RefusedError, match=message), folder.lock():
        pass
    with folder.lock():
        pass


def test_asking_for_the_status_never_keeps_a_writer_out(tmp_path: Path) -> None:
    folder = new(tmp_path / "run")
    done = threading.Event()
    answers = []

    def ask() -> None:
        while not done.is_set():
            answers.append(folder.status())

    asker = threading.Thread(target=ask)
    asker.start()
    locked = 0
    try:
        for _ in range(50):
            with folder.lock():
                locked += 1
    finally:
        done.set()
        asker.join()
    assert locked == 50
    assert set(answers) <= {RunStatus.RUNNING, RunStatus.INTERRUPTED}
    assert answers


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_disk_error(tmp_path: Path) -> None:
    folder = new(tmp_path / "run")
    folder.path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(DiskError, match=r"cannot lock .*Permission denied\. Permission is denied: choose a folder"):
            folder.lock().__enter__()
    finally:
        folder.path.chmod(stat.S_IRWXU)


def test_the_listing_leaves_out_lock_tags_and_temporary_files(tmp_path: Path) -> None:
    folder = new(tmp_path / "run")
    before = set(folder.listing())
    folder.write("tags", {"tags": ["best"]})
    (folder.path / ".spec.json.1.lockstep-tmp").write_text("torn")
    with folder.lock():
        assert set(folder.listing()) == before


@pytest.mark.parametrize("name", ["a", "a.json", "A-b_c.1", "x" * 120])
def test_flat_names(name: str) -> None:
    assert flat_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a\\b", "a b", "a\0", "ä", "x" * 121, "a%2e", "a?"])
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="flat name"):
        flat_name(name)


def test_a_missing_document_and_a_missing_folder_are_disk_errors(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"cannot read .*result\.json"):
        RunFolder(tmp_path).result()
    with pytest.raises(DiskError, match="there is no such run folder"):
        require_folder(tmp_path / "none")


def test_odd_floats_of_a_body_are_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write("result", {"summary": {"sharpe": math.nan, "factor": math.inf}})
    assert math.isnan(folder.result()["sharpe"])
    assert folder.result()["factor"] == math.inf
