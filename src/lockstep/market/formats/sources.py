"""From a source to tables: files, patterns, frames, rows; unpacked, decoded and laid out, by what they are."""

from __future__ import annotations

import codecs
import csv
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lockstep.core.errors import DataError
from lockstep.market.formats.cells import bare
from lockstep.market.formats.contents import ARROW_START, PARQUET_START, first_lines, is_text, refuse_other_kinds
from lockstep.market.formats.documents import DocumentTable, parsed, table_of_document
from lockstep.market.formats.encodings import to_utf8
from lockstep.market.formats.joins import paths_of, require_one_series
from lockstep.market.formats.layout import Layout
from lockstep.market.formats.markets import MarketChoice
from lockstep.market.formats.packing import PACKED, Content, is_packed, unpack
from lockstep.market.formats.programs import Program
from lockstep.market.formats.text import TextOptions, read_text
from lockstep.market.formats.words import FIELDS
from lockstep.market.tables import (
    ARROW,
    PARQUET,
    one_line,
    read_arrow,
    read_parquet,
    similar_file,
    table_of_frame,
)  # fmt: skip

# Bytes from which it is told what a file is.
_START: Final = 4_096
TEXT: Final = (".csv", ".tsv", ".txt", ".prn")
JSON: Final = (".json", ".jsonl", ".ndjson")
PLAIN: Final = (*PARQUET, *ARROW, *TEXT, *JSON)
_USUAL: Final = ("CSV", "Parquet", "Feather or Arrow", "frame")
_OTHERS: Final[Mapping[str, str]] = {
    ".xlsx": "Save it as CSV in the program that wrote it.",
    ".xls": "Save it as CSV in the program that wrote it.",
    ".ods": "Save it as CSV in the program that wrote it.",
    ".h5": "Read it with pandas, and give the frame.",
    ".hdf5": "Read it with pandas, and give the frame.",
    ".pkl": "Pickles can run code. Write it as Parquet where you trust it.",
    ".pickle": "Pickles can run code. Write it as Parquet where you trust it.",
    ".hst": "Export the history as CSV in MetaTrader.",
}


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a source is read; `load_candles` says what each means."""

    columns: Mapping[str, Any] | Sequence[str] | None = None
    time_unit: str | None = None
    time_format: str | None = None
    timezone: str | None = None
    extra: Sequence[str] = ()
    skip: int | None = None
    decimal: str | None = None
    encoding: str | None = None
    adjusted: bool | None = None
    symbol: str | None = None
    exchange: str | None = None
    timeframe: str | None = None

    @property
    def choice(self) -> MarketChoice:
        """Which of several markets, exchanges and lengths of bars to read."""
        return MarketChoice(symbol=self.symbol, exchange=self.exchange, timeframe=self.timeframe)

    @property
    def names(self) -> list[str] | None:
        """The columns in their order, where a list of them is declared."""
        return None if self.columns is None or isinstance(self.columns, Mapping) else list(self.columns)

    @property
    def mapping(self) -> dict[str, Any]:
        """Our name -> the source's, as declared."""
        return dict(self.columns) if isinstance(self.columns, Mapping) else {}


@dataclass(kw_only=True)
class Part:
    """One table on its way: what it was read as is noted on the way."""

    table: Any
    place: str
    kind: str
    layout: Layout | None = None
    program: Program | None = None
    may_turn: bool = True
    zone: str | None = None
    is_named: bool = True
    series: dict[str, str] = field(default_factory=dict)
    """The market, exchange and length of bars that its rows name, by what it is."""
    notes: list[str] = field(default_factory=list)

    def reading(self) -> str:
        """What the table was read as, a sentence."""
        head = str(self.program) if self.program is not None else self.kind
        layout = [str(self.layout)] if self.layout is not None else []
        return "; ".join([head, *layout, *dict.fromkeys(self.notes)])

    def is_plain(self) -> bool:
        """Whether nothing about it needs telling."""
        usual = self.program is None and not self.notes and (self.layout is None or self.layout.is_plain)
        return usual and self.kind in _USUAL


def parts_of(source: Any, options: ReadOptions) -> list[Part]:
    """The tables of a source, one for each file. Raises DataError when it cannot be read or laid out."""
    listed = (
        isinstance(source, list | tuple) and len(source) > 0 and all(isinstance(item, str | Path) for item in source)
    )
    if isinstance(source, str | Path) or listed:
        return [part for path in paths_of(source) for part in _file_parts(path, options)]
    if isinstance(source, list | tuple | dict):
        return [_document_part(source, options)]
    if options.names is not None:
        raise DataError("a list of column names is for CSV files without a header; give a mapping for a frame.")
    return [_frame_part(source, options)]


def _document_part(source: Any, options: ReadOptions) -> Part:
    nested = source if isinstance(source, dict) else [item for item in source if isinstance(item, list | tuple | dict)]
    if not nested:
        raise DataError(
            f"candles are read from a path, a pandas frame or an Arrow table; found {type(source).__name__}. "
            "For arrays use Candles.from_arrays."
        )
    choice = options.choice
    document = table_of_document(source, names=options.names, choice=choice, place="rows")
    return Part(
        table=document.table, place="rows", kind=document.kind, zone=document.zone, series=_series(document),
        is_named=document.is_named or options.names is not None,
    )  # fmt: skip


def _series(document: DocumentTable) -> dict[str, str]:
    return {} if not document.market else {"symbol": document.market}


def _frame_part(frame: Any, options: ReadOptions) -> Part:
    part = Part(table=None, place="frame", kind="frame", may_turn=False)
    house = type(frame).__module__.split(".")[0]
    if house == "polars" and hasattr(frame, "collect"):
        frame = frame.collect()  # a query, whose frame is not there yet
    levels = getattr(frame.columns, "nlevels", 1) if house == "pandas" and hasattr(frame, "columns") else 1
    if levels == 2:
        fields = max(
            (0, 1), key=lambda level: sum(bare(str(x)) in FIELDS for x in frame.columns.get_level_values(level))
        )
        markets = [str(name) for name in frame.columns.get_level_values(1 - fields)]
        names = list(dict.fromkeys(name for name in markets if name))
        market = names[options.choice.one_of(names, "frame", "the second level of its columns")] if names else ""
        frame = frame.loc[:, [name in (market, "") for name in markets]]
        frame.columns = frame.columns.get_level_values(fields)
        frame.columns.name = None
        part.notes.append(f"the columns of {market!r}")
    part.table = table_of_frame(frame)
    return part


def _file_parts(path: Path, options: ReadOptions) -> list[Part]:
    import pyarrow as pa

    name = path.name.lower()
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder. Name one file in it, or a pattern such as {path / '*.csv'}.")
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path} is a link that leads to no file. Name the file itself.")
        if not path.exists():
            raise DataError(f"{path}: there is no such file.{similar_file(path)}")
        if not name.endswith((*PLAIN, *PACKED)):
            cure = _OTHERS.get(path.suffix.lower(), "Rename it, if it is one of these.")
            raise DataError(
                f"{path}: the kind of file is told by its suffix, one of {', '.join((*PLAIN, *PACKED))}. {cure}"
            )
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty. Download it again.")
        with path.open("rb") as handle:
            start = handle.read(4)
        if not is_packed(start):
            return [_content_part(path, path.name, options, str(path))]
        contents = unpack(path, PLAIN)
        if len(contents) > 1:
            require_one_series([content.name for content in contents], str(path))
        places = [str(path) if len(contents) == 1 else f"{path}: {content.name}" for content in contents]
        return [
            _content_part(content, f"{path.name} {content.name}", options, place)
            for content, place in zip(contents, places, strict=True)
        ]
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        # EOFError and BadGzipFile (an OSError) come from cut or damaged gzip files.
        raise DataError(f"{path}: the file cannot be read: {one_line(error)}. Download or write it again.") from error


def _content_part(source: Path | Content, name: str, options: ReadOptions, place: str) -> Part:
    """The table in a file or in unpacked bytes, by what they are, not by the suffix.

    name   the names of the file and of what was in it
    """
    import pyarrow as pa

    title = source.name.lower()
    data: Any = source if isinstance(source, Path) else source.data
    start = data[:_START] if isinstance(data, bytes) else _start(data)
    refuse_other_kinds(start, place)
    columnar = PARQUET_START, ARROW_START
    if start.startswith(columnar) or (title.endswith((*PARQUET, *ARROW)) and not is_text(start)):
        if options.names is not None:
            raise DataError(f"{place}: a list of column names is for CSV files without a header; give a mapping.")
        is_parquet = start.startswith(PARQUET_START) or (not start.startswith(ARROW_START) and title.endswith(PARQUET))
        kind = "Parquet" if is_parquet else "Feather or Arrow"
        notes = [] if title.endswith(PARQUET if is_parquet else ARROW) else [f"{kind} by its contents"]
        if is_parquet:
            handle = data if isinstance(data, Path) else pa.BufferReader(data)
            return Part(table=read_parquet(handle), place=place, kind=kind, notes=notes)
        with pa.OSFile(str(data), "rb") if isinstance(data, Path) else pa.BufferReader(data) as handle:
            return Part(table=read_arrow(handle), place=place, kind=kind, notes=notes)
    if not is_text(start) and options.encoding is None:
        raise DataError(
            f"{place}: it is no text, and no kind of file that is read. {first_lines(start)}\nDownload or write it "
            "again."
        )
    return _text_part(source, name, start, options, place)


def _text_part(source: Path | Content, name: str, start: bytes, options: ReadOptions, place: str) -> Part:
    """The table in a file of text, JSON or lines."""
    title = source.name.lower()
    data: Any = source if isinstance(source, Path) else source.data
    notes: list[str] = []
    plain = start.replace(b"\0", b"").removeprefix(codecs.BOM_UTF8).removeprefix(b"\xff\xfe").lstrip()
    if plain[:1] in (b"{", b"["):
        whole = to_utf8(data.read_bytes() if isinstance(data, Path) else data, options.encoding, place, notes)
        document = table_of_document(parsed(whole, place), names=options.names, choice=options.choice, place=place)
        return Part(
            table=document.table, place=place, kind=f"JSON, {document.kind}", notes=notes, zone=document.zone,
            series=_series(document),
            is_named=document.is_named or options.names is not None,
        )  # fmt: skip
    if title.endswith(PACKED) and isinstance(data, Path):
        # Arrow would unpack by the name alone.
        data = data.read_bytes()
    if not title.endswith(TEXT) and not Path(title).suffix.startswith(".csv"):
        notes.append("lines of text by its contents")
    text = TextOptions(names=options.names, skip=options.skip, encoding=options.encoding)
    read_as = read_text(data, name, text, place=place, notes=notes)
    return Part(
        table=read_as.table, place=place, kind="CSV", layout=read_as.layout, program=read_as.program, notes=notes
    )


def _start(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(_START)
