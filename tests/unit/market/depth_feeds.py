"""Order books as recorded feeds."""

from __future__ import annotations

import numpy as np

from lockstep.market.orderbook import DepthFeed, DepthMessage


def feed(messages: list[DepthMessage]) -> DepthFeed:
    """The messages as a recorded feed."""
    rows = [(m, i) for m in messages for i in range(m.price.shape[0])]
    return DepthFeed(
        local_ns=np.array([m.local_ns for m, _ in rows]),
        exchange_ms=np.array([m.exchange_ms for m, _ in rows]),
        is_snapshot=np.array([m.is_snapshot for m, _ in rows]),
        first_update_id=np.array([m.first_update_id for m, _ in rows]),
        final_update_id=np.array([m.final_update_id for m, _ in rows]),
        side=np.array([m.side[i] for m, i in rows], np.int8),
        price=np.array([m.price[i] for m, i in rows]),
        quantity=np.array([m.quantity[i] for m, i in rows]),
    )
