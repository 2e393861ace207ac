"""Text from elsewhere as it may stand on a terminal: what would command the terminal is shown instead of obeyed.

Names of runs, hosts, files and tags come from other people's archives and file systems. ESC and its like move the
cursor, set the window's title or write into the clipboard (ECMA-48); marks of direction reorder what is read (Unicode
Technical Report 36). A byte of a file's name that is no UTF-8 is shown as `\\xff`.
"""

from __future__ import annotations

from typing import Final

_PICTURES: Final = 0x2400
"""Unicode has a picture for each control character: U+241B for ESC."""
_SHOWN: Final[dict[int, str | int]] = {
    **{code: _PICTURES + code for code in range(32) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    **{
        code: f"\\u{code:04x}"
        for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x2028, 0x2029)
    },
    **{0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)},
}


def printable(text: str) -> str:
    """`text` with control characters as pictures, marks of direction as escapes, and only what UTF-8 can write."""
    shown = text.translate(_SHOWN)
    return shown if shown.isascii() else shown.encode("utf-8", errors="backslashreplace").decode()
