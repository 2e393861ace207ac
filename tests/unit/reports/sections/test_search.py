"""What a search says beside its trials: luck, the order inside a bar, only where there is something to say."""

from __future__ import annotations

from typing import Any

from lockstep.reports.page import Table, Text
from lockstep.reports.sections.search import luck, metrics_table, order_in_a_bar

SPAN = {"percentile": 99.5, "p05": -5.8436, "p95": 5.8571}


def test_a_result_stands_among_the_same_trades_at_other_times() -> None:
    undefined = {**SPAN, "percentile": None}
    (table,) = luck({"draws": 200, "net_profit_pct": SPAN, "sharpe_ratio": undefined})
    assert isinstance(table, Table)
    assert table.caption == "Random entries: 200 draws of the same trades at other times"
    assert list(table.rows) == [("net profit", "99.5 % of them", "-5.84 % to +5.86 %")]


def test_without_a_trade_there_is_no_luck_to_speak_of() -> None:
    assert luck(None) == []
    assert luck({"draws": 200, "net_profit_pct": {"percentile": None}, "sharpe_ratio": {"percentile": None}}) == []


def order(**bounds: Any) -> list[str]:
    return [block.text for block in order_in_a_bar(bounds) if isinstance(block, Text)]


def test_the_order_inside_a_bar_is_told_in_money_where_it_matters() -> None:
    bounds = {"ambiguous_trades": 3, "net_profit_worst_pct": -1.0, "net_profit_best_pct": 2.5}
    assert order(**bounds) == [
        "3 trades touched stop and target in one bar: net profit is -1.00 % to +2.50 %, by which came first."
    ]
    assert order(**{**bounds, "ambiguous_trades": 0}) == [
        "No trade touched stop and target in one bar: their order changes nothing."
    ]
    assert order() == []


def test_a_table_of_metrics_has_the_rows_of_its_first_column_and_only_columns_that_there_are() -> None:
    table = metrics_table("Result", {"best": {"total_trades": 51}, "hold": None, "flat": {"net_profit_pct": 0.0}})
    assert list(table.header) == ["", "best", "flat"]
    assert list(table.rows) == [("trades", "51", "")]
