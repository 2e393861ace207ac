"""Columns: the arrays of one step, as segments take them and give them back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Columns: TypeAlias = "Mapping[str, NDArray[np.generic]]"
"""Named arrays of equal length along their first axis."""
