"""The quick look-ahead test: does a decision at bar t change when only bars after t change?

A strategy is a function f from bars to decisions. It is causal when, for every series x and every bar t,

    f(x)[s] = f(x[: t + 1])[s]   and   f(x)[s] = f(x[: t + 1] ++ other future)[s]      for all s <= t

The first catches rules that count on later bars being there, the second those that read them. Both are asked at a
fixed number of seeded bars: at bars that carry a decision, since a peek shows there first, and at random ones. A rule
that passes is not proven causal; one that fails is proven not to be, with the bar, the field and both values.

Because the equation holds for any series, most questions are put to short windows of the data, so that the test takes
a bounded time however long the data are; some are put to all of it, for rules that look far ahead.

The test cannot accuse a causal strategy: it compares f with f on inputs whose first t + 1 bars are the same bytes.
Prices may differ by PRICE_TOLERANCE, because sums over arrays of another length may round differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import LookAheadError, StrategyError
from lockstep.core.space import row
from lockstep.engine.signals import Signals
from lockstep.market.candles import Candles
from lockstep.strategies.base import Params, Strategy
from lockstep.strategies.evaluate import decide
from lockstep.strategies.inputs import Events, Series, known_from
from lockstep.strategies.view import MarketView

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.seeds import SeedTree

SETS: Final = 3
"""Parameter sets that are questioned: those with the most decisions among CANDIDATE_SETS."""
CANDIDATE_SETS: Final = 8
SIGNAL_POINTS: Final = 12
EXIT_POINTS: Final = 6
"""Bars with an exit flag, where there are entries too."""
RANDOM_POINTS: Final = 6
WHOLE_POINTS: Final = 3
"""Points at which the first of these sets is questioned over all of the data."""
REGION: Final = 20_000
"""Bars, the most recent ones, from which points are chosen."""
PAST: Final = 3_000
FUTURE: Final = 1_000
"""Bars before and after a point that its window holds (more where the warm-up is longer)."""
PRICE_TOLERANCE: Final = 1e-9
START_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class CausalityReport:
    """The result of a test that no bar failed: what was compared, and warnings.

    decisions   entries and exits seen in the compared windows; 0 means that there was little to compare
    """

    parameter_sets: int
    comparisons: int
    decisions: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Difference:
    bar: int
    field: str
    value: Any
    other: Any


def quick_look_ahead_check(
    strategy: Strategy, view: MarketView, parameter_sets: Sequence[Params] = (), *, seeds: SeedTree
) -> CausalityReport:
    """Ask whether `strategy` reads the future of `view`; the report when it was not caught.

    parameter_sets  sets to choose from; the defaults and seeded samples of the space are added
    Raises LookAheadError naming the first bar that peeked, its parameters, the field and both values; StrategyError
    when the strategy fails, or gives two answers to one question.
    """
    generator = seeds.child("causality").generator()
    n = len(view)
    region = view.window(max(0, n - REGION), n)
    chosen = _most_decisive(strategy, region, _candidates(strategy, parameter_sets, generator))
    comparisons = decisions = 0
    warnings: list[str] = []
    for params, signals in chosen:
        decided = _decided(signals)
        decisions += decided.size
        for point in _points(signals, len(region), generator):
            start, stop = _window(strategy, params, point, len(region))
            comparisons += _ask(strategy, region.window(start, stop), params, [point - start], generator)
    params, signals = chosen[0]
    decided = _decided(signals)
    far = [n - len(region) + point for point in _points(signals, len(region), generator)[:WHOLE_POINTS]]
    comparisons += _ask(strategy, view, params, far, generator)
    warnings += _start_dependence(strategy, region, params, decided)
    if decisions == 0:
        warnings.append(
            f"{strategy.name} decided nothing in the last {len(region)} bars with {len(chosen)} parameter sets: the "
            "look-ahead test had little to compare"
        )
    return CausalityReport(
        parameter_sets=len(chosen),
        comparisons=comparisons,
        decisions=decisions,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _candidates(
    strategy: Strategy, parameter_sets: Sequence[Params], generator: np.random.Generator
) -> list[dict[str, Any]]:
    sets: list[dict[str, Any]] = []
    if set(strategy.defaults) >= set(strategy.space):
        sets.append(strategy.resolve({}))
    sets += [strategy.resolve(params) for params in parameter_sets[: CANDIDATE_SETS - 1]]
    missing = CANDIDATE_SETS - len(sets)
    if strategy.space and missing > 0:
        sampled = strategy.space.decode(generator.random((missing, len(strategy.space))))
        sets += [strategy.resolve(row(sampled, i)) for i in range(missing)]
    # By their text: dicts have no hash.
    unique = {repr(params): params for params in sets}
    return [params for params in unique.values() if strategy.broken_constraint(params) is None]


def _most_decisive(
    strategy: Strategy, region: MarketView, candidates: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], Signals]]:
    answered = [(params, decide(strategy, region, params)) for params in candidates]
    if not answered:
        raise StrategyError(f"{strategy.name}: no parameter set to test; give defaults that keep the constraints")
    # Ties by number, so that the same seed questions the same sets.
    order = sorted(range(len(answered)), key=lambda i: (-_decided(answered[i][1]).size, i))
    first = answered[order[0]]
    # Through a window, so that nothing a view keeps from the first call can answer the second.
    again = decide(strategy, region.window(0, len(region)), first[0])
    difference = _first_difference(first[1], again, len(region), PRICE_TOLERANCE)
    if difference is not None:
        raise StrategyError(
            f"{strategy.name} gave two answers to one question: {difference.field} at bar {difference.bar} was "
            f"{difference.value!r}, then {difference.other!r}, from the same candles and parameters {first[0]}. "
            "Signals may depend on nothing else: no clock, no unseeded random numbers, nothing kept between calls"
        )
    return [answered[i] for i in order[:SETS]]


def _decided(signals: Signals) -> NDArray[np.int64]:
    """Bars with a decision: entries, or exits where there are no entries."""
    bars = np.flatnonzero(signals.side)
    if bars.size == 0 and signals.exit is not None:
        bars = np.flatnonzero(signals.exit)
    return bars.astype(np.int64)


def _points(signals: Signals, n: int, generator: np.random.Generator) -> list[int]:
    """Bars after which the future is changed: the first and some other deciding bars, some with an exit, random ones.

    Exits have points of their own, because one that knows the next bar shows at no other bar than its own.
    """
    decided = _decided(signals)
    points = [*decided[:2].tolist(), *_some(decided[2:], SIGNAL_POINTS - 2, generator)]
    if signals.exit is not None:
        points += _some(np.flatnonzero(signals.exit), EXIT_POINTS, generator)
    if n > 1:
        points += sorted(generator.integers(0, n - 1, size=RANDOM_POINTS).tolist())
    # Nothing comes after the last bar, so nothing can be changed there.
    return [point for point in dict.fromkeys(points) if point < n - 1]


def _some(bars: NDArray[np.int64], count: int, generator: np.random.Generator) -> list[int]:
    """At most `count` of the bars, drawn without repetition, ascending."""
    if bars.size == 0:
        return []
    return sorted(generator.choice(bars, size=min(count, bars.size), replace=False).tolist())


def _window(strategy: Strategy, params: Params, point: int, n: int) -> tuple[int, int]:
    warm = int(strategy.warmup(params))
    return max(0, point + 1 - max(PAST, 3 * warm)), min(n, point + 1 + max(FUTURE, warm))


def _ask(
    strategy: Strategy, view: MarketView, params: Params, points: Sequence[int], generator: np.random.Generator
) -> int:
    """Both questions at each bar of `points` in `view`. Raises LookAheadError; returns the comparisons made."""
    answer = decide(strategy, view, params)
    for point in points:
        cut = decide(strategy, view.window(0, point + 1), params)
        _compare(strategy, view, params, point, answer, cut, "once the bars after it are taken away")
        other = decide(strategy, perturb_future(view, point, generator), params)
        _compare(strategy, view, params, point, answer, other, "once the bars after it are replaced by others")
    return 2 * len(points)


def _compare(
    strategy: Strategy, view: MarketView, params: Params, point: int, answer: Signals, other: Signals, how: str
) -> None:
    difference = _first_difference(answer, other, point + 1, PRICE_TOLERANCE)
    if difference is None:
        return
    raise LookAheadError(
        f"{strategy.name} reads the future: {difference.field} at bar {_moment(view, difference.bar)} is "
        f"{difference.value!r}, but {difference.other!r} {how} (bars after {_moment(view, point)}); parameters "
        f"{dict(params)}. A decision at a bar may use that bar and earlier ones only: look for shift(-1), centred "
        "windows, back-filled values, statistics of the whole series, or higher-timeframe bars used before they close"
    )


def _moment(view: MarketView, bar: int) -> str:
    return datetime.fromtimestamp(int(view.timestamp[bar]) / 1000.0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _first_difference(answer: Signals, other: Signals, count: int, tolerance: float) -> _Difference | None:
    """The earliest of the first `count` bars at which two answers differ, or None."""
    first: _Difference | None = None
    for field, values, others, matters in _fields(answer, other, count):
        same = _same(values, others, tolerance) | ~matters
        if not same.all():
            bar = int(np.flatnonzero(~same)[0])
            if first is None or bar < first.bar:
                first = _Difference(bar=bar, field=field, value=values[bar].item(), other=others[bar].item())
    return first


def _fields(
    answer: Signals, other: Signals, count: int
) -> list[tuple[str, NDArray[Any], NDArray[Any], NDArray[np.bool_]]]:
    """Field, both values (count,), and where they matter: levels count only where both enter."""
    everywhere = np.ones(count, dtype=np.bool_)
    entering = (answer.side[:count] != 0) & (answer.side[:count] == other.side[:count])
    fields = [("side", answer.side[:count], other.side[:count], everywhere)]
    fields.append(("exit", _array(answer.exit, count, False), _array(other.exit, count, False), everywhere))
    for name in ("stop", "target", "trail"):
        values, others = _array(getattr(answer, name), count, np.nan), _array(getattr(other, name), count, np.nan)
        fields.append((name, values, others, entering))
    limits = _array(answer.time_limit, count, 0), _array(other.time_limit, count, 0)
    fields.append(("time_limit", *limits, entering))
    return fields


def _array(values: NDArray[Any] | int | None, count: int, missing: Any) -> NDArray[Any]:
    if isinstance(values, np.ndarray):
        return values[:count]
    return np.full(count, missing if values is None else values)


def _same(values: NDArray[Any], others: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    # Equality first, for infinities, whose difference is NaN.
    same: NDArray[np.bool_] = values == others
    if values.dtype.kind == "f" or others.dtype.kind == "f":
        near = np.abs(values - others) <= tolerance * np.maximum(np.abs(values), np.abs(others))
        same = same | near | (np.isnan(values) & np.isnan(others))
    return same


def perturb_future(view: MarketView, point: int, generator: np.random.Generator) -> MarketView:
    """`view` with everything that becomes known after the close of bar `point` replaced by a seeded other path."""
    moment = int(view.candles.decision_time[point])
    candles = _other_future(view.candles, point + 1, generator)
    return view.replaced(candles, lambda series: _other_series(series, moment, generator))


def _other_series(series: Series, moment: int, generator: np.random.Generator) -> Series:
    first = int(np.searchsorted(known_from(series), moment, side="right"))
    if isinstance(series, Candles):
        return _other_future(series, first, generator)
    columns = {name: _other_values(values, first, generator) for name, values in series.columns.items()}
    return Events(timestamp=series.timestamp, columns=columns)


def _other_future(candles: Candles, first: int, generator: np.random.Generator) -> Candles:
    """`candles` with rows `first` and later replaced: a random walk of at least twice the volatility, other volumes."""
    n = len(candles)
    later = n - first
    if later <= 0:
        return candles
    close = candles.close
    moves = np.diff(close) / close[:-1] if n > 1 else np.zeros(1)
    scale = max(2.0 * float(np.sqrt(np.mean(moves * moves))), 1e-3)
    steps = np.clip(scale * generator.standard_normal(later), -0.5, 0.5)
    anchor = float(close[first - 1]) if first else float(candles.open[0])
    # Kept within a factor of the last known price, so that long futures neither vanish nor overflow.
    drift = np.clip(np.cumsum(steps), -4.0, 4.0)
    path = anchor * np.where(drift >= 0.0, 1.0 + drift, 1.0 / (1.0 + np.abs(drift)))
    opens = np.concatenate(([anchor], path[:-1])) * (1.0 + 0.5 * scale * generator.standard_normal(later).clip(-1, 1))
    wick = scale * generator.random((2, later))
    values = {
        "open": np.concatenate((candles.open[:first], opens)),
        "high": np.concatenate((candles.high[:first], np.maximum(opens, path) * (1.0 + wick[0]))),
        "low": np.concatenate((candles.low[:first], np.minimum(opens, path) * (1.0 - np.minimum(wick[1], 0.5)))),
        "close": np.concatenate((close[:first], path)),
        "volume": np.concatenate(
            (candles.volume[:first], (float(candles.volume.max()) or 1.0) * generator.random(later) ** 2)
        ),
    }
    extra = {name: _other_values(column, first, generator) for name, column in candles.extra.items()}
    # Of the same times, so that every bar closes when it did.
    return candles.with_values({**values, **extra})


def _other_values(values: NDArray[np.float64], first: int, generator: np.random.Generator) -> NDArray[np.float64]:
    finite = values[np.isfinite(values)]
    # The standard deviation of equal values is rounding noise (0.01 two hundred times: 1.7e-18), which changes nothing.
    moving = finite.size > 0 and bool(finite.min() < finite.max())
    spread = float(finite.std()) if moving else 1.0
    middle = float(finite.mean()) if finite.size else 0.0
    changed = np.array(values, dtype=np.float64)
    changed[first:] = middle + 2.0 * spread * generator.standard_normal(values.size - first)
    return changed


def _from_bar(signals: Signals, first: int) -> Signals:
    def rest(values: Any) -> Any:
        return values[first:] if isinstance(values, np.ndarray) else values

    return Signals(**{field.name: rest(getattr(signals, field.name)) for field in fields(signals)})


def _start_dependence(strategy: Strategy, region: MarketView, params: Params, decided: NDArray[np.int64]) -> list[str]:
    """A warning when decisions after the declared warm-up depend on where the data start. Never an error.

    Indicators with infinite memory (EMA) always depend on it a little; START_TOLERANCE lets that pass.
    """
    warm = int(strategy.warmup(params))
    stop = min(len(region), max(PAST, 4 * warm))
    # Not a third: rules that count in small cycles would come round again.
    shift = 1 + 2 * stop // 5
    if stop - shift <= warm or decided.size == 0:
        return []
    answer = decide(strategy, region.window(0, stop), params)
    later = decide(strategy, region.window(shift, stop), params)
    trimmed, shifted = _from_bar(answer, shift + warm), _from_bar(later, warm)
    difference = _first_difference(trimmed, shifted, len(shifted), START_TOLERANCE)
    if difference is None:
        return []
    return [
        f"{strategy.name}: decisions depend on where the data start: {difference.field} at bar "
        f"{_moment(region, shift + warm + difference.bar)} is {difference.value!r} or {difference.other!r}, "
        f"although the declared warm-up of {warm} bars had passed. Declare a longer warmup(params); parameters "
        f"{dict(params)}"
    ]
