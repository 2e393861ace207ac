"""The keys of a strategy search: defaults, refusals, and what takes part in the fingerprint."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.kinds.builders import spec_of, values

from lockstep.core.errors import InputError, SpaceError, SpecError
from lockstep.kinds.strategy.spec import StrategySpec
from lockstep.runs.spec import identity_body, load_spec, resolve


def refused(message: str, **tables: Any) -> None:
    with pytest.raises((SpecError, SpaceError), match=message):
        spec_of(**tables)


def test_a_strategy_name_is_all_that_is_required() -> None:
    spec = resolve(StrategySpec, {"kind": "strategy", "strategy": {"name": "liquidity_sweep"}})
    assert (spec.seed, spec.data.source, spec.search.optimizer) == (42, "sample", "random")
    assert (spec.search.objective, spec.search.min_trades, spec.search.batch_size) == ("sharpe_ratio", 10, 1024)
    assert (spec.costs.fee_rate, spec.costs.slippage_rate, spec.costs.fill) == (0.001, 0.0005, "next_open")


def test_where_the_candles_came_from_and_the_label_are_no_part_of_the_fingerprint() -> None:
    here = identity_body(spec_of(data={"source": "file", "path": "/here/candles.csv"}, name="one"))
    there = identity_body(spec_of(data={"source": "sample", "path": None}, name="other"))
    assert here == there
    assert "data" not in here
    assert identity_body(spec_of(search={"n_iterations": 25})) != here


def test_two_ways_to_write_one_space_are_one_fingerprint() -> None:
    one = spec_of(strategy={"space": {"b": [1, 2], "a": {"low": 1, "high": 5, "step": 1}}})
    other = spec_of(strategy={"space": {"a": {"high": 5, "low": 1}, "b": [1, 2]}})
    assert identity_body(one) == identity_body(other)


def test_a_python_pair_is_a_range_and_a_list_is_choices() -> None:
    spec = spec_of(strategy={"space": {"a": (0.1, 0.2), "b": [0.1, 0.2]}})
    assert spec.strategy.space == {"a": {"low": 0.1, "high": 0.2}, "b": [0.1, 0.2]}


def test_the_names_of_the_older_interface_are_read() -> None:
    assert spec_of(search={"optimizer": "random_search"}).search.optimizer == "random"
    assert spec_of(search={"optimizer": "grid_search"}).search.optimizer == "grid"


def test_an_unknown_optimizer_is_a_value_error() -> None:
    """R4.11."""
    refused("has to be 'random', 'grid' or 'sobol'", search={"optimizer": "bayesian"})
    assert issubclass(SpecError, ValueError)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"strategy": {"space": {"pierce_depth": {"low": 2.0, "high": 1.0}}}}, "'pierce_depth': low lies below high"),
        ({"strategy": {"space": {"pierce_depth": 0.1}}}, "'pierce_depth': unsupported notation"),
        ({"strategy": {"space": {}}}, "at least one parameter"),
        ({"strategy": {"parameters": {"reversal_candles": 1}}}, "both fixed .* and searched"),
        ({"search": {"constraints": ["sharpe > "]}}, "a constraint is a metric"),
        ({"search": {"objective": "sharp"}}, "no metric is called 'sharp'"),
        ({"search": {"n_iterations": 0}}, "has to be at least 1"),
        ({"search": {"batch_size": 1.5}}, "has to be a whole number"),
        ({"search": {"batchsize": 3}}, "no such key; did you mean search.batch_size"),
        ({"costs": {"fee_rate": "0.1%"}}, "written as a fraction: 0.001"),
        ({"costs": {"spread": 0.1}}, "two ways to say one thing"),
        ({"data": {"source": "file"}}, "needs the key path"),
        ({"data": {"path": "x.csv"}}, 'read with source = "file" only'),
        ({"market": {"timeframe": "5 minutes"}}, "whole number and a unit"),
        ({"validation": {"blocks": 0}}, "has to be at least 1"),
    ],
)
def test_a_key_that_breaks_a_rule_is_refused_with_rule_and_cure(tables: dict[str, Any], message: str) -> None:
    refused(message, **tables)


def test_a_pip_is_that_of_the_symbol() -> None:
    spec = spec_of(costs={"spread_pips": 2.0})
    assert spec.costs_for("EUR/USD").spread == pytest.approx(2 * 0.0001)
    assert spec.costs_for("USD/JPY").spread == pytest.approx(2 * 0.01)
    with pytest.raises(InputError, match="a pip is defined for pairs of"):
        spec.costs_for("BTC/USDT")
    assert spec_of(market={"symbol": "USD/JPY"}).costs_for("EUR/USD").spread == pytest.approx(0.5 * 0.01)


def test_settings_reach_the_engine() -> None:
    spec = spec_of(
        costs={"fill": "close", "maker_fee_rate": 0.0002},
        execution={"risk_per_trade": 0.01, "compounding": True, "max_holding": 7},
        validation={"blocks": 5},
    )
    execution = spec.execution_settings()
    assert (execution.at_close, execution.risk_per_trade, execution.compounding) == (True, 0.01, True)
    assert (execution.max_holding, execution.blocks) == (7, 5)
    assert spec.costs_for("EUR/USD").target_fee_rate == 0.0002


def test_the_resolved_spec_reads_back_to_itself() -> None:
    spec = spec_of()
    assert identity_body(resolve(StrategySpec, identity_body(spec))) == identity_body(spec)
    assert load_spec(values())["strategy"]["name"] == "liquidity_sweep"
