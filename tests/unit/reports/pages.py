"""A page as a browser sees it, and a name that tries everything."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = "<script>alert(1)</script> \"'&amp; $x^{$ \\frac \u202etxt.exe \x07 \U0001f4a5 " + "n" * 200


class Page(HTMLParser):
    """What a browser would see: tags, the text between them, attributes of pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("img", "source"):
            self.pictures.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data
