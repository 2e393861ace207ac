"""stdout holds results, stderr everything said on the way."""

from __future__ import annotations

import json
import math

import pytest

from lockstep.cli.output import Output, json_line


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


def test_a_note_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).note("by the way")
    assert capsys.readouterr() == ("", "by the way\n")
