"""Checkpoints: round trips of states, when they are due, which are kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.core import canonical
from lockstep.core.errors import IntegrityError
from lockstep.runs.checkpoint import (
    Checkpoint,
    CheckpointPolicy,
    CheckpointStore,
    Schedule,
    thin,
    through_storage,
)
from lockstep.storage.segments import Position


def checkpoint(steps: int, state: Any = None) -> Checkpoint:
    return Checkpoint(
        steps=steps,
        journal_hash="ab" * 32,
        journal_length=1000 + steps,
        segments={"t": Position(0, 64, 1, 2)},
        state={"steps": steps} if state is None else state,
    )


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", ">f8"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_arrays_of_a_state_come_back_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    again = through_storage({"weights": {"layers": [array, {"deep": array.T}]}})["weights"]["layers"]
    for copy, original in ((again[0], array), (again[1]["deep"], array.T)):
        assert copy.shape == original.shape
        assert copy.dtype == np.dtype(dtype).newbyteorder("<")
        assert copy.tobytes() == np.ascontiguousarray(original).astype(copy.dtype).tobytes()


def test_numbers_texts_and_odd_floats_come_back() -> None:
    state = {
        "big": 2**130,
        "none": None,
        "yes": True,
        "text": "é",
        "nan": math.nan,
        "list": [1, [2.5]],
        "inf": -math.inf,
    }
    assert canonical.dumps(through_storage(state)) == canonical.dumps(state)


def test_a_generator_goes_on_where_its_stored_state_was_taken() -> None:
    for bits in (np.random.Philox, np.random.PCG64, np.random.SFC64):
        generator = np.random.Generator(bits(7))
        generator.random(5)
        stored = through_storage({"generator": generator.bit_generator.state})
        expected = generator.random(4)
        other = np.random.Generator(bits(1))
        other.bit_generator.state = stored["generator"]
        assert (other.random(4) == expected).all()


def test_equal_states_give_equal_bytes_whatever_the_order_of_keys() -> None:
    a = {"x": np.arange(3), "y": {"b": np.zeros(2), "a": 1}}
    b = {"y": {"a": 1, "b": np.zeros(2)}, "x": np.arange(3)}
    assert checkpoint(3, a).encode() == checkpoint(3, b).encode()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"x": np.array(["a"])}, "arrays of a state are booleans, integers or floats"),
        ({"x": np.array([1j])}, "arrays of a state"),
        ({"$array": 1}, "reserved"),
        ({"x": object()}, "canonical JSON holds"),
        ({"x": {1, 2}}, "canonical JSON holds"),
    ],
)
def test_a_state_that_cannot_be_stored_is_refused(state: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        checkpoint(1, state).encode()


def test_every_changed_byte_and_every_length_is_seen() -> None:
    data = checkpoint(5, {"x": np.arange(4.0), "y": "z"}).encode()
    place = Path("5.ckpt")
    assert Checkpoint.decode(data, place).state["y"] == "z"
    for at in range(len(data)):
        with pytest.raises(IntegrityError, match=r"5\.ckpt"):
            Checkpoint.decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], place)
        with pytest.raises(IntegrityError, match=r"5\.ckpt"):
            Checkpoint.decode(data[:at], place)
    with pytest.raises(IntegrityError):
        Checkpoint.decode(data + b"\0", place)


def test_a_schedule_keeps_checkpoints_to_their_share_of_the_time() -> None:
    schedule = Schedule(CheckpointPolicy(interval_s=30.0, max_share=0.02), now=100.0)
    assert not schedule.due(129.9)
    assert schedule.due(130.0)
    schedule.written(began=130.0, now=130.1)  # 0.1 s / 2 % = 5 s < 30 s
    assert not schedule.due(160.0)
    assert schedule.due(160.2)
    schedule.written(began=160.2, now=163.2)  # 3 s / 2 % = 150 s
    assert not schedule.due(163.2 + 149.9)
    assert schedule.due(163.2 + 150.1)


def test_by_itself_a_checkpoint_comes_every_half_minute_and_takes_a_fiftieth_of_the_time() -> None:
    schedule = Schedule(CheckpointPolicy(), now=0.0)
    assert not schedule.due(29.9)
    assert schedule.due(30.0)
    schedule.written(began=30.0, now=32.0)
    assert not schedule.due(32.0 + 99.9)
    assert schedule.due(32.0 + 100.1)


def test_a_store_keeps_first_and_newest_and_spreads_the_rest(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", CheckpointPolicy(keep=6))
    store.create()
    for steps in range(1, 101):
        store.write(checkpoint(steps))
        assert store.stored_steps() == [entry.steps for entry in store.index().entries]
        assert len(store.stored_steps()) <= 6
        assert store.stored_steps()[0] == 1
        assert store.stored_steps()[-2:] == [max(steps - 1, 1), steps][-len(store.stored_steps()) :]
    gaps = np.diff(store.stored_steps()[:-1])
    assert gaps.max() <= 2 * 100 / 4, "spread over the run, not crowded at one end"
    assert store.load(1).state == {"steps": 1}


def test_bytes_limit_how_many_stay(tmp_path: Path) -> None:
    size = len(checkpoint(10).encode())
    store = CheckpointStore(tmp_path / "checkpoints", CheckpointPolicy(keep=100, keep_bytes=5 * size))
    store.create()
    for steps in range(10, 60):
        store.write(checkpoint(steps))
    assert len(store.stored_steps()) == 5


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 100)), min_size=1, max_size=40),
    st.integers(1, 20),
    st.integers(1, 2000),
)
def test_thinning_keeps_the_ends_and_the_limits(rises: list[tuple[int, int]], keep: int, keep_bytes: int) -> None:
    steps = np.cumsum([rise for rise, _ in rises]).tolist()
    entries = list(zip(steps, [size for _, size in rises], strict=True))
    dropped = thin(entries, keep, keep_bytes)
    rest = [item for item in entries if item[0] not in dropped]
    assert rest[0] == entries[0]
    assert rest[-2:] == entries[-2:]
    assert len(rest) <= max(keep, 4)
    assert len(rest) == min(len(entries), 3) or sum(size for _, size in rest) <= keep_bytes


def test_a_file_under_another_number_is_not_used(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    store.create()
    store.write(checkpoint(4))
    store.path(4).rename(store.path(9))
    with pytest.raises(IntegrityError, match=r"000000000009\.ckpt: holds the checkpoint after 4 steps"):
        store.load(9)


def test_restarting_drops_what_came_later_and_adopts_what_the_index_lacks(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    store.create()
    for steps in (1, 2, 3, 4):
        store.write(checkpoint(steps))
    store.index_path.unlink()
    store.path(1).write_bytes(b"damaged")
    store.restart_from(3, cut_lines=True)
    assert store.stored_steps() == [2, 3]
    assert [entry.steps for entry in store.index().entries] == [2, 3]
    assert store.index().cut_lines
    store.forget_cut_lines()
    assert not store.index().cut_lines
    store.restart_from(None, cut_lines=False)
    assert store.stored_steps() == []
