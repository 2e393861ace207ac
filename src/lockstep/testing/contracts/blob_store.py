"""The contract of `storage.blobs.BlobStore`, as tests that each adapter subclasses.

    class TestMine(BlobStoreContract):
        def make(self, tmp_path: Path) -> BlobStore:
            return MyStore(tmp_path)

        def damage(self, store: BlobStore, digest: str, suffix: str, data: bytes) -> None:
            ...                                 # put `data` where the blob's bytes are

pytest is needed to run it, but not to import it.
"""

# ruff: noqa: S101, D102, PT017 - these are tests: their names are sentences, and they need no pytest

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError, IntegrityError
from lockstep.core.hashing import blake3_hex, digest_columns
from lockstep.storage.blobs import BlobStore, array_bytes, damaged

CONTENT = bytes(range(256)) * 5
NONE = "0" * 64
ARRAYS: Final[dict[str, NDArray[Any]]] = {
    "windows": np.linspace(-1.0, 1.0, 24, dtype=np.float32).reshape(2, 3, 4),
    "classes": np.array([2, 0], np.int64),
    "count": np.array(7, np.int64),
    "nothing": np.empty((0, 3), np.float64),
}


class BlobStoreContract:
    """Every test opens its own store by `make`."""

    def make(self, tmp_path: Path) -> BlobStore:
        """A new, empty store, which may write below `tmp_path`."""
        raise NotImplementedError

    def damage(self, store: BlobStore, digest: str, suffix: str, data: bytes) -> None:
        """Put `data` where the bytes of a blob are, as a faulty disk would."""
        raise NotImplementedError

    def test_bytes_come_back_under_their_own_digest(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        digest = store.put(CONTENT, ".toy")
        assert digest == blake3_hex(CONTENT)
        assert store.get(digest, ".toy") == CONTENT
        assert store.get(store.put(b"", ".toy"), ".toy") == b""

    def test_arrays_come_back_with_names_types_shapes_and_order(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        digest = store.put_arrays(ARRAYS, ".arrays")
        assert digest == digest_columns(ARRAYS)
        again = store.get_arrays(digest, ".arrays", tuple(ARRAYS))
        assert list(again) == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert (again[name].dtype, again[name].shape) == (array.dtype, array.shape), name
            assert again[name].tobytes() == array.tobytes(), name

    def test_arrays_that_were_sorted_need_no_names(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        ordered = dict(sorted(ARRAYS.items()))
        digest = store.put_arrays(ordered, ".arrays")
        assert list(store.get_arrays(digest, ".arrays")) == ["classes", "count", "nothing", "windows"]
        _raises(
            IntegrityError,
            "holds the arrays classes, count, nothing, windows and not classes",
            lambda: store.get_arrays(digest, ".arrays", ("classes",)),
        )

    def test_arrays_in_any_memory_order_are_stored_by_their_values(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        table = np.arange(6.0).reshape(2, 3)
        digest = store.put_arrays({"a": np.asfortranarray(table)}, ".arrays")
        assert digest == digest_columns({"a": table})
        assert store.get_arrays(digest, ".arrays")["a"].tolist() == table.tolist()

    def test_a_writer_may_name_what_only_it_can_check(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        written: list[bytes] = []

        def put(data: bytes) -> None:
            def encode() -> bytes:
                written.append(data)
                return data

            def check(path: Path) -> None:
                if not path.read_bytes().startswith(b"sound"):
                    raise damaged(str(path), "does not begin with 'sound'")

            store.put_named(NONE, ".own", encode, check)

        put(b"sound 1")
        put(b"sound 2")
        assert store.path(NONE, ".own").read_bytes() == b"sound 1"
        self.damage(store, NONE, ".own", b"torn")
        put(b"sound 3")
        assert store.path(NONE, ".own").read_bytes() == b"sound 3"
        assert written == [b"sound 1", b"sound 3"]

    def test_what_else_a_check_raises_reaches_the_writer_and_the_blob_stays(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        store.put_named(NONE, ".own", lambda: b"first", lambda path: None)

        def check(path: Path) -> None:
            raise DataError("these columns are stored with another timeframe")

        _raises(DataError, "another timeframe", lambda: store.put_named(NONE, ".own", lambda: b"second", check))
        assert store.path(NONE, ".own").read_bytes() == b"first"

    def test_a_missing_blob_is_named_by_its_place_in_every_way_of_reading(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        store.put(CONTENT, ".toy")
        other = blake3_hex(CONTENT)
        for digest, suffix in ((NONE, ".toy"), (other, ".other")):
            message = f"{store.place(digest, suffix)}: there is no such snapshot. Import it"
            for read in (store.get, store.get_arrays, store.path):
                _raises(DataError, message, partial(read, digest, suffix))
            assert not store.has(digest, suffix)

    def test_any_flipped_byte_and_any_cut_of_bytes_is_seen(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        data = CONTENT[:40]
        digest = store.put(data, ".toy")
        flips = [data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :] for at in range(len(data))]
        for bad in [*flips, *(data[:stop] for stop in range(len(data))), data + b"\0"]:
            self.damage(store, digest, ".toy", bad)
            message = f"{store.place(digest, '.toy')}: not the bytes its name says. It is not used; restore it"
            _raises(IntegrityError, message, lambda: store.get(digest, ".toy"))

    def test_a_flipped_byte_of_arrays_is_seen_or_changes_none_of_them(self, tmp_path: Path) -> None:
        # Between brackets of the header a space may become a tab: that is the one change that means nothing.
        store = self.make(tmp_path)
        digest = store.put_arrays(ARRAYS, ".arrays")
        names, data = tuple(ARRAYS), array_bytes(ARRAYS)
        unseen = 0
        for at in range(len(data)):
            self.damage(store, digest, ".arrays", data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
            try:
                again = store.get_arrays(digest, ".arrays", names)
            except IntegrityError as error:
                assert store.place(digest, ".arrays") in str(error)
                continue
            unseen += 1
            assert digest_columns(again) == digest
        assert unseen < 8, "at most the padding of the header"

    def test_any_cut_of_arrays_is_seen(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        digest, data = store.put_arrays(ARRAYS, ".arrays"), array_bytes(ARRAYS)
        for stop in range(len(data)):
            self.damage(store, digest, ".arrays", data[:stop])
            _raises(IntegrityError, "It is not used", lambda: store.get_arrays(digest, ".arrays", tuple(ARRAYS)))

    def test_a_blob_in_anothers_place_is_seen(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        one, two = store.put(b"one", ".toy"), store.put(b"two", ".toy")
        self.damage(store, one, ".toy", b"two")
        self.damage(store, two, ".toy", b"one")
        for digest in (one, two):
            _raises(IntegrityError, "not the bytes its name says", partial(store.get, digest, ".toy"))
        first, second = (store.put_arrays({"a": np.arange(n)}, ".arrays") for n in (2, 3))
        self.damage(store, first, ".arrays", array_bytes({"a": np.arange(3)}))
        message = f"its arrays have digest {second}, not the file's name"
        _raises(IntegrityError, message, lambda: store.get_arrays(first, ".arrays"))

    def test_sound_bytes_replace_damaged_ones(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        digest, named = store.put(CONTENT, ".toy"), store.put_arrays(ARRAYS, ".arrays")
        self.damage(store, digest, ".toy", CONTENT[:-1])
        self.damage(store, named, ".arrays", b"")
        assert store.put(CONTENT, ".toy") == digest
        assert store.put_arrays(ARRAYS, ".arrays") == named
        assert store.get(digest, ".toy") == CONTENT
        assert store.get_arrays(named, ".arrays", tuple(ARRAYS))["count"] == 7

    def test_a_file_is_taken_over_once(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        for number, taken in ((1, True), (2, False)):
            file = tmp_path / f"{number}.part"
            file.write_bytes(CONTENT)
            assert store.adopt(file, blake3_hex(CONTENT), ".toy") is taken
            assert file.exists() is not taken
        assert store.get(blake3_hex(CONTENT), ".toy") == CONTENT

    def test_blobs_are_listed_by_suffix_and_by_digest(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        assert (store.digests(".toy"), store.suffixes(NONE)) == ((), ())
        digests = sorted(store.put(bytes([n]), ".toy") for n in range(3))
        store.put(bytes([0]), ".a.toy")
        assert store.digests(".toy") == tuple(digests)
        assert store.suffixes(blake3_hex(bytes([0]))) == (".a.toy", ".toy")
        assert store.suffixes(blake3_hex(bytes([1]))) == (".toy",)
        assert all(store.has(digest, ".toy") for digest in digests)

    def test_a_place_names_the_blob_or_all_of_a_digest_or_the_store(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        assert store.place(NONE, ".toy") == f"{store.place()}/{NONE}.toy"
        assert store.place(NONE) == f"{store.place()}/{NONE}.*"

    def test_what_is_no_digest_reaches_no_path(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        for name in ("../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "", "0" * 64 + "\n"):
            message = f"a digest is 64 hexadecimal digits; found {name!r}"
            for read in (store.get, store.path, store.has, store.place):
                _raises(DataError, message, partial(read, name, ".toy"))
            _raises(DataError, message, partial(store.suffixes, name))
            _raises(DataError, message, partial(store.put_named, name, ".toy", lambda: b"", lambda path: None))

    def test_what_is_no_suffix_reaches_no_path(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        for suffix in ("", ".", "toy", "./../x", ".toy/x", ".t y", "." + "x" * 55, ".toy\n"):
            message = "a suffix is a dot and 1 to 54 letters"
            _raises(ValueError, message, partial(store.put, b"x", suffix))
            _raises(ValueError, message, partial(store.path, NONE, suffix))
            _raises(ValueError, message, partial(store.digests, suffix))

    def test_clearing_up_leaves_every_blob(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        store.clear_abandoned()
        digest = store.put(CONTENT, ".toy")
        store.clear_abandoned()
        assert store.get(digest, ".toy") == CONTENT


def _raises(kind: type[Exception], text: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except kind as error:
        assert text in str(error), f"expected {text!r} in {error}"
        return
    raise AssertionError(f"nothing was raised; expected {kind.__name__}")
