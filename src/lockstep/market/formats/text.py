"""Text files as Arrow tables of text, whatever their layout and encoding. Values are not interpreted here."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lockstep.core.errors import DataError
from lockstep.market.formats.encodings import declared_encoding, to_utf8
from lockstep.market.formats.layout import SAMPLE_BYTES, Layout, layout_of, offset_of
from lockstep.market.formats.programs import Program, program_of
from lockstep.market.formats.rows import names_of_rows
from lockstep.market.tables import one_line

NULLS: Final = ["", "nan", "NaN", "NAN", "NA", "N/A", "null", "NULL", "None"]
_NAMES: Final = ("timestamp", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A text file as read: its table, all columns text, its layout, and who wrote it where something says so."""

    table: Any
    layout: Layout
    program: Program | None


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How a text file is read; `load_candles` says what each means. `names` are those of its columns, declared."""

    names: Sequence[str] | None = None
    skip: int | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        if self.skip is not None and (isinstance(self.skip, bool) or self.skip < 0):
            raise DataError(f"skip is a number of lines, 0 or more; found {self.skip!r}.")


def read_text(source: Path | bytes, name: str, options: TextOptions, *, place: str, notes: list[str]) -> TextTable:
    """The table in a text file.

    source   its path, or its bytes where it was packed
    name     of the file, which may say who wrote it

    Raises DataError when it is empty, no text of its encoding, its columns cannot be told, or rows have other numbers
    of cells.
    """
    import pyarrow as pa

    start, whole = _start(source)
    encoding = declared_encoding(options.encoding, place)
    if not _is_utf8(start, encoding, whole=whole):
        source = to_utf8(_bytes(source), options.encoding, place, notes)
        start, whole = _start(source)
    layout = _named(layout_of(start, whole=whole, skip=options.skip, names=options.names, place=place), place)
    try:
        table = _arrow_table(source, layout)
    except pa.ArrowInvalid as error:
        if "Could not skip initial" in str(error):
            # The names of the columns stand alone, and no line ends after them.
            table = pa.table({name: pa.array([], type=pa.string()) for name in layout.names})
            return TextTable(table=table, layout=layout, program=program_of(layout, name))
        if "UTF8" not in str(error) or isinstance(source, bytes):
            raise DataError(
                f"{place}: the file cannot be read: {one_line(error)}. {layout.described()}\nCorrect that row, or "
                "download the file again; lines above the table are left aside with skip=N (--skip N; in a spec "
                "[data] skip)."
            ) from error
        # Beyond the first bytes the text is not UTF-8 after all.
        data = to_utf8(_bytes(source), options.encoding, place, notes)
        table = _arrow_table(data, layout)
    return TextTable(table=table, layout=layout, program=program_of(layout, name))


def _start(source: Path | bytes) -> tuple[bytes, bool]:
    """The first bytes, without UTF-8's byte-order mark, and whether they are all."""
    if isinstance(source, bytes):
        start, whole = source[:SAMPLE_BYTES], len(source) <= SAMPLE_BYTES
    else:
        with source.open("rb") as handle:
            start = handle.read(SAMPLE_BYTES)
            whole = not handle.read(1)
    return start.removeprefix(codecs.BOM_UTF8), whole


def _bytes(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _is_utf8(start: bytes, encoding: str | None, *, whole: bool) -> bool:
    if encoding not in (None, "utf-8", "utf-8-sig"):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start, final=whole)
    except UnicodeDecodeError:
        return False
    return b"\0" not in start[:400]


def _named(layout: Layout, place: str) -> Layout:
    """The layout with names of columns, from the rows themselves where no line has them."""
    if layout.names:
        return layout
    names = names_of_rows(layout.sample)
    if names is not None:
        return replace(layout, names=names)
    width = len(layout.sample[0]) if layout.sample else len(_NAMES)
    guess = [*_NAMES, *(f"column{number}" for number in range(7, width + 1))][:width]
    raise DataError(
        f"{place}: the first line names the columns; found numbers, and the rows fit no usual order. "
        f"{layout.described()}\nGive the names in their order, all {width}, such as columns={guess!r} "
        f"(--columns {','.join(guess)}; in a spec [data] columns, a list)."
    )


def _arrow_table(source: Path | bytes, layout: Layout) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    skip = layout.start
    rows: Any = source
    if isinstance(source, bytes) or not (layout.is_plain or layout.start == 0):
        data = _bytes(source)
        view = memoryview(data)[offset_of(data, layout.start) :]
        if not view.nbytes:
            return pa.table({name: pa.array([], type=pa.string()) for name in layout.names})
        rows, skip = pa.BufferReader(pa.py_buffer(view)), 0
    # All as text: numbers and times are then read by our own rules, and errors can name a row.
    return arrow_csv.read_csv(
        rows,
        read_options=arrow_csv.ReadOptions(column_names=list(layout.names), skip_rows=skip, use_threads=False),
        parse_options=arrow_csv.ParseOptions(delimiter=layout.delimiter),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(layout.names, pa.string()), strings_can_be_null=True, null_values=NULLS
        ),
    )
