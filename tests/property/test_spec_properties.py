"""Specs and seeds under random input: what goes in comes out, and nothing but our own error escapes."""

import json
import tomllib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.core.errors import SpecError
from lockstep.runs.seeds import MAX_SEED, SeedTree
from lockstep.runs.spec import RunSpec, SpecModel, full_body, identity_body, resolve
from lockstep.runs.spec_files import load_spec, parse_json, parse_override, parse_toml, parse_yaml

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=20,
)
TABLES = st.dictionaries(st.text(max_size=12), VALUES, max_size=6)
NAMES = st.one_of(st.text(max_size=20), st.integers(-(2**70), 2**70))
SEEDS = st.integers(0, MAX_SEED)


class Inner(SpecModel):
    rate: float = 0.5
    items: tuple[int, ...] = ()


class Model(RunSpec):
    inner: Inner = Inner()
    label: str = "x"


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_with_our_error(text):
    for parse in (parse_toml, parse_json, parse_yaml):
        try:
            values = parse(text, "f")
        except SpecError as error:
            assert str(error).startswith("f")
        else:
            json.dumps(values)


@given(st.text(alphabet="a: -[]{}&*!|>'\"%@`#\n01eE.+_~<,?\t", max_size=60))
@settings(max_examples=400, deadline=None)
def test_yaml_punctuation_is_read_or_refused_with_our_error(text):
    try:
        json.dumps(parse_yaml(text, "f"))
    except SpecError as error:
        assert str(error).startswith("f")


@given(TABLES)
@settings(deadline=None)
def test_json_text_says_what_the_dict_says(table):
    assert parse_json(json.dumps(table), "f") == table
    assert load_spec({f"x{key}": value for key, value in table.items()}) == {f"x{k}": v for k, v in table.items()}


@given(TABLES)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_dict_resolves_or_is_refused_with_our_error(table):
    try:
        resolve(Model, table)
    except SpecError as error:
        assert str(error).startswith("the spec")


@given(
    seed=SEEDS,
    rate=st.floats(allow_nan=False, allow_infinity=False),
    items=st.lists(st.integers(), max_size=5),
    label=st.text(max_size=20),
)
@settings(deadline=None)
def test_a_resolved_spec_reads_back_bit_for_bit(seed, rate, items, label):
    given_values = {"kind": "m", "seed": seed, "label": label, "inner": {"rate": rate, "items": items}}
    spec = resolve(Model, given_values)
    assert resolve(Model, json.loads(json.dumps(full_body(spec)))) == spec
    assert identity_body(resolve(Model, identity_body(spec))) == identity_body(spec)
    assert spec.inner.rate.hex() == float(rate).hex()


@given(st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)))
def test_an_override_reads_numbers_as_toml_does(value):
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    path, number = parse_override(f"a.b={text}")
    assert path == ["a", "b"]
    assert number == value
    assert type(number) is type(tomllib.loads(f"v = {text}")["v"])


@given(st.text(max_size=40))
@settings(max_examples=300)
def test_any_override_sets_one_key_or_is_refused(text):
    try:
        path, _ = parse_override(text)
    except SpecError as error:
        assert str(error).startswith("--set ")
    else:
        assert path


@given(SEEDS, st.lists(NAMES, max_size=4), st.lists(NAMES, max_size=4))
def test_streams_are_equal_exactly_when_their_names_are(seed, one, other):
    tree = SeedTree(seed)
    # True for a hash of 128 bits, short of a collision nobody will see.
    assert (tree.child(*one).key() == tree.child(*other).key()) == (_typed(one) == _typed(other))
    assert 0 <= tree.child(*one).integer() <= MAX_SEED


def _typed(names):
    return [(type(name), name) for name in names]


@given(SEEDS, SEEDS)
def test_other_roots_are_other_trees(one, other):
    assert (SeedTree(one).child("x").key() == SeedTree(other).child("x").key()) == (one == other)
