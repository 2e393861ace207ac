"""Makes the bundled sample again: downloads gym-anytrading 2.0.0 with pip and converts its EUR/USD hours.

    python tools/make_sample.py            downloads, converts, writes src/lockstep/market/data/
    python tools/make_sample.py WHEEL      the same from a wheel that is already here
    python tools/make_sample.py --check    converts and compares with the file in the repository, writes nothing

The CSV has day-first times; that they are UTC is told by its weekly rhythm (it opens on Sunday at 22:00 in winter, at
21:00 in summer, as the currency market does in UTC). Nothing is repaired, left out or rounded.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa

from lockstep.core.files import write_atomic
from lockstep.market import sample
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles

REQUIREMENT = "gym-anytrading==2.0.0"
MEMBER = "gym_anytrading/datasets/data/FOREX_EURUSD_1H_ASK.csv"
MEMBER_SHA256 = "28398b7edff9f74860d35a6f3c263f08e15c55264316dc07737d459d8688d7aa"
TARGET = Path(__file__).resolve().parent.parent / "src" / "lockstep" / "market" / "data" / sample.FILE


def fetch_wheel(folder: Path) -> Path:
    """The wheel, downloaded by pip into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    subprocess.run([*command, REQUIREMENT], check=True)
    return next(folder.glob("gym_anytrading-*.whl"))


def convert(wheel: Path, folder: Path) -> Candles:
    """Candles of the wheel's CSV file. Exits when the file is not the one this recipe was written for."""
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(MEMBER)
    digest = hashlib.sha256(data).hexdigest()
    if digest != MEMBER_SHA256:
        sys.exit(f"{MEMBER} has SHA-256 {digest}; this recipe is for {MEMBER_SHA256}")
    path = folder / "eurusd.csv"
    path.write_bytes(data)
    return load_candles(
        path,
        time_format="%d.%m.%Y %H:%M:%S.%f",
        timezone="UTC",
        timeframe=sample.TIMEFRAME,
        symbol=sample.SYMBOL,
    )


def encode(candles: Candles) -> bytes:
    """An Arrow IPC file, compressed; the digest of the columns, not these bytes, is what is promised."""
    table = pa.table(candles.columns())
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 19))
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def main() -> None:
    """Parse the command line, convert, write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="?", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        candles = convert(options.wheel or fetch_wheel(folder), folder)
    print(candles)
    print(f"digest {candles.digest}")
    if options.check:
        sys.exit(0 if candles.digest == sample.DIGEST == sample.sample_candles().digest else 1)
    write_atomic(TARGET, encode(candles))
    print(f"written: {TARGET}; put the digest into {sample.__name__}.DIGEST")


if __name__ == "__main__":
    main()
