"""Whether the file of a blob holds what its name says, by suffix: asked before a blob leaves a home or comes into one.

A suffix whose blobs are written by `put` or `put_arrays` needs no check of its own. A kind whose digests only it can
take (`put_named`) registers one, as "module:function", which is imported when a blob of that suffix is looked at:

    register_check(".arrow", "lockstep.market.snapshot:check_file")

The function takes a file, the digest that it has to have, and the body of the data.json that names it; it runs no code
of the file, and raises IntegrityError.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import LockstepError
from lockstep.core.files import read_bytes
from lockstep.core.hashing import digest_file
from lockstep.storage.blobs import damaged, require_digest, require_suffix, sound_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CHECKS: Final[dict[str, str]] = {}


def register_check(suffix: str, path: str) -> None:
    """Let `path`, "module:function", check the blobs of `suffix`. A later registration replaces an earlier one."""
    _CHECKS[require_suffix(suffix)] = path


def check_blob(file: Path, digest: str, suffix: str, data: Mapping[str, Any]) -> None:
    """Compare a blob's file with its digest. Raises IntegrityError naming the file, DiskError.

    data   body of the data.json that names the blob: some digests cover what stands there too
    """
    require_digest(digest)
    if digest_file(file) == digest:
        return
    if suffix in _CHECKS:
        module, _, name = _CHECKS[suffix].partition(":")
        check: Callable[[Path, str, Mapping[str, Any]], object] = getattr(import_module(module), name)
        try:
            check(file, digest, data)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, LockstepError):
                raise
            # The file, or the document that names it, was written by somebody else.
            raise damaged(str(file), f"not what a file of this name holds ({type(error).__name__}: {error})") from error
    else:
        check_arrays(file, digest)


def check_arrays(file: Path, digest: str) -> None:
    """Compare a file of arrays, stored by `put_arrays` in the sorted order of their names. Raises IntegrityError."""
    data = read_bytes(file)
    # Other bytes than a file of arrays begins with: a message about arrays would lead nowhere.
    if int.from_bytes(data[:8], "little") > len(data) or data[8:9] != b"{":
        raise damaged(str(file), "not the bytes its name says")
    sound_arrays(data, digest, str(file))
