"""The bundled sample is what its recipe makes; the recipe is tools/make_sample.py."""

from __future__ import annotations

import numpy as np

from lockstep.market.sample import DIGEST, sample_candles

RELEASED = "88e923659ed8d9cd047d642c008607ab3e7df5d967c481f5d37a1c0248c38ed6"


def test_the_sample_has_the_digest_of_its_release() -> None:
    assert sample_candles().digest == DIGEST == RELEASED


def test_the_first_and_the_last_row_are_those_of_the_source() -> None:
    """FOREX_EURUSD_1H_ASK.csv: 01.01.2017 22:00 ... 1.05236,1.05253,1.05221,1.05227,143539993.3 and its last line."""
    bars = sample_candles()
    assert len(bars) == 6_225
    columns = bars.columns().values()
    first = np.datetime64("2017-01-01T22:00", "ms").astype(np.int64)
    last = np.datetime64("2017-12-29T21:00", "ms").astype(np.int64)
    assert [values[0] for values in columns] == [first, 1.05236, 1.05253, 1.05221, 1.05227, 143539993.3]
    assert [values[-1] for values in columns] == [last, 1.19984, 1.2013, 1.19931, 1.20075, 4885529785]
