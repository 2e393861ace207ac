from __future__ import annotations

from pathlib import Path

import pytest

from lockstep.core.errors import IntegrityError
from lockstep.market import sample
from lockstep.market.quality import quality_report


def test_the_sample_is_one_object_that_cannot_change() -> None:
    bars = sample.sample_candles()
    assert bars is sample.sample_candles()
    assert (bars.symbol, bars.timeframe, bars.source) == ("EUR/USD", "1h", "sample")
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 1


def test_the_sample_is_closed_at_weekends_and_over_christmas() -> None:
    report = quality_report(sample.sample_candles())
    assert len(report.gaps) == 52
    assert len(report.holes) == 2
    assert report.score > 99


@pytest.mark.parametrize("damage", ["byte", "cut", "empty"])
def test_a_damaged_sample_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    data = bytearray((Path(sample.__file__).parent / "data" / sample.FILE).read_bytes())
    if damage == "byte":
        data[len(data) // 2] ^= 1
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / sample.FILE).write_bytes({"byte": data, "cut": data[:-100], "empty": b""}[damage])
    monkeypatch.setattr(sample.resources, "files", lambda _: tmp_path)
    sample.sample_candles.cache_clear()
    try:
        with pytest.raises(IntegrityError, match="Install Lockstep again"):
            sample.sample_candles()
    finally:
        sample.sample_candles.cache_clear()
