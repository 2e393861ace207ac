"""Purging and embargo as one property, of whatever splits in time: last(i) + embargo < j - reach.

i is a sample of an earlier part, j one of a later: nothing that i was labelled by is read by j. Asked of `purged`
itself over any sequence of parts, as a walk-forward cuts them, and of every split that calls it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lockstep.core.errors import DataError, InputError
from lockstep.kinds.replay_agent.plan import MarketParts
from lockstep.kinds.replay_agent.spec import ReplayAgentSpec
from lockstep.learning.patterns.data_module import PARTS, SplitSettings, split
from lockstep.learning.supervised.data import parts_in_order, samples_of
from lockstep.market.splits import purged
from lockstep.runs.spec import load_spec, resolve

Bars = NDArray[np.int64]


def require_purged(parts: Sequence[Bars], needs: Sequence[Bars], *, reach: int, embargo: int) -> None:
    """Eq. (1) for all pairs of parts (bars of decision, and the last bar that each label needs), and order in time."""
    for k, later in itertools.combinations(range(len(parts)), 2):
        if len(parts[k]) and len(parts[later]):
            assert needs[k].max() + embargo < parts[later].min() - reach
    bars = np.concatenate(parts)
    assert (np.diff(bars) > 0).all()


@st.composite
def samples(draw: st.DrawFn, least: int = 1) -> tuple[Bars, Bars]:
    """Bars of decision, with holes, and the last bar that each label needs."""
    steps = draw(st.lists(st.integers(1, 12), min_size=least, max_size=80))
    bars = np.cumsum(np.array(steps, np.int64))
    ahead = draw(st.lists(st.integers(0, 20), min_size=len(bars), max_size=len(bars)))
    return bars, bars + np.array(ahead)


@given(
    case=samples(),
    cuts=st.lists(st.integers(0, 80), min_size=2, max_size=9),
    reach=st.integers(0, 40),
    embargo=st.integers(0, 15),
)
def test_any_sequence_of_parts_is_purged_and_nothing_is_purged_for_nothing(
    case: tuple[Bars, Bars], cuts: list[int], reach: int, embargo: int
) -> None:
    bars, last = case
    cuts = sorted(min(cut, len(bars)) for cut in cuts)
    parts = purged(bars, last, cuts, reach=reach, embargo=embargo)
    require_purged([bars[part] for part in parts], [last[part] for part in parts], reach=reach, embargo=embargo)
    for k, (start, stop) in enumerate(itertools.pairwise(cuts)):
        dropped = sorted(set(range(start, stop)) - set(parts[k].tolist()))
        following = [int(bars[part[0]]) for part in parts[k + 1 :] if len(part)]
        assert len(parts[k]) + len(dropped) == stop - start
        # Every sample that went would have broken the rule with a sample that stayed.
        assert all(last[i] + embargo >= min(following) - reach for i in dropped)


@given(
    case=samples(least=30),
    shares=st.tuples(st.floats(0.2, 0.5), st.floats(0.1, 0.35)),
    reach=st.integers(0, 20),
    embargo=st.integers(0, 8),
)
def test_the_parts_of_a_network_keep_it(
    case: tuple[Bars, Bars], shares: tuple[float, float], reach: int, embargo: int
) -> None:
    bars, last = case
    settings = SplitSettings(validation=shares[0], test=shares[1], embargo=embargo)
    try:
        result = split(bars, last, reach=reach, settings=settings)
    except DataError:
        assume(False)  # a part was left empty: refused, never overlapped
    parts = [getattr(result, name) for name in PARTS]
    needs = [last[np.searchsorted(bars, part)] for part in parts]
    require_purged(parts, needs, reach=reach, embargo=embargo)
    assert sum(map(len, parts)) + result.purged == len(bars)
    assert parts[-1].tolist() == bars[len(bars) - int(len(bars) * shares[1]) :].tolist()


@given(
    count=st.integers(60, 120),
    shares=st.tuples(st.sampled_from([0.0, 0.1, 0.34]), st.sampled_from([0.0, 0.1, 0.3])),
    back=st.integers(0, 10),
    ahead=st.integers(0, 10),
)
def test_the_parts_of_a_classifier_keep_it(count: int, shares: tuple[float, float], back: int, ahead: int) -> None:
    """A sample reads `back` samples back and its label `ahead`: their sum is what its purge has to be."""
    x = samples_of((np.arange(float(count))[:, None], np.arange(count) % 2))
    try:
        result = parts_in_order(x, test_size=shares[1], val_size=shares[0], purge=back + ahead)
    except InputError:
        assume(False)
    present = [part for part in (result.train, result.validation, result.test) if part is not None]
    parts = [part.inputs["input"][:, 0].astype(np.int64) for part in present]
    require_purged(parts, [part + ahead for part in parts], reach=back, embargo=0)
    # Each border takes the purge and no more.
    assert sum(map(len, parts)) == count - (len(parts) - 1) * (back + ahead)


@given(
    bars=st.integers(150, 500),
    shares=st.tuples(st.floats(0.05, 0.3), st.floats(0.05, 0.3)),
    lookback=st.integers(2, 20),
    horizon=st.integers(1, 20),
    more=st.integers(0, 10),
)
def test_the_parts_of_an_agent_keep_it(
    bars: int, shares: tuple[float, float], lookback: int, horizon: int, more: int
) -> None:
    """An outcome ends with its part, so a bar's label needs at most the part's last bar."""
    purge = max(lookback, horizon) + more
    spec = resolve(
        ReplayAgentSpec,
        load_spec(
            {
                "kind": "replay-agent",
                "environment": {"lookback": lookback, "horizon_bars": horizon, "episode_bars": 2},
                "validation": {"validation_share": shares[0], "test_share": shares[1], "purge_bars": purge},
            }
        ),
    )
    try:
        result = MarketParts.of(bars, spec)
    except DataError:
        assume(False)
    limits = (result.training, result.validation, result.test)
    parts = [np.arange(*part) for part in limits]
    needs = [np.minimum(part + horizon, part[-1]) for part in parts]
    require_purged(parts, needs, reach=lookback, embargo=purge - lookback)
    assert [later[0] - earlier[1] for earlier, later in itertools.pairwise(limits)] == [purge, purge]
