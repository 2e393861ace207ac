"""The rows of a buffer as columns: what a stored state says of its experiences."""

from __future__ import annotations

import numpy as np

from lockstep.rl.experience import ExperienceBatch
from lockstep.rl.experience_store import columns_of_state
from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer

SHAPE = (2, 3)


def columns(n: int) -> dict[str, np.ndarray]:
    """n experiences whose k-th value of everything is told by k; every third outcome is unknown."""
    k = np.arange(n)
    known = k % 3 != 0
    return {
        "states": (k[:, None, None] + np.zeros(SHAPE)).astype(np.float32),
        "next_states": (k[:, None, None] + np.full(SHAPE, 0.5)).astype(np.float32),
        "actions": k % 4,
        "rewards": k * 0.25,
        "dones": k % 2 == 1,
        "actual_profits": np.where(known, k * 0.01, np.nan),
        "profitability_scores": np.where(known & (k > 0), 0.5, 0.0),
        "optimal_actions": np.where(known, k % 2, -1),
        "outcome_validated": k % 3 == 1,
    }


def test_columns_of_a_state_are_what_was_added_ascending_by_id() -> None:
    """Seven into a buffer for five: two have left, and the newest lie in their slots, before older ones."""
    buffer = ProfitWeightedExperienceBuffer(5, seed=1)
    added = columns(7)
    ids = buffer.add_batch(**added)
    found = columns_of_state(buffer.get_state()["store"])
    kept = np.isin(ids, found["ids"])
    assert kept.sum() == 5
    state_ids = buffer.get_state()["store"]["ids"].tolist()
    assert found["ids"].tolist() == sorted(state_ids) != state_ids
    assert found.keys() == {"ids", *added}
    for name, column in added.items():
        np.testing.assert_array_equal(found[name], column[kept], err_msg=name)


def test_an_empty_buffer_has_no_rows() -> None:
    found = columns_of_state(ProfitWeightedExperienceBuffer(5, seed=1).get_state()["store"])
    assert {name: len(column) for name, column in found.items()} == dict.fromkeys(found, 0)
    assert set(found) <= {"ids", *ExperienceBatch.__dataclass_fields__}
