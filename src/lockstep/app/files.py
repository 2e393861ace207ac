"""Options of the command line about a file of candles, as options of `load_candles` and as keys of a spec."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lockstep.core.errors import InputError


def load_options(reading: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `load_candles`.

    reading   by their names; `columns` as texts "ours=theirs" or "name,name,...", `drop_bad` for on_bad="drop"

    Raises InputError when a text of `columns` is neither, or both are given.
    """
    options = dict(reading)
    if options.pop("drop_bad", False):
        options["on_bad"] = "drop"
    if columns := columns_of(options.pop("columns", ())):
        options["columns"] = columns
    return options


def columns_of(texts: Sequence[str]) -> dict[str, Any] | list[str]:
    """The mapping, or the list of names in their order, that --columns gives. Raises InputError."""
    pairs: dict[str, Any] = {}
    names: list[str] = []
    for text in texts:
        parts = text.split(",")
        if all("=" in part for part in parts):
            pieces = parts
        elif "=" in text:
            pieces = [text]
        elif len(parts) > 1:
            names += [part.strip() for part in parts]
            continue
        else:
            raise _unclear(text)
        for piece in pieces:
            ours, _, theirs = (part.strip() for part in piece.partition("="))
            if not ours:
                raise _unclear(text)
            # A time of two columns is the date's and the clock's, such as <DATE>+<TIME>.
            is_pair = ours == "timestamp" and theirs.count("+") == 1 and not theirs.startswith("+")
            pairs[ours] = theirs.split("+") if is_pair else theirs or None
    if pairs and names:
        raise InputError("--columns: columns are mapped, ours=theirs, or listed in their order; found both")
    return names or pairs


def _unclear(text: str) -> InputError:
    return InputError(
        f"--columns {text}: a column is given as ours=theirs, such as timestamp=Date (volume= says there is none); "
        "where no line names the columns all are listed, such as timestamp,open,high,low,close,volume"
    )


def spec_overrides(reading: Mapping[str, Any]) -> list[str]:
    """The same as "table.key=value" texts for a spec, each value in TOML."""
    return [
        f"{'market' if name in ('symbol', 'exchange') else 'data'}.{name}={_toml(value)}"
        for name, value in load_options(reading).items()
    ]


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # A key of a spec has no null: "" stands for "there is none".
    return json.dumps("" if value is None else value)


def file_overrides(files: str) -> list[str]:
    """The keys of a spec that name a file, or a pattern, as the working folder has it."""
    return ["data.source=file", f"data.path={json.dumps(str(Path(files).expanduser().absolute()))}"]
