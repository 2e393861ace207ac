"""Colours and sizes of figures: light or dark, wide for a screen or narrow for a phone.

Colours are those of Okabe and Ito (2008), told apart by all kinds of colour vision, lightened where the ground is dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours of a figure, as #rrggbb.

    back    the ground
    ink     text, and numbers on the ground
    soft    axes and their labels
    grid    grid lines, and cells without a value
    lines   series, in their order
    """

    back: str
    ink: str
    soft: str
    grid: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Width:
    """Size of a figure.

    inches    width
    dpi       dots per inch
    points    size of the text
    letters   length to which names are cut
    """

    inches: float
    dpi: int
    points: float
    letters: int


THEMES: Final = {
    "light": Theme(
        back="#ffffff",
        ink="#1c2530",
        soft="#55606d",
        grid="#e3e7ec",
        lines=("#0072b2", "#d55e00", "#009e73", "#aa4499", "#8a6d00", "#3b9ad9", "#444b54"),
    ),
    "dark": Theme(
        back="#14181d",
        ink="#e6e9ee",
        soft="#a3adb9",
        grid="#2a323b",
        lines=("#56b4e9", "#ff8c42", "#2cc59b", "#e08ac0", "#f0d24a", "#9db7ff", "#c3c9d1"),
    ),
}
WIDTHS: Final = {
    "wide": Width(inches=9.0, dpi=144, points=10.0, letters=30),
    "narrow": Width(inches=4.6, dpi=160, points=10.0, letters=17),
}
