"""Lines of two releases are compared over what both have under one definition, and the rest is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.core.hashing import digest_columns
from lockstep.runs.journal import column_digests, end_content, step_content
from lockstep.runs.line_differences import Apart, Side, line_difference
from lockstep.runs.training import Step

BEFORE = {"index": np.arange(3), "metric.profit": np.array([1.0, 2.0, 3.0]), "metric.fall": np.array([-1.0, 0.0, -2.0])}
AFTER = {
    "index": np.arange(3),
    "metric.profit": np.array([1.0, 2.0, 3.0]),
    "metric.fall": np.array([-4.0, -4.0, -4.0]),
    "metric.growth": np.array([0.1, 0.2, 0.3]),
}
EDITIONS = {"trials": {"metric.fall": 2}}


def line(
    columns: dict[str, Any], editions: dict[str, dict[str, int]] | None = None, best: float = 3.0
) -> dict[str, Any]:
    step = Step(index=0, scalars={"best": best}, segments={"trials": columns}, editions=editions or {})
    return step_content(step, {"trials": digest_columns(columns)})


def side(
    columns: dict[str, Any] | None = None, summary: dict[str, Any] | None = None, files: dict[str, bytes] | None = None
) -> Side:
    return Side(
        frame=lambda name, step: columns or {},
        summary=lambda: summary or {},
        artifact=lambda name: (files or {})[name],
    )


def test_a_step_of_before_equals_one_of_today_in_all_that_both_have() -> None:
    apart = Apart()
    assert line_difference(line(BEFORE), line(AFTER, EDITIONS), side(BEFORE), side(AFTER), apart) is None
    assert apart.lines() == [
        "only in the second, so not compared: metric.growth",
        "redefined between the two, so not compared: metric.fall",
    ]


def test_two_lines_with_digests_need_no_frame() -> None:
    """Neither side has its segments any more; only the digests of the lines are left."""
    later = {"trials": {"metric.fall": 3}}
    apart = Apart()
    assert line_difference(line(AFTER, EDITIONS), line(AFTER, later), side(), side(), apart) is None
    assert apart.redefined == {"metric.fall"}


def test_a_column_that_both_have_and_that_differs_is_named_with_its_row() -> None:
    other = {**AFTER, "metric.profit": np.array([1.0, 2.5, 3.0])}
    found = line_difference(line(BEFORE), line(other, EDITIONS), side(BEFORE), side(other), Apart())
    assert found is not None
    assert (found.field, found.column, found.row) == ("segments.trials", "metric.profit", 1)
    assert (found.first, found.second) == (2.0, 2.5)


def test_a_scalar_that_differs_is_no_matter_of_definitions() -> None:
    found = line_difference(line(BEFORE), line(AFTER, EDITIONS, best=4.0), side(BEFORE), side(AFTER), Apart())
    assert found is not None
    assert (found.field, found.first, found.second) == ("scalars.best", 3.0, 4.0)


def test_of_one_code_nothing_is_passed_over() -> None:
    found = line_difference(line(AFTER, EDITIONS), line(BEFORE, EDITIONS), side(AFTER), side(BEFORE))
    assert found is not None
    assert (found.field, found.column) == ("segments.trials", "(names)")


def test_a_line_whose_columns_nobody_redefines_has_the_form_of_before() -> None:
    assert "columns" not in line(BEFORE)
    assert list(line(AFTER, EDITIONS)["columns"]["trials"]) == [
        "index",
        "metric.profit",
        "metric.fall@2",
        "metric.growth",
    ]
    assert {len(digest) for digest in column_digests(AFTER, {}).values()} == {32}


def ends(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        end_content(1, result, artifacts)
        for result, artifacts in ((first["r"], first["a"]), (second["r"], second["a"]))
    ]


THEN = {"best": {"metrics": {"profit": 1.0, "fall": -1.0, "rate": 0.5}}}
NOW = {"best": {"metrics": {"profit": 1.0, "fall": -3.0, "win_rate": 0.5}}, "editions": {"fall": 2, "pnl_pct": 2}}


def test_values_of_a_result_are_compared_by_definition() -> None:
    one, two = ends({"r": "x", "a": {}}, {"r": "y", "a": {}})
    apart = Apart()
    assert line_difference(one, two, side(summary=THEN), side(summary=NOW), apart) is None
    assert apart.removed == {"best.metrics.rate"}
    assert apart.added == {"best.metrics.win_rate"}
    assert apart.redefined == {"best.metrics.fall"}


@pytest.mark.parametrize("apart", [None, Apart()])
def test_the_value_of_a_result_that_differs_is_named(apart: Apart | None) -> None:
    """And not only the digest of the whole."""
    one, two = ends({"r": "x", "a": {}}, {"r": "y", "a": {}})
    other = {"best": {"metrics": {**THEN["best"]["metrics"], "profit": 2.0}}}
    found = line_difference(one, two, side(summary=THEN), side(summary=other), apart)
    assert found is not None
    assert (found.field, found.first, found.second) == ("result.best.metrics.profit", 1.0, 2.0)
    assert str(found) == "the end: result.best.metrics.profit is 1.0 in the first and 2.0 in the second"


def test_a_table_is_compared_column_by_column() -> None:
    one, two = ends({"r": "x", "a": {"t.csv": "p"}}, {"r": "y", "a": {"t.csv": "q"}})
    ours, theirs = b"bar,pnl,pnl_pct\n1,10.0,0.01\n", b"bar,pnl,net_return,pnl_pct\n1,10.0,0.01,1.0\n"
    apart = Apart()
    sides = side(summary=THEN, files={"t.csv": ours}), side(summary=NOW, files={"t.csv": theirs})
    assert line_difference(one, two, *sides, apart) is None
    assert "t.csv: pnl_pct" in apart.redefined
    assert "t.csv: net_return" in apart.added
    changed = side(summary=NOW, files={"t.csv": theirs.replace(b"10.0", b"11.0")})
    found = line_difference(one, two, sides[0], changed, Apart())
    assert found is not None
    assert (found.field, found.column, found.row, found.first) == ("artifacts.t.csv", "pnl", 0, "10.0")
    shorter = side(summary=NOW, files={"t.csv": theirs.splitlines()[0] + b"\n"})
    rows = line_difference(one, two, sides[0], shorter, Apart())
    assert rows is not None
    assert (rows.column, rows.first, rows.second) == ("(rows)", 1, 0)


def test_of_one_code_a_table_names_the_row_that_differs() -> None:
    one, two = ends({"r": "x", "a": {"t.csv": "p"}}, {"r": "y", "a": {"t.csv": "q"}})
    tables = [b"bar,pnl\n1,10.0\n", b"bar,pnl\n1,12.0\n"]
    found = line_difference(one, two, *(side(summary=THEN, files={"t.csv": table}) for table in tables))
    assert found is not None
    assert (found.field, found.column, found.row, found.second) == ("artifacts.t.csv", "pnl", 0, "12.0")


def test_a_json_file_is_compared_value_by_value_as_a_result_is() -> None:
    one, two = ends({"r": "x", "a": {"t.json": "p"}}, {"r": "x", "a": {"t.json": "q"}})
    old, new, other = b'{"clip":8.0}', b'{"clip":8.0,"order":["b","a"]}', b'{"clip":9.0,"order":["b","a"]}'
    apart = Apart()
    assert line_difference(one, two, *(side(files={"t.json": file}) for file in (old, new)), apart) is None
    assert apart.added == {"order"}
    found = line_difference(one, two, *(side(files={"t.json": file}) for file in (old, other)), Apart())
    assert found is not None
    assert (found.field, found.first, found.second) == ("artifacts.t.json.clip", 8.0, 9.0)
    # Of one code the bytes have to be equal, whatever they say.
    spaced = line_difference(one, two, *(side(files={"t.json": file}) for file in (old, b'{"clip": 8.0}')))
    assert spaced is not None
    assert spaced.field == "artifacts.t.json"


def test_columns_that_only_the_first_has_are_named_as_removed() -> None:
    apart = Apart()
    sides = side(AFTER), side(BEFORE)
    assert line_difference(line(AFTER, {"trials": {"metric.fall": 2}}), line(BEFORE), *sides, apart) is None
    assert (apart.removed, apart.added) == ({"metric.growth"}, set())


def test_of_one_code_a_list_that_differs_is_named_down_to_its_entry() -> None:
    one, two = ends({"r": "x", "a": {}}, {"r": "y", "a": {}})
    ours, theirs = {"curve": [1.0, 2.0, 3.0]}, {"curve": [1.0, 2.5, 3.0]}
    place = line_difference(one, two, side(summary=ours), side(summary=theirs))
    assert place is not None
    assert (place.field, place.first, place.second) == ("result.curve[1]", 2.0, 2.5)
    whole = line_difference(one, two, side(summary=ours), side(summary=theirs), Apart())
    assert whole is not None
    assert (whole.field, whole.second) == ("result.curve", [1.0, 2.5, 3.0])
