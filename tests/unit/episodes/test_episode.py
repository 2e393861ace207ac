"""Episodes: priority, ranking, and what may change of them (R9.9, R9.10, R9.13, R9.19)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.episodes.episode_cases import book, episode, scored
from tests.unit.episodes.package_cases import package

from lockstep.core.errors import DataError, InputError, RefusedError, UnknownNameError
from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.episode import episode_priority, ranking
from lockstep.episodes.outcomes import Action, TrainingOutcome, outcome_of


def test_priority_by_hand() -> None:
    """R9.10: .5 score + .2 rapid + .15 completeness + .15 / (1 + count)."""
    rapid = episode(outcome=scored(0.8), package=package(is_rapid_change=True, cob_data=None), training_count=2)
    assert rapid.priority == pytest.approx(0.5 * 0.8 + 0.2 + 0.15 * 0.9 + 0.15 / 3)
    assert episode().priority == pytest.approx(0.15 + 0.15)
    assert episode(outcome=scored(1.0), is_rapid_change=True).priority == pytest.approx(1.0)


def test_a_score_counts_only_once_it_is_validated() -> None:
    """R9.9: an outcome that is not validated says nothing, whatever it holds."""
    claimed = TrainingOutcome(profitability_score=1.0)
    assert episode(outcome=claimed).priority == episode().priority
    assert episode(outcome=claimed).score == 0.0


def test_a_rapid_change_makes_a_premium_example() -> None:
    """R9.13: the package's mark raises the priority by .2, all else equal."""
    plain, premium = episode(), episode(package=package(is_rapid_change=True))
    assert premium.is_rapid_change
    assert premium.priority - plain.priority == pytest.approx(0.2)
    assert episode(is_rapid_change=True).is_rapid_change


@given(st.floats(0, 1), st.booleans(), st.floats(0, 1), st.integers(0, 10**6))
def test_priority_lies_in_0_1_and_columns_give_the_same_bits(
    score: float, rapid: bool, completeness: float, count: int
) -> None:
    """R9.10: in 0-1; one episode and a column of them agree."""
    one = episode_priority(score, float(rapid), completeness, float(count))
    assert 0.0 <= one <= 1.0 + 1e-15
    many = episode_priority(*(np.array([value], np.float64) for value in (score, rapid, completeness, count)))
    assert many.tobytes() == np.array([one]).tobytes()


def test_ranking_is_by_priority_then_newer_first_then_id() -> None:
    """R9.9: all episodes are ranked, ties too."""
    priority, created = [0.5, 0.7, 0.5, 0.5, 0.7], [1, 1, 2, 2, 3]
    assert ranking(priority, created, ["e", "d", "c", "b", "a"]).tolist() == [4, 1, 3, 2, 0]
    assert ranking(priority, created).tolist() == [4, 1, 2, 3, 0]
    assert ranking([], []).tolist() == []
    with pytest.raises(DataError, match="row 1 has none"):
        ranking([0.5, float("nan")], [1, 2])


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5]), st.integers(0, 3)), max_size=12))
def test_ranking_is_the_order_of_sorted_tuples(rows: list[tuple[float, int]]) -> None:
    ids = [f"id{index * 7 % 12}" for index in range(len(rows))]
    expected = sorted(range(len(rows)), key=lambda i: (-rows[i][0], -rows[i][1], ids[i]))
    assert ranking([p for p, _ in rows], [t for _, t in rows], ids).tolist() == expected


def test_all_episodes_are_ranked_by_what_they_can_teach() -> None:
    """R9.9, R9.10: .3 for being complete and new, .5 score on top; trained three times costs .15 - .15 / 4 = .1125."""
    ranked = [one.episode_id for one in book().ranked()]
    # .8, .75, .65, .645, .6375, and .3 twice: of these the smaller id
    assert ranked == ["other", "high", "edge", "low", "trained", "loss", "open"]
    assert [one.priority for one in book().ranked()] == sorted((one.priority for one in book()), reverse=True)
    assert [one.episode_id for one in book().ranked("ETH/USDT")] == ["other"]
    assert len(book().ranked(limit=2)) == 2


def test_profitable_episodes_are_those_at_or_above_the_threshold_best_first() -> None:
    """R9.19: the symbol's own, validated, score >= .7, sorted falling, at most so many."""
    assert [one.episode_id for one in book().profitable("BTC/USDT")] == ["high", "trained", "edge"]
    assert [one.episode_id for one in book().profitable("BTC/USDT", max_episodes=1)] == ["high"]
    assert [one.episode_id for one in book().profitable("BTC/USDT", min_profitability=0.9)] == ["high", "trained"]
    assert book().profitable("XRP/USDT") == []


def test_training_lowers_priority_and_an_outcome_moves_it() -> None:
    """R9.10: counts and outcomes change the ranking; the book keeps what is newest."""
    both = EpisodeBook([episode("a"), episode("b")])
    both.count_rows([0, 0])
    assert both["a"].training_count == 2
    assert [one.episode_id for one in both.ranked()] == ["b", "a"]
    both.settle("a", outcome_of(Action.BUY, 100.0, 105.0))
    assert [one.episode_id for one in both.ranked()] == ["a", "b"]
    with pytest.raises(RefusedError, match="never changes"):
        both.settle("a", outcome_of(Action.BUY, 100.0, 95.0))
    both.check_valid()


def test_an_episode_is_read_only() -> None:
    one = episode(predictions={"cnn": {"action": 2}})
    with pytest.raises(AttributeError):
        one.training_count = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        one.predictions["cnn"] = None  # type: ignore[index]
    assert one.trained().training_count == 1
    assert one.training_count == 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: episode(symbol="ETH/USDT"), "its symbol is that of its package, 'BTC/USDT'; found 'ETH/USDT'"),
        (lambda: episode(training_count=-1), "training_count is not negative"),
        (lambda: episode(package=None), "without its package it needs a completeness"),
        (lambda: episode(package=None, completeness=1.5), "completeness is in \\[0, 1\\]; found 1.5"),
        (lambda: EpisodeBook([episode(), episode()]), "'e' is taken"),
        (lambda: EpisodeBook()["x"], "no episode has the id 'x'"),
        (lambda: book().ranked(limit=-1), "not negative; found -1"),
        (lambda: book().profitable("BTC/USDT", min_profitability=1.1), "a score in \\[0, 1\\]; found 1.1"),
    ],
)
def test_bad_arguments_are_named(call: Any, text: str) -> None:
    with pytest.raises((DataError, InputError, UnknownNameError), match=text):
        call()
