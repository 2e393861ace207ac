"""What a CompiledStrategy promises, as a check to run in its tests: `check_twins(MyStrategy())`.

    def test_my_kernels_agree_with_my_rule():
        check_twins(MyStrategy(), seed=7)

The plain `signals` and the compiled `entries` are asked about markets that break kernels (no bars, one bar, flat
prices, no volume, gaps, jumps) and about random ones, with sampled parameters, one by one and as batches cut in
different ways.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from lockstep.core.errors import StrategyError
from lockstep.core.space import Columns, row
from lockstep.engine.entries import EntryBatch, compact
from lockstep.market.candles import Candles
from lockstep.strategies.base import Params
from lockstep.strategies.compiled import CompiledStrategy
from lockstep.strategies.view import MarketView

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MINUTES_5: int = 300_000


def check_twins(
    strategy: CompiledStrategy,
    *,
    candles: Sequence[Candles] = (),
    parameter_sets: Sequence[Params] = (),
    sets: int = 12,
    bars: int = 600,
    seed: int = 42,
) -> int:
    """Compare the two forms of `strategy` (without further inputs); returns how many entries were compared.

    candles         further markets to ask about
    parameter_sets  further sets; `sets` are sampled from the space
    bars            length of the generated markets
    Raises StrategyError naming market, parameters, the first differing entry and both values.
    """
    generator = np.random.Generator(np.random.Philox(key=seed))
    sampled = strategy.space.decode(generator.random((sets, len(strategy.space))))
    rows = [strategy.resolve(row(sampled, index)) for index in range(sets)]
    rows += [strategy.resolve(params) for params in parameter_sets]
    # A kernel need not work outside the constraints: no evaluation ever asks it there.
    rows = [params for params in rows if strategy.broken_constraint(params) is None]
    columns = strategy.columns(rows)
    compared = 0
    for name, market in [*odd_markets(bars, generator), *((f"candles[{i}]", item) for i, item in enumerate(candles))]:
        view = MarketView(market, strategy.inputs)
        batch = strategy.entries(strategy.prepare(view, columns), columns, 0, len(rows))
        broken = batch.check_valid(len(market))
        if broken is not None:
            raise StrategyError(f"{strategy.name}.entries on {name}: {broken}")
        for index, params in enumerate(rows):
            plain = compact(strategy.checked_signals(view, params))
            _compare(strategy, name, params, plain, one_set(batch, index))
            compared += plain.bar.size
        _check_cuts(strategy, name, view, columns, batch)
    return compared


def _check_cuts(strategy: CompiledStrategy, name: str, view: MarketView, columns: Columns, batch: EntryBatch) -> None:
    """A set's entries may depend neither on the other sets nor on where batches begin and end."""
    count = batch.sets
    prepared = strategy.prepare(view, columns)
    for lo, hi in ((0, count // 2), (count // 2, count)):
        part = strategy.entries(prepared, columns, lo, hi)
        for index in range(lo, hi):
            _compare(strategy, name, row(columns, index), one_set(batch, index), one_set(part, index - lo))
    # Alone, so that neither the loosest values nor the swings are those of the whole batch.
    last = {key: column[count - 1 :] for key, column in columns.items()}
    alone = strategy.entries(strategy.prepare(view, last), last, 0, 1)
    _compare(strategy, name, row(last, 0), one_set(batch, count - 1), alone)


def one_set(batch: EntryBatch, index: int) -> EntryBatch:
    """Set `index` of `batch` as a batch of its own."""
    lo, hi = int(batch.offsets[index]), int(batch.offsets[index + 1])
    exits: dict[str, Any] = {}
    if batch.exit_offsets is not None and batch.exit_bar is not None:
        first, past = int(batch.exit_offsets[index]), int(batch.exit_offsets[index + 1])
        exits = {"exit_offsets": np.array([0, past - first]), "exit_bar": batch.exit_bar[first:past]}
    return EntryBatch(
        offsets=np.array([0, hi - lo]),
        bar=batch.bar[lo:hi],
        side=batch.side[lo:hi],
        stop=batch.stop[lo:hi],
        target=batch.target[lo:hi],
        time_limit=batch.time_limit[lo:hi],
        trail=None if batch.trail is None else batch.trail[lo:hi],
        **exits,
    )


def _compare(strategy: CompiledStrategy, market: str, params: Params, plain: EntryBatch, batch: EntryBatch) -> None:
    for item in fields(EntryBatch):
        expected, actual = getattr(plain, item.name), getattr(batch, item.name)
        if expected is None and actual is None:
            continue
        # A column left out means the same as one without values, in either form.
        expected = np.empty(0) if expected is None else expected
        actual = np.empty(0) if actual is None else actual
        if np.array_equal(expected, actual, equal_nan=expected.dtype.kind == "f"):
            continue
        raise StrategyError(
            f"{strategy.name}: signals and entries differ on {market}, parameters {dict(params)}: {item.name} is "
            f"{_excerpt(expected, actual)} of {expected.size} in signals, {_excerpt(actual, expected)} of "
            f"{actual.size} in entries"
        )


def _excerpt(values: NDArray[Any], other: NDArray[Any]) -> str:
    shared = min(values.size, other.size)
    differing = np.flatnonzero(values[:shared] != other[:shared])
    at = int(differing[0]) if differing.size else shared
    return f"{values[at].item()!r} at entry {at}" if at < values.size else f"missing at entry {at}"


def odd_markets(bars: int, generator: np.random.Generator) -> Iterator[tuple[str, Candles]]:
    """(name, candles): markets that break kernels, then random ones."""
    yield "no bars", random_market(0, generator)
    yield "one bar", random_market(1, generator)
    yield "a few bars", random_market(7, generator)
    yield "flat prices", random_market(bars, generator, scale=0.0)
    yield "no volume", random_market(bars, generator, volume=0.0)
    yield "gaps", random_market(bars, generator, gaps=True)
    yield "jumps", random_market(bars, generator, scale=0.05)
    yield "coarse ticks", random_market(bars, generator, digits=0)
    for number in range(3):
        yield f"random {number}", random_market(bars, generator)


def random_market(
    bars: int,
    generator: np.random.Generator,
    *,
    scale: float = 0.002,
    volume: float = 100.0,
    gaps: bool = False,
    digits: int = 2,
) -> Candles:
    """5m candles around 100 that swing within a range, with bursts of volume; prices rounded to `digits`."""
    pull = np.empty(bars + 1)
    pull[0] = 0.0
    steps = scale * generator.standard_normal(bars) * (1.0 + 2.0 * (generator.random(bars) < 0.1))
    for t in range(bars):
        pull[t + 1] = 0.97 * pull[t] + steps[t]
    # Rounded prices repeat, so that levels gather touches and ties occur.
    price = np.round(100.0 * (1.0 + pull.clip(-0.9, 9.0)), digits).clip(1.0)
    opens, closes = price[:-1], price[1:]
    wick = np.round(100.0 * scale * generator.random((2, bars)) ** 2, digits)
    times = 1_700_000_000_000 // _MINUTES_5 * _MINUTES_5 + _MINUTES_5 * np.arange(bars, dtype=np.int64)
    if gaps:
        times = times + _MINUTES_5 * np.cumsum(generator.integers(0, 40, bars) * (generator.random(bars) < 0.02))
    return Candles(
        timestamp=times,
        open=opens,
        high=np.maximum(opens, closes) + wick[0],
        low=np.minimum(opens, closes) - np.minimum(wick[1], 0.5 * np.minimum(opens, closes)),
        close=closes,
        volume=np.round(volume * generator.random(bars) ** 3 * 4.0, 2),
        timeframe_ms=_MINUTES_5,
    )
