"""Prices of the market that a strategy holds itself: read up to the bar they are no fault, beyond it they are named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.validation.planted_rules import Rule, long_where

import lockstep as ls
from lockstep.core.errors import LookAheadError
from lockstep.engine.signals import Signals
from lockstep.market.candles import Candles
from lockstep.market.sample import sample_candles
from lockstep.runs.seeds import SeedTree
from lockstep.runs.user_modules import Source
from lockstep.strategies.base import Strategy
from lockstep.strategies.registry import load_source
from lockstep.strategies.view import MarketView
from lockstep.validation import quick_look_ahead_check

BARS = sample_candles().head(600)
TIMES = {int(time): number for number, time in enumerate(BARS.timestamp)}


def check(strategy: Strategy) -> Any:
    return quick_look_ahead_check(strategy, MarketView(BARS), seeds=SeedTree(3))


def rows(view: MarketView, ahead: int) -> Any:
    """The bar that many after each of the view's, by time, whether the view has it or not."""
    return np.minimum([TIMES[int(time)] + ahead for time in view.timestamp], 599)


class OfArray(Rule):
    table: Any = BARS.close.copy()
    ahead = 1

    def rule(self, view: MarketView) -> Signals:
        return long_where(np.asarray(self.table)[rows(view, self.ahead)] > 1.0005 * view.close)


class OfList(OfArray):
    table = BARS.close.tolist()


class OfRounded(OfArray):
    table = BARS.close.astype(np.float32).astype(np.float64)


class OfShifted(OfArray):
    """The table is shifted already, so that its entry of this bar is the next close."""

    table = np.append(BARS.close[1:], BARS.close[-1])
    ahead = 0


class OfReturns(OfArray):
    table = np.append(0.0, np.diff(np.log(BARS.close)))

    def rule(self, view: MarketView) -> Signals:
        return long_where(self.table[rows(view, 1)] > 0.0005)


class OfMapping(Rule):
    table = dict(zip(BARS.timestamp.tolist(), BARS.close.tolist(), strict=True))

    def rule(self, view: MarketView) -> Signals:
        coming = [self.table.get(int(time) + view.timeframe_ms, 0.0) for time in view.timestamp]
        return long_where(np.asarray(coming) > 1.0005 * view.close)


class OfCandles(Rule):
    """What a notebook does: the global candles in place of the view."""

    def rule(self, view: MarketView) -> Signals:
        return long_where(BARS_OF_NOTEBOOK.close[rows(view, 1)] > 1.0005 * view.close)


class OnTheInstance(OfArray):
    def __init__(self) -> None:
        self.table = BARS.close.copy()


class OfTuple(OfArray):
    tables = (BARS.timestamp, BARS.close.copy())

    def rule(self, view: MarketView) -> Signals:
        return long_where(self.tables[1][rows(view, 1)] > 1.0005 * view.close)


class OfRecords(OfArray):
    table = np.rec.fromarrays([BARS.timestamp, BARS.close], names=["time", "last"])

    def rule(self, view: MarketView) -> Signals:
        return long_where(self.table["last"][rows(view, 1)] > 1.0005 * view.close)


CLOSES = BARS.close.copy()


class OfDefault(Rule):
    def rule(self, view: MarketView, closes: Any = CLOSES) -> Signals:
        return long_where(closes[rows(view, 1)] > 1.0005 * view.close)


@dataclass(frozen=True)
class Box:
    closes: Any


class OfFrozen(Rule):
    box = Box(BARS.close.copy())

    def rule(self, view: MarketView) -> Signals:
        return long_where(self.box.closes[rows(view, 1)] > 1.0005 * view.close)


BARS_OF_NOTEBOOK: Candles = BARS


@pytest.mark.parametrize(
    ("leak", "place"),
    [
        (OfArray, "OfArray.table (close)"),
        (OfList, "OfList.table (close)"),
        (OfRounded, "OfRounded.table (close)"),
        (OfShifted, "OfShifted.table (close)"),
        (OfReturns, "OfReturns.table (logarithmic return of the close)"),
        (OfMapping, "OfMapping.table (close)"),
        (OfCandles, "BARS_OF_NOTEBOOK ("),
        (OnTheInstance, "self.table (close)"),
        (OfTuple, "OfTuple.tables[1] (close)"),
        (OfRecords, "OfRecords.table (close)"),
        (OfDefault, "the defaults of OfDefault.rule[0] (close)"),
        (OfFrozen, "OfFrozen.box.closes (close)"),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_prices_of_later_bars_that_a_strategy_holds_are_named(leak: type[Rule], place: str) -> None:
    before = {name: leak.__dict__[name] for name in vars(leak)}
    with pytest.raises(LookAheadError, match="reads the future from prices that it brings along") as caught:
        check(leak())
    assert place in str(caught.value)
    assert "side at bar" in str(caught.value)
    assert all(leak.__dict__[name] is value for name, value in before.items())
    assert BARS_OF_NOTEBOOK is BARS


class Honest(OfArray):
    """Reads its table up to the bar, as a filter on another market would."""

    ahead = 0

    def rule(self, view: MarketView) -> Signals:
        mine = np.asarray(self.table)[rows(view, 0)]
        return long_where((mine > view.sma(20)) & (view.close > view.sma(5)))


class Ramp(Rule):
    """Many numbers that are none of the market's."""

    table = np.linspace(1.0, 1.2, 2_000)

    def rule(self, view: MarketView) -> Signals:
        return long_where(view.close > self.table[500])


def test_a_table_that_is_read_up_to_the_bar_is_a_note_and_no_accusation() -> None:
    (note,) = (text for text in check(Honest()).warnings if "holds prices" in text)
    assert note.startswith("Honest holds prices of this market in OfArray.table (close), later bars among them")


def test_numbers_that_are_not_the_markets_are_none_of_ours() -> None:
    assert [text for text in check(Ramp()).warnings if "start" not in text] == []


def test_decisions_by_time_alone_are_a_note() -> None:
    class Calendar(Rule):
        def rule(self, view: MarketView) -> Signals:
            return long_where(view.timestamp // 3_600_000 % 24 == 9)

    (note,) = check(Calendar()).warnings
    assert note.startswith("Calendar decides the same whatever the prices are: by times alone, or by data")


FILED = """
from pathlib import Path

import numpy as np
import lockstep as ls

class Mine(ls.Strategy):
    parameters = {}

    def signals(self, view, params):
        level = float(Path(PATH).read_text())
        return ls.Signals(side=(view.close > level).astype(np.int8))
"""


def test_a_file_that_a_strategy_reads_is_in_a_note(tmp_path: Path) -> None:
    path = tmp_path / "level.txt"
    path.write_text("1.1")
    text = FILED.replace("PATH", repr(str(path)))
    report = check(load_source(Source(file_name="mine.py", class_name="Mine", text=text.encode())))
    assert [note for note in report.warnings if "reads" in note] == [
        f"Mine reads {path}: what stands there of later bars, no question can take away"
    ]


def test_a_frame_that_is_read_with_the_module_is_changed_too(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    path = tmp_path / "prices.csv"
    path.write_text("t,close\n" + "\n".join(f"{t},{c}" for t, c in zip(BARS.timestamp, BARS.close, strict=True)))
    text = f"""
import numpy as np
import pandas as pd
import lockstep as ls

TABLE = pd.read_csv({str(path)!r}).set_index("t")["close"]

class Mine(ls.Strategy):
    parameters = {{}}

    def signals(self, view, params):
        coming = TABLE.shift(-1).reindex(view.timestamp).to_numpy()
        return ls.Signals(side=(coming > 1.0005 * view.close).astype(np.int8))
"""
    with pytest.raises(LookAheadError, match=r"TABLE \(close\) holds this market's own"):
        check(load_source(Source(file_name="mine.py", class_name="Mine", text=text.encode())))
    assert ls.Strategy.__name__ == "Strategy"


def test_a_close_that_is_the_next_open_as_well_is_known_with_its_own_bar() -> None:
    """Of a market without gaps between bars: such a table, read up to the bar, is no leak."""
    opens = np.append(BARS.close[0], BARS.close[:-1])
    market = BARS.with_values({"open": opens, "high": np.maximum(BARS.high, opens), "low": np.minimum(BARS.low, opens)})
    strategy = Honest()
    strategy.table = market.close.copy()
    report = quick_look_ahead_check(strategy, MarketView(market), seeds=SeedTree(3))
    assert "(close)" in " ".join(report.warnings)
    leak = OfArray()
    leak.table = market.close.copy()
    with pytest.raises(LookAheadError, match="prices that it brings along"):
        quick_look_ahead_check(leak, MarketView(market), seeds=SeedTree(3))


class OfPairs(Rule):
    """A list of (number, close) pairs."""

    table: Any = [(float(number), price) for number, price in enumerate(BARS.close.tolist())]

    def rule(self, view: MarketView) -> Signals:
        later = np.array([self.table[row][1] for row in rows(view, 1)])
        return long_where(later > 1.0005 * view.close)


def test_prices_in_a_list_of_pairs_are_looked_at_column_by_column() -> None:
    with pytest.raises(LookAheadError, match="prices that it brings along"):
        check(OfPairs())
