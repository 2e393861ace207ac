"""The seed tree: every stream of random numbers has a name, and the name alone decides its numbers.

    SeedTree(42).child("search", "trial", 17).generator()

Notation: r the root seed, p = (n_1 ... n_k) the names from the root. The stream's material is

    XOF(r, p) = BLAKE3-derive-key(context, code(r) code(n_1) ... code(n_k)),    code(x) = type, length, bytes

where the type tells text from integers and the length ends each name, so no two paths share their bytes. Bytes
0..15 are the key of a Philox4x64-10 generator with counter zero, bytes 16..23 make `integer()`. Philox takes any key
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), so streams need no distance from each other.

Call order, worker numbers, PYTHONHASHSEED and the global generators play no part. `set_seeds` exists only for
third-party code that draws from global generators; nothing in Lockstep does.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from lockstep.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np

DEFAULT_SEED: Final = 42
"""Development and fair comparison; what a spec without a seed gets."""
TESTING_SEEDS: Final = (42, 123, 456)
"""A small ensemble for testing."""
ROBUSTNESS_SEEDS: Final = (42, 123, 456, 789, 999)
"""Robustness before production."""
RESEARCH_SEEDS: Final = tuple(range(1, 101))
"""A research sweep."""
MAX_SEED: Final = 2**63 - 1

_CONTEXT: Final = "lockstep 2026-11-20 seed tree v1"


def _encode(name: str | int) -> bytes:
    # bool is an int in Python; True and 1 must not silently be the same stream.
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise TypeError(f"a name in the seed tree is text or an integer; found {type(name).__name__}: {name!r}")
    kind, content = (b"s", name.encode()) if isinstance(name, str) else (b"i", b"%d" % name)
    return kind + len(content).to_bytes(8, "little") + content


@dataclass(frozen=True)
class SeedTree:
    """A node of the tree; `child` goes down, `generator`, `key` and `integer` draw at this node."""

    root: int
    _path: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.root, bool) or not isinstance(self.root, int) or not 0 <= self.root <= MAX_SEED:
            raise InputError(f"a seed is a whole number from 0 to 2**63 - 1; found {self.root!r}. Use 42 if in doubt.")

    def child(self, *names: str | int) -> SeedTree:
        """The node below this one along `names`; `child("a", 1)` is `child("a").child(1)`. Raises TypeError."""
        return SeedTree(self.root, self._path + b"".join(map(_encode, names)))

    def key(self) -> int:
        """The 128-bit key of this node's generator."""
        return int.from_bytes(self._material(16), "little")

    def integer(self) -> int:
        """A number in [0, 2**63) that belongs to this node, for code that wants a seed of its own."""
        return int.from_bytes(self._material(24)[16:], "little") >> 1

    def generator(self) -> np.random.Generator:
        """A new generator at the start of this node's stream."""
        import numpy as np

        return np.random.Generator(np.random.Philox(key=self.key()))

    def _material(self, length: int) -> bytes:
        return blake3(_encode(self.root) + self._path, derive_key_context=_CONTEXT).digest(length=length)


def draw_seed() -> int:
    """A seed drawn from the operating system, 0 to 2**31 - 1 so that it fits every database and every reader."""
    return secrets.randbits(31)


def set_seeds(seed: int) -> None:
    """Seed the global generators of Python and NumPy as `random.seed(seed)` and `np.random.seed(seed)` do.

    For third-party code that draws from them, whose numbers then are those of a script with these two lines; Lockstep
    itself never draws from them. NumPy takes seeds below 2**32; of a larger one it gets both halves, lower first.
    Raises InputError when `seed` is not one.
    """
    import numpy as np

    root = SeedTree(seed).root
    random.seed(root)
    halves = [root & 0xFFFFFFFF, root >> 32]
    np.random.seed(root if root < 1 << 32 else halves)  # noqa: NPY002 - the legacy state is the point
