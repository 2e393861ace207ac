"""Liquidity sweep: price pierces a level that many stops rest behind, on high volume, and comes back (R2.1).

At bar t, with the window W of the last reversal_candles + 1 bars:

    LONG when all hold, for some support L
        min low over W  <=  L (1 - pierce_depth)             the pierce
        max over W of volume / mean volume of 20 bars  >=  volume_spike_threshold
        close  >  L                                          the return
        bars of W with close > open  >=  reversal_candles    the confirmation
        close - L  <=  3 x median ATR                        the level is near
    stop = close - ATR m, target = close + ATR m R           m = atr_multiplier_sl, R = risk_reward_ratio
    SHORT mirrors on resistances, with highs and bearish closes

Supports are clusters (`levels.cluster_levels`) of at least min_level_touches swing lows among the last
key_level_lookback bars; a swing is used once the two bars after it have closed, so no signal knows the future.

Choices of our own: ATR is the rolling mean of 14 true ranges, its median is taken over the last
MEDIAN_WINDOW bars; a bar without volume is never a spike; without ATR there is no signal; when both sides fire at one
bar neither is traded, because the market has said nothing. The guard against quiet markets (ATR below 0.2 % of
price) is `min_atr_fraction`, off by default: hourly EUR/USD has an ATR of about 0.1 % and would never trade.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.space import Choice, Columns, FloatRange, Space
from lockstep.engine.entries import NO_LIMIT, EntryBatch
from lockstep.engine.signals import Signals
from lockstep.market.indicators import rolling_median, swing_highs, swing_lows
from lockstep.strategies import liquidity_kernels as kernels
from lockstep.strategies.base import Params
from lockstep.strategies.compiled import CompiledStrategy
from lockstep.strategies.levels import CONFIRM, cluster_levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.strategies.view import MarketView

ATR_PERIOD: Final = 14
VOLUME_PERIOD: Final = 20
MEDIAN_WINDOW: Final = 100
REACH: Final = 3.0
"""Levels further from price than this many median ATRs are ignored."""
_FIRST_BAR: Final = ATR_PERIOD + MEDIAN_WINDOW


@dataclass(frozen=True, kw_only=True)
class Features:
    """What every parameter set shares. Arrays have one value per bar, or one per swing."""

    spike_ratio: NDArray[np.float64]  # volume / mean volume, 0 where either is 0 or not yet known
    atr: NDArray[np.float64]
    reach: NDArray[np.float64]
    low_bars: NDArray[np.int64]
    high_bars: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class CandidateLists:
    """What all sets of a sweep share: bars that the loosest of them could trade, and the swings near each.

    reversals     int64 (w,): the values of reversal_candles that occur, ascending, a list of candidates for each
    list_offsets  int64 (w + 1,): list i is rows list_offsets[i] .. list_offsets[i + 1] - 1 of `candidates`
    """

    view: MarketView
    market: kernels.Market
    reversals: NDArray[np.int64]
    list_offsets: NDArray[np.int64]
    candidates: kernels.Candidates
    strips: kernels.Strips


class LiquiditySweep(CompiledStrategy):
    """The liquidity sweep in both directions; nine searched parameters (R2.1, R2.2)."""

    name = "LIQUIDITY_SWEEP"
    parameters = Space(
        {
            "pierce_depth": FloatRange(0.0005, 0.005),
            "volume_spike_threshold": FloatRange(1.5, 5.0),
            "reversal_candles": Choice((1, 2, 3, 4, 5)),
            "min_distance_from_level": FloatRange(0.0005, 0.003),
            "atr_multiplier_sl": FloatRange(1.0, 3.0),
            "risk_reward_ratio": FloatRange(1.5, 4.0),
            "max_holding_periods": Choice((30, 50, 75, 100, 150)),
            "key_level_lookback": Choice((50, 100, 150, 200)),
            "min_level_touches": Choice((2, 3, 4, 5)),
        }
    )
    defaults = MappingProxyType(
        {
            "pierce_depth": 0.002,
            "volume_spike_threshold": 2.0,
            "reversal_candles": 2,
            "min_distance_from_level": 0.001,
            "atr_multiplier_sl": 1.5,
            "risk_reward_ratio": 2.0,
            "max_holding_periods": 30,
            "key_level_lookback": 100,
            "min_level_touches": 3,
            "min_atr_fraction": 0.0,
        }
    )
    constraints = MappingProxyType(
        {
            "0 <= pierce_depth < 1": lambda p: (p["pierce_depth"] >= 0.0) & (p["pierce_depth"] < 1.0),
            "volume_spike_threshold > 0": lambda p: p["volume_spike_threshold"] > 0.0,
            "reversal_candles >= 1": lambda p: p["reversal_candles"] >= 1,
            "0 <= min_distance_from_level < 0.1": lambda p: (
                (p["min_distance_from_level"] >= 0.0) & (p["min_distance_from_level"] < 0.1)
            ),
            "atr_multiplier_sl > 0": lambda p: p["atr_multiplier_sl"] > 0.0,
            "risk_reward_ratio > 0": lambda p: p["risk_reward_ratio"] > 0.0,
            "1 <= max_holding_periods < 2**31 - 1": lambda p: (
                (p["max_holding_periods"] >= 1) & (p["max_holding_periods"] < NO_LIMIT)
            ),
            "5 <= key_level_lookback <= 1000000": lambda p: (
                (p["key_level_lookback"] >= 5) & (p["key_level_lookback"] <= 1_000_000)
            ),
            "min_level_touches >= 1": lambda p: p["min_level_touches"] >= 1,
        }
    )

    def warmup(self, params: Params) -> int:
        """Bars until swings, ATR median and volume mean see only full windows."""
        return _warmup(int(params["key_level_lookback"]), int(params["reversal_candles"]))

    def signals(self, view: MarketView, params: Params) -> Signals:
        """The plain twin: one bar at a time, as the rule reads. For sweeps the kernels find the same entries."""
        f = features(view)
        n = len(view)
        side = np.zeros(n, dtype=np.int8)
        stop, target = np.full(n, np.nan), np.full(n, np.nan)
        for t in range(self.warmup(params), n):
            if not (f.atr[t] > 0.0 and f.reach[t] > 0.0) or f.atr[t] < params["min_atr_fraction"] * view.close[t]:
                continue
            if _spike(f, params, t) < params["volume_spike_threshold"]:
                continue
            sides = [s for s in (1, -1) if self._sweeps(view, f, params, t, s)]
            # Both at once say nothing about a direction.
            if len(sides) == 1:
                side[t] = sides[0]
                stop[t], target[t] = _exits(view.close[t], f.atr[t], params, sides[0])
        return Signals(side=side, stop=stop, target=target, time_limit=int(params["max_holding_periods"]))

    def _sweeps(self, view: MarketView, f: Features, params: Params, t: int, side: int) -> bool:
        reversal, lookback = params["reversal_candles"], params["key_level_lookback"]
        window = slice(t - reversal, t + 1)
        if np.count_nonzero((view.close[window] - view.open[window]) * side > 0.0) < reversal:
            return False
        # An ATR too small to move the price leaves stop or target at the close, where no trade can begin.
        close, pierce = view.close[t], params["pierce_depth"]
        stop, target = _exits(close, f.atr[t], params, side)
        if (stop - close) * side >= 0.0 or (target - close) * side <= 0.0:
            return False
        # Stops of longs rest below lows, those of shorts above highs.
        prices, swings = (view.low, f.low_bars) if side > 0 else (view.high, f.high_bars)
        recent = swings[(swings > t - lookback) & (swings <= t - CONFIRM)]
        for level, touches in cluster_levels(prices[recent].tolist(), params["min_distance_from_level"]):
            if touches < params["min_level_touches"]:
                continue
            if side > 0:
                pierced = view.low[window].min() <= level * (1.0 - pierce)
            else:
                pierced = view.high[window].max() >= level * (1.0 + pierce)
            if pierced and (close - level) * side > 0.0 and (close - level) * side <= f.reach[t]:
                return True
        return False

    def prepare(self, view: MarketView, sets: Columns) -> CandidateLists:
        """Candidate bars for the loosest values among `sets`, once per distinct reversal_candles, and their swings."""
        f = features(view)
        n = len(view)
        market = kernels.Market(view.open, view.high, view.low, view.close, f.spike_ratio, f.atr, f.reach)
        # Few values occur, and each needs a list of candidates of its own.
        reversals = np.unique(sets["reversal_candles"].astype(np.int64))
        spike_min, pierce_min = float(sets["volume_spike_threshold"].min()), float(sets["pierce_depth"].min())
        room = kernels.Candidates(
            slot=np.empty(2 * n, np.int32),
            side=np.empty(2 * n, np.int8),
            extreme=np.empty(2 * n),
            spike=np.empty(2 * n),
            depth=np.empty(2 * n),
        )
        pieces: list[kernels.Candidates] = []
        # A list for each window length, since the window decides pierce and spike; all else the sets ask of a row.
        for reversal in reversals.tolist():
            first_bar = max(_FIRST_BAR, VOLUME_PERIOD + reversal)
            count = kernels.find_candidates(market, first_bar, reversal, spike_min, pierce_min, room)
            pieces.append(kernels.Candidates._make(column[:count].copy() for column in room))
        loosest = kernels.loosest_extremes(
            np.concatenate([piece.slot for piece in pieces]), np.concatenate([piece.extreme for piece in pieces]), n
        )
        lookback, distance = int(sets["key_level_lookback"].max()), float(sets["min_distance_from_level"].max())
        strips = kernels.collect_strips(loosest, market, f.low_bars, f.high_bars, CONFIRM, lookback, distance)
        # Fewer swings than the fewest touches form no level for any set.
        enough = np.diff(strips.offsets) >= int(sets["min_level_touches"].min())
        pieces = [kernels.Candidates._make(column[enough[piece.slot]] for column in piece) for piece in pieces]
        return CandidateLists(
            view=view,
            market=market,
            reversals=reversals,
            list_offsets=np.cumsum([0, *(piece.slot.size for piece in pieces)]).astype(np.int64),
            candidates=kernels.Candidates._make(np.concatenate(columns) for columns in zip(*pieces, strict=True)),
            strips=strips,
        )

    def entries(self, prepared: CandidateLists, sets: Columns, lo: int, hi: int) -> EntryBatch:
        """Entries of sets lo .. hi - 1; equal to those of `signals`."""
        mine = _kernel_sets({name: column[lo:hi] for name, column in sets.items()})
        which = np.searchsorted(prepared.reversals, sets["reversal_candles"][lo:hi])
        # Sets of one list together, so that its candidates are read once for all of them.
        members = np.argsort(which, kind="stable")
        readers = kernels.Readers(
            list_offsets=prepared.list_offsets,
            members=members,
            member_offsets=np.searchsorted(which[members], np.arange(prepared.reversals.size + 1)),
        )
        market, candidates = prepared.market, prepared.candidates
        hits = kernels.find_hits(market, candidates, prepared.strips, readers, mine)
        offsets, bar, side, stop, target, limit = kernels.write_entries(*hits, candidates, market, mine)
        return EntryBatch(offsets=offsets, bar=bar, side=side, stop=stop, target=target, time_limit=limit)


def _kernel_sets(columns: Columns) -> kernels.Sets:
    """Parameter columns (k,) of this family as the kernels read them."""
    reversal, lookback = columns["reversal_candles"], columns["key_level_lookback"]
    return kernels.Sets(
        pierce=_floats(columns["pierce_depth"]),
        spike=_floats(columns["volume_spike_threshold"]),
        distance=_floats(columns["min_distance_from_level"]),
        lookback=_whole(lookback),
        touches=_whole(columns["min_level_touches"]),
        # `_warmup` for all sets at once.
        warm=_whole(np.maximum(np.maximum(lookback + CONFIRM, VOLUME_PERIOD + reversal), _FIRST_BAR)),
        stop_atr=_floats(columns["atr_multiplier_sl"]),
        reward=_floats(columns["risk_reward_ratio"]),
        limit=_whole(columns["max_holding_periods"]),
        min_atr=_floats(columns["min_atr_fraction"]),
    )


def features(view: MarketView) -> Features:
    """The features of `view`, worked out once."""
    return view.once("liquidity_sweep", lambda: _features(view))


def _features(view: MarketView) -> Features:
    mean = view.mean_volume(VOLUME_PERIOD)
    atr = view.rolling_atr(ATR_PERIOD)
    # 0 rather than NaN where there is no volume: a bar without trades is never a spike.
    traded = (view.volume > 0.0) & (mean > 0.0)
    return Features(
        spike_ratio=np.divide(view.volume, mean, out=np.zeros(len(view)), where=traded),
        atr=atr,
        reach=REACH * rolling_median(atr, MEDIAN_WINDOW),
        low_bars=_pivots(swing_lows(view.low, CONFIRM)),
        high_bars=_pivots(swing_highs(view.high, CONFIRM)),
    )


def _pivots(swing_prices: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bars of the swings whose prices stand where each became known, CONFIRM bars later."""
    return np.flatnonzero(~np.isnan(swing_prices)) - CONFIRM


def _floats(column: NDArray[Any]) -> NDArray[np.float64]:
    return np.ascontiguousarray(column, dtype=np.float64)


def _whole(column: NDArray[Any]) -> NDArray[np.int64]:
    return np.ascontiguousarray(column, dtype=np.int64)


def _warmup(lookback: int, reversal: int) -> int:
    # A shorter warm-up would let decisions depend on where the data start.
    return max(lookback + CONFIRM, VOLUME_PERIOD + reversal, _FIRST_BAR)


def _spike(f: Features, params: Params, t: int) -> float:
    # Each bar beside its own mean, so that a spike does not vanish in the mean of the bar after it.
    return float(f.spike_ratio[t - params["reversal_candles"] : t + 1].max())


def _exits(close: float, atr: float, params: Params, side: int) -> tuple[float, float]:
    # In this order as in the kernel: another one would round otherwise.
    loss = side * (atr * params["atr_multiplier_sl"])
    return close - loss, close + loss * params["risk_reward_ratio"]
