"""stdout holds results, stderr everything said on the way."""

from __future__ import annotations

import io
import json
import math

import pytest

from lockstep.cli.output import Output, console, json_line


def test_json_keeps_the_order_of_keys_and_every_bit_of_a_float() -> None:
    assert json_line({"b": 0.1 + 0.2, "a": None}) == '{"b": 0.30000000000000004, "a": null}'


def test_json_is_valid_for_every_reader_even_with_nan() -> None:
    assert json.loads(json_line([math.nan])) == [{"$float": "nan"}]


def test_under_json_only_the_document_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).result({"a": 1}, "for people")
    assert capsys.readouterr() == ('{"a": 1}\n', "")


def test_without_json_only_the_report_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Output().result({"a": 1}, "for people")
    assert capsys.readouterr() == ("for people\n", "")


@pytest.mark.parametrize(("columns", "width"), [("70", 70), ("5", 40), ("", 160), ("wide", 160), (None, 160)])
def test_a_pipe_is_as_wide_as_columns_says(columns: str | None, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that will show the lines, as of `lockstep runs list | less`; never too narrow for an id."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert console(io.StringIO()).width == width


def test_a_note_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).note("by the way")
    assert capsys.readouterr() == ("", "by the way\n")
