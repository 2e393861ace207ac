"""The files in which numba keeps compiled kernels, with a digest in each that is compared before numba reads it.

numba trusts its files. One that a power cut left short ends every command with an error of unpickling, and one flipped
bit in machine code gives other numbers for ever, here and in `verify`, which loads the same file. So each file ends
with the digest of what stands before it; numba's reader stops at the end of its own data and never sees it. A file that
is damaged, or that numba wrote without us, is compiled anew and replaced.

A file of data is named after what it was compiled for. numba counts them: of two processes that begin with an empty
folder, one may then find the other's machine code under its own number.

Functions in a user's file that ask for `cache=True` are compiled in each process. Their file lies in no folder that
numba could keep compiled code beside, and numba would keep with it what a constant of the file once was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from numba.core import caching, config, serialize

from lockstep.core.hashing import blake3_hex

SOURCE_OF_USER: Final = "__lockstep_source__"
"""The name by which a module says that it was loaded from a user's text, not from a file."""
_DIGEST: Final = 64
_NOWHERE: Final = "<compiled for this process>"
# Untyped: numba carries no annotations.
_numba: Any = caching
_config: Any = config
_File: Any = caching.IndexDataCacheFile
_dumps: Any = serialize.dumps
_folder: Path | None = None
_places: Final[set[str]] = set()
"""Folders that `_Locator` gave to functions."""


@contextmanager
def caching_in(folder: Path) -> Iterator[None]:
    """Functions that are decorated with `cache=True` within the block keep their compiled code below `folder`."""
    global _folder
    before, locators = _folder, _config.CACHE_LOCATOR_CLASSES
    # What a user chose for other functions would come before ours.
    _folder, _config.CACHE_LOCATOR_CLASSES = folder, ""
    try:
        yield
    finally:
        _folder, _config.CACHE_LOCATOR_CLASSES = before, locators


def has_digest(path: Path) -> bool:
    """Whether the file is whole: it ends with the digest of what stands before. False where it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return blake3_hex(data[:-_DIGEST]).encode() == data[-_DIGEST:]


class _Locator(_numba.UserProvidedCacheLocator):  # type: ignore[misc]
    """Where numba keeps a function's code: in the folder of the block around it; nowhere for a user's file."""

    def __init__(self, py_func: Any, py_file: str, folder: Path | None) -> None:
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        subfolder = self.get_suitable_cache_subpath(py_file)
        self._cache_path = _NOWHERE if folder is None else str(folder / subfolder)
        _places.add(self._cache_path)

    def get_source_stamp(self) -> Any:
        """What the code was compiled from; nothing where it is not kept."""
        return None if self._cache_path == _NOWHERE else super().get_source_stamp()

    def ensure_cache_path(self) -> None:
        """Make the folder. A cache that cannot be written is no reason to stop."""
        if self._cache_path != _NOWHERE:
            with contextlib.suppress(OSError):
                Path(self._cache_path).mkdir(parents=True, exist_ok=True)

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator | None:
        """The locator of a function that is ours to keep, else None: numba asks its own then."""
        if SOURCE_OF_USER in py_func.__globals__:
            return cls(py_func, py_file, None)
        return None if _folder is None else cls(py_func, py_file, _folder)


class _CheckedFile(_File):  # type: ignore[misc]
    """numba's index and data files of one function, each with its digest."""

    def save(self, key: Any, data: Any) -> None:
        """Keep compiled code; without an error where nothing can be written."""
        name = f"{self._index_name.removesuffix('.nbi')}.{blake3_hex(_dumps(key))[:24]}.nbc"
        with contextlib.suppress(OSError):
            # The data first: an index never names what is not there.
            self._save_data(name, data)
            self._save_index({**self._load_index(), key: name})

    def _load_index(self) -> Any:
        return super()._load_index() if has_digest(Path(self._index_path)) else {}

    def _load_data(self, name: str) -> Any:
        # numba compiles where this is None, as it does for what it never compiled.
        return super()._load_data(name) if has_digest(Path(self._data_path(name))) else None

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[_Hashed]:
        with super()._open_for_write(filepath) as file:
            hashed = _Hashed(file)
            yield hashed
            hashed.end()


class _Hashed:
    """A file under way, whose digest is written after its last part: numba writes an index in two."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        """Append a part; returns its length in bytes."""
        self._parts.append(bytes(part))
        return len(part)

    def end(self) -> None:
        """Write all parts and their digest."""
        data = b"".join(self._parts)
        self._file.write(data + blake3_hex(data).encode())


class _NoFile:
    """The place of functions whose code is not kept."""

    def save(self, key: Any, data: Any) -> None:
        """Nothing is written: see the head of this module."""

    def load(self, key: Any) -> None:
        """Nothing is there, so numba compiles."""

    def flush(self) -> None:
        """Nothing is to be emptied."""


def _file_of(cache_path: str, filename_base: str, source_stamp: Any) -> Any:
    """What numba asks for the files of a function: ours for what `_Locator` placed, else its own."""
    if cache_path == _NOWHERE:
        return _NoFile()
    kind = _CheckedFile if cache_path in _places else _File
    return kind(cache_path=cache_path, filename_base=filename_base, source_stamp=source_stamp)


def _install() -> None:
    """Have numba ask us first, for functions of ours; all others it treats as before.

    numba offers a variable for locators, and none for files.
    """
    _numba.CacheImpl._locator_classes.insert(0, _Locator)
    _numba.IndexDataCacheFile = _file_of


_install()
