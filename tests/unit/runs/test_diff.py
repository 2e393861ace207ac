"""diff: first in what two runs are functions of, then the first step, field, column and row."""

import numpy as np
import pytest

from lockstep.core.errors import IntegrityError, Interrupted
from lockstep.runs.cancel import Cancel
from lockstep.runs.diff import diff, key_differences
from lockstep.runs.identity import NumericsIdentity
from lockstep.runs.line_differences import Difference, column_difference
from lockstep.testing.toy_kind import DRIFT


def test_equal_runs_are_equal_and_say_so(home):
    report = diff(home.train(steps=4), home.train(steps=4))
    assert report.equal
    assert report.lines() == ["equal: the journals are the same, line by line"]
    parts: dict[str, list[str]] = {key: [] for key in ("data", "spec", "code", "numerics", "apart")}
    assert report.to_json() == {"equal": True, **parts, "first": None}


def test_specs_are_compared_key_by_key(home):
    report = diff(home.train(steps=4, seed=1), home.train(steps=5, seed=2))
    assert report.spec == ("seed is 1 in the first and 2 in the second", "steps is 4 in the first and 5 in the second")
    assert not report.equal
    # Other seeds part at once: at the first digest of the first step.
    assert (report.first.where, report.first.field) == ("step 0", "digests.observed")


def test_data_code_and_numerics_are_told_apart(home, tmp_path):
    (tmp_path / "data").write_text("other data")
    (tmp_path / "offset.py").write_text("OFFSET = 1\n")
    entries = NumericsIdentity.collect().body()
    first = home.train(steps=2)
    second = home.train(
        base=tmp_path, steps=2, data={"path": "data"}, identity=NumericsIdentity({**entries, "numpy": "0.1"})
    )
    report = diff(first, second)
    assert [line.partition(" is ")[0] for line in report.data] == ["digest", "snapshots"]
    assert report.spec == ()
    assert report.code[0] == "code/offset.py added"
    assert report.numerics == (f"numpy: {entries['numpy']} in the first, 0.1 in the second",)
    assert [line.partition(":")[0] for line in report.lines()] == ["data", "data", "code", "code", "numerics", "step 0"]


def test_other_numerics_with_equal_steps_part_nowhere_but_are_not_equal(home):
    entries = NumericsIdentity.collect().body()
    report = diff(home.train(steps=3), home.train(steps=3, identity=NumericsIdentity({**entries, "numpy": "0.1"})))
    assert report.first is None
    assert not report.equal


def test_the_first_step_and_field_are_named(home, monkeypatch):
    good = home.train(steps=6)
    monkeypatch.setenv(DRIFT, "scalar:4")
    report = diff(good, home.train(steps=6))
    # halves at step 4: (0 + 1 + 2 + 3 + 4) / 2 = 5
    assert report.first == Difference(where="step 4", step=4, field="scalars.halves", first=5.0, second=-1.0)
    assert str(report.first) == "step 4: scalars.halves is 5.0 in the first and -1.0 in the second"


def test_the_sign_of_a_zero_is_a_difference(home, monkeypatch):
    good = home.train(steps=2)
    monkeypatch.setenv(DRIFT, "sign:0")
    report = diff(good, home.train(steps=2))
    assert not report.equal
    # halves at step 0: 0 / 2 = 0.0; the drift makes it -0.0
    assert report.lines() == ["step 0: scalars.halves is 0.0 in the first and -0.0 in the second"]


def test_in_a_segment_the_first_row_and_column_are_named(home, monkeypatch):
    good = home.train(steps=6)
    monkeypatch.setenv(DRIFT, "segment:2")
    report = diff(good, home.train(steps=6)).first
    assert (report.where, report.field, report.column, report.row) == ("step 2", "segments.path", "estimate", 3)
    assert np.flatnonzero(np.array(report.first) != np.array(report.second)).tolist() == [1]


def test_a_shorter_run_ends_where_the_longer_goes_on(home):
    report = diff(home.train(steps=4), home.train(steps=6)).first
    assert (report.where, report.field, report.first, report.second) == ("step 4", "type", "end", "step")


def test_an_interrupted_run_is_compared_as_far_as_it_goes(home):
    cancel = Cancel()
    cancel.request("a test")
    with pytest.raises(Interrupted):
        home.train(steps=4, cancel=cancel)
    short = home.store.find("last")
    report = diff(short, home.train(steps=4))
    assert str(report.first) == (
        "the length: lines is 'ends after 0 steps' in the first and 'goes on with a step line' in the second"
    )


def test_damage_is_not_taken_for_a_difference(home):
    one, two = home.train(steps=4), home.train(steps=4)
    two.journal.write_bytes(two.journal.read_bytes().replace(b'"median"', b'"medium"', 1))
    with pytest.raises(IntegrityError, match="line 2"):
        diff(one, two)


def test_keys_are_flattened_and_values_compared_as_canonical_json():
    first = {"a": {"b": 1, "c": [1, 2]}, "d": {}, "e": float("nan"), "f": 1}
    second = {"a": {"b": 1, "c": [1, 3]}, "d": {"x": 1}, "e": float("nan"), "f": 1.0}
    assert key_differences(first, second) == [
        "a.c is [1, 2] in the first and [1, 3] in the second",
        "d = {}, only in the first",
        "d.x = 1, only in the second",
        "f is 1 in the first and 1.0 in the second",
    ]


PLAIN = Difference(where="step 0", step=0, field="segments.s", first="x", second="y")


@pytest.mark.parametrize(
    ("here", "there", "column", "row"),
    [
        ({"a": [1.0, 2.0]}, {"a": [1.0, 3.0]}, "a", 1),
        ({"a": [np.nan, 0.0]}, {"a": [np.nan, -0.0]}, "a", 1),
        ({"a": [1, 2], "b": [5, 6]}, {"a": [1, 3], "b": [0, 6]}, "b", 0),
        ({"a": [1.0]}, {"a": [1.0, 2.0]}, "a", 1),
        ({"a": [1]}, {"a": [1.0]}, "a", 0),
        ({"a": [1]}, {"b": [1]}, "(names)", 0),
        ({"a": [[1, 2], [3, 4]]}, {"a": [[1, 2], [3, 5]]}, "a", 1),
    ],
)
def test_rows_are_compared_bit_for_bit(here, there, column, row):
    arrays = [{name: np.array(values) for name, values in columns.items()} for columns in (here, there)]
    report = column_difference(PLAIN, *arrays)
    assert (report.column, report.row) == (column, row)
