"""Answers of servers that send candles, as their documentation shows them: hours or days of `files`."""

from __future__ import annotations

from typing import Any

from tests.unit.market.formats.files import BARS, DAYS, HOUR, moment

Row = tuple[int, float, float, float, float, float]
HOURS: list[Row] = [tuple(row) for row in zip(*(v.tolist() for v in BARS.columns().values()), strict=True)]
ROWS_OF_DAYS: list[Row] = [tuple(row) for row in zip(*(v.tolist() for v in DAYS.columns().values()), strict=True)]
NAMES = ("open", "high", "low", "close", "volume")
NEWEST_FIRST = HOURS[::-1]
ISO = "%Y-%m-%dT%H:%M:%S"


def money(row: Row) -> float:
    """What the pieces of a bar cost, at a price of it."""
    return row[5] * (row[2] + row[3]) / 2


def texts(*values: object) -> list[str]:
    return [str(value) for value in values]


def numbered(row: Row) -> dict[str, str]:
    return dict(zip(("1. open", "2. high", "3. low", "4. close", "5. volume"), texts(*row[1:]), strict=True))


def named(row: Row, **more: Any) -> dict[str, Any]:
    return {**more, **dict(zip(("open", "high", "low", "close", "volume"), texts(*row[1:]), strict=True))}


def of_oanda(row: Row, *sides: str) -> dict[str, Any]:
    """The volume counts price changes; mid is our bar, bid one below."""
    prices = {
        side: dict(zip("ohlc", texts(*(price - (side == "bid") for price in row[1:5])), strict=True)) for side in sides
    }
    return {"complete": True, "volume": row[5], "time": moment(row[0], ISO) + ".000000000Z", **prices}


def of_okx(row: Row, *, is_future: bool = False, confirm: str = "1") -> list[str]:
    amounts = (row[5] * 100, row[5], money(row)) if is_future else (row[5], money(row), money(row))
    return texts(*row[:5], *amounts, confirm)


def chart(rows: list[Row]) -> dict[str, Any]:
    sides = {name: [row[at] for row in rows] for at, name in enumerate(("open", "high", "low", "close", "volume"), 1)}
    return {
        "meta": {"symbol": "AAPL", "exchangeTimezoneName": "America/New_York"},
        "timestamp": [row[0] // 1_000 for row in rows],
        "indicators": {"quote": [sides], "adjclose": [{"adjclose": [row[4] / 2 for row in rows]}]},
    }


def alpha_vantage(rows: list[Row], form: str, zone: str) -> dict[str, Any]:
    return {
        "Meta Data": {"1. Information": "Prices", "2. Symbol": "IBM", "5. Time Zone": zone},
        "Time Series": {moment(row[0], form): numbered(row) for row in reversed(rows)},
    }


def kraken(last: int) -> dict[str, Any]:
    """The last row is the bar that is not over yet; `last` is when the one before it began."""
    rows = [[row[0] // 1_000, *texts(*row[1:5], row[3], row[5]), 4] for row in HOURS]
    return {"error": [], "result": {"XXBTZUSD": rows, "last": HOURS[last][0] // 1_000}}


HOURLY: dict[str, Any] = {
    "Alpha Vantage, of UTC": alpha_vantage(HOURS, "%Y-%m-%d %H:%M:%S", "UTC"),
    "OANDA": {"instrument": "EUR_USD", "granularity": "H1", "candles": [of_oanda(row, "mid") for row in HOURS]},
    "OANDA, three prices": {
        "instrument": "EUR_USD", "granularity": "H1", "candles": [of_oanda(row, "bid", "mid", "ask") for row in HOURS],
    },
    "Deribit": {
        "jsonrpc": "2.0",
        "result": {
            "status": "ok", "ticks": [row[0] for row in HOURS], "cost": [money(row) for row in HOURS],
            **{name: [row[at] for row in HOURS] for at, name in enumerate(NAMES, 1)},
        },
        "usIn": 1, "usOut": 2, "usDiff": 1,
    },
    "OKX, spot": {"code": "0", "msg": "", "data": [of_okx(row) for row in NEWEST_FIRST]},
    "OKX, future": {"code": "0", "msg": "", "data": [of_okx(row, is_future=True) for row in NEWEST_FIRST]},
    "Bybit, linear": {
        "retCode": 0, "retMsg": "OK",
        "result": {"symbol": "BTCUSDT", "list": [texts(*row, money(row)) for row in NEWEST_FIRST]},
    },
    "Bybit, inverse": {
        "retCode": 0, "retMsg": "OK",
        "result": {"symbol": "BTCUSD", "list": [texts(*row[:5], money(row), row[5]) for row in NEWEST_FIRST]},
    },
    "Bitget": {"code": "00000", "data": [texts(*row, money(row), money(row)) for row in HOURS]},
    "KuCoin": {
        "code": "200000",
        "data": [texts(t // 1_000, o, c, h, low, v, v * (h + low) / 2) for t, o, h, low, c, v in NEWEST_FIRST],
    },
    "Coinbase": [[t // 1_000, low, h, o, c, v] for t, o, h, low, c, v in NEWEST_FIRST],
    "Coinbase, advanced": {"candles": [named(row, start=str(row[0] // 1_000)) for row in NEWEST_FIRST]},
    "Bitfinex": [[t, o, c, h, low, v] for t, o, h, low, c, v in NEWEST_FIRST],
    "Gate": [texts(t // 1_000, v * (h + low) / 2, c, h, low, o, v, "true") for t, o, h, low, c, v in HOURS],
    "MEXC": [[row[0], *texts(*row[1:]), row[0] + HOUR - 1, str(money(row))] for row in HOURS],
    "HTX": {
        "ch": "market.btcusdt.kline.60min", "status": "ok",
        "data": [
            {"id": t // 1_000, "open": o, "close": c, "low": low, "high": h, "amount": v, "vol": v * (h + low) / 2,
             "count": 5}
            for t, o, h, low, c, v in NEWEST_FIRST
        ],
    },
    "XT": {
        "rc": 0,
        "result": [
            {"t": t, "o": str(o), "c": str(c), "h": str(h), "l": str(low), "q": str(v), "v": str(v * (h + low) / 2)}
            for t, o, h, low, c, v in HOURS
        ],
    },
    "Kraken": kraken(-1),
    "CryptoCompare": {
        "Response": "Success",
        "Data": {
            "TimeFrom": 1,
            "Data": [
                {"time": t // 1_000, "high": h, "low": low, "open": o, "volumefrom": v, "volumeto": v * (h + low) / 2,
                 "close": c, "conversionType": "direct"}
                for t, o, h, low, c, v in HOURS
            ],
        },
    },
    "Finnhub": {
        "s": "ok", "t": [row[0] // 1_000 for row in HOURS],
        **{name: [row[at] for row in HOURS] for at, name in enumerate("ohlcv", 1)},
    },
    "Bitstamp": {"data": {"pair": "BTC/USD", "ohlc": [named(row, timestamp=str(row[0] // 1_000)) for row in HOURS]}},
    "Binance, stream": [
        {
            "e": "kline", "E": t + HOUR, "s": "BTCUSDT",
            "k": {"t": t, "T": t + HOUR - 1, "s": "BTCUSDT", "i": "1h", "o": str(o), "c": str(c), "h": str(h),
                  "l": str(low), "v": str(v), "n": 5, "x": True, "q": "1.5", "V": "0.5", "L": 77},
        }
        for t, o, h, low, c, v in HOURS
    ],
    "Bybit, stream": {
        "topic": "kline.60.BTCUSDT",
        "data": [
            named(row, start=row[0], end=row[0] + HOUR - 1, interval="60", turnover=str(money(row)), confirm=True,
                  timestamp=row[0] + 9)
            for row in HOURS
        ],
    },
    "CoinAPI": [
        {
            "time_period_start": moment(t, ISO) + ".0000000Z", "time_period_end": moment(t + HOUR, ISO) + ".0000000Z",
            "time_open": moment(t, ISO) + ".1230000Z", "time_close": moment(t + HOUR, ISO) + ".0000000Z",
            "price_open": o, "price_high": h, "price_low": low, "price_close": c, "volume_traded": v, "trades_count": 4,
        }
        for t, o, h, low, c, v in HOURS
    ],
}  # fmt: skip
DAILY: dict[str, Any] = {
    "Alpha Vantage": alpha_vantage(ROWS_OF_DAYS, "%Y-%m-%d", "US/Eastern"),
    "Alpha Vantage, two currencies that are one": {
        "Meta Data": {"7. Time Zone": "UTC"},
        "Time Series (Digital Currency Daily)": {
            moment(row[0], "%Y-%m-%d"): {
                **{
                    f"{at}{letter}. {name} (USD)": str(row[at])
                    for at, name in enumerate(("open", "high", "low", "close"), 1)
                    for letter in "ab"
                },
                "5. volume": str(row[5]), "6. market cap (USD)": "1",
            }
            for row in reversed(ROWS_OF_DAYS)
        },
    },
    "Yahoo": {"chart": {"result": [chart(ROWS_OF_DAYS)], "error": None}},
    "Twelve Data": {
        "meta": {"symbol": "AAPL", "interval": "1day", "exchange_timezone": "America/New_York"},
        "values": [named(row, datetime=moment(row[0], "%Y-%m-%d")) for row in reversed(ROWS_OF_DAYS)], "status": "ok",
    },
    "FMP": {
        "symbol": "AAPL",
        "historical": [
            named(row, date=moment(row[0], "%Y-%m-%d"), adjClose=row[4] / 2, vwap=row[4])
            for row in reversed(ROWS_OF_DAYS)
        ],
    },
}  # fmt: skip
