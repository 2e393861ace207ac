"""Numbers in units of their own, rows in other orders, pages and tickers: read rightly, or refused in words."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.market.formats.files import BARS, DAYS, START, moment, rows, write

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles

HEADER = "date,open,high,low,close,volume"
HOUR = 3_600_000


def market(n: int = 40, *, gap: float = 0.0, price: float = 100.0) -> Candles:
    """Bars of a seeded walk; each opens at the close before it, but for gaps up to `gap` times a usual move."""
    draw = random.Random(7)
    out = []
    last = price
    for _ in range(n):
        first = last + gap * draw.uniform(-1, 1)
        last = first + draw.uniform(-1, 1)
        out.append(
            (first, max(first, last) + draw.random(), min(first, last) - draw.random(), last, draw.uniform(5, 9))
        )
    opens, highs, lows, closes, volumes = (np.round(column, 2) for column in zip(*out, strict=True))
    return Candles.from_arrays(
        timestamp=START + HOUR * np.arange(n), open=opens, high=highs, low=lows, close=closes, volume=volumes
    )


def in_32nds(price: float, sign: str) -> str:
    """110.515625 as 110'165: points, 32nds, and the first digit of what is left of a 32nd."""
    parts = round(price * 128)
    return f"{parts // 128}{sign}{parts % 128 // 4:02}{'0257'[parts % 4]}"


@pytest.mark.parametrize(
    ("form", "unit"),
    [
        (lambda price: in_32nds(price, "'"), "32nds"),
        (lambda price: in_32nds(price, "-"), "32nds"),
        (lambda price: in_32nds(price, "-")[:-1], "32nds"),
        (lambda price: in_32nds(price, "'")[:-1] + "+", "32nds"),
        (lambda price: f"{int(price)}'{int(price % 1 * 8)}", "eighths"),
    ],
)
def test_prices_in_parts_of_a_point_are_refused_and_the_decimals_are_right(
    tmp_path: Path, form: Callable[[float], str], unit: str
) -> None:
    lines = rows(market(), lambda t, o, h, low, c, v: [moment(t, "%Y-%m-%dT%H:%MZ"), *map(form, (o, h, low, c)), v])
    with pytest.raises(DataError, match=rf"all prices are such, as points and {unit} of a point are written"):
        load_candles(write(tmp_path / "a.csv", [HEADER, *lines]))


@pytest.mark.parametrize(
    ("cell", "price"),
    [("110'165", "110.515625"), ("110'16", "110.5"), ("110-16+", "110.515625"), ("110'167", "110.5234375"),
     ("110'161", "110.50390625"), ("110'168", "110.52734375"), ("110-16.25", "110.5078125"), ("445'6", "445.75")],
)  # fmt: skip
def test_the_message_says_what_a_price_in_parts_is_as_a_decimal(tmp_path: Path, cell: str, price: str) -> None:
    """110 + 16.5 / 32 = 110.515625; 445 + 6 / 8 = 445.75."""
    path = write(tmp_path / "a.csv", [HEADER, f"2024-03-01,{cell},{cell},{cell},{cell},7"])
    with pytest.raises(DataError, match=rf"this one as {price}(;|\.)"):
        load_candles(path)


def test_an_apostrophe_that_groups_digits_is_read_as_such_where_it_is_declared(tmp_path: Path) -> None:
    lines = [f"2024-03-{day:02},110'160,110'310,110'000,110'150,7" for day in range(1, 4)]
    path = write(tmp_path / "a.csv", [HEADER, *lines])
    with pytest.raises(DataError, match=r"where \"'\" groups digits, say so: decimal='\.'"):
        load_candles(path)
    assert load_candles(path, decimal=".").open.tolist() == [110_160.0] * 3
    # 110'490 is no count of 32nds: there are 49 of them.
    assert (
        load_candles(write(path, [HEADER, *lines, "2024-03-04,110'160,110'490,110'000,110'150,7"])).high[3] == 110_490
    )


@pytest.mark.parametrize(
    ("title", "power"),
    [("Volume (00s)", 2), ("Volume (K)", 3), ("Volume (000s)", 3), ("Volume in thousands", 3), ("Vol. (K)", 3),
     ("volume_k", 3),     ("Volume (M)", 6), ("Volume in millions", 6), ("Volume (Mio.)", 6), ("Volume (bn)", 9)],
)  # fmt: skip
@pytest.mark.parametrize("is_frame", [False, True])
def test_a_title_that_names_a_unit_of_the_volume_is_obeyed_and_told(
    tmp_path: Path, title: str, power: int, is_frame: bool
) -> None:
    """8.826 thousand is 8826, to the last bit; as floats 8.826 x 1000 is 8826.000000000002 or so."""
    cells = [8.826, 0.0, 1.001, 12.345]
    lines = [f"2024-03-0{day},10,11,9,10,{volume}" for day, volume in enumerate(cells, 1)]
    source: Any = write(tmp_path / "a.csv", [HEADER.replace("volume", title), *lines])
    if is_frame:
        import pandas as pd

        source = pd.read_csv(source)
    candles = load_candles(source)
    assert candles.volume.tolist() == [float(f"{cell}e{power}") for cell in cells]
    assert f"volume times {10**power:,}, as the title {title!r} says" in candles.format


def test_a_unit_in_the_title_and_in_the_cells_is_refused_and_the_cure_works(tmp_path: Path) -> None:
    lines = ["2024-03-01,10,11,9,10,8.8K", "2024-03-02,10,11,9,10,1.1M"]
    with pytest.raises(DataError, match="a volume has one unit"):
        load_candles(write(tmp_path / "a.csv", [HEADER.replace("volume", "Volume (K)"), *lines]))
    assert load_candles(write(tmp_path / "a.csv", [HEADER, *lines])).volume.tolist() == [8_800.0, 1_100_000.0]


@pytest.mark.parametrize("title", ["Volume (lots)", "Volume (contracts)"])
def test_lots_are_told(tmp_path: Path, title: str) -> None:
    lines = rows(DAYS, lambda t, *cells: [moment(t, "%Y-%m-%d"), *cells])
    candles = load_candles(write(tmp_path / "a.csv", [HEADER.replace("volume", title), *lines]))
    assert candles == DAYS
    assert "not in pieces" in candles.format


@pytest.mark.parametrize("step", [1, 5, 15])
def test_numbers_that_may_be_minutes_of_the_day_are_refused_and_both_cures_work(tmp_path: Path, step: int) -> None:
    """600 is 06:00 as digits of a clock and 10:00 as minutes; only the bar after 659 or 645 would tell."""
    minutes = range(0, 60, step)
    bars = [(f"{600 + minute}", f"06:{minute:02}", f"06{minute:02}") for minute in minutes]

    def path(name: str, at: int) -> Path:
        lines = [f"2024-03-01,{bar[at]},10,11,9,10,7" for bar in bars]
        return write(tmp_path / "a.csv", [f"date,{name},open,high,low,close,volume", *lines])

    with pytest.raises(DataError, match="could be times of day, 0600, or minutes since midnight"):
        load_candles(path("time", 0), timezone="UTC")
    clocks = [load_candles(path(*cure), timezone="UTC") for cure in (("hhmm", 0), ("time", 1), ("time", 2))]
    assert clocks[0] == clocks[1] == clocks[2]
    assert moment(int(clocks[0].timestamp[0]), "%H:%M") == "06:00"


@pytest.mark.parametrize("step", [1, 5, 30, 60, 120])
def test_a_session_that_crosses_an_hour_says_that_digits_are_a_clock(tmp_path: Path, step: int) -> None:
    clocks = [f"{minute // 60}{minute % 60:02}" for minute in range(540, 840, step)]
    lines = [f"2024-03-01,{clock},10,11,9,10,7" for clock in clocks]
    candles = load_candles(write(tmp_path / "a.csv", ["date,time,open,high,low,close,volume", *lines]), timezone="UTC")
    assert moment(int(candles.timestamp[0]), "%H:%M") == "09:00"
    assert np.unique(np.diff(candles.timestamp)).tolist() == [step * 60_000]


@pytest.mark.parametrize("is_newest_first", [False, True])
@pytest.mark.parametrize(
    "order",
    ["open high low close", "close high low open", "open close high low", "close open high low", "low high open close",
     "low high close open"],
)  # fmt: skip
def test_open_and_close_of_rows_without_names_are_told_apart_by_the_bar_before(
    tmp_path: Path, order: str, is_newest_first: bool
) -> None:
    bars = market()
    columns = [bars.timestamp.tolist(), *(getattr(bars, name).tolist() for name in order.split()), bars.volume.tolist()]
    lines = [list(line) for line in zip(*columns, strict=True)][:: -1 if is_newest_first else 1]
    candles = load_candles(write(tmp_path / "a.csv", [",".join(map(str, line)) for line in lines]))
    assert candles == bars
    assert "would fit the other way round" not in candles.format
    if not is_newest_first:
        assert load_candles(lines) == bars


def test_rows_that_tell_no_open_from_close_say_so(tmp_path: Path) -> None:
    bars = market(gap=30.0, price=500.0)
    lines = rows(bars, lambda *cells: cells)
    candles = load_candles(write(tmp_path / "a.csv", lines))
    assert candles == bars
    assert "open and close taken in the usual order: these rows would fit the other way round as well" in candles.format
    # Names leave no doubt.
    named = load_candles(write(tmp_path / "a.csv", ["timestamp,open,high,low,close,volume", *lines]))
    assert "other way round" not in (named.format or "")


def pages(symbol: str | None) -> list[dict[str, Any]]:
    records = [
        dict(zip(("t", "o", "h", "l", "c", "v"), row, strict=True))
        for row in zip(*(column.tolist() for column in BARS.columns().values()), strict=True)
    ]
    head = {} if symbol is None else {"ticker": symbol}
    return [{**head, "results": records[:60]}, {**head, "results": records[60:]}]


@pytest.mark.parametrize("symbol", [None, "X:BTCUSD"])
@pytest.mark.parametrize("is_lines", [False, True])
def test_pages_of_one_answer_are_not_half_read_and_the_cures_read_all(
    tmp_path: Path, symbol: str | None, is_lines: bool
) -> None:
    both = pages(symbol)
    text = "\n".join(map(json.dumps, both)) if is_lines else json.dumps(both)
    path = write(tmp_path / "a.json", [text])
    for asked in (None, symbol):
        with pytest.raises(DataError, match=r"found 2 of one market, as pages of an answer are: '\[0\] results'"):
            load_candles(path, symbol=asked)
    files = [write(tmp_path / f"page{number}.json", [json.dumps(page)]) for number, page in enumerate(both)]
    assert load_candles(files) == BARS
    assert load_candles({**both[0], "results": both[0]["results"] + both[1]["results"]}) == BARS


def test_pages_of_one_market_beside_another_leave_the_other_readable() -> None:
    document = {"BTC": pages(None), "ETH": pages(None)[0]}
    assert load_candles(document, symbol="ETH") == BARS.head(60)
    with pytest.raises(DataError, match="found 2 of one market"):
        load_candles(document, symbol="BTC")


def of_htx(bars: Candles) -> list[dict[str, float]]:
    """`amount` counts pieces, `vol` money: pieces times a price of the bar."""
    return [
        {"id": t // 1_000, "open": o, "close": c, "low": low, "high": h, "amount": v, "vol": v * (h + low) / 2}
        for t, o, h, low, c, v in zip(*(column.tolist() for column in bars.columns().values()), strict=True)
    ]


@pytest.mark.parametrize("form", ["json", "csv"])
def test_pieces_and_money_are_told_apart_by_the_price_and_refused_where_it_is_one(tmp_path: Path, form: str) -> None:
    def load(bars: Candles, **options: Any) -> Candles:
        records = of_htx(bars)
        if form == "json":
            return load_candles(write(tmp_path / "a.json", [json.dumps({"status": "ok", "data": records})]), **options)
        names = ["time", *list(records[0])[1:]]
        return load_candles(
            write(tmp_path / "a.csv", [",".join(names), *(",".join(map(str, r.values())) for r in records)]), **options
        )

    assert load(market()) == market()
    coin = Candles.from_arrays(
        **{
            name: np.round(1 + (column - 100) * 1e-5, 7) if name in ("open", "high", "low", "close") else column
            for name, column in market().columns().items()
        }
    )
    with pytest.raises(DataError, match=r"at prices about 1 nothing tells which\. Say it: columns=.* 'amount'"):
        load(coin)
    assert load(coin, columns={"volume": "amount"}) == coin


@pytest.mark.parametrize(
    ("one", "other"),
    [("600519.csv", "000001.csv"), ("0700.HK.csv", "9988.HK.csv"), ("2001.T.csv", "2002.T.csv"),
     ("sh600519_2023.csv", "sh600036_2024.csv"), ("300750.SZ.csv", "300059.SZ.csv")],
)  # fmt: skip
def test_numbers_that_are_tickers_are_not_taken_for_dates_of_one_market(tmp_path: Path, one: str, other: str) -> None:
    lines = ["timestamp,open,high,low,close,volume", *rows(DAYS, lambda *cells: cells)]
    parts = [write(tmp_path / one, lines[:16]), write(tmp_path / other, [lines[0], *lines[16:]])]
    with pytest.raises(DataError, match="whose names differ in more than dates"):
        load_candles(tmp_path / "*.csv")
    assert load_candles(parts) == DAYS


@pytest.mark.parametrize(
    ("one", "other"),
    [("2023.csv", "2024.csv"), ("202301.csv", "202302.csv"), ("20240101.csv", "20240116.csv"),
     ("600519_2023.csv", "600519_2024.csv"), ("part-00001.csv", "part-00002.csv"),
     ("SBER_240101_240115.csv", "SBER_240116_240131.csv")],
)  # fmt: skip
def test_dates_and_numbers_of_parts_are_none_of_these(tmp_path: Path, one: str, other: str) -> None:
    lines = ["timestamp,open,high,low,close,volume", *rows(DAYS, lambda *cells: cells)]
    write(tmp_path / one, lines[:16])
    write(tmp_path / other, [lines[0], *lines[16:]])
    assert load_candles(tmp_path / "*.csv") == DAYS


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_volume_that_is_money_gives_way_to_the_pieces_beside_it(tmp_path: Path, form: str) -> None:
    """Poloniex of old: `volume` is money, `quoteVolume` pieces. Of Binance's names the first counts pieces."""

    def load(one: str, other: str) -> Candles:
        records = [
            {"date": r["id"], **{k: r[k] for k in ("open", "high", "low", "close")}, one: r["vol"], other: r["amount"]}
            for r in of_htx(market())
        ]
        if form == "json":
            return load_candles(write(tmp_path / "a.json", [json.dumps(records)]))
        lines = [",".join(records[0]), *(",".join(map(str, record.values())) for record in records)]
        return load_candles(write(tmp_path / "a.csv", lines))

    assert load("volume", "quoteVolume") == market()
    assert load("quoteVolume", "volume") == market()


def test_raw_prices_of_databento_are_refused_and_the_cure_is_right(tmp_path: Path) -> None:
    """Whole numbers of a billionth: 100.25 is 100250000000."""
    names = "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol"

    def path(price: Callable[[float], object]) -> Path:
        lines = rows(market(), lambda t, o, h, low, c, v: [t * 10**6, 34, 1, 5, *map(price, (o, h, low, c)), v, "ESH4"])
        return write(tmp_path / "a.csv", [names, *lines])

    with pytest.raises(DataError, match=r"count billionths of the currency; found \d+, which is 100\.0\."):
        load_candles(path(lambda price: round(price * 1e9)))
    assert load_candles(path(lambda price: f"{price:.9f}")) == market()


@pytest.mark.parametrize("contracts", [100, 1])
def test_contracts_of_a_future_give_way_to_the_pieces_beside_them(tmp_path: Path, contracts: int) -> None:
    """OKX: 100 contracts a piece; of a spot pair `vol` counts pieces, and both others money."""
    spot = contracts == 1

    def row(t: int, o: float, h: float, low: float, c: float, v: float) -> list[object]:
        money = v * (h + low) / 2
        return ["BTC", o, h, low, c, v * contracts, money if spot else v, money, t, 1]

    lines = ["instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm", *rows(market(), row)]
    assert load_candles(write(tmp_path / "a.csv", lines)) == market()


def test_bars_of_bitmex_are_told_to_have_the_time_of_their_close(tmp_path: Path) -> None:
    names = "timestamp,symbol,open,high,low,close,trades,volume,vwap,lastSize,turnover,homeNotional,foreignNotional"
    lines = rows(market(), lambda t, o, h, low, c, v: [t + HOUR, "XBTUSD", o, h, low, c, 9, v, o, 1, 1, 1, 1])
    path = write(tmp_path / "a.csv", [names, *lines])
    assert "time at which it closes, which stamp='close' is for" in load_candles(path).format
    assert load_candles(path, stamp="close") == market()


@pytest.mark.parametrize("factor", [1, 60])
def test_minutes_and_seconds_since_midnight_get_their_cure(tmp_path: Path, factor: int) -> None:
    lines = [f"2024-03-01,{hour * 60 * factor},10,11,9,10,7" for hour in range(24)]
    with pytest.raises(DataError, match="where it counts minutes or seconds since midnight, write it as 09:30"):
        load_candles(write(tmp_path / "a.csv", ["date,time,open,high,low,close,volume", *lines]), timezone="UTC")


@pytest.mark.parametrize("title", ["Volume_b", "Volume B", "VOLUME_TH", "Volume_1000", "Volume Pilot Slots"])
def test_titles_that_may_mean_something_else_scale_nothing(tmp_path: Path, title: str) -> None:
    lines = rows(DAYS, lambda t, *cells: [moment(t, "%Y-%m-%d"), *cells])
    candles = load_candles(
        write(tmp_path / "a.csv", [HEADER.replace("volume", title), *lines]), columns={"volume": title}
    )
    assert candles == DAYS
    assert "volume times" not in candles.format
    assert "in lots" not in candles.format


def stamps(form: str, n: int) -> list[str]:
    return [moment(START + HOUR * k, form).replace(" 0", " ").replace("/0", "/").replace("-0", "-") for k in range(n)]


@pytest.mark.parametrize(
    "texts",
    [[f"2023/{9 + k // 28}/{1 + k % 28}" for k in range(100)], [f"2023-9-{k}" for k in range(5, 16)],
     stamps("%Y-%m-%d %H:%M", 40), [f"2023-01-05 {9 + k // 60}:{k % 60:02}" for k in range(120)],
     [f"2023-01-05 {(11 + k // 60 - 1) % 12 + 1:02}:{k % 60:02} {'AM' if k < 60 else 'PM'}" for k in range(30, 130)]],
    ids=["slashes", "days", "hours", "minutes", "half days"],
)  # fmt: skip
def test_times_whose_texts_have_another_order_turn_no_rows_round(tmp_path: Path, texts: list[str]) -> None:
    """2023-9-15 stands before 2023-9-5 as a text; the rows rise all the same."""
    bars = market(len(texts))
    lines = [
        f"{text},{o},{h},{low},{c},{v}" for text, (_, o, h, low, c, v) in zip(texts, columns_of(bars), strict=True)
    ]
    candles = load_candles(write(tmp_path / "a.csv", lines), timezone="UTC")
    assert candles.open.tolist() == bars.open.tolist()
    assert candles.close.tolist() == bars.close.tolist()
    assert "open and close taken in the usual order" in candles.format
    assert "the other way round" not in candles.format


def columns_of(bars: Candles) -> list[tuple[Any, ...]]:
    return list(zip(*(column.tolist() for column in bars.columns().values()), strict=True))


@pytest.mark.parametrize("is_metatrader", [False, True])
def test_opens_and_closes_read_the_other_way_round_are_told(tmp_path: Path, is_metatrader: bool) -> None:
    bars = market()
    form = "%Y.%m.%d,%H:%M" if is_metatrader else "%Y-%m-%d %H:%M:%S"
    lines = [f"{moment(t, form)},{c},{h},{low},{o},{v}" for t, o, h, low, c, v in columns_of(bars)]
    candles = load_candles(write(tmp_path / "a.csv", lines), timezone="UTC")
    assert candles == bars
    assert "prices in the order close, high, low, open: so each bar opens near the close before it" in candles.format


def test_times_of_day_in_the_first_minutes_of_a_day_are_read_by_their_zeros(tmp_path: Path) -> None:
    lines = [f"2024-01-02,00{minute:02},1,3,1,2,5" for minute in range(24)]
    path = write(tmp_path / "a.csv", ["Date,HHMM,open,high,low,close,volume", *lines])
    assert np.diff(load_candles(path, timezone="UTC").timestamp).tolist() == [60_000] * 23


def test_a_few_quiet_bars_turn_no_rows_round(tmp_path: Path) -> None:
    """Two of eight bars move, and both back to where the next one opens: too little to say that all are turned."""
    prices = [(5.0, 4.0), (5.2, 5.2), (5.3, 5.3), (5.4, 5.4), (5.4, 5.4), (5.5, 5.4), (5.4, 5.4), (5.9, 5.4)]
    lines = [f"{START + HOUR * k},{o},{max(o, c)},{min(o, c)},{c},{k + 1.5}" for k, (o, c) in enumerate(prices)]
    candles = load_candles(write(tmp_path / "a.csv", lines))
    assert candles.open.tolist() == [o for o, _ in prices]
