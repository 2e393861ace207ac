"""Single packages: fields, hashes, completeness, flags, quarantine (R9.1 to R9.5)."""

from __future__ import annotations

import copy
import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from tests.unit.episodes.package_cases import LAYOUT, NOW, bars, package, payload
from tests.unit.market.bars import HOUR

from lockstep.core.errors import DataError, InputError
from lockstep.episodes.packages.batch import PackageBatch
from lockstep.episodes.packages.package import (
    FIELDS,
    FLAGS,
    MANDATORY,
    PAYLOAD,
    ModelInputPackage,
    PackageRules,
    canonical_form,
)
from lockstep.episodes.packages.quarantine import Quarantine, reasons_against


def test_a_whole_package_is_complete_and_sound() -> None:
    """R9.2, R9.3: ten of ten fields, and every flag holds."""
    whole = package()
    assert len(FIELDS) == 10
    assert whole.completeness_score == 1.0
    assert dict(whole.validation_flags) == dict.fromkeys(FLAGS, True)


def test_the_two_hashes_are_those_of_one_form() -> None:
    """R9.1: 32 hex digits of MD5, and BLAKE3 with its name in front."""
    whole = package()
    form = canonical_form(whole.payload())
    assert whole.data_hash == hashlib.md5(form, usedforsecurity=False).hexdigest()
    assert whole.digest == f"blake3:{blake3(form).hexdigest()}"
    assert package() == whole
    assert package().data_hash == whole.data_hash


def test_the_form_is_the_documented_one() -> None:
    """R9.1: tag, length of the head, head with sorted keys, bodies in the head's order."""
    small = ModelInputPackage(timestamp=1, symbol="X", rl_state=np.array([1.5]))
    head = (
        b'{"cnn_features":null,"cob_data":null,"current_price":null,"is_rapid_change":{"$array":["|b1",[]]},'
        b'"ohlcv_data":null,"pivot_points":null,"rl_state":{"$array":["<f8",[1]]},"symbol":"X",'
        b'"technical_indicators":null,"tick_data":null,"timestamp":{"$array":["<i8",[]]}}'
    )
    bodies = b"\0" + np.array([1.5], "<f8").tobytes() + (1).to_bytes(8, "little")
    expected = b"lockstep-package-1\0" + len(head).to_bytes(8, "little") + head + bodies
    assert canonical_form(small.payload()) == expected


CHANGES: dict[str, Any] = {
    "timestamp": NOW + 1,
    "symbol": "BTC/USDX",
    "current_price": np.nextafter(101.0, 102.0),
    "ohlcv_data": {"1h": bars(), "4h": bars(2, step=4 * HOUR) + np.array([0, 0, 0, 0, 0, 1e-12])},
    "tick_data": np.array([[7.0, NOW - 5.0, 101.0, 0.5, -1.0]]),
    "cob_data": None,
    "technical_indicators": {"atr_14": 1.0},
    "pivot_points": np.empty((0, 3)),
    "cnn_features": np.full((3, 8), 0.25, np.float64),
    "rl_state": np.full((1, 8), 0.5, np.float32),
    "is_rapid_change": True,
}


@pytest.mark.parametrize("name", PAYLOAD)
def test_any_change_changes_both_hashes(name: str) -> None:
    """R9.1: one byte, one dtype, one shape, None for a value, empty for None: each shows in both hashes."""
    before, after = package(), package(**{name: CHANGES[name]})
    assert before.data_hash != after.data_hash
    assert before.digest != after.digest
    assert before != after


def test_every_flipped_bit_of_an_array_changes_both_hashes() -> None:
    """R9.1: 3 x 8 float32 features are 96 bytes; each of them, changed alone, gives other hashes."""
    raw = payload()["cnn_features"].tobytes()
    seen = {package().data_hash: package().digest}
    for at in range(len(raw)):
        changed = np.frombuffer(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :], np.float32).reshape(3, 8)
        other = package(cnn_features=changed)
        seen[other.data_hash] = other.digest
    assert len(seen) == len(set(seen.values())) == 96 + 1


def test_a_negative_zero_is_another_package_than_zero_and_an_integer_price_is_not() -> None:
    assert package(current_price=0.0) != package(current_price=-0.0)
    assert package(current_price=101) == package(current_price=101.0)


@pytest.mark.parametrize("name", FIELDS)
def test_each_missing_field_is_a_tenth(name: str) -> None:
    """R9.2: completeness is the share of ten fields."""
    lacking = package(**{name: None})
    assert lacking.completeness_score == 9 / 10
    assert name not in lacking.present_fields()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("symbol", "  "),
        ("current_price", float("nan")),
        ("ohlcv_data", {}),
        ("ohlcv_data", {"1h": np.empty((0, 6))}),
        ("tick_data", np.empty((0, 5))),
        ("cob_data", np.full((2, 4), np.inf)),
        ("technical_indicators", {"sma_20": float("nan")}),
        ("cnn_features", np.full((3, 8), np.nan)),
        ("rl_state", []),
    ],
)
def test_empty_and_not_finite_is_not_there(name: str, value: Any) -> None:
    """R9.2: present means not None, not empty, and finite."""
    assert package(**{name: value}).completeness_score == 9 / 10


def test_nothing_at_all_is_zero() -> None:
    """R9.2: the score begins at 0.0."""
    assert ModelInputPackage().completeness_score == 0.0
    assert not any(value for name, value in ModelInputPackage().validation_flags.items() if name != "integrity")


def flag(name: str, rules: PackageRules | None = None, now_ms: int | None = None, **changes: Any) -> bool:
    return package(**changes)._validate_data(rules or PackageRules(), now_ms=now_ms)[name]


@pytest.mark.parametrize(
    ("ahead", "valid"), [(-10_000, True), (0, True), (5_000, True), (5_001, False)], ids=["past", "now", "5s", "later"]
)
def test_a_timestamp_may_be_five_seconds_ahead_of_the_clock(ahead: int, valid: bool) -> None:
    """R9.3: not in the future beyond 5 s."""
    assert flag("valid_timestamp", now_ms=NOW - ahead) is valid


def test_age_is_asked_for_only_where_a_rule_says_so() -> None:
    """R9.3: max_package_age_s is off for historical collection."""
    rules = PackageRules(max_package_age_s=60.0)
    assert flag("valid_timestamp", now_ms=NOW + 10**9)
    assert flag("valid_timestamp", rules, now_ms=NOW + 60_000)
    assert not flag("valid_timestamp", rules, now_ms=NOW + 60_001)


@pytest.mark.parametrize(
    ("name", "column", "value"), [("tick_data", 1, NOW + 1.0), ("pivot_points", 0, NOW + 1.0), ("tick_data", 1, NOW)]
)
def test_a_package_that_holds_rows_stamped_after_it_is_refused(name: str, column: int, value: float) -> None:
    """No look-ahead: a trade or a swing of one millisecond later says that the timestamp is wrong; both forms."""
    table = np.array(payload()[name])
    table[0, column] = value
    one = package(**{name: table})
    assert one.validation_flags["valid_timestamp"] == (value <= NOW)
    batch = PackageBatch.from_packages([package(), one, package(**{name: None})], LAYOUT)
    assert batch.flags()[:, FLAGS.index("valid_timestamp")].tolist() == [True, value <= NOW, True]


def test_a_moment_needs_a_zone() -> None:
    """R9.3: aware times are converted to UTC milliseconds; a naive one names no moment."""
    moment = datetime(2024, 1, 1, 10, 0, 0, 1_999, tzinfo=UTC)
    assert package(timestamp=moment).timestamp == NOW + 1
    assert package(timestamp=moment.astimezone(timezone(timedelta(hours=2)))).timestamp == NOW + 1
    naive = package(timestamp=moment.replace(tzinfo=None))
    assert not naive.validation_flags["valid_timestamp"]
    assert naive.completeness_score == 1.0


def spoilt(row: int, column: int, value: float) -> dict[str, Any]:
    table = bars(4)
    table[row, column] = value
    return {"1h": table}


@pytest.mark.parametrize(
    "data",
    [
        spoilt(1, 2, 100.5),  # high < close 101
        spoilt(1, 3, 100.5),  # low > open 100
        spoilt(1, 3, 0.0),
        spoilt(1, 5, -1.0),
        spoilt(1, 4, float("nan")),
        {"1h": bars(4)[::-1]},
        {"1h": bars(4)[[0, 1, 1, 2]]},
        {"1h": bars(4)[:, :5]},
        {"one hour": bars(4)},
        {"1h": bars(4), "4h": bars(1, until=NOW + 1, step=4 * HOUR)},
    ],
    ids=["high", "low", "zero", "volume", "nan", "descending", "twice", "columns", "timeframe", "not closed yet"],
)
def test_bars_that_break_a_rule_are_flagged(data: Any) -> None:
    """R9.3: OHLC rules, ascending times, and no bar that had not closed by the package's time."""
    assert flag("valid_ohlcv")
    assert not flag("valid_ohlcv", ohlcv_data=data)


def test_feature_arrays_have_the_expected_shape() -> None:
    """R9.3: finite, and of the shape that the rules name."""
    assert flag("valid_cnn_features", PackageRules(cnn_shape=(3, 8)))
    assert not flag("valid_cnn_features", PackageRules(cnn_shape=(4, 8)))
    assert not flag("valid_cnn_features", cnn_features=np.zeros(8))
    assert flag("valid_rl_state", PackageRules(rl_shape=(8,)))
    assert not flag("valid_rl_state", PackageRules(rl_shape=(7,)))
    assert not flag("valid_rl_state", rl_state=np.array([np.nan]))


@pytest.mark.parametrize(
    ("price", "near"), [(106.3, True), (106.4, False), (96.2, True), (96.1, False), (-101.0, False)]
)
def test_the_price_is_within_five_percent_of_the_last_close(price: float, near: bool) -> None:
    """R9.3: |101 - p| <= .05 p holds for 101 / 1.05 = 96.19... <= p <= 101 / .95 = 106.31..."""
    assert flag("consistent_price", current_price=price) is near


def test_the_shortest_timeframe_is_compared_with_the_price() -> None:
    far = bars(2, step=4 * HOUR)
    far[:, 1:5] *= 2.0
    assert flag("consistent_price", ohlcv_data={"1h": bars(), "4h": far})
    assert not flag("consistent_price", ohlcv_data={"4h": far})


def test_a_stored_package_keeps_its_hashes_and_is_found_out() -> None:
    """R9.6: both hashes are checked; each of them alone is enough to refuse."""
    whole = package()
    kept = {"data_hash": whole.data_hash, "digest": whole.digest}
    assert ModelInputPackage(**payload(), **kept).validation_flags["integrity"]
    assert not ModelInputPackage(**payload(current_price=101.5), **kept).validation_flags["integrity"]
    for name in kept:
        wrong = {**kept, name: kept[name][:-1] + ("0" if kept[name][-1] != "0" else "1")}
        assert not ModelInputPackage(**payload(), **wrong).validation_flags["integrity"]
        assert not ModelInputPackage(**payload(), **{name: kept[name]}).validation_flags["integrity"]


def test_a_package_cannot_be_changed() -> None:
    whole, given = package(), np.full(8, 0.5, np.float32)
    kept = package(rl_state=given)
    given[0] = 9.0
    assert kept.rl_state is not None
    assert kept.rl_state[0] == 0.5
    with pytest.raises(AttributeError):
        whole.symbol = "X"  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        kept.rl_state[0] = 1.0
    with pytest.raises(TypeError):
        whole.ohlcv_data["1h"] = bars()  # type: ignore[index]
    with pytest.raises(TypeError):
        whole.validation_flags["integrity"] = False  # type: ignore[index]
    assert whole.evolve(symbol="X").validation_flags["integrity"]


def test_a_package_reaches_a_worker_whole() -> None:
    """Copies go the way that processes exchange objects; their arrays are read-only again."""
    arrived = copy.deepcopy(package())
    assert arrived == package()
    assert arrived.validation_flags["integrity"]
    with pytest.raises(TypeError):
        arrived.ohlcv_data["1h"] = bars()  # type: ignore[index]
    assert arrived.rl_state is not None
    assert not arrived.rl_state.flags.writeable


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"tick_data": [[1.0], [1.0, 2.0]]}, "tick_data: a field holds text, numbers"),
        ({"rl_state": np.array([object()])}, "found ndarray of dtype object"),
        ({"technical_indicators": {"$x": 1.0}}, "keys are text that does not begin with"),
        ({"ohlcv_data": {5: bars()}}, "found 5"),
        ({"timestamp": 2**63}, "fit 64 signed bits"),
    ],
)
def test_what_has_no_canonical_form_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        package(**changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"min_completeness": 1.1}, "a share in \\[0, 1\\]; found 1.1"),
        ({"future_tolerance_ms": -1}, "not negative; found -1"),
        ({"max_package_age_s": 0.0}, "positive number of seconds"),
        ({"price_tolerance": 1.0}, "a fraction in \\(0, 1\\)"),
    ],
)
def test_rules_are_checked(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        PackageRules(**changes)


def test_minimum_completeness_is_enforced_and_can_be_chosen() -> None:
    """R9.4: the default is .8: eight of ten fields may enter, seven may not, unless the rule is .7."""
    eight = package(tick_data=None, cob_data=None)
    seven = package(tick_data=None, cob_data=None, pivot_points=None)
    assert reasons_against(eight, PackageRules()) == ()
    assert reasons_against(seven, PackageRules()) == ("completeness",)
    assert reasons_against(seven, PackageRules(min_completeness=0.7)) == ()


def test_quarantine_counts_by_reason_and_remembers_what_was_missing() -> None:
    """R9.3, R9.4: every reason is counted; what is remembered is bounded."""
    quarantine = Quarantine()
    bad = package(timestamp=-1, tick_data=None, cob_data=None, pivot_points=None)
    reasons = reasons_against(bad, PackageRules())
    assert reasons == ("completeness", "valid_timestamp", "valid_ohlcv")  # bars that close after -1 had not closed
    for _ in range(150):
        quarantine.add(bad, reasons)
    assert quarantine.counts() == {
        "total": 150,
        "completeness": 150,
        **dict.fromkeys(MANDATORY[:2], 150),
        "integrity": 0,
    }
    assert len(quarantine.recent) == 100
    text = str(quarantine.recent[-1])
    assert "BTC/USDT at -1: completeness; valid_timestamp; valid_ohlcv" in text
    assert "70%, without tick_data, cob_data, pivot_points" in text
