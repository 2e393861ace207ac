"""The journal's form, to the byte, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3

from lockstep.core.errors import DiskError, IntegrityError
from lockstep.runs.journal import (
    NO_HASH,
    Genesis,
    JournalWriter,
    encode_line,
    end_content,
    read_lines,
    step_content,
    torn_bytes,
)
from lockstep.runs.training import Step

GENESIS = Genesis(fingerprint="f", spec="s", data="d", code="c", numerics="n")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.jsonl"
    writer = JournalWriter(path, last_hash=NO_HASH)
    writer.append(GENESIS.content())
    for index in range(3):
        writer.append(step_content(Step(index=index, scalars={"x": index / 4}), {"t": "ab"}))
    writer.append(end_content(3, "r", {"a.txt": "b"}))
    writer.sync()
    writer.close()
    return path


def rechain(path: Path, contents: list[dict[str, object]]) -> None:
    """A journal whose hashes are right, whatever it says."""
    prev, data = NO_HASH, b""
    for content in contents:
        line, prev = encode_line(content, prev)
        data += line
    path.write_bytes(data)


def test_a_line_is_canonical_json_bound_to_the_line_before(journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    first = (
        b'{"code":"c","data":"d","fingerprint":"f","format":"lockstep-journal","numerics":"n","spec":"s",'
        b'"type":"genesis","version":1}'
    )
    first_hash = blake3(bytes(32) + first).hexdigest()
    assert lines[0] == b'{"content":' + first + f',"hash":"{first_hash}","prev":"{"0" * 64}"}}\n'.encode()
    second = b'{"digests":{},"index":0,"scalars":{"x":0.0},"segments":{"t":"ab"},"type":"step"}'
    second_hash = blake3(bytes.fromhex(first_hash) + second).hexdigest()
    assert lines[1] == b'{"content":' + second + f',"hash":"{second_hash}","prev":"{first_hash}"}}\n'.encode()


def test_lines_know_their_place(journal: Path) -> None:
    lines = list(read_lines(journal))
    data = journal.read_bytes()
    assert [line.number for line in lines] == [1, 2, 3, 4, 5]
    assert all(data[line.start : line.stop] == line.data for line in lines)


@pytest.mark.parametrize(
    ("spoil", "number"),
    [
        (lambda line: line.replace(b'"x":0.25', b'"x":0.250'), 3),
        (lambda line: line.replace(b'"x":0.25', b'"x": 0.25'), 3),
        (lambda line: line.replace(b'"index":1', b'"index":1,"index":1'), 3),
        (lambda line: line.replace(b"0.25", b"0.5"), 3),
        (lambda line: b"\n", 3),
        (lambda line: b"null\n", 3),
        (lambda line: b"\xff\n", 3),
        (lambda line: b"", 3),
        (lambda line: line + line, 4),
    ],
    ids=["digit", "space", "twice the key", "value", "empty", "null", "not utf-8", "missing", "doubled"],
)
def test_a_line_that_is_not_exactly_what_was_written_is_named(journal: Path, spoil: object, number: int) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = spoil(lines[2])  # type: ignore[operator]
    journal.write_bytes(b"".join(lines))
    with pytest.raises(IntegrityError, match=rf"journal\.jsonl: line {number} \(byte \d+\) .* restore it from a copy"):
        list(read_lines(journal))


def test_well_hashed_nonsense_is_still_no_journal(journal: Path) -> None:
    genesis, step, end = GENESIS.content(), step_content(Step(index=0), {}), end_content(1, "r", {})
    for contents in (
        [step],
        [genesis, genesis],
        [genesis, end, step],
        [genesis, {**step, "index": 1}],
        [genesis, end, end],
    ):
        rechain(journal, contents)
        with pytest.raises(IntegrityError, match="is out of order"):
            list(read_lines(journal))
    rechain(journal, [{"type": "note"}])
    with pytest.raises(IntegrityError, match="line 1"):
        list(read_lines(journal))


def test_a_journal_of_a_later_format_is_left_to_a_later_release(journal: Path) -> None:
    rechain(journal, [{**GENESIS.content(), "version": 2}])
    with pytest.raises(IntegrityError, match="reads lockstep-journal version 1; found lockstep-journal 2"):
        list(read_lines(journal))


def test_a_long_torn_line_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for size in (0, 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 200_000):
        path.write_bytes(b"{}\n" + b"x" * size)
        assert torn_bytes(path) == size
        path.write_bytes(b"x" * size)
        assert torn_bytes(path) == size


def test_a_journal_that_is_not_there_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="does not exist"):
        list(read_lines(tmp_path / "none.jsonl"))


def test_content_that_json_cannot_hold_is_refused_before_anything_is_written(journal: Path) -> None:
    size = journal.stat().st_size
    writer = JournalWriter(journal, last_hash=NO_HASH)
    with pytest.raises(TypeError, match="canonical JSON holds"):
        writer.append(step_content(Step(index=0, scalars={"x": object()}), {}))
    writer.close()
    assert journal.stat().st_size == size
