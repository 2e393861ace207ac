"""The standard streams, whatever the command was started with."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from lockstep.cli import streams
from lockstep.cli.main import run
from lockstep.cli.output import Output

# Opens a file after its start: with standard output closed, it would get number 1.
CHILD = """
import os, sys
for number in map(int, sys.argv[2:]):
    os.close(number)
from lockstep.cli.streams import open_missing
sys.stdin = sys.stdout = sys.stderr = None
open_missing()
with open(sys.argv[1], "w") as handle:
    print("a report"), print("progress", file=sys.stderr)
    handle.write(str(handle.fileno() > 2))
"""


@pytest.mark.parametrize("closed", [("0",), ("1",), ("2",), ("0", "1", "2")])
def test_a_command_runs_where_streams_are_closed_and_no_file_takes_their_place(tmp_path, closed) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path / "file"), *closed], check=False)
    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == "True"


def test_what_is_printed_beside_a_json_result_goes_to_standard_error(capsys) -> None:
    with streams.results_apart():
        print("a strategy's own words")
        Output(json=True).result({"a": 1})
    print("afterwards")
    shown = capsys.readouterr()
    assert shown.out == '{"a": 1}\nafterwards\n'
    assert shown.err == "a strategy's own words\n"


def test_native_prints_stay_out_of_a_json_result_too(tmp_path) -> None:
    code = (
        "import os, sys\n"
        "from lockstep.cli import streams\n"
        "with streams.results_apart():\n"
        "    os.write(1, b'native')\n"
        "    streams.results().write('result')\n"
        "os.write(1, b' after')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"result after", b"native")


def test_an_error_under_json_is_one_object_on_standard_output(capsys) -> None:
    assert run(["runs", "show", "none", "--home", "/nowhere/at/all", "--json"]) == 2
    assert capsys.readouterr().out.startswith('{"error": {"type": "UnknownNameError"')


def test_a_name_that_is_no_utf_8_is_written_in_escapes(monkeypatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    Output(json=True).result({"file": "sp\udcff"})
    stream.flush()
    assert stream.buffer.getvalue() == b'{"file": "sp\\udcff"}\n'
