"""EpisodeBook: a table of episodes that a folder keeps; what users open, collect into and train on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lockstep.episodes import store
from lockstep.episodes.table import EpisodeTable


class EpisodeBook(EpisodeTable):
    """Episodes in columns (`EpisodeTable`), saved to and opened from a folder (`episodes.store` has the format)."""

    def save(self, folder: Path | str) -> None:
        """Keep the book in a folder, atomically. Raises what `episodes.store.save_table` raises."""
        store.save_table(self, Path(folder))

    @classmethod
    def open(cls, folder: Path | str) -> EpisodeBook:
        """The book of a folder, every byte of its columns checked. Raises DataError, IntegrityError."""
        return store.open_table(Path(folder), cls)


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[EpisodeBook]:
    """The book of a folder that nobody else writes meanwhile; saved at the end, unless an error ends it.

    Raises what `EpisodeBook.open` and `EpisodeBook.save` raise.
    """
    with store.changing(folder, EpisodeBook) as book:
        yield book
