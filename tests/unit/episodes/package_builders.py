"""Packages of a test's market, in batch and one by one as events come."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np
from tests.unit.market.depth_feeds import feed

from lockstep.core.units import parse_timeframe
from lockstep.episodes.packages.batch import PackageBatch, concatenated
from lockstep.episodes.packages.build import PackagePlan, build_packages
from lockstep.episodes.packages.package import ModelInputPackage
from lockstep.episodes.packages.stream import PackageBuilder

OHLCV: Final = ("open", "high", "low", "close", "volume")


def streamed(plan: PackagePlan, given: dict[str, Any], moments: Any, *, with_feeds: bool) -> list[ModelInputPackage]:
    """The packages of a builder that is given every event when it is known, and none before."""
    builder = PackageBuilder(plan, trades=with_feeds, depth=with_feeds)
    bars = {
        name: deque(zip(*(getattr(table, key).tolist() for key in ("timestamp", *OHLCV)), strict=True))
        for name, table in given["candles"].items()
    }
    trades, waiting = deque(), deque()
    if with_feeds:
        t = given["trades"]
        columns = (t.trade_id, t.timestamp, t.price, t.quantity, t.side)
        trades = deque(zip(*(column.tolist() for column in columns), strict=True))
        waiting = deque(given["messages"])
    made = []
    for moment in np.asarray(moments).tolist():
        sent_by = moment - plan.latency_ms
        for name, rows in bars.items():
            while rows and rows[0][0] + parse_timeframe(name) <= sent_by:
                builder.add_candle(name, *rows.popleft())
        while trades and trades[0][1] <= sent_by:
            builder.add_trade(*trades.popleft())
        while waiting and waiting[0].exchange_ms <= sent_by:
            builder.add_depth(waiting.popleft())
        made.append(builder.package(moment))
    return made


def built(
    plan: PackagePlan, given: dict[str, Any], moments: Any = None, *, with_feeds: bool, **options: Any
) -> PackageBatch:
    feeds = {"trades": given["trades"], "depth": feed(given["messages"])} if with_feeds else {}
    return concatenated(list(build_packages(plan, given["candles"], moments=moments, **feeds, **options)))
