"""Options about a file: as the command line gives them, as arguments of `load_candles`, as keys of a spec."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep.app.files import columns_of, load_options, spec_overrides
from lockstep.core.errors import InputError
from lockstep.runs.spec_files import parse_override


@pytest.mark.parametrize(
    ("texts", "columns"),
    [
        (["timestamp=Date", "volume="], {"timestamp": "Date", "volume": None}),
        (["timestamp=Date,open=First"], {"timestamp": "Date", "open": "First"}),
        (["volume=Volume (BTC, spot)"], {"volume": "Volume (BTC, spot)"}),
        (["timestamp=<DATE>+<TIME>"], {"timestamp": ["<DATE>", "<TIME>"]}),
        (["timestamp, open,high,low,close"], ["timestamp", "open", "high", "low", "close"]),
        ([], {}),
    ],
)
def test_columns_are_mapped_or_listed(texts: list[str], columns: Any) -> None:
    assert columns_of(texts) == columns


@pytest.mark.parametrize("texts", [["timestamp"], ["=Date"], ["a=b", "timestamp,open"]])
def test_columns_that_are_neither_are_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="--columns"):
        columns_of(texts)


def test_options_become_keys_of_a_spec() -> None:
    reading = {"columns": ['timestamp=The "Date"', "volume="], "skip": 2, "drop_bad": True, "adjusted": False}
    assert load_options(reading)["on_bad"] == "drop"
    keys = {".".join(path): value for path, value in map(parse_override, spec_overrides(reading))}
    assert keys == {
        "data.columns": {"timestamp": 'The "Date"', "volume": ""},
        "data.skip": 2,
        "data.on_bad": "drop",
        "data.adjusted": False,
    }
