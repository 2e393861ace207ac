"""The samples of a session on episodes: pinned as one file of arrays, and where the book is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.episodes.episode_markets import SYMBOL, collected

from lockstep.core.errors import DataError, IntegrityError
from lockstep.core.hashing import digest_columns
from lockstep.kinds.cnn_episodes import data as episodes_data
from lockstep.kinds.cnn_episodes.spec import EpisodesSpec, EpisodesTable
from lockstep.runs.kind import PrepareContext
from lockstep.storage.blobs import FolderBlobStore


def test_pinned_episodes_come_back_from_data_json_and_their_file_alone(tmp_path: Path) -> None:
    """Arrays keep the order windows, classes, ..., which the digest depends on and the file forgets."""
    blobs = FolderBlobStore(tmp_path)
    table = EpisodesTable(symbol=SYMBOL, min_profitability=0.0, max_episodes=20)
    pinned = episodes_data.pin(table, collected(200), blobs, {"source": "python"})
    body = pinned.body()
    assert len(pinned) == 20
    assert body["digest"] == digest_columns(pinned.arrays)
    assert body["digest"] != digest_columns(dict(sorted(pinned.arrays.items())))
    assert [path.name for path in tmp_path.iterdir()] == [f"{body['digest']}.episodes"]
    again = episodes_data.restore(body, blobs)
    assert (again.digest, again.ids, again.body()) == (pinned.digest, pinned.ids, body)
    path = blobs.path(body["digest"], ".episodes")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=r"its arrays have digest [0-9a-f]{64}, not the file's name"):
        episodes_data.restore(body, blobs)
    path.unlink()
    with pytest.raises(DataError, match="there is no such snapshot"):
        episodes_data.restore(body, blobs)


def test_a_spec_without_a_book_takes_that_of_the_home_and_says_so_where_there_is_none(tmp_path: Path) -> None:
    book = collected(100, folder=tmp_path / "home" / "episodes")
    spec = EpisodesSpec.model_validate({"seed": 1, "episodes": {"symbol": SYMBOL}})
    blobs = FolderBlobStore(tmp_path)
    there, origin = episodes_data.book_of(spec.data, PrepareContext(blobs=blobs, home=tmp_path / "home"))
    assert len(there) == len(book) > 0
    assert origin == {"source": "folder", "path": str(tmp_path / "home" / "episodes")}
    with pytest.raises(DataError, match=r"data.path names the folder of a book where no home has one of its own"):
        episodes_data.book_of(spec.data, PrepareContext(blobs=blobs))
    # The cure works: relative paths start where the spec lies.
    named = spec.model_copy(update={"data": spec.data.model_copy(update={"path": "episodes"})})
    assert len(episodes_data.book_of(named.data, PrepareContext(blobs=blobs, base=tmp_path / "home"))[0]) == len(book)
