"""Whatever bytes a file holds, loading it gives candles or a DataError that names the file; nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit.market.bars import columns

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles

HEADER = "timestamp,open,high,low,close,volume\n"
cells = st.sampled_from(
    [
        "1704067200",
        "1704070800000",
        "1",
        "2.5",
        "-1",
        "nan",
        "",
        "inf",
        "1e400",
        '"',
        "x",
        "2024-01-01",
        "2024-01-01T00Z",
    ]
)
lines = st.lists(st.lists(cells, min_size=5, max_size=7).map(",".join), max_size=6).map("\n".join)
quiet = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def loads_or_explains(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        assert isinstance(load_candles(path), Candles)
    except DataError as error:
        assert str(path) in str(error)


@quiet
@given(text=lines)
def test_a_csv_of_odd_cells_is_read_or_explained(text: str, tmp_path: Path) -> None:
    loads_or_explains(tmp_path / "a.csv", (HEADER + text).encode())


@quiet
@given(data=st.binary(max_size=200))
@example(data=b"a,b\x00,c\n1,2,3\n")
@example(data=b'"' + b"x" * 140_000)
@example(data=b"\xff\xfe\x00")
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".feather"])
def test_any_bytes_are_read_or_explained(suffix: str, data: bytes, tmp_path: Path) -> None:
    loads_or_explains(tmp_path / f"a{suffix}", data)


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns(20)), sink, write_page_checksum=True, compression="none", use_dictionary=False)
    return sink.getvalue()


@quiet
@given(at=st.integers(0, len(parquet()) - 1), flip=st.integers(1, 255))
def test_a_damaged_parquet_file_is_read_or_explained(at: int, flip: int, tmp_path: Path) -> None:
    data = bytearray(parquet())
    data[at] ^= flip
    loads_or_explains(tmp_path / "a.parquet", bytes(data))
