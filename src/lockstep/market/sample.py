"""The bundled sample: EUR/USD, one hour, the year 2017 (ask side), real prices.

Package data made by `tools/make_sample.py` from the MIT-licensed gym-anytrading; see `NOTICE` and `data/README.md`.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any, Final

import numpy as np

from lockstep.core.errors import IntegrityError
from lockstep.market.candles import Candles
from lockstep.market.checks import COLUMNS

FILE: Final = "eurusd-1h-2017.arrow"
SYMBOL: Final = "EUR/USD"
TIMEFRAME: Final = "1h"
# Of the columns, so it outlives any change of the file format; tests/golden checks it against the recipe.
DIGEST: Final = "88e923659ed8d9cd047d642c008607ab3e7df5d967c481f5d37a1c0248c38ed6"


@lru_cache(maxsize=1)
def sample_candles() -> Candles:
    """EUR/USD 1h candles of 2017: 6,225 bars, ask prices, volume as the source gives it; closed at weekends.

    The same object at every call; it cannot be changed.

    Raises IntegrityError when the installed file is not the one that was released.
    """
    import pyarrow as pa

    data = resources.files("lockstep.market").joinpath("data", FILE).read_bytes()
    try:
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        columns: dict[str, Any] = {name: np.asarray(table.column(name).to_numpy()) for name in COLUMNS}
    except (pa.ArrowException, KeyError, OSError) as error:
        raise IntegrityError(f"the bundled sample {FILE} cannot be read ({error}). Install Lockstep again.") from error
    candles = Candles.from_arrays(**columns, timeframe=TIMEFRAME, symbol=SYMBOL, source="sample")
    if candles.digest != DIGEST:
        raise IntegrityError(
            f"the bundled sample {FILE} has digest {candles.digest}, released was {DIGEST}. Install Lockstep again."
        )
    return candles
