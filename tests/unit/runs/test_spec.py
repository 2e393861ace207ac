"""Specs: strict models, one report for all breaches, and an identity without where data came from."""

from typing import Literal

import pytest
from pydantic import Field

from lockstep.core.errors import SpecError
from lockstep.runs.spec import (
    ADDED_LATER,
    NOT_IDENTITY,
    RunSpec,
    SpecModel,
    full_body,
    identity_body,
    known_paths,
    load_spec,
    resolve,
)


class Costs(SpecModel):
    fee_rate: float = Field(default=0.001, ge=0, lt=1, json_schema_extra={"unit": "fraction"})
    fill: Literal["next_open", "close"] = "next_open"


class Search(SpecModel):
    n_iterations: int | None = 100
    windows: tuple[int, ...] = (10, 20)
    grid: bool = False


class Data(SpecModel):
    digest_only: str = "x"
    path: str | None = Field(default=None, json_schema_extra=NOT_IDENTITY)


class Example(RunSpec):
    costs: Costs = Costs()
    search: Search = Search()
    data: Data = Data()
    symbol: str


GOOD = {"kind": "example", "symbol": "EUR/USD"}


def message(values, source="a.toml"):
    with pytest.raises(SpecError) as caught:
        resolve(Example, values, source=source)
    return str(caught.value)


def test_defaults_are_filled_in_and_the_seed_is_42():
    """R4.16: a request without seed equals a request with 42."""
    assert resolve(Example, GOOD) == resolve(Example, {**GOOD, "seed": 42})
    assert full_body(resolve(Example, GOOD)) == {
        "version": 1,
        "kind": "example",
        "name": None,
        "seed": 42,
        "numerics": "native",
        "costs": {"fee_rate": 0.001, "fill": "next_open"},
        "search": {"n_iterations": 100, "windows": [10, 20], "grid": False},
        "data": {"digest_only": "x", "path": None},
        "symbol": "EUR/USD",
    }


def test_seed_zero_stays_zero():
    """R4.28: 0 is a seed."""
    assert resolve(Example, {**GOOD, "seed": 0}).seed == 0


def test_random_seed_is_another_name_for_seed():
    assert resolve(Example, {**GOOD, "random_seed": 7}).seed == 7
    assert "two names of one key" in message({**GOOD, "seed": 1, "random_seed": 2})


def test_a_random_seed_is_drawn_once_and_is_an_ordinary_seed_from_then_on():
    spec = resolve(Example, {**GOOD, "seed": "random"})
    assert isinstance(spec.seed, int)
    assert 0 <= spec.seed < 2**31
    assert identity_body(spec)["seed"] == spec.seed
    assert resolve(Example, identity_body(spec)).seed == spec.seed
    drawn = {resolve(Example, {**GOOD, "seed": "random"}).seed for _ in range(20)}
    assert len(drawn) > 1


def test_the_identity_leaves_out_labels_and_where_data_came_from():
    here = resolve(Example, {**GOOD, "name": "mine", "data": {"path": "/here/candles.csv"}})
    there = resolve(Example, {**GOOD, "name": "yours", "data": {"path": "/there/other.parquet"}})
    assert identity_body(here) == identity_body(there)
    assert "name" not in identity_body(here)
    assert "path" not in identity_body(here)["data"]
    assert identity_body(here) != identity_body(resolve(Example, {**GOOD, "seed": 43}))


def test_the_full_body_reads_back_to_an_equal_spec():
    spec = resolve(Example, {**GOOD, "name": "mine", "search": {"windows": [1, 2, 3], "n_iterations": None}})
    assert resolve(Example, full_body(spec)) == spec


def test_a_whole_number_given_for_a_number_is_the_same_spec():
    one = resolve(Example, {**GOOD, "costs": {"fee_rate": 0}})
    assert one == resolve(Example, {**GOOD, "costs": {"fee_rate": 0.0}})
    assert isinstance(one.costs.fee_rate, float)


def test_a_spec_is_frozen():
    spec = resolve(Example, GOOD)
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 1


def test_every_problem_is_reported_at_once_with_key_value_rule_and_cure():
    text = message(
        {
            "kind": "example",
            "seed": -1,
            "costs": {"fee_pct": 0.1, "fill": "clos", "fee_rate": "0.1%"},
            "search": {"n_iteration": 3, "windows": [1, 2.5]},
            "n_iterations": 5,
        }
    )
    assert text.splitlines()[0] == "a.toml: 8 problems"
    assert set(text.splitlines()[1:]) == {
        "  - seed = -1: has to be at least 0",
        "  - costs.fee_rate = '0.1%': has to be a number; percent are written as a fraction: 0.001",
        "  - costs.fill = 'clos': has to be 'next_open' or 'close'; did you mean \"close\"?",
        "  - costs.fee_pct = 0.1: there is no such key; did you mean costs.fee_rate, a fraction: "
        "0.1 here is 0.001 there?",
        "  - search.n_iteration = 3: there is no such key; did you mean search.n_iterations?",
        "  - search.windows[1] = 2.5: has to be a whole number",
        "  - n_iterations = 5: there is no such key; did you mean search.n_iterations?",
        '  - symbol: this key is required and missing; add symbol = "..."',
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seed": "7"}, "seed = '7': has to be a whole number; write it without quotes: 7"),
        ({"search": {"grid": "true"}}, "search.grid = 'true': has to be true or false; write it without quotes: true"),
        ({"seed": True}, "seed = True: has to be a whole number"),
        ({"seed": 42.0}, "seed = 42.0: has to be a whole number; write 42"),
        ({"symbol": 5}, 'symbol = 5: has to be text; write it in quotes: "5"'),
        ({"costs": 3}, "costs = 3: has to be a table"),
        ({"costs": {"fee_rate": 5}}, "fee_rate = 5: has to be less than 1.0; the unit is fraction: 5 % is 0.05"),
        ({"costs": {"fee_rate": float("nan")}}, "costs.fee_rate = nan: has to be a finite number"),
        ({"costs": {"fee_rate": float("inf")}}, "costs.fee_rate = inf: has to be a finite number"),
        ({"search": {"n_iterations": "many"}}, "search.n_iterations = 'many': has to be a whole number"),
        ({"version": 2}, "version = 2: has to be 1"),
        ({"numerics": "Portable"}, "has to be 'native' or 'portable'; did you mean \"portable\"?"),
        ({"zzz": 1}, "zzz = 1: there is no such key; keys at the top: version, kind, name, seed"),
        ({"costs": {"fee_bps": 10}}, "did you mean costs.fee_rate, a fraction: 10 here is 0.001 there?"),
        ({"name": ["a"]}, "name = ['a']: has to be text"),
    ],
)
def test_each_breach_is_named(change, expected):
    text = message({**GOOD, **change})
    assert text.startswith("a.toml: ")
    assert expected in text
    assert "\n" not in text


def test_known_paths_lists_every_key():
    assert {"seed", "costs.fee_rate", "search.windows", "data.path"} <= set(known_paths(Example))


TOML = """
kind = "example"
symbol = "EUR/USD"
seed = 7
[search]
n_iterations = 1_000
"""
YAML = """
kind: example
symbol: EUR/USD
seed: 7
search:
  n_iterations: 1000
"""
JSON = '{"kind": "example", "symbol": "EUR/USD", "seed": 7, "search": {"n_iterations": 1000}}'


@pytest.mark.parametrize(("suffix", "text"), [(".toml", TOML), (".yaml", YAML), (".yml", YAML), (".json", JSON)])
def test_toml_yaml_and_json_say_the_same(tmp_path, suffix, text):
    file = tmp_path / f"spec{suffix}"
    file.write_text(text)
    assert resolve(Example, load_spec(file)) == resolve(Example, {**GOOD, "seed": 7, "search": {"n_iterations": 1000}})


def test_overrides_win_over_the_file_and_a_later_one_over_an_earlier():
    values = load_spec({**GOOD, "random_seed": 3, "search": {"n_iterations": 5}}, ["seed=1", "random_seed=2"])
    assert values["seed"] == 2
    assert load_spec(GOOD, ["search.n_iterations=8"])["search"] == {"n_iterations": 8}


class Later(RunSpec):
    depth: int = Field(default=3, json_schema_extra=ADDED_LATER)
    width: int = 4


def test_a_key_that_a_release_added_changes_an_identity_only_where_it_is_used():
    common = {"kind": "later", "version": 1}
    plain, named, other = (resolve(Later, {**common, **more}) for more in ({}, {"depth": 3}, {"depth": 5}))
    assert "depth" not in identity_body(plain)
    assert identity_body(plain)["width"] == 4
    assert identity_body(named) == identity_body(plain)
    assert identity_body(other)["depth"] == 5
    assert full_body(plain)["depth"] == 3
