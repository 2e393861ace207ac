"""A replay buffer as a file of its own: written whole or not at all, checked to the last byte when it is read.

The file has the form of a checkpoint (`runs/checkpoint.py`): canonical JSON, arrays as safetensors, a BLAKE3 digest of
all of it at the end. Nothing in it can run code. Its state is

    replay_buffer  the kind of buffer, such as "profit-weighted"
    version        1
    options        the arguments that make an empty buffer of its kind
    state          what `get_state()` returns, observations and generator included
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from lockstep.core import files
from lockstep.core.errors import InputError, IntegrityError
from lockstep.runs.checkpoint import Checkpoint

if TYPE_CHECKING:
    from lockstep.runs.training import State

FILE_VERSION: Final = 1
_KIND: Final = "replay_buffer"


class _Restorable(Protocol):
    """What a buffer has to do to be read from a file."""

    def set_state(self, state: State) -> None: ...

    def check_valid(self) -> tuple[bool, str]: ...


B = TypeVar("B", bound=_Restorable)


def save(path: Path | str, kind: str, options: Mapping[str, Any], state: State) -> None:
    """Write a buffer to `path`, in the place of what is there. Raises DiskError, leaving what was there before."""
    body = {_KIND: kind, "version": FILE_VERSION, "options": dict(options), "state": state}
    files.write_atomic(
        Path(path), Checkpoint(steps=0, journal_hash="", journal_length=0, segments={}, state=body).encode()
    )


def load(path: Path | str, kind: str, make: Callable[[Mapping[str, Any]], B]) -> B:
    """The buffer of `kind` in the file `path`; `make` builds an empty one of its options.

    Raises DiskError where the file cannot be read, IntegrityError where it is damaged or no buffer's, InputError where
    it is that of another kind of buffer.
    """
    place = Path(path)
    body = _body(place)
    if body[_KIND] != kind:
        raise InputError(
            f"{place}: holds a buffer of the kind {body[_KIND]!r}, not {kind!r}. Call `load` of the class that saved "
            "it."
        )
    try:
        buffer = make(body["options"])
        buffer.set_state(body["state"])
        valid, reason = buffer.check_valid()
    # The digest proves that the file is whole, not that `save` wrote it.
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        valid, reason = False, f"{type(error).__name__}: {error}"
    if not valid:
        raise IntegrityError(f"{place}: its parts do not agree ({reason}). {_CURE}")
    return buffer


_CURE: Final = "It is not used; restore the file from a copy, or save the buffer again."


def _body(place: Path) -> State:
    """What `save` wrote, of this version. Raises DiskError, IntegrityError."""
    try:
        body = Checkpoint.decode(files.read_bytes(place), place).state
    except IntegrityError:
        raise IntegrityError(
            f"{place}: not the file of a replay buffer, or changed since it was saved: its digest does not match its "
            f"bytes. {_CURE}"
        ) from None
    if not isinstance(body, Mapping) or not isinstance(body.get(_KIND), str):
        raise IntegrityError(f"{place}: a checkpoint, but not of a replay buffer that was saved by itself. {_CURE}")
    if body.get("version") != FILE_VERSION:
        raise IntegrityError(
            f"{place}: a buffer of file version {body.get('version')!r}, this release reads version {FILE_VERSION}. "
            "Use a release that reads it."
        )
    return body
