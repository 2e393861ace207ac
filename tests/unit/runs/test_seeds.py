"""The seed tree: names decide, nothing else does."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lockstep.core.errors import InputError
from lockstep.runs import seeds
from lockstep.runs.seeds import MAX_SEED, SeedTree, draw_seed, set_seeds
from lockstep.runs.spec import RunSpec, load_spec, resolve

# Made by this code on its first day; a change of any of these numbers changes every run ever recorded.
GOLDEN_KEY = 270810280622436642964587027547755533543
GOLDEN_INTEGER = 31379176872359404
GOLDEN_RAW = [6033446623436496187, 5179040977300070829, 6149505855751123787]


def test_a_named_stream_has_the_numbers_it_always_had():
    node = SeedTree(42).child("search", "trial", 17)
    assert node.key() == GOLDEN_KEY
    assert node.integer() == GOLDEN_INTEGER
    assert node.generator().bit_generator.random_raw(3).tolist() == GOLDEN_RAW


def test_call_order_and_repetition_do_not_matter():
    tree = SeedTree(42)
    first = [tree.child("a").generator().random(4), tree.child("b").generator().random(4)]
    second = [tree.child("b").generator().random(4), tree.child("a").generator().random(4)]
    assert np.array_equal(first[0], second[1])
    assert np.array_equal(first[1], second[0])
    assert np.array_equal(tree.child("a").generator().random(4), first[0])


def test_going_down_in_one_step_or_in_several_ends_at_the_same_node():
    assert SeedTree(1).child("a", 2, "c").key() == SeedTree(1).child("a").child(2).child("c").key()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("1",), (1,)),
        (("ab", "c"), ("a", "bc")),
        (("a", "b"), ("ab",)),
        (("a",), ("a", "")),
        ((1, 2), (12,)),
        ((1,), (-1,)),
        ((), ("",)),
        (("a\0",), ("a",)),
    ],
)
def test_different_names_are_different_streams(one, other):
    assert SeedTree(42).child(*one).key() != SeedTree(42).child(*other).key()


def test_seed_zero_is_a_seed_of_its_own():
    """R4.28: 0 is honoured, never taken for "none"."""
    assert SeedTree(0).child("x").key() == SeedTree(0).child("x").key()
    assert SeedTree(0).child("x").key() != SeedTree(seeds.DEFAULT_SEED).child("x").key()


@pytest.mark.parametrize("root", [-1, MAX_SEED + 1, True, 1.0, "42", None])
def test_what_is_no_seed_is_refused_with_the_rule(root):
    with pytest.raises(InputError, match=r"a seed is a whole number from 0 to 2\*\*63 - 1; found"):
        SeedTree(root)


@pytest.mark.parametrize("name", [True, 1.5, None, b"a", ("a",)])
def test_a_name_is_text_or_an_integer(name):
    with pytest.raises(TypeError, match="a name in the seed tree is text or an integer; found"):
        SeedTree(42).child(name)


@pytest.mark.parametrize("hash_seed", ["0", "1", "random"])
def test_other_processes_and_hash_seeds_draw_the_same_numbers(hash_seed):
    code = "from lockstep.runs.seeds import SeedTree; print(SeedTree(42).child('search', 'trial', 17).key())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == GOLDEN_KEY


def test_the_global_generators_are_left_alone():
    """R4.36: global NumPy state is untouched."""
    python_before, numpy_before = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    SeedTree(42).child("x").generator().normal(size=100)
    SeedTree(42).child("x").integer()
    draw_seed()
    assert random.getstate() == python_before
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_set_seeds_makes_third_party_draws_repeatable():
    python_before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        set_seeds(7)
        first = (random.random(), np.random.random())  # noqa: NPY002
        set_seeds(7)
        again = (random.random(), np.random.random())  # noqa: NPY002
        set_seeds(8)
        other = (random.random(), np.random.random())  # noqa: NPY002
    finally:
        random.setstate(python_before)
        np.random.set_state(numpy_before)  # noqa: NPY002
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1, 2**32, 2**63 - 1])
def test_set_seeds_gives_the_streams_of_the_libraries_own_calls(seed):
    """Seeds beyond NumPy's 32 bits still differ from each other."""
    python_before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        set_seeds(seed)
        draws = random.random(), np.random.random()  # noqa: NPY002
        random.seed(seed)
        np.random.seed(seed if seed < 2**32 else [seed % 2**32, seed // 2**32])  # noqa: NPY002
        assert (random.random(), np.random.random()) == draws  # noqa: NPY002
    finally:
        random.setstate(python_before)
        np.random.set_state(numpy_before)  # noqa: NPY002


def test_the_seed_conventions_that_the_guide_lists_are_constants():
    """R4.27: a reader of docs/runs.md who imports a name gets the seeds of its row."""
    page = (Path(__file__).parents[3] / "docs" / "runs.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+_SEEDS?)` \| ([\d,. ]+) \|", page, re.MULTILINE))
    assert rows.keys() == {name for name in vars(seeds) if name.endswith(("_SEED", "_SEEDS"))} - {"MAX_SEED"}
    for name, text in rows.items():
        value = getattr(seeds, name)
        if "..." in text:
            first, second, last = (int(number) for number in re.findall(r"\d+", text))
            assert value == tuple(range(first, last + 1, second - first))
        elif "," in text:
            assert value == tuple(int(number) for number in text.split(", "))
        else:
            assert value == int(text)
    assert resolve(RunSpec, load_spec({"kind": "toy"})).seed == seeds.DEFAULT_SEED  # a spec that names none


def test_drawn_seeds_differ_and_fit_a_database_integer():
    drawn = {draw_seed() for _ in range(20)}
    assert len(drawn) > 1
    assert all(0 <= seed < 2**31 for seed in drawn)


def test_neighbouring_streams_are_uncorrelated():
    draws = np.array([SeedTree(42).child("t", i).generator().normal(size=2000) for i in range(20)])
    correlations = np.corrcoef(draws)[np.triu_indices(20, 1)]
    # Of 190 correlations with standard deviation 1/sqrt(2000) = 0.022, the largest stays below 5 deviations.
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)
