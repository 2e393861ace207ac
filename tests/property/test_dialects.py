"""Random candles written in a random dialect load back to equal arrays, or are refused; never to other values."""

from __future__ import annotations

import gzip
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from tests.unit.market.formats.files import comma, moment

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles

NAMES = ("time", "open", "high", "low", "close", "volume")
STEPS = (60_000, 300_000, 3_600_000, 86_400_000)
TEXTS = (
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y.%m.%d %H:%M", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M",
    "%d/%m/%Y %I:%M %p", "%d %b %Y %H:%M", "%Y%m%d %H%M%S", "%Y-%m-%d",
)  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """How a file is written. `clock` is an epoch unit in parts of a second, or a form of strftime."""

    delimiter: str
    header: bool
    clock: int | str
    decimal_comma: bool
    group: str
    places: int
    newest_first: bool
    title: bool
    encoding: str
    packing: str
    zone: bool


dialects = st.builds(
    Dialect,
    delimiter=st.sampled_from(",;\t|"),
    header=st.booleans(),
    clock=st.sampled_from((1, 1_000, 1_000_000, *TEXTS)),
    decimal_comma=st.booleans(),
    group=st.sampled_from(["", "", "g", "\u00a0", "'"]),
    places=st.integers(0, 5),
    newest_first=st.booleans(),
    title=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    packing=st.sampled_from(["", "", ".gz", ".zst", ".zip"]),
    zone=st.booleans(),
)


@st.composite
def series(draw: st.DrawFn, places: int) -> Candles:
    """2 to 40 bars of the years 1995 to 2060, prices and volumes of some decimals."""
    n, step = draw(st.integers(2, 40)), draw(st.sampled_from(STEPS))
    start = draw(st.integers(788_918_400_000 // step, 2_840_140_800_000 // step)) * step
    scale = draw(st.sampled_from([1, 37, 4_100, 1_250_000]))
    walk = np.array(draw(st.lists(st.integers(1, 999), min_size=4 * n, max_size=4 * n))).reshape(n, 4)
    prices = np.round(walk * scale / 10**places, places)
    prices = np.maximum(prices, 10.0**-places)
    volume = np.array(draw(st.lists(st.integers(0, 9_999_999), min_size=n, max_size=n)))
    return Candles.from_arrays(
        timestamp=start + step * np.arange(n, dtype=np.int64),
        open=prices[:, 0], high=prices.max(axis=1), low=prices.min(axis=1), close=prices[:, 3],
        volume=np.round(volume / 10**places, places),
        timeframe={60_000: "1m", 300_000: "5m", 3_600_000: "1h", 86_400_000: "1d"}[step],
    )  # fmt: skip


def number(value: float, dialect: Dialect) -> str:
    group = {"g": "." if dialect.decimal_comma else ","}.get(dialect.group, dialect.group)
    if dialect.decimal_comma:
        return comma(value, dialect.places, group)
    text = f"{value:,.{dialect.places}f}" if group else f"{value:.{dialect.places}f}"
    return text.replace(",", group)


def written(candles: Candles, dialect: Dialect) -> bytes:
    lines = []
    for time, *values in zip(*(column.tolist() for column in candles.columns().values()), strict=True):
        clock = dialect.clock
        stamp = str(time * clock // 1_000) if isinstance(clock, int) else moment(time, clock)
        cells = [stamp, *(number(value, dialect) for value in values)]
        lines.append(dialect.delimiter.join(f'"{x}"' if dialect.delimiter in x else x for x in cells))
    if dialect.newest_first:
        lines.reverse()
    head = ["A title of one line"] * dialect.title + [dialect.delimiter.join(NAMES)] * dialect.header
    return ("\n".join([*head, *lines]) + "\n").encode(dialect.encoding)


def packed(data: bytes, kind: str) -> bytes:
    if kind == ".gz":
        return gzip.compress(data, 1)
    if kind == ".zst":
        return bytes(pa.compress(data, codec="zstd", asbytes=True))
    if kind == ".zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("a.csv", data)
        return out.getvalue()
    return data


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), dialect=dialects)
@example(data=None, dialect=Dialect(";", True, "%d.%m.%Y %H:%M:%S", True, "g", 3, True, True, "utf-16", ".zip", True))
def test_a_random_dialect_gives_the_same_arrays_or_a_refusal(
    tmp_path: Path, data: st.DataObject | None, dialect: Dialect
) -> None:
    """A text that names no zone is of UTC here; so a reading with another day, month, mark or order would show."""
    # Whole numbers with points between thousands: a point alone is a decimal point, here as in every CSV.
    assume(not (dialect.decimal_comma and dialect.group == "g" and dialect.places == 0))
    if data is None:
        stamps = 1_704_844_800_000 + 3_600_000 * np.arange(90)
        prices = np.full(90, 1_234.125)
        candles = Candles.from_arrays(
            timestamp=stamps, open=prices, high=prices + 1, low=prices, close=prices, volume=prices
        )
    else:
        candles = data.draw(series(dialect.places))
    path = tmp_path / f"a.csv{dialect.packing}"
    path.write_bytes(packed(written(candles, dialect), dialect.packing))
    try:
        loaded = load_candles(path, timeframe=candles.timeframe, timezone="UTC" if dialect.zone else None)
    except DataError as error:
        assert str(path) in str(error)
        assert data is not None, "this dialect leaves no doubt"
        return
    if dialect.clock == "%Y-%m-%d":
        # A date says no more than its day.
        assert loaded.timestamp.tolist() == (candles.timestamp - candles.timestamp % 86_400_000).tolist()
    elif isinstance(dialect.clock, str) and "%S" not in dialect.clock:
        assert loaded.timestamp.tolist() == (candles.timestamp - candles.timestamp % 60_000).tolist()
    else:
        assert loaded.timestamp.tolist() == candles.timestamp.tolist()
    for name in NAMES[1:]:
        assert getattr(loaded, name).tolist() == getattr(candles, name).tolist(), name
