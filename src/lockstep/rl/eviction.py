"""The slot with the lowest key, while keys change: minima of blocks, which are recomputed only at a query.

Notation
    key_s    float64, worth of slot s; +inf where the slot takes no part
    id_s     int64; of equal keys the smaller id (the older entry) is the lower
    block    2^shift neighbouring slots, about the square root of the capacity
    best     slot (-1: to be recomputed) and key of the lowest entry of each block

A change of a key touches one block minimum, which the nearest cache holds. Only a block whose lowest entry rose has to
be read again, and not before the next query. A query reads the minima of all blocks: about a microsecond for a million
slots. It returns the exact minimum, whatever the order of changes, so the minima are no part of a state.

Each kernel has its Python twin `<name>_python`, the very same source, which gives the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lockstep.core.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


def block_shift(capacity: int) -> int:
    """log2 of a block's length, near the square root of `capacity`."""
    return max(2, (capacity.bit_length() + 1) // 2)


def set_key_python(
    keys: NDArray[np.float64], group: int, ids: NDArray[np.int64], shift: int, best_key: NDArray[np.float64],
    best_slot: NDArray[np.int64], slot: int, key: float,
) -> None:  # fmt: skip
    """Set the key of `slot` in a group; set `ids[slot]` before. A view of the group would take as long as the rest."""
    keys[group, slot] = key
    block = slot >> shift
    best = best_slot[group, block]
    if best == slot:
        # An equal key is not enough: the slot may hold a newer entry now, which another slot's would beat.
        if key < best_key[group, block]:
            best_key[group, block] = key
        else:
            best_slot[group, block] = -1
    elif best >= 0 and (key < best_key[group, block] or (key == best_key[group, block] and ids[slot] < ids[best])):
        best_key[group, block] = key
        best_slot[group, block] = slot


set_key = kernel(set_key_python)


def lowest_python(
    keys: NDArray[np.float64],
    ids: NDArray[np.int64],
    shift: int,
    best_key: NDArray[np.float64],
    best_slot: NDArray[np.int64],
) -> int:
    """The slot of the lowest (key, id), or -1 where no slot takes part."""
    lowest = -1
    lowest_key = np.inf
    for block in range(best_slot.size):
        # Only blocks whose lowest entry rose since the last query are read as a whole.
        if best_slot[block] < 0:
            first = block << shift
            best = first
            for slot in range(first + 1, min(first + (1 << shift), keys.size)):
                if keys[slot] < keys[best] or (keys[slot] == keys[best] and ids[slot] < ids[best]):
                    best = slot
            best_slot[block] = best
            best_key[block] = keys[best]
        key = best_key[block]
        if key < lowest_key or (key == lowest_key and lowest >= 0 and ids[best_slot[block]] < ids[lowest]):
            lowest_key = key
            lowest = best_slot[block]
    return lowest


lowest = kernel(lowest_python)


class LowestKeys:
    """Keys of `capacity` slots in several groups, and the lowest of each group.

    keys       float64 (groups, capacity)
    best_key   float64 (groups, blocks)
    best_slot  int64 (groups, blocks)
    """

    def __init__(self, groups: int, capacity: int) -> None:
        self.shift = block_shift(capacity)
        blocks = -(-capacity // (1 << self.shift))
        self.keys = np.full((groups, capacity), np.inf)
        self.best_key = np.full((groups, blocks), np.inf)
        self.best_slot = np.full((groups, blocks), -1, np.int64)

    def lowest(self, group: int, ids: NDArray[np.int64]) -> int:
        """The slot of the lowest (key, id) of a group, or -1 where it is empty."""
        return int(lowest(self.keys[group], ids, self.shift, self.best_key[group], self.best_slot[group]))

    def forget(self) -> None:
        """Mark every minimum as unknown; call it after writing to `keys`."""
        self.best_slot[:] = -1

    def check_valid(self, ids: NDArray[np.int64]) -> tuple[bool, str]:
        """Whether every stored minimum is one; else (False, the block that is wrong)."""
        for group, block in np.argwhere(self.best_slot >= 0):
            first = int(block) << self.shift
            keys = self.keys[group, first : first + (1 << self.shift)]
            held = int(self.best_slot[group, block])
            entries = [(float(key), int(ids[first + at])) for at, key in enumerate(keys)]
            if not first <= held < first + keys.size:
                return False, f"block {block} of group {group} holds slot {held}, which is not one of its slots"
            if np.isinf(self.best_key[group, block]) and np.all(np.isinf(keys)):
                continue  # where no slot takes part it does not matter which is held
            if self.best_key[group, block] != self.keys[group, held] or entries[held - first] != min(entries):
                return False, f"block {block} of group {group} holds slot {held}; its lowest is {min(entries)}"
        return True, ""
