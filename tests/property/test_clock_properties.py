"""Bars of any local clock: no view shows one before it has closed, and no decision is taken after its own bar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from lockstep.market.candles import Candles
from lockstep.market.clock import close_bounds
from lockstep.market.resampling import align_asof
from lockstep.strategies.inputs import Events, EventSeries, OwnCandles
from lockstep.strategies.view import MarketView

HOUR = 3_600_000
DAY = 24 * HOUR
# Zones whose clock jumps by an hour today; a few jump by half an hour or two, and some not at all.
ZONES = sorted(
    zone for zone in available_timezones() if "/" in zone and zone not in ("Antarctica/Troll", "Antarctica/Vostok")
)
SPANS = ("day", "week", "month")


def instant(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) * 1000


def local_opens(zone: str, span: str, first: date, count: int, hour: int) -> list[int]:
    """Opens of `count` bars and the close of the last: local times turned to UTC one by one."""
    out = []
    day = first
    for _ in range(count + 1):
        out.append(instant(datetime(day.year, day.month, day.day, hour, tzinfo=ZoneInfo(zone))))
        if span == "month":
            day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        else:
            day += timedelta(days=1 if span == "day" else 7)
    return out


def bars(opens: list[int], timeframe_ms: int) -> Candles:
    price = 100.0 + np.arange(len(opens))
    return Candles(
        timestamp=np.array(opens, np.int64), open=price, high=price, low=price, close=price, volume=price,
        timeframe_ms=timeframe_ms,
    )  # fmt: skip


clocks = st.tuples(
    st.sampled_from(ZONES),
    st.sampled_from(SPANS),
    st.dates(date(2012, 1, 1), date(2035, 1, 1)),
    st.integers(4, 30),
    st.sampled_from((0, 17)),
)


@given(clock=clocks, dropped=st.sets(st.integers(0, 29), max_size=3), base_hours=st.sampled_from((1, 3)))
@example(("America/New_York", "day", date(2024, 10, 30), 6, 0), set(), 1)
@example(("Europe/London", "day", date(2024, 10, 24), 4, 0), set(), 1)
@example(("America/New_York", "week", date(2024, 10, 20), 6, 0), {3}, 1)
@example(("Australia/Lord_Howe", "day", date(2024, 4, 1), 9, 0), set(), 1)
def test_no_view_shows_a_local_bar_before_it_has_closed(
    clock: tuple[str, str, date, int, int], dropped: set[int], base_hours: int
) -> None:
    zone, span, first, count, hour = clock
    first = first.replace(day=1) if span == "month" else first
    edges = local_opens(zone, span, first, count, hour)
    rows = [row for row in range(count) if row not in dropped]
    if len(rows) < 2 or not usable(edges, span):
        return
    length = {"day": DAY, "week": 7 * DAY, "month": 31 * DAY}[span]
    higher = bars([edges[row] for row in rows], length)
    step = base_hours * HOUR
    start = edges[0] // step * step
    stop = edges[-1] + 2 * DAY
    # Around each close is where a bar could be seen too early; elsewhere nothing changes.
    near = np.unique(
        np.concatenate([np.arange((edge - 3 * HOUR) // step * step, edge + 3 * HOUR, step) for edge in edges])
    )
    base = bars(near[(near >= start) & (near < stop)].tolist(), step)
    seen = MarketView(base, {"h": OwnCandles()}, {"h": higher})["h"].index
    closes = np.array([edges[row + 1] for row in rows])
    for at, row in enumerate(seen.tolist()):
        assert row == -1 or closes[row] <= base.close_time[at]
    # And none is held back for more than the hour that a clock may jump, but for months that nothing follows.
    adjacent = [place for place, row in enumerate(rows[:-1]) if rows[place + 1] == row + 1]
    assert higher.close_time[adjacent].tolist() == closes[adjacent].tolist()
    # What is seen does not depend on what follows.
    cut = len(base) // 2 + 1
    window = MarketView(base, {"h": OwnCandles()}, {"h": higher}).window(0, cut)
    assert window["h"].index.tolist() == seen[:cut].tolist()


@given(clock=clocks, dropped=st.sets(st.integers(0, 29), max_size=3))
@example(("America/New_York", "day", date(2024, 3, 6), 5, 0), set())
@example(("America/New_York", "day", date(2024, 3, 8), 4, 0), {2, 3})
def test_a_decision_at_a_local_bar_knows_nothing_from_after_its_close(
    clock: tuple[str, str, date, int, int], dropped: set[int]
) -> None:
    zone, span, first, count, hour = clock
    first = first.replace(day=1) if span == "month" else first
    edges = local_opens(zone, span, first, count, hour)
    rows = [row for row in range(count) if row not in dropped]
    if len(rows) < 2 or not usable(edges, span) or not tells_its_clock(edges, rows, span):
        return
    base = bars([edges[row] for row in rows], {"day": DAY, "week": 7 * DAY, "month": 31 * DAY}[span])
    closes = np.array([edges[row + 1] for row in rows])
    moments = np.sort(np.concatenate([closes + 1, closes, closes + HOUR // 2, closes - HOUR // 2]))
    events = Events(timestamp=moments, columns={"at": moments.astype(np.float64)})
    known = MarketView(base, {"e": EventSeries("at")}, {"e": events})["e"]["at"]
    assert np.all(~(known > closes))
    # A part of the series sees the same as the whole, its last bar too.
    for cut in range(1, len(base)):
        part = MarketView(base.head(cut), {"e": EventSeries("at")}, {"e": events})["e"]["at"]
        np.testing.assert_array_equal(part, known[:cut])


@given(clock=clocks)
def test_a_series_is_never_seen_ahead_of_itself(clock: tuple[str, str, date, int, int]) -> None:
    zone, span, first, count, hour = clock
    first = first.replace(day=1) if span == "month" else first
    edges = local_opens(zone, span, first, count, hour)
    if not usable(edges, span):
        return
    series = bars(edges[:-1], {"day": DAY, "week": 7 * DAY, "month": 31 * DAY}[span])
    early, late = close_bounds(series.timestamp, series.timeframe_ms)
    assert np.all(early <= late)
    assert align_asof(series, series)[:-1].tolist() == list(range(len(series) - 1))


def usable(edges: list[int], span: str) -> bool:
    """Whether the zone did nothing but summer time: it may change its zone, or leave a day out."""
    steps = np.diff(edges)
    if span == "month":
        return bool(np.all((steps >= 28 * DAY - HOUR) & (steps <= 31 * DAY + HOUR)))
    return bool(np.all(np.abs(steps - (DAY if span == "day" else 7 * DAY)) <= HOUR))


def tells_its_clock(edges: list[int], rows: list[int], span: str) -> bool:
    """Whether the rows' times show a local clock, where their last bar is one that a clock change made shorter.

    The days of a winter in London lie on the midnights of UTC; that their last day has 23 hours is nowhere written.
    """
    if span == "month" or edges[rows[-1] + 1] - edges[rows[-1]] >= (DAY if span == "day" else 7 * DAY):
        return True
    return edges[rows[-1]] % DAY != 0 or any(np.diff([edges[row] for row in rows]) % DAY)
