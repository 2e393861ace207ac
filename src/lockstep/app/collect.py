"""Collect the episodes of a market into a book on disk, from which `kind = "cnn-episodes"` trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from lockstep.app.data import candles_of
from lockstep.core.errors import InputError, RefusedError
from lockstep.core.units import parse_timeframe
from lockstep.kinds.cnn_episodes.kind import BOOK_FOLDER

if TYPE_CHECKING:
    from lockstep.episodes.episode import TrainingEpisode
    from lockstep.episodes.outcomes import OutcomeRules
    from lockstep.episodes.packages.build import PackagePlan
    from lockstep.episodes.packages.package import PackageRules
    from lockstep.episodes.report import CollectionReport
    from lockstep.market.candles import Candles
    from lockstep.market.orderbook import Trades

ENOUGH: Final = 0.7
"""Score from which an episode teaches unless a spec says otherwise (R9.18)."""
_BEST: Final = 5


@dataclass(frozen=True, kw_only=True)
class CollectedBook:
    """What was collected, and where it is.

    folder        of the book
    timeframes    of the bars in a package
    first, last   moments of decision, milliseconds UTC; None where no episode came of it
    report        counts
    outcomes      how profit was measured
    enough        validated episodes with a score of at least .7
    best          the episodes with the highest scores, as they would be chosen; they carry no packages
    """

    folder: Path
    symbol: str
    timeframes: tuple[str, ...]
    first: int | None
    last: int | None
    report: CollectionReport
    outcomes: OutcomeRules
    enough: int
    best: tuple[TrainingEpisode, ...]

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        rules = self.outcomes
        return {
            "folder": str(self.folder),
            "symbol": self.symbol,
            "timeframes": list(self.timeframes),
            "first": self.first,
            "last": self.last,
            "horizon_s": rules.horizon_s,
            "round_trip_cost": rules.round_trip_cost,
            "target_profit": rules.target_profit,
            **self.report.to_json(),
            "enough": self.enough,
            "best": [
                {
                    "episode_id": one.episode_id,
                    "created_at": one.created_at,
                    "profitability_score": one.score,
                    "actual_profit": one.outcome.actual_profit,
                    "priority": one.priority,
                    "is_rapid_change": one.is_rapid_change,
                }
                for one in self.best
            ],
        }


def collect_book(
    source: str,
    *,
    home: Path,
    snapshots: Path,
    symbol: str | None = None,
    timeframe: str | None = None,
    longer: Sequence[str] = (),
    last: int | None = None,
    trades: Path | None = None,
    depth: Path | None = None,
    window: int | None = None,
    max_missing_bars: int | None = None,
    horizon_s: float | None = None,
    cost: float | None = None,
    target: float | None = None,
    min_completeness: float | None = None,
    out: Path | None = None,
) -> CollectedBook:
    """Packages, outcomes and premium marks of one market as a book in `out`, by default `episodes` of the home.

    source              a file of candles, "sample", or a snapshot's digest
    longer              timeframes that packages hold beside the candles' own, made from these
    trades, depth       Parquet files of the same market
    horizon_s ...       see `episodes.outcomes.OutcomeRules`
    max_missing_bars, window   see `episodes.packages.build.PackagePlan`

    The book is there whole or not at all. Raises RefusedError where there is one, the InputError tree, DiskError.
    """
    from lockstep.episodes.collect import collect_episodes, outcome_rules_for
    from lockstep.episodes.packages.build import PackagePlan
    from lockstep.episodes.packages.package import DEFAULT_RULES
    from lockstep.episodes.store import INDEX
    from lockstep.market.orderbook import load_depth, load_trades
    from lockstep.market.resampling import resample

    folder = home / BOOK_FOLDER if out is None else out.expanduser()
    if (folder / INDEX).exists():
        raise RefusedError(
            f"{folder}: there is a book of episodes already, and it is not written over. Choose another folder with "
            "--out, or remove this one."
        )
    candles = _candles(source, snapshots, symbol=symbol, timeframe=timeframe, last=last)
    if not candles.symbol:
        raise InputError(f'{source}: these candles bear no symbol. Say whose they are: --symbol "BTC/USDT", say.')
    by_timeframe = {candles.timeframe: candles}
    for name in longer:
        if parse_timeframe(name) <= candles.timeframe_ms:
            raise InputError(f"--longer {name}: bars longer than the candles' own {candles.timeframe}. Leave it out.")
        by_timeframe[name] = resample(candles, name)
    plan = PackagePlan(symbol=candles.symbol, timeframes=tuple(by_timeframe))
    measure = _with(
        outcome_rules_for(candles.timeframe_ms), horizon_s=horizon_s, round_trip_cost=cost, target_profit=target
    )
    facts = None if trades is None else _overlapping(load_trades(trades), candles, trades)
    book = collect_episodes(
        by_timeframe,
        plan=_with(plan, window=window, max_missing_bars=max_missing_bars),
        trades=facts,
        depth=None if depth is None else load_depth(depth),
        outcomes=measure,
        rules=_with(DEFAULT_RULES, min_completeness=min_completeness),
        folder=folder,
    )
    if book.report is None:
        raise RuntimeError("a collection reports what it counted")
    moments = book.column("created_at")
    chosen = book.profitable_rows(plan.symbol, min_profitability=ENOUGH, max_episodes=None)
    return CollectedBook(
        folder=folder,
        symbol=plan.symbol,
        timeframes=plan.timeframes,
        first=int(moments.min()) if len(book) else None,
        last=int(moments.max()) if len(book) else None,
        report=book.report,
        outcomes=measure,
        enough=chosen.size,
        best=tuple(book.profitable(plan.symbol, min_profitability=0.0, max_episodes=_BEST)),
    )


def _candles(source: str, snapshots: Path, *, symbol: str | None, timeframe: str | None, last: int | None) -> Candles:
    """The candles, under the user's name for their market where one was given. Raises InputError, DataError."""
    candles = candles_of(source, snapshots=snapshots, timeframe=timeframe)
    if timeframe is not None and parse_timeframe(timeframe) != candles.timeframe_ms:
        raise InputError(f"--timeframe {timeframe}: {source} holds bars of {candles.timeframe}. Leave it out.")
    candles = candles if last is None else candles.tail(last)
    return candles if symbol is None else replace(candles, symbol=symbol)


def _overlapping(trades: Trades, candles: Candles, path: Path) -> Trades:
    """Trades of another time would leave every outcome open. Raises InputError."""
    first, last = int(candles.timestamp[0]), int(candles.close_time[-1])
    if not ((trades.timestamp >= first) & (trades.timestamp <= last)).any():
        spans = [(first, last)] + ([(int(trades.timestamp[0]), int(trades.timestamp[-1]))] if len(trades) else [])
        told = " and ".join(f"{np.datetime64(start, 'ms')} to {np.datetime64(stop, 'ms')}" for start, stop in spans)
        raise InputError(
            f"{path}: trades are of the candles' time, or no outcome is ever known; found candles and trades of {told} "
            "(UTC). Give those of one time."
        )
    return trades


Rules = TypeVar("Rules", "OutcomeRules", "PackagePlan", "PackageRules")


def _with(rules: Rules, **given: Any) -> Rules:
    """The rules with what the user said."""
    return replace(rules, **{name: value for name, value in given.items() if value is not None})
