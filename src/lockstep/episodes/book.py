"""EpisodeBook: a table of episodes with a folder; users open it, collect into it and train on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lockstep.episodes import store
from lockstep.episodes.table import EpisodeTable


class EpisodeBook(EpisodeTable):
    """Episodes in columns (`EpisodeTable`), saved to and opened from a folder (`episodes.store` has the format)."""

    def save(self, folder: Path | str) -> None:
        """Write the book to a folder, atomically. Raises what `episodes.store.save_table` raises."""
        store.save_table(self, Path(folder))

    @classmethod
    def open(cls, folder: Path | str) -> EpisodeBook:
        """The book of a folder. Raises DataError where there is none, IntegrityError for a changed byte of columns."""
        return store.open_table(Path(folder), cls)


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[EpisodeBook]:
    """The book of a folder that nobody else writes meanwhile; saved at the end, unless an error ends it.

    Raises what `EpisodeBook.open` and `EpisodeBook.save` raise.
    """
    with store.changing(folder, EpisodeBook) as book:
        yield book
