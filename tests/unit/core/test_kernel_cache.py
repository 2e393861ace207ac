"""Files of compiled code: read when whole, compiled anew when not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numba
import pytest

from lockstep.core import kernel_cache
from lockstep.core.kernel_cache import caching_in, has_digest

KEY, OTHER = ("float64",), ("int64",)


def files_of(folder: Path) -> Any:
    """The files of one function, as numba asks for them."""
    return kernel_cache._CheckedFile(cache_path=str(folder), filename_base="walk-1.py311", source_stamp="stamp")


@pytest.fixture
def files(tmp_path: Path) -> Any:
    files = files_of(tmp_path)
    files.save(KEY, b"machine code" * 50)
    return files


def test_compiled_code_comes_back_as_it_was(files: Any, tmp_path: Path) -> None:
    files.save(OTHER, b"more")
    assert files_of(tmp_path).load(KEY) == b"machine code" * 50
    assert files_of(tmp_path).load(OTHER) == b"more"
    assert all(has_digest(path) for path in tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_file_is_as_none_and_is_replaced(suffix: str, files: Any, tmp_path: Path) -> None:
    """numba's own reader raises for most of these, and takes a flipped bit within machine code as it is."""
    (path,) = (path for path in tmp_path.iterdir() if path.suffix == suffix)
    data = path.read_bytes()
    chances = random.Random(7)
    damages = [b"", data[:1], data[:-1], data[: len(data) // 2], b"\0" * len(data), data + b"\n", data[:-64]]
    for place in chances.sample(range(len(data)), 40):
        damages.append(data[:place] + bytes([data[place] ^ (1 << chances.randrange(8))]) + data[place + 1 :])
    for damage in damages:
        path.write_bytes(damage)
        assert files.load(KEY) is None
    files.save(KEY, b"compiled again")
    assert files.load(KEY) == b"compiled again"


def test_numba_still_reads_what_we_write(files: Any, tmp_path: Path) -> None:
    """A digest behind its data is no change of its format."""
    plain = kernel_cache._File(cache_path=str(tmp_path), filename_base="walk-1.py311", source_stamp="stamp")
    assert plain.load(KEY) == b"machine code" * 50


def test_two_processes_that_begin_at_once_do_not_take_each_others_code(tmp_path: Path) -> None:
    """Each has read an empty index; numba would name the data of both number 1."""
    one, two = files_of(tmp_path), files_of(tmp_path)
    empty: dict[Any, Any] = {}
    one._load_index = two._load_index = lambda: empty
    one.save(KEY, b"one")
    two.save(OTHER, b"two")
    assert files_of(tmp_path).load(OTHER) == b"two"
    assert files_of(tmp_path).load(KEY) is None


def test_a_place_that_cannot_be_written_or_read_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    files = files_of(tmp_path / "file" / "folder")
    files.save(KEY, b"code")
    assert files.load(KEY) is None


def test_functions_of_a_users_text_may_ask_for_a_cache_and_are_compiled_in_each_process(tmp_path: Path) -> None:
    """numba alone raises: "no locator available for file '<mine.py ...>'"."""
    text = "import numba\n@numba.njit(cache=True)\ndef add(x):\n    return x + STEP\n"
    names: dict[str, Any] = {kernel_cache.SOURCE_OF_USER: object(), "STEP": 2}
    with caching_in(tmp_path):
        exec(compile(text, "<mine.py 0123>", "exec"), names)
    assert names["add"](3) == 5
    assert list(tmp_path.iterdir()) == []


def test_other_functions_of_the_process_keep_numbas_files() -> None:
    compiled = numba.njit(cache=True)(_plain)
    assert type(compiled._cache._cache_file) is kernel_cache._File


def _plain(x: float) -> float:
    return x
