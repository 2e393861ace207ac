"""What programs and people call the columns, beyond the names of `market.tables`; compared by `cells.bare`.

These are looked at only where no usual name is there, so that a file that could be read keeps its columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# English of some programs, then German, French, Spanish, Italian, Portuguese, Dutch, Polish.
FURTHER: Final[Mapping[str, tuple[str, ...]]] = {
    "timestamp": (
        "windowstart", "localtime", "gmttime", "timeutc", "timegmt", "utctime", "tsevent", "unixtime", "starttime",
        "start", "begin", "begins", "begintime", "begints", "klineopentime", "candletime", "candlebegintime", "time0",
        "startedat", "periodstart", "timeperiodstart", "timestampunix", "timestampms", "unixms", "timems", "times",
        "opentimestamp", "opentimems", "timestart", "dateandtime", "datetimestamp", "tradedate", "tradingday",
        "timeeet", "timecet", "ticks", "timeest", "timelocal", "localdatetime", "datelocal", "dt", "day", "index",
        "unnamed0", "datum", "zeit", "zeitpunkt", "datumzeit", "datumuhrzeit", "zeitstempel", "dateheure", "heure",
        "fecha", "fechahora", "mts", "data", "dataora", "datahora", "tijd", "tijdstip",
    ),
    "open": (
        "eroffnung", "eroffn", "eroffnungskurs", "erster", "ouverture", "ouv", "premier", "apertura", "aper",
        "abertura", "opening", "openingprice", "openen", "otwarcie", "firstprice",
    ),
    "high": (
        "hoch", "hochst", "hochstkurs", "tageshoch", "haut", "plushaut", "plhaut", "maximo", "maxima", "massimo",
        "alto", "highest", "hoog", "hoogste", "najwyzszy",
    ),
    "low": (
        "tief", "tiefst", "tiefstkurs", "tagestief", "bas", "plusbas", "plbas", "minimo", "minima", "basso", "baixo",
        "lowest", "laag", "laagste", "najnizszy", "bajo",
    ),
    "close": (
        "schluss", "schlusskurs", "cloture", "clot", "dernier", "cierre", "chiusura", "ultimo",
        "fechamento", "closing", "closingprice", "lastprice", "slot", "slotkoers", "laatst",
        "zamkniecie", "ostatnio", "zuletzt", "price",
    ),
    "volume": (
        "volumen", "umsatz", "stuck", "volumi", "volumes", "wolumen", "wol", "quantity", "sharevolume", "totalvolume",
    ),
}  # fmt: skip
DATES: Final = frozenset({"date", "day", "datum", "fecha", "data", "tradedate", "yyyymmdd"})
CLOCKS: Final = frozenset(
    {"time", "hour", "clock", "uhrzeit", "zeit", "heure", "hora", "ora", "tijd", "timestamp", "hhmm"}
)
SYMBOLS: Final = frozenset(
    {"symbol", "symbols", "ticker", "tickers", "tic", "sym", "pair", "currencypair", "tradingpair", "instrument",
     "market", "asset", "coin", "stock", "name", "code", "tscode", "stockcode", "securitycode", "seccode",
     "security", "secid", "isin", "ric", "cusip", "permno", "productid", "instrumentname", "instrumentid", "instid",
     "symbolid"}
)  # fmt: skip
# Where two values in one file are two series of the same symbol.
EXCHANGES: Final = frozenset(
    {"exchange", "exchanges", "exchangename", "exchangeid", "exchangecode", "venue", "venueid", "mic", "marketplace",
     "broker", "feed", "dataset", "publisherid"}
)  # fmt: skip
INTERVALS: Final = frozenset(
    {"interval", "timeframe", "resolution", "granularity", "barsize", "candleinterval", "klineinterval"}
)  # fmt: skip
ADJUSTED: Final[Mapping[str, tuple[str, ...]]] = {
    "open": ("adjopen", "adjustedopen", "openadj", "openadjusted"),
    "high": ("adjhigh", "adjustedhigh", "highadj", "highadjusted"),
    "low": ("adjlow", "adjustedlow", "lowadj", "lowadjusted"),
    "close": ("adjclose", "adjustedclose", "closeadj", "closeadjusted", "adjcloseprice", "adjclosing"),
    "volume": ("adjvolume", "adjustedvolume", "volumeadj"),
}
FIELDS: Final = frozenset(
    {"open", "high", "low", "close", "volume", "adjclose", "dividends", "stocksplits", "capitalgains", "repaired"}
    | {name for names in ADJUSTED.values() for name in names}
)
# What stands first in the lines of names that a frame with two levels of names writes.
INDEX_WORDS: Final = frozenset({"", "ticker", "tickers", "symbol", "symbols", "price", "prices", "attributes", "date",
                                "datetime", "timestamp", "time"})  # fmt: skip
# The zone that a column's own name states.
UTC_NAMES: Final = frozenset(
    {"gmttime", "timegmt", "utc", "gmt", "timeutc", "utctime", "dateutc", "datetimeutc", "timestamputc", "dategmt",
     "opentimeutc", "timestampgmt", "utcdate", "utcdatetime"}
)  # fmt: skip
