"""Journals of any content read back, and any torn or damaged one is seen for what it is."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.core import canonical
from lockstep.core.errors import IntegrityError
from lockstep.core.hashing import blake3_hex
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
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.one_of(st.integers(), st.floats(), st.booleans(), st.none())
values = st.recursive(
    st.one_of(numbers, text),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(text.filter("$float".__ne__), inner, max_size=3)
    ),
    max_leaves=6,
)
scalars = st.dictionaries(text.filter("$float".__ne__), values, max_size=4)
digests = st.dictionaries(text.filter("$float".__ne__), st.binary(max_size=4).map(blake3_hex), max_size=2)
contents = st.lists(st.tuples(scalars, digests, digests), max_size=5)


def write(path: Path, steps: list[tuple[dict[str, Any], dict[str, str], dict[str, str]]], *, end: bool = False) -> str:
    writer = JournalWriter(path, last_hash=NO_HASH)
    writer.append(GENESIS.content())
    for index, (scalar, digest, segments) in enumerate(steps):
        writer.append(step_content(Step(index=index, scalars=scalar, digests=digest), segments))
    if end:
        writer.append(end_content(len(steps), blake3_hex(b"result"), {}))
    writer.close()
    return writer.hash


def same(a: Any, b: Any) -> bool:
    return canonical.dumps(a) == canonical.dumps(b)


@settings(max_examples=60, deadline=None)
@given(contents)
def test_what_is_written_reads_back(steps: list[tuple[dict[str, Any], dict[str, str], dict[str, str]]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        last = write(path, steps, end=True)
        lines = list(read_lines(path))
        assert [line.type for line in lines] == ["genesis", *["step"] * len(steps), "end"]
        for line, (scalar, digest, segments) in zip(lines[1:], steps, strict=False):
            assert same(line.content["scalars"], scalar)
            assert line.content["digests"] == digest
            assert line.content["segments"] == segments
        assert lines[-1].hash == last
        assert b"".join(line.data for line in lines) == path.read_bytes()
        assert torn_bytes(path) == 0


@settings(max_examples=40, deadline=None)
@given(contents, contents)
def test_last_hashes_are_equal_exactly_when_journals_are(
    one: list[tuple[dict[str, Any], dict[str, str], dict[str, str]]],
    two: list[tuple[dict[str, Any], dict[str, str], dict[str, str]]],
) -> None:
    with TemporaryDirectory() as folder:
        a, b = Path(folder) / "a", Path(folder) / "b"
        assert (write(a, one) == write(b, two)) == (a.read_bytes() == b.read_bytes())


@settings(max_examples=15, deadline=None)
@given(contents.filter(bool))
def test_a_journal_torn_at_any_byte_gives_its_whole_lines(
    steps: list[tuple[dict[str, Any], dict[str, str], dict[str, str]]],
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        write(path, steps)
        data = path.read_bytes()
        for length in range(len(data)):
            path.write_bytes(data[:length])
            whole = data[:length].count(b"\n")
            assert len(list(read_lines(path))) == whole
            assert torn_bytes(path) == length - (data[:length].rfind(b"\n") + 1)


@settings(max_examples=60, deadline=None)
@given(contents.filter(bool), st.data())
def test_any_changed_byte_is_an_error_naming_its_line_or_a_torn_end(
    steps: list[tuple[dict[str, Any], dict[str, str], dict[str, str]]], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        write(path, steps, end=True)
        good = path.read_bytes()
        at = data.draw(st.integers(0, len(good) - 1))
        new = data.draw(st.integers(0, 255).filter(lambda value: value != good[at]))
        path.write_bytes(good[:at] + bytes([new]) + good[at + 1 :])
        number = good[:at].count(b"\n") + 1
        if at == len(good) - 1:
            assert len(list(read_lines(path))) == len(steps) + 1  # the line lost its line feed: it counts as torn
            return
        with pytest.raises(IntegrityError, match=rf"line {number} "):
            list(read_lines(path))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 2**70])
def test_odd_numbers_keep_their_bits(value: float, tmp_path: Path) -> None:
    line, _ = encode_line(step_content(Step(index=0, scalars={"x": value}), {}), NO_HASH)
    again = canonical.loads(line)["content"]["scalars"]["x"]
    assert canonical.dumps(again) == canonical.dumps(value)
