"""Files that are something else than their name says: read as what they are, or refused by what they are."""

from __future__ import annotations

import gzip
import io
import random
import sqlite3
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from tests.unit.market.formats.files import BARS, rows

from lockstep.core.errors import DataError
from lockstep.market.load import load_candles

TABLE = pa.table(dict(BARS.columns()))
HEADER = "timestamp,open,high,low,close,volume"
CSV = "\n".join([HEADER, *rows(BARS, lambda *cells: cells)]).encode()
JSON = BARS.to_frame().to_json(orient="records").encode()
NOISE = random.Random(1).randbytes(3_000)
PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head>\n<body>nothing</body></html>\n"


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink)
    return sink.getvalue()


def arrow() -> bytes:
    sink = io.BytesIO()
    feather.write_feather(TABLE, sink)
    return sink.getvalue()


def archive(**members: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/").replace("_", "."), content)
    return sink.getvalue()


def npy() -> bytes:
    sink = io.BytesIO()
    np.save(sink, BARS.close)
    return sink.getvalue()


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".json", ".parquet", ".feather", ".zip", ".gz", ".zst"])
@pytest.mark.parametrize("kind", ["CSV", "JSON", "Parquet", "Feather or Arrow", "gzip", "zip"])
def test_the_contents_decide_not_the_name(tmp_path: Path, suffix: str, kind: str) -> None:
    contents = {"CSV": CSV, "JSON": JSON, "Parquet": parquet(), "Feather or Arrow": arrow(),
                "gzip": gzip.compress(CSV), "zip": archive(a_csv=CSV)}  # fmt: skip
    path = tmp_path / f"a{suffix}"
    path.write_bytes(contents[kind])
    candles = load_candles(path)
    assert candles == BARS
    if kind in ("JSON", "Parquet", "Feather or Arrow") and suffix in (".csv", ".zip"):
        assert kind in str(candles.format)
    if kind == "CSV" and suffix in (".json", ".parquet", ".zip"):
        assert "lines of text by its contents" in str(candles.format)


OTHERS = {
    "page": (PAGE, r"a web page \('404 Not Found'\).*\n    1: <!DOCTYPE html>[\s\S]*Download the file itself again"),
    "answer": (
        b"<?xml version='1.0'?>\n<Error><Code>NoSuchKey</Code><Message>The key does not exist.</Message></Error>",
        r"XML \('The key does not exist.'\)",
    ),
    "workbook": (archive(xl__workbook_xml=b"<x/>"), "a workbook of a spreadsheet .*Save its sheet"),
    "old workbook": (b"\xd0\xcf\x11\xe0" + NOISE, "an old Excel workbook"),
    "PDF": (b"%PDF-1.4 ...", "a PDF document"),
    "picture": (b"\x89PNG\r\n\x1a\n" + NOISE, r"a picture \(PNG\)"),
    "HDF5": (b"\x89HDF\r\n" + NOISE, "an HDF5 file. Read it with pandas"),
    "array": (npy(), "a NumPy array.*from_arrays"),
    "pickle": (b"\x80\x04\x95" + NOISE, "a pickle, which can run code"),
    "bzip2": (b"BZh91AY" + NOISE, "packed by bzip2. Unpack it"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a pointer of Git LFS.*git lfs pull"),
    "noise": (NOISE, r"no kind of file that is read. First bytes as read:\n    f5 b1 65"),
    "zeros": (bytes(500), "it is no text"),
    "message": (b"Rate limit exceeded, try again later.\n", r"1: Rate limit[\s\S]*a message of a server"),
    "two columns": (b"date,price\n2024-01-01,5\n", "five columns at least; found no such line.\nFirst lines as read"),
    "blanks": (CSV.replace(b",", b"  "), "Columns between blanks are not read.*read_fwf"),
    "JSON message": (b'{"error": "rate limit"}', "rate limit.* a server's message"),
    "blank lines": (b"\n  \n", "the file is empty"),
    "names alone": (HEADER.encode(), r"there are no rows[\s\S]*1: timestamp,open"),
    "one row": (CSV[: CSV.index(b"\n", 40)], r"found 1. Declare it: .*--timeframe 5m; in a spec \[market\]"),
}


@pytest.mark.parametrize("suffix", [".csv", ".json", ".zip"])
@pytest.mark.parametrize("kind", OTHERS)
def test_another_kind_of_file_is_named_shown_and_has_a_cure(tmp_path: Path, kind: str, suffix: str) -> None:
    content, message = OTHERS[kind]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_candles(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).rstrip("'").endswith((".", ")"))


def test_a_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with sqlite3.connect(path) as database:
        database.execute("create table candles (time integer)")
    database.close()
    with pytest.raises(DataError, match=r"a SQLite database. Export its table"):
        load_candles(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive(a_csv=CSV)[:-30], "damaged or cut short: download it again"),
        (archive(), r"holds no file of candles .*; found nothing\. Unpack it"),
        (archive(readme_md=b"hello"), r"found readme\.md\. Unpack it"),
        (gzip.compress(CSV)[:-20], r"ended before the end-of-stream marker.* Download"),
        (parquet()[:-50], "Parquet magic bytes not found in footer"),
    ],
)
def test_a_damaged_or_empty_container_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_candles(path)


def test_one_row_loads_with_its_length_declared(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(CSV[: CSV.index(b"\n", 40)])
    assert len(load_candles(path, timeframe="5m")) == 1
