"""Samples: their rules, their splits, and whatever a user may hand over instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.core.errors import DataError, InputError
from lockstep.learning.supervised.data import (
    Samples,
    parts_in_order,
    pattern_images,
    pattern_samples,
    samples_of,
    seen_before,
    three_parts,
    train_test_split,
)


def numbered(per_class: int = 10, classes: int = 3) -> Samples:
    """Samples whose input is their own number."""
    n = per_class * classes
    return Samples(
        inputs={"x": np.arange(n, dtype=np.float32)[:, None]},
        labels=np.repeat(np.arange(classes), per_class),
        classes=tuple("abcdefgh"[:classes]),
    )


def numbers(samples: Samples) -> list[int]:
    return [int(x) for x in samples.inputs["x"][:, 0]]


def test_a_split_is_decided_by_random_state_alone() -> None:
    """R11.4."""
    one, again, other = (train_test_split(numbered(), test_size=0.2, random_state=s) for s in (42, 42, 43))
    assert numbers(one[0]) == numbers(again[0])
    assert numbers(one[1]) == numbers(again[1])
    assert numbers(one[1]) != numbers(other[1])


def test_a_split_takes_the_same_share_of_every_class_and_loses_nothing() -> None:
    train, test = train_test_split(numbered(), test_size=0.3, random_state=0)
    assert np.bincount(test.labels).tolist() == [3, 3, 3]
    assert np.bincount(train.labels).tolist() == [7, 7, 7]
    assert sorted(numbers(train) + numbers(test)) == list(range(30))


def test_three_parts_use_the_seed_and_the_next_one() -> None:
    """Split generators seed and seed + 1."""
    train, validation, test = three_parts(numbered(), test_size=0.2, val_size=0.25, seed=5)
    rest, same_test = train_test_split(numbered(), test_size=0.2, random_state=5)
    same_train, same_validation = train_test_split(rest, test_size=0.25, random_state=6)
    assert test is not None
    assert validation is not None
    assert (numbers(train), numbers(validation), numbers(test)) == (
        numbers(same_train),
        numbers(same_validation),
        numbers(same_test),
    )
    assert three_parts(numbered(), test_size=0.0, val_size=0.0, seed=5)[1:] == (None, None)


@pytest.mark.parametrize("size", [0.0, 1.0, -0.1, 1.2, True])
def test_a_share_outside_zero_and_one_is_refused(size: float) -> None:
    with pytest.raises(InputError, match="test_size is a share between 0 and 1; found"):
        train_test_split(numbered(), test_size=size, random_state=1)


def test_a_split_that_leaves_a_part_empty_is_refused() -> None:
    with pytest.raises(InputError, match=r"test_size = 0.1 of 3 samples in 3 classes leaves a part empty"):
        train_test_split(numbered(per_class=1), test_size=0.1, random_state=1)


def test_the_pattern_samples_have_two_series_and_eight_figures() -> None:
    samples = pattern_samples(4, seed=42)
    assert samples.shapes == {"price": (4, 64), "activity": (3, 64), "about": (8,)}
    assert (len(samples), samples.per_class, len(samples.classes)) == (24, 4, 6)
    assert samples.inputs["price"].min() == 0.0
    assert samples.inputs["price"].max() == 1.0
    assert samples.digest == pattern_samples(4, seed=42).digest != pattern_samples(4, seed=0).digest


def test_the_images_are_four_patterns_of_128_by_128_by_1() -> None:
    samples = pattern_images(3, seed=42)
    assert samples.shapes == {"image": (128, 128, 1)}
    assert samples.classes == ("bull", "bear", "sideways", "breakout")
    assert set(np.unique(samples.inputs["image"])) == {0.0, 0.25, 0.5, 0.75, 1.0}
    # A rising market is drawn from bottom left to top right: row 0 is the high.
    bull = samples.inputs["image"][0, :96, :, 0] >= 0.75
    rows = np.arange(96)[:, None]
    left, right = ((rows * bull[:, part]).sum() / bull[:, part].sum() for part in (slice(0, 32), slice(96, 128)))
    assert right < left


class Rows:
    """A map-style data set, as PyTorch users write them."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Any:
        return self.rows[i]


def test_a_users_data_set_may_be_arrays_named_arrays_or_rows() -> None:
    x, y = np.arange(12.0).reshape(4, 3), np.array([0, 1, 0, 1])
    arrays, named = samples_of((x, y)), samples_of(({"input": x}, y))
    rows = samples_of(Rows([(x[i], y[i]) for i in range(4)]))
    assert arrays.digest == named.digest == rows.digest
    with pytest.raises(DataError, match=r"found one dict with 'data', 'target'. Give its inputs and its labels apart"):
        samples_of({"data": x, "target": y})
    two = samples_of(Rows([(x[i], x[i, :2], int(y[i])) for i in range(4)]))
    assert two.shapes == {"input0": (3,), "input1": (2,)}
    assert samples_of(arrays) is arrays


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (5, "a data set is Samples"),
        (Rows([]), "a data set is Samples"),
        (Rows([1, 2]), "sample 0 of a data set is"),
        (Rows([(1,)]), "one value only"),
        ((np.zeros((2, 1)), np.array([0.5, 1.0])), "labels are whole numbers, 0 to .*; found float64"),
        ((np.zeros((3, 1)), np.array([0, 1])), r"with a row per sample, \(2, ...\); found float32 \(3, 1\)"),
        ((np.zeros((2, 1)), np.array([0, -1])), "places in a list of classes, from 0 on, .*; found -1 to 0"),
        ((np.zeros((2, 1)), np.array([0, 10**9])), "2 classes at most for as many samples; found 0 to 1000000000"),
        ((np.zeros((2, 1)), np.array([[0], [1]])), r"one whole number per sample, .*; found shape \(2, 1\)"),
        ((np.array([["a"], ["b"]]), np.array([0, 1])), "'input' is an array of numbers .*; found <U1"),
        ((np.zeros((2, 1), complex), np.array([0, 1])), "'input' is an array of numbers .*; found complex128"),
        (([[1.0, 2.0], [3.0]], [0, 1]), "input 'input': not an array with one row per sample"),
        ((np.full((2, 1), 1e300), np.array([0, 1])), "input 'input', sample 0: no finite number in float32"),
        (Rows([(np.zeros(2), 0), (np.zeros(3), 1)]), r"'input' has one shape in every sample .*\(2,\), \(3,\)"),
        ((np.array([[1.0], [np.nan]]), np.array([0, 1])), "input 'input', sample 1: no finite number in float32"),
        (({}, np.array([0])), "at least one input; found none"),
        ((np.zeros((0, 1)), np.zeros(0, dtype=int)), "of at least one sample"),
    ],
)
def test_a_data_set_that_cannot_be_used_is_refused_by_name(dataset: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        samples_of(dataset)


def test_the_digest_knows_inputs_labels_and_class_names() -> None:
    base = numbered()
    renamed = Samples(inputs={"z": base.inputs["x"]}, labels=base.labels, classes=base.classes)
    called = Samples(inputs=base.inputs, labels=base.labels, classes=("x", "y", "z"))
    relabelled = Samples(inputs=base.inputs, labels=base.labels[::-1].copy(), classes=base.classes)
    assert len({base.digest, renamed.digest, called.digest, relabelled.digest}) == 4


def test_parts_in_order_keep_the_future_out_of_training() -> None:
    """20 samples, a quarter tested, a fifth of the other 15 validated, 2 purged at each of two borders: 8, 3 and 5."""
    samples = samples_of((np.arange(20.0)[:, None], np.arange(20) % 2))
    parts = parts_in_order(samples, test_size=0.25, val_size=0.2, purge=2)
    assert parts.validation is not None
    assert parts.test is not None
    places = [part.inputs["input"][:, 0].astype(int).tolist() for part in (parts.train, parts.validation, parts.test)]
    assert places == [list(range(8)), [10, 11, 12], [15, 16, 17, 18, 19]]
    assert parts_in_order(samples, test_size=0.0, val_size=0.0, purge=9).train.digest == samples.digest
    with pytest.raises(InputError, match="purge = 15 leave a part empty"):
        parts_in_order(samples, test_size=0.25, val_size=0.0, purge=12 + 3)


def test_samples_held_out_that_were_trained_on_are_counted() -> None:
    x = np.arange(12.0)[:, None]
    x[10] = x[1]
    samples = samples_of((x, np.arange(12) % 2))
    assert seen_before(parts_in_order(samples, test_size=0.25, val_size=0.0)) == 1
    assert (
        seen_before(
            parts_in_order(samples_of((np.arange(12.0)[:, None], np.arange(12) % 2)), test_size=0.25, val_size=0.0)
        )
        == 0
    )


class Sparse:
    """Three samples, of which the second is not there."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> tuple[list[float], int]:
        return {0: ([1.0], 0), 2: ([2.0], 1)}[i]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            {"data": np.zeros((9, 2)), "target": np.arange(9) % 3},
            r"two values.*one dict with 'data', 'target'\. Give its",
        ),
        ({}, "one dict with nothing"),
        (Sparse(), r"of 3 samples has \[0\] to \[2\]; \[1\] of this Sparse raises KeyError: 1"),
    ],
)
def test_one_mapping_is_no_data_set_and_rows_have_every_number(dataset: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        samples_of(dataset)


def test_a_frame_is_no_data_set() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="one DataFrame with 'x', 'y'"):
        samples_of(pandas.DataFrame({"x": [1.0, 2.0], "y": [0, 1]}))
