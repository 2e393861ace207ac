"""examples/read_segments.py and docs/segments.md against our own reader, on real runs of every kind with segments."""

from __future__ import annotations

import ast
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from lockstep.bootstrap import place
from lockstep.runs.folder import RunFolder
from lockstep.runs.journal import read_lines
from lockstep.runs.transfer import import_run
from lockstep.storage.segment_format import segment_parts
from lockstep.storage.segments import SegmentReader, SegmentWriter

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "read_segments.py"
PAGE = (ROOT / "docs" / "segments.md").read_text()
STORED = ROOT / "tests" / "golden" / "runs" / "v0.1.0-kinds"
frames = runpy.run_path(str(EXAMPLE))["frames"]


@pytest.fixture(scope="module", params=["cnn", "replay-agent", "strategy"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    home = tmp_path_factory.mktemp("home")
    return RunFolder(import_run(STORED / f"{request.param}.lockstep.zip", place(home).store).path)


def test_the_example_imports_nothing_of_ours_and_stays_short() -> None:
    text = EXAMPLE.read_text()
    modules = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0]  # type: ignore[union-attr]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert modules - sys.stdlib_module_names == {"numpy"}
    assert len(text.splitlines()) <= 60


def test_the_example_reads_what_our_reader_reads(folder: RunFolder) -> None:
    names = segment_parts(folder.segments)
    assert names
    for name in names:
        ours = list(SegmentReader(folder.segments).frames(name))
        theirs = list(frames(folder.segments, name))
        assert [frame.step for frame in ours] == [step for step, _ in theirs]
        for frame, (_, columns) in zip(ours, theirs, strict=True):
            assert list(frame.columns) == list(columns)
            for column, array in columns.items():
                expected = frame.columns[column]
                assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
                assert array.tobytes() == expected.tobytes()


def test_the_digest_of_a_frame_is_that_of_the_page(folder: RunFolder) -> None:
    """By the two rules of the page, in words of this test: the journal holds it."""
    first = next(line.content for line in read_lines(folder.journal) if line.type == "step")
    assert first["segments"]
    for name, digest in first["segments"].items():
        _, columns = next(iter(frames(folder.segments, name)))
        hasher = blake3()
        for column, array in columns.items():
            head = f"{len(column)}:{column}|{array.dtype.str}|{','.join(map(str, array.shape))}|".encode()
            hasher.update(len(head).to_bytes(8, "little") + head)
            hasher.update(array.tobytes())
        assert hasher.hexdigest() == digest


def test_the_three_lines_of_the_page_read_every_gradient(tmp_path: Path) -> None:
    (lines,) = (block for block in re.findall(r"```python torch\n(.*?)```", PAGE, re.DOTALL) if "gradients = " in block)
    assert len([line for line in lines.splitlines() if line and not line.startswith("import")]) == 3
    folder = RunFolder(import_run(STORED / "cnn.lockstep.zip", place(tmp_path).store).path)
    space: dict[str, Any] = {"path": str(folder.segments / "gradients.000000.seg")}
    exec(lines, space)
    ours = SegmentReader(folder.segments).read("gradients")["gradient"]
    assert space["gradients"].dtype == np.float32
    assert np.array_equal(space["gradients"], ours)
    record = next(
        line["content"]["scalars"]["record"]
        for line in map(json.loads, folder.journal.read_text().splitlines())
        if line["content"]["type"] == "step"
    )
    assert record["layout"]["size"] == ours.shape[1]
    assert all(start % 16 == 0 for _, _, start, _ in record["layout"]["parameters"])


def test_the_example_reads_several_parts_and_leaves_a_torn_frame(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path, part_bytes=200)
    for step in range(4):
        writer.append(step, "rows", {"flag": np.array([True, False, True]), "x": np.full((3, 2), step, np.float32)})
    writer.close()
    parts = sorted(tmp_path.glob("rows.*.seg"))
    assert len(parts) > 1
    assert [int(columns["x"][0, 0]) for _, columns in frames(tmp_path, "rows")] == [0, 1, 2, 3]
    parts[-1].write_bytes(parts[-1].read_bytes()[:-5])
    assert [step for step, _ in frames(tmp_path, "rows")] == [0, 1, 2]
