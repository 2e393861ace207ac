"""RunStore: where runs are kept, found, named and removed; `FolderRunStore` keeps them as folders of a home.

    HOME/runs/<run id>/       one run each, see `runs.folder`
    HOME/snapshots/           data that runs share, by digest

    HOME/imports/             which runs came from elsewhere, see `runs.trust`
    HOME/cache/               what can be made anew, see `runs.twins` and `storage.derived`

A run id is its birth in UTC to the millisecond and six random digits: `20261121T094502123-3fa9c1` sorts by age as the
machine's clock tells it, and two runs that start at once differ. Which run is the newest is the order in which they
came into the home (`runs.order`). Ids, times and tags are in no hash.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from lockstep.core import files
from lockstep.core.clock import Clock, SystemClock
from lockstep.core.errors import InputError, IntegrityError, LockstepError, RefusedError, UnknownNameError
from lockstep.core.near_names import did_you_mean
from lockstep.runs.environment import written
from lockstep.runs.folder import RunFolder, RunStatus, require_folder
from lockstep.runs.form import MISFORMED, read_formed
from lockstep.runs.identity import CodeIdentity, NumericsIdentity, fingerprint
from lockstep.runs.journal import read_lines
from lockstep.runs.order import ORDER, in_order, note_arrival
from lockstep.runs.trust import pass_on, unmark
from lockstep.runs.twins import CACHE, note_twin, twins_of
from lockstep.storage.blobs import BlobStore, FolderBlobStore
from lockstep.storage.claims import claimed, clear_abandoned
from lockstep.storage.derived import DerivedValues, stamp_of
from lockstep.storage.lock import is_locked

if TYPE_CHECKING:
    from lockstep.runs.spec import RunSpec

DEFAULT_HOME: Final = "lockstep-home"
HOME_VARIABLE: Final = "LOCKSTEP_HOME"
_SAME_MOMENT_MS: Final = 1_000
_SHOWN: Final = 5
"""Runs that the message about an ambiguous name lists."""
_ID: Final = re.compile(r"[0-9]{8}T[0-9]{9}-[0-9a-f]{6}")
# What an id begins with: a year, the rest of the date, then the time, then a number of its own.
_ID_BEGUN: Final = re.compile(r"20[0-9]{2,6}|[0-9]{8}(T[0-9]{0,9}(-[0-9a-f]{0,6})?)?")
_ROW_FILES: Final = frozenset(
    {"spec.json", "environment.json", "MANIFEST.json", "alarm.json", "tags.json", "failure.json", "data.json"}
)
"""What the row of a complete run is made from."""
_ROWS_VERSION: Final = "1"
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NEW: Final = ".new-"
"""What the name of a folder begins with in which a run is built, and of one that is being removed."""
_REMOVE: Final = ".remove-"


def default_home() -> Path:
    """The folder in LOCKSTEP_HOME; else the nearest home of the working directory and the folders above it.

    Where there is none, `lockstep-home` in the working directory. A home of another user is none: whoever may write to
    /tmp could put one there.
    """
    variable = os.environ.get(HOME_VARIABLE)
    if variable:
        return Path(variable)
    here = Path.cwd()
    for folder in here.parents:
        home = folder / DEFAULT_HOME
        try:
            if not (here / DEFAULT_HOME).exists() and (home / "runs").is_dir() and home.stat().st_uid == os.getuid():
                return home
        except OSError:
            continue
    return Path(DEFAULT_HOME)


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run as lists show it. `created_ms` is UTC; `problem` says why something could not be read."""

    run_id: str
    folder: Path
    status: RunStatus
    created_ms: int
    fingerprint: str | None = None
    journal_hash: str | None = None
    steps: int | None = None
    kind: str | None = None
    seed: int | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    alarm: str | None = None
    problem: str | None = None


class RunStore(Protocol):
    """Keeps runs. `lockstep.testing.contracts.run_store` checks the promises below on every adapter."""

    @property
    def home(self) -> Path:
        """A local folder for the book of episodes and for scratch files. It may not exist yet."""
        ...

    @property
    def blobs(self) -> BlobStore:
        """The data snapshots that all runs share."""
        ...

    def create(
        self,
        *,
        spec: RunSpec,
        data: Mapping[str, Any],
        code: CodeIdentity,
        numerics: NumericsIdentity,
        environment: Mapping[str, Any],
        source: RunFolder | None = None,
    ) -> RunFolder:
        """The folder of a new run, whole or not at all, with an id that no other has.

        `source` is the run that it is made from: imported, it marks the new one too. Raises DiskError, and ValueError
        for an identity of the code without Lockstep's files.
        """
        ...

    def list(self) -> list[RunRow]:
        """All runs, oldest first, alarms included. A damaged run is listed with its problem, never left out."""
        ...

    def find(self, name: str) -> RunFolder:
        """The run with this id, unique beginning of an id, tag, or path; "last" is the one that came last.

        Raises UnknownNameError telling what there is.
        """
        ...

    def tag(self, name: str, tag: str) -> None:
        """Give a run a name. A tag names one run: it moves from the run that had it. Raises InputError."""
        ...

    def untag(self, name: str, tag: str) -> None:
        """Take a name from a run. Raises UnknownNameError when it has no such tag."""
        ...

    def remove(self, name: str) -> None:
        """Remove a run for good. Raises RefusedError while it is being written. Snapshots stay: runs share them."""
        ...

    def alarm(self, name: str) -> str | None:
        """In words, why the result of this run contradicts another; None when it does not."""
        ...


class FolderRunStore:
    """Runs as folders below `home`."""

    def __init__(self, home: Path, *, clock: Clock | None = None) -> None:
        self.home = home
        self._clock = clock if clock is not None else SystemClock()

    @property
    def runs(self) -> Path:
        """The folder of all runs."""
        return self.home / "runs"

    @property
    def blobs(self) -> FolderBlobStore:
        """Data snapshots, in the folder `snapshots` of the home."""
        return FolderBlobStore(self.home / "snapshots")

    def create(
        self,
        *,
        spec: RunSpec,
        data: Mapping[str, Any],
        code: CodeIdentity,
        numerics: NumericsIdentity,
        environment: Mapping[str, Any],
        source: RunFolder | None = None,
    ) -> RunFolder:
        """As `RunStore.create`. The folder is built under another name and renamed when it is whole."""
        from lockstep.runs.spec import full_body, identity_body

        if code.package is None:
            raise ValueError(
                "the identity of the code lacks Lockstep's files; complete it with runs.kind_code.whole_code"
            )
        files.make_folder(self.runs)
        clear_abandoned(self.runs, _NEW, _REMOVE)
        self.blobs.clear_abandoned()
        created = self._clock.utc_ms()
        # Ids sort by time. Two runs of one millisecond would sort by their random digits, and "last" name either. A
        # clock that was set back by more is believed: ids must not run ahead of it for hours.
        newest = max((_birth_ms(path.name) for path in self._folders()), default=0)
        if created <= newest < created + _SAME_MOMENT_MS:
            created = newest + 1
        run_id = new_run_id(created)
        with self.building(run_id) as place:
            RunFolder.create(
                place / "run",
                spec=identity_body(spec),
                data=data,
                code=code.body(),
                numerics=numerics.body(),
                environment=written({**environment, "run_id": run_id, "created_ms": created, "spec": full_body(spec)}),
                sources=code.sources,
            )
            pass_on(source, self.home, run_id)  # first, as an import is marked: never a run that passes for ours
            self.admit(place / "run", run_id)
        return RunFolder(self.runs / run_id)

    @contextmanager
    def building(self, run_id: str) -> Iterator[Path]:
        """A folder beside the runs to build one in; gone afterwards. No other process clears it. Raises DiskError."""
        if self.home.name == DEFAULT_HOME and not (self.home / ".gitignore").exists():
            # In a repository of the user, a home is not among the files that git asks about.
            files.write_atomic(self.home / ".gitignore", b"*\n")
        with claimed(self.runs, f"{_NEW}{run_id}-") as place:
            yield place

    def admit(self, folder: Path, run_id: str) -> None:
        """Move a whole folder to its place. Raises RefusedError when that id exists: nothing is overwritten."""
        target = self.runs / run_id
        if not _ID.fullmatch(run_id):
            raise InputError(f"a run id looks like 20261121T094502123-3fa9c1; found {run_id!r}")
        if target.exists():
            raise RefusedError(
                f"{target}: a run of this id is there already, and nothing is overwritten. Remove it first."
            )
        # Entered first: a crash in between leaves entries without a run, never a run that nothing knows of.
        note_twin(self.home, _begun_fingerprint(RunFolder(folder)), run_id)
        note_arrival(self.home, run_id)
        try:
            # Two folders of one name can only meet by equal random digits; a rename onto files fails all the same.
            files.fs.rename(folder, target)
            files.fs.fsync_folder(self.runs)
        except OSError as error:
            raise files.disk_error("put a run at", target, error) from error

    def list(self) -> list[RunRow]:
        """See `RunStore.list`. Reads small files only, and those of a run again only when one of them changed."""
        derived = DerivedValues(self.home / CACHE / "runs.json", _ROWS_VERSION)
        rows = [self._listed(path, derived) for path in self._folders()]
        derived.save()
        return with_alarms(rows)

    def find(self, name: str) -> RunFolder:
        """As `RunStore.find`. An exact id wins over a tag, a tag over the beginning of an id."""
        if "/" in name or name in (".", ".."):
            folder = require_folder(Path(name))
            if not folder.has("spec"):
                raise UnknownNameError(
                    f"{name}: not a run's folder, it has no spec.json. `lockstep runs list` shows all."
                )
            return folder
        if is_run_id(name) and (self.runs / name).is_dir():
            return RunFolder(self.runs / name)
        ids = [path.name for path in self._folders()]
        if name == "last" and ids:
            return RunFolder(self.runs / ids[-1])
        tags_of = {run_id: self._tags_or_none(self.runs / run_id) for run_id in ids}
        tagged = [run_id for run_id in ids if name in tags_of[run_id]]
        matches = tagged or [run_id for run_id in ids if name and run_id.startswith(name)]
        if len(matches) == 1:
            return RunFolder(self.runs / matches[0])
        if matches:
            more = f" and {len(matches) - _SHOWN} more" if len(matches) > _SHOWN else ""
            raise UnknownNameError(
                f"{name!r} is the beginning of {len(matches)} runs: {', '.join(matches[:_SHOWN])}{more}. "
                "Write more letters, or give a run a name with `lockstep runs tag`."
            )
        if not ids:
            raise UnknownNameError(f"{name!r}: there are no runs in {self.runs}. Train one, or set {HOME_VARIABLE}.")
        files.require_readable(document for run_id in ids if (document := self.runs / run_id / "tags.json").exists())
        tags = itertools.chain(*tags_of.values())
        raise UnknownNameError(
            f"{name!r}: no run in {self.runs} has this id or tag.{did_you_mean(name, [*tags, *ids, 'last'])} "
            f"The latest run is {ids[-1]}; `lockstep runs list` shows all."
        )

    def tag(self, name: str, tag: str) -> None:
        """As `RunStore.tag`. Tags are in tags.json, which no manifest lists."""
        require_tag(tag)
        folder = self.find(name)
        # Taken from the others first: after a crash in between the tag names no run, never two.
        for path in self._folders():
            if path != folder.path and tag in (tags := self._tags_or_none(path)):
                RunFolder(path).write("tags", {"tags": sorted(set(tags) - {tag})})
        folder.write("tags", {"tags": sorted({*read_tags(folder), tag})})

    def untag(self, name: str, tag: str) -> None:
        """As `RunStore.untag`; the message of the error lists the tags that the run has."""
        folder = self.find(name)
        tags = read_tags(folder)
        if tag not in tags:
            has = ", ".join(tags) or "none"
            raise UnknownNameError(f"run {folder.path.name} has no tag {tag!r}; its tags: {has}")
        folder.write("tags", {"tags": sorted(set(tags) - {tag})})

    def remove(self, name: str) -> None:
        """As `RunStore.remove`. One rename hides the run first, so that a crash leaves no half run."""
        folder = self.find(name)
        with folder.lock():
            doomed = folder.path.with_name(f"{_REMOVE}{folder.path.name}-{secrets.token_hex(4)}")
            try:
                files.fs.rename(folder.path, doomed)
                files.fs.fsync_folder(doomed.parent)
            except OSError as error:
                raise files.disk_error("remove", folder.path, error) from error
            shutil.rmtree(doomed, ignore_errors=True)
        if folder.path.parent == self.runs:
            unmark(self.home, folder.path.name)
            if not self._folders():
                files.remove(self.home / ORDER)

    def alarm(self, name: str) -> str | None:
        """As `RunStore.alarm`; reads the small files of the runs of one fingerprint, however many others there are."""
        folder = self.find(name)
        row = self._row(folder.path)
        if row.fingerprint is None:
            return row.alarm
        ids = twins_of(self.home, row.fingerprint, lambda: ((row.run_id, row.fingerprint) for row in self.list()))
        others = [self.runs / run_id for run_id in ids if is_run_id(run_id) and run_id != row.run_id]
        rows = [self._row(path) for path in others if path.is_dir()]
        return with_alarms([*rows, row])[-1].alarm

    def _folders(self) -> Sequence[Path]:
        """The folders of all runs, in the order in which they came into this home (`runs.order`)."""
        try:
            with os.scandir(self.runs) as entries:
                names = [entry.name for entry in entries if is_run_id(entry.name) and entry.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise files.disk_error("list", self.runs, error) from error
        return [self.runs / name for name in in_order(self.home, names)]

    def _listed(self, path: Path, derived: DerivedValues) -> RunRow:
        """The row of a run: from `derived` while its documents are those that it was derived from."""
        try:
            stamp = stamp_of(path, _ROW_FILES)
            running = is_locked(path)
        except (OSError, LockstepError):
            return self._row(path)
        if running or "MANIFEST.json" not in (name for name, *_ in stamp):
            # It may change at any moment, and so may its journal, which the row depends on as well.
            return self._row(path)

        def derive() -> dict[str, Any]:
            row = self._row(path)
            if row.fingerprint is not None:
                note_twin(self.home, row.fingerprint, row.run_id)  # it may have been copied here by hand
            values = vars(row)
            return {name: value for name, value in values.items() if name not in ("run_id", "folder", "created_ms")}

        try:
            values = derived.get(path.name, stamp, derive)
            named = {**values, "status": RunStatus(values["status"]), "tags": tuple(values["tags"])}
            return RunRow(run_id=path.name, folder=path, created_ms=_birth_ms(path.name), **named)
        except MISFORMED:
            return self._row(path)

    def _row(self, path: Path) -> RunRow:
        folder = RunFolder(path)
        row = RunRow(run_id=path.name, folder=path, status=RunStatus.FAILED, created_ms=_birth_ms(path.name))
        try:
            row = replace(row, status=folder.status())
            row = replace(row, tags=read_tags(folder))
            spec = read_formed(folder, "spec")
            row = replace(row, kind=spec.get("kind"), seed=spec.get("seed"))
            if folder.has("environment"):
                row = replace(row, name=read_formed(folder, "environment").get("spec", {}).get("name"))
            if folder.has("alarm"):
                alarm = read_formed(folder, "alarm")
                row = replace(row, alarm=f"{alarm['where']} came out different after an interruption: {alarm['field']}")
            if row.status is RunStatus.COMPLETE:
                manifest = read_formed(folder, "manifest")
                return replace(
                    row,
                    fingerprint=manifest["fingerprint"],
                    journal_hash=manifest["journal_hash"],
                    steps=manifest["steps"],
                )
            return replace(row, fingerprint=_begun_fingerprint(folder))
        except LockstepError as error:
            return replace(row, problem=str(error))
        except MISFORMED as error:
            return replace(
                row, problem=f"{path}: a document lacks what it should hold ({error}). Restore it from a copy."
            )
        except OSError as error:
            return replace(row, problem=str(files.disk_error("read", path, error)))

    def _tags_or_none(self, path: Path) -> tuple[str, ...]:
        try:
            return read_tags(RunFolder(path))
        except LockstepError:
            return ()


def new_run_id(created_ms: int) -> str:
    """A run id for a run created at `created_ms` (UTC): the time, and six random hex digits."""
    moment = datetime.datetime.fromtimestamp(created_ms // 1000, tz=datetime.UTC)
    return f"{moment:%Y%m%dT%H%M%S}{created_ms % 1000:03d}-{secrets.token_hex(3)}"


def is_run_id(name: str) -> bool:
    """Whether `name` is a run id: its form, and a time that exists."""
    try:
        return _ID.fullmatch(name) is not None and _birth_ms(name) > 0
    except ValueError:
        return False


@functools.cache
def _birth_ms(run_id: str) -> int:
    """Milliseconds UTC. Raises ValueError for a time that does not exist. By hand: strptime is slow, and runs many."""
    year, month, day = int(run_id[:4]), int(run_id[4:6]), int(run_id[6:8])
    hour, minute, second = int(run_id[9:11]), int(run_id[11:13]), int(run_id[13:15])
    moment = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC)
    return int(moment.timestamp()) * 1000 + int(run_id[15:18])


def require_tag(tag: str) -> None:
    """Raises InputError for a tag that is malformed, or that could be read as a run id or "last"."""
    if not _TAG.fullmatch(tag) or tag == "last":
        raise InputError(f"a tag is 1 to 64 letters, digits, '.', '_' or '-', and not \"last\"; found {tag!r}")
    if _ID_BEGUN.fullmatch(tag):
        raise InputError(
            f"a tag is not the beginning of a run id, which names runs already; found {tag!r}. "
            f"Begin it with a letter, such as v{tag[:8]}."
        )


def read_tags(folder: RunFolder) -> tuple[str, ...]:
    """The tags of a run, sorted. Raises IntegrityError when tags.json is damaged."""
    if not folder.has("tags"):
        return ()
    body = folder.read("tags")
    tags = body.get("tags") if isinstance(body, dict) else None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise IntegrityError(f"{folder.document('tags')}: does not hold a list of tags. Remove it and tag again.")
    return tuple(tags)


def with_alarms(rows: Sequence[RunRow]) -> list[RunRow]:
    """`rows`, with an alarm on each complete run that shares its fingerprint with one of another journal.

    Same spec, data, code and numerics must give the same journal; where they do not, one of the two is wrong.
    """
    journals: dict[str, dict[str, str]] = {}
    for row in rows:
        if row.status is RunStatus.COMPLETE and row.fingerprint and row.journal_hash:
            journals.setdefault(row.fingerprint, {}).setdefault(row.journal_hash, row.run_id)
    result = []
    for row in rows:
        others = {
            journal: run_id
            for journal, run_id in journals.get(row.fingerprint or "", {}).items()
            if row.journal_hash is not None and journal != row.journal_hash
        }
        if others:
            journal, run_id = next(iter(others.items()))
            text = (
                f"run {run_id} has the same fingerprint but another journal ({journal[:12]} there, "
                f"{str(row.journal_hash)[:12]} here); `lockstep diff {run_id} {row.run_id}` shows where they part"
            )
            row = replace(row, alarm=f"{row.alarm}; {text}" if row.alarm else text)
        result.append(row)
    return result


def reproduction(folder: RunFolder) -> dict[str, Any]:
    """What repeats this run: seed, fingerprint, data digest and command. Raises DiskError, IntegrityError."""
    spec, data = folder.read("spec"), folder.read("data")
    return {
        "seed": spec.get("seed"),
        "fingerprint": fingerprint(folder.identity_hashes()),
        "data_hash": data.get("digest"),
        "command": f"lockstep verify {folder.path.name}",
    }


def _begun_fingerprint(folder: RunFolder) -> str:
    if folder.journal.exists():
        first = next(read_lines(folder.journal), None)
        if first is not None:
            return str(first.content["fingerprint"])
    return fingerprint(folder.identity_hashes())
