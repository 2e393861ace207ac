"""EpisodeBook: a book of episodes, in memory, that can be kept in a folder (`episodes.store` has the format)."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from lockstep.episodes.contents import BookContents
from lockstep.episodes.store import open_book, save_book


class EpisodeBook(BookContents):
    """Episodes by id, in the order in which they were added; `episodes.collect` makes one from a market."""

    def save(self, folder: Path | str) -> None:
        """Keep the book in a folder, atomically; see `episodes.store.save_book`."""
        save_book(self, Path(folder))

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """The book of a folder, every byte of its columns checked; see `episodes.store.open_book`."""
        return open_book(Path(folder), cls)
