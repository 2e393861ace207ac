"""What is inside of a packed file (.gz, .zip, .zst), unpacked into memory, never beyond a bound."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lockstep.core.errors import DataError

PACKED: Final = (".gz", ".zip", ".zst", ".zstd")
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_EMPTY_ZIP: Final = b"PK\x05\x06"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# Candles as text shrink to a tenth, flat ones to a fiftieth. A file that grows by far more is made to fill memory.
MAX_GROWTH: Final = 300
FREE_BYTES: Final = 8 * 2**20
MAX_BYTES: Final = 8 * 2**30
_MAX_MEMBERS: Final = 10_000
_CHUNK: Final = 2**20
# A file packed in a file that is packed: one such step is met in practice (a .csv.gz in a .zip).
_MAX_LAYERS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Content:
    """The bytes of one file of candles, and its name without the suffix of the packing."""

    name: str
    data: bytes


def is_packed(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a packed file, whatever its name."""
    return start.startswith((_GZIP, _ZIP, _EMPTY_ZIP, _ZSTD))


def unpack(path: Path, suffixes: Sequence[str]) -> list[Content]:
    """The files in a packed file, by name; several only in a .zip.

    suffixes  those of files of candles; others in a .zip (read-me files, checksums) are left aside

    Raises DataError when it holds none, or grows beyond the bound; OSError, EOFError and zlib.error when it is damaged.
    """
    data = path.read_bytes()
    bound = min(max(FREE_BYTES, MAX_GROWTH * len(data)), MAX_BYTES)
    return _layers(path.name, data, suffixes, bound, str(path), _MAX_LAYERS)


def _layers(name: str, data: bytes, suffixes: Sequence[str], bound: int, place: str, depth: int) -> list[Content]:
    if not is_packed(data[:4]):
        return [Content(name=name, data=data)]
    if depth == 0:
        raise DataError(
            f"{place}: it is packed more than {_MAX_LAYERS} times over. Unpack it, and name the inner file."
        )
    if data.startswith((_ZIP, _EMPTY_ZIP)):
        members = _members(data, suffixes, bound, place)
    else:
        members = [Content(name=_without_suffix(name), data=_stream(data, bound, place))]
    return [
        inner for member in members for inner in _layers(member.name, member.data, suffixes, bound, place, depth - 1)
    ]


def _without_suffix(name: str) -> str:
    return Path(name).stem if name.lower().endswith(PACKED) else name


def _stream(data: bytes, bound: int, place: str) -> bytes:
    if data.startswith(_ZSTD):
        import pyarrow as pa

        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            return _bounded(stream, bound, place)
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        return _bounded(stream, bound, place)


def _bounded(stream: Any, bound: int, place: str) -> bytes:
    """All bytes of a stream. Sizes that a packed file states about itself are not trusted: the bytes are counted."""
    out = bytearray()
    while chunk := stream.read(_CHUNK):
        out += chunk
        if len(out) > bound:
            raise DataError(
                f"{place}: unpacked it has more than {bound / 2**20:,.0f} MiB, over {MAX_GROWTH} times its size, as no "
                "file of candles has. If you trust it, unpack it yourself and name the inner file."
            )
    return bytes(out)


def _members(data: bytes, suffixes: Sequence[str], bound: int, place: str) -> list[Content]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_MEMBERS:
                raise DataError(f"{place}: it holds {len(entries):,} files; at most {_MAX_MEMBERS:,} are read.")
            names = _chosen([entry.filename for entry in entries if not entry.is_dir()], suffixes, place)
            out = []
            for name in names:
                with archive.open(name) as stream:
                    content = _bounded(stream, bound, place)
                bound -= len(content)
                out.append(Content(name=Path(name).name, data=content))
            return out
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        # RuntimeError is how zipfile says that a password is needed.
        cure = "It is damaged or cut short: download it again." if "not a zip" in str(error) else ""
        raise DataError(
            f"{place}: the archive cannot be read: {error}. {cure or 'Unpack it, and name the inner file.'}"
        ) from error


def _chosen(names: Sequence[str], suffixes: Sequence[str], place: str) -> list[str]:
    """The files of candles among the names of an archive, in the order of their names."""
    files = sorted(
        name
        for name in names
        if name.lower().endswith((*suffixes, *PACKED))
        and not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    )
    # A text beside tables is a report or a licence, as in the archives of HistData.
    if tables := [name for name in files if not name.lower().endswith(".txt")]:
        files = tables
    if not files:
        inside = ", ".join(names[:5]) or "nothing"
        if any(name in ("[Content_Types].xml", "mimetype", "xl/workbook.xml") for name in names):
            raise DataError(
                f"{place}: by its contents it is a workbook of a spreadsheet ({inside}). Save its sheet of candles as "
                "CSV in the program that wrote it."
            )
        raise DataError(
            f"{place}: it holds no file of candles ({', '.join(suffixes)}); found {inside}. Unpack it, and name the "
            "file of candles itself."
        )
    return files
