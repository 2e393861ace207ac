"""What the profit-weighted buffer draws: shares of a batch, distributions against exact values (R9.22 to R9.24)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.unit.rl.buffer_cases import filled, slots, statistic

from lockstep.rl import replay_buffer

# ------------------------------------------------------------------------------------------- composition of a batch


@pytest.mark.parametrize(("batch_size", "profitable"), [(10, 7), (1, 1), (2, 1), (3, 2), (20, 14)])
def test_seven_of_ten_come_from_the_profitable_set(batch_size: int, profitable: int) -> None:
    """R9.22: the first round(.7 n) of a batch; the others come from all, so these are a lower bound."""
    buffer = filled([0.004] * 30 + [-0.004] * 30)
    for _ in range(50):
        batch = buffer.sample_batch(batch_size)
        assert batch.is_profitable[:profitable].all()
        assert len(set(batch.ids.tolist())) == len(batch) == batch_size


def test_fewer_than_seven_of_ten_where_fewer_are_profitable() -> None:
    """R9.22: both profitable ones come first, the other eight from what is left."""
    buffer = filled([0.004, 0.009] + [-0.004] * 30)
    for _ in range(20):
        batch = buffer.sample_batch(10)
        assert batch.is_profitable.tolist() == [True] * 2 + [False] * 8


def test_without_any_profit_it_draws_from_all() -> None:
    batch = filled([-0.004, None] * 10).sample_batch(10)
    assert len(set(batch.ids.tolist())) == 10


def test_the_rest_is_drawn_from_profitable_ones_too() -> None:
    """R9.22: 'rest from all' is not 'rest from the unprofitable'."""
    buffer = filled([0.004] * 30 + [-0.004] * 30)
    assert sum(int(buffer.sample_batch(10).is_profitable[7:].sum()) for _ in range(50)) > 0


@pytest.mark.parametrize("prioritize", [True, False])
@pytest.mark.parametrize("batch_size", [6, 7, 1000])
def test_a_batch_not_smaller_than_the_content_is_all_of_it(prioritize: bool, batch_size: int) -> None:
    """Every count rises by one, and no random number is used."""
    buffer = filled([0.004, -0.004, None, 0.02, None, 0.001])
    before = repr(buffer.get_state()["generator"])
    batch = buffer.sample_batch(batch_size, prioritize)
    assert [int(id) % 64 for id in batch.ids] == [0, 1, 2, 3, 4, 5]
    assert batch.training_counts.tolist() == [1] * 6
    assert repr(buffer.get_state()["generator"]) == before


def test_profitable_ones_are_more_frequent_in_batches_than_in_the_buffer() -> None:
    """R9.23: a tenth of 200 is profitable. .7 of 20 alone is 70 %, and 14 of the 20 are there to be drawn."""
    buffer = filled(([0.006] + [-0.004] * 9) * 20, capacity=256)
    drawn = sum(int(buffer.sample_batch(20).is_profitable.sum()) for _ in range(50))
    assert drawn / (50 * 20) > 0.7
    assert buffer.profitable_size / len(buffer) == 0.1


@given(
    profitable=st.integers(1, 40),
    others=st.integers(1, 40),
    batch_size=st.integers(1, 79),
    share=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    trained=st.integers(0, 30),
)
def test_the_profitable_share_of_every_batch_exceeds_that_of_the_buffer(
    profitable: int, others: int, batch_size: int, share: float, trained: int
) -> None:
    """R9.23, for every batch: also where nearly all is profitable and has been trained on much more than the losses."""
    assume(batch_size < profitable + others)
    buffer = filled([0.004] * profitable + [-0.004] * others, capacity=128, profitable_share=share)
    for _ in range(trained):
        buffer.sample_batch(profitable)
    batch = buffer.sample_batch(batch_size)
    assert Fraction(int(batch.is_profitable.sum()), batch_size) > Fraction(profitable, profitable + others)


def test_uniform_batches_have_the_share_of_the_buffer() -> None:
    """prioritize_profitable=False: 4 standard deviations of 10,000 draws are 4 sqrt(.09 / 10,000) = .012."""
    buffer = filled(([0.006] + [-0.004] * 9) * 20, capacity=256)
    drawn = sum(int(buffer.sample_batch(20, False).is_profitable.sum()) for _ in range(500))
    assert drawn / 10_000 == pytest.approx(0.1, abs=0.012)


# ------------------------------------------------------------------------------- distribution, against exact values


def successive(weights: dict[int, float], draws: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every ordered sample without replacement and its probability: w / (sum of what is left), draw by draw."""
    for order in itertools.permutations(weights, draws):
        left, probability = sum(weights.values()), 1.0
        for slot in order:
            probability *= weights[slot] / left
            left -= weights[slot]
        yield order, probability


def exact(weights: dict[int, float], profitable: set[int], batch_size: int) -> dict[tuple[int, ...], float]:
    """Probabilities of ordered batches: m of the profitable ones first, then of all that is left."""
    first = max(int(0.7 * batch_size + 0.5), batch_size * len(profitable) // len(weights) + 1)
    first = min(first, len(profitable))
    result: dict[tuple[int, ...], float] = {}
    for head, p in successive({slot: weights[slot] for slot in weights if slot in profitable}, first):
        rest = {slot: weight for slot, weight in weights.items() if slot not in head}
        for tail, q in successive(rest, batch_size - first):
            result[head + tail] = result.get(head + tail, 0.0) + p * q
    return result


PROFITS = [0.002, 0.005, 0.02, -0.01, None, -0.03]
SCORES = {0: 0.2, 1: 0.5, 2: 1.0, 3: 0.0, 4: 0.0, 5: 0.0}


@pytest.mark.parametrize("rounds", [0, 1, 4, 1000], ids=["one by one", "one round", "four rounds", "only by dropping"])
@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_ordered_batches_have_the_exact_probabilities(
    rounds: int, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R9.22: chi-square over all ordered batches, whichever way of drawing is used. Counts do not weigh here."""
    monkeypatch.setattr(replay_buffer, "_ROUNDS", rounds)
    buffer = filled(PROFITS, count_penalty=0.0)
    weights = {slot: (0.05 + score) ** 0.6 for slot, score in SCORES.items()}
    probabilities = exact(weights, {0, 1, 2}, batch_size)
    seen = Counter(slots(buffer, batch_size) for _ in range(6000))
    found, limit = statistic(seen, probabilities)
    assert found < limit
    # The same draws against equal weights: the test can fail.
    wrong, limit = statistic(seen, exact(dict.fromkeys(SCORES, 1.0), {0, 1, 2}, batch_size))
    assert wrong > limit


def test_training_counts_enter_the_probabilities() -> None:
    """R9.24: w = (.05 + score)^.6 / (1 + .1 count), here with counts 0, 3, 6 ... that stay as they are."""
    buffer = filled(PROFITS)
    counts = {slot: 3 * slot for slot in SCORES}
    state = buffer.get_state()
    state["store"]["ints"][:, 2] = list(counts.values())
    weights = {slot: (0.05 + SCORES[slot]) ** 0.6 / (1.0 + 0.1 * counts[slot]) for slot in SCORES}
    seen: Counter[Any] = Counter()
    for _ in range(4000):
        buffer.set_state(state)  # counts as before, generator where the last draw left it
        batch = buffer.sample_batch(3)
        assert batch.weights == pytest.approx([weights[int(id) % 64] for id in batch.ids], rel=1e-14)
        seen[tuple(int(id) % 64 for id in batch.ids)] += 1
        state["generator"] = buffer.get_state()["generator"]
    found, limit = statistic(seen, exact(weights, {0, 1, 2}, 3))
    assert found < limit
    untrained = {slot: (0.05 + score) ** 0.6 for slot, score in SCORES.items()}
    wrong, limit = statistic(seen, exact(untrained, {0, 1, 2}, 3))
    assert wrong > limit


def test_weights_that_few_hold_are_drawn_right_and_in_time() -> None:
    """Base 1.001^6 against .001^6 = 1e-18: dropping draws would go on for ever, so they are taken out of the trees."""
    buffer = filled([-0.01] * 5 + [0.02], floor=0.001, exponent=6.0, count_penalty=0.0)
    weights = dict.fromkeys(range(5), 0.001**6) | {5: 1.001**6}
    seen = Counter(slots(buffer, 3) for _ in range(3000))
    found, limit = statistic(seen, exact(weights, {5}, 3))
    assert found < limit


@pytest.mark.parametrize("rounds", [0, 1, 1000])
def test_uniform_batches_have_equal_probabilities(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """6 * 5 * 4 = 120 ordered batches of three."""
    monkeypatch.setattr(replay_buffer, "_ROUNDS", rounds)
    buffer = filled(PROFITS)
    seen = Counter(slots(buffer, 3, False) for _ in range(6000))
    found, limit = statistic(seen, dict.fromkeys(itertools.permutations(range(6), 3), 1.0 / 120.0))
    assert found < limit
