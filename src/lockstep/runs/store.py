"""RunStore: where runs are kept, found, named and removed; `FolderRunStore` keeps them as folders of a home.

    HOME/runs/<run id>/       one run each, see `runs.folder`
    HOME/snapshots/           data that runs share, by digest

A run id is its birth in UTC to the millisecond and six random digits: `20261121T094502123-3fa9c1` sorts by age as the
machine's clock tells it, and two runs that start at once differ. Ids, times and tags are in no hash.
"""

from __future__ import annotations

import datetime
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from lockstep.core import files
from lockstep.core.clock import Clock, SystemClock
from lockstep.core.errors import InputError, IntegrityError, LockstepError, RefusedError, UnknownNameError
from lockstep.core.near_names import did_you_mean
from lockstep.runs.folder import RunFolder, RunStatus, require_folder
from lockstep.runs.identity import CodeIdentity, NumericsIdentity, fingerprint
from lockstep.runs.journal import read_lines
from lockstep.storage.blobs import BlobStore, FolderBlobStore

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
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UNFINISHED: Final = re.compile(r"\.(?:new|remove)-.+-([0-9]+)")


def default_home() -> Path:
    """The folder in LOCKSTEP_HOME, else `lockstep-home` in the working directory."""
    return Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)


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
    ) -> RunFolder:
        """The folder of a new run, whole or not at all, with an id that no other has.

        Raises DiskError, and ValueError for an identity of the code without Lockstep's files.
        """
        ...

    def list(self) -> list[RunRow]:
        """All runs, oldest first, alarms included. A damaged run is listed with its problem, never left out."""
        ...

    def find(self, name: str) -> RunFolder:
        """The run with this id, unique beginning of an id, tag, or path; "last" is the newest.

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
    ) -> RunFolder:
        """As `RunStore.create`. The folder is built under another name and renamed when it is whole."""
        from lockstep.runs.spec import full_body, identity_body

        if code.package is None:
            raise ValueError(
                "the identity of the code lacks Lockstep's files; complete it with runs.kind_code.whole_code"
            )
        files.make_folder(self.runs)
        self._clear_unfinished()
        created = self._clock.utc_ms()
        # Ids sort by time. Two runs of one millisecond would sort by their random digits, and "last" name either. A
        # clock that was set back by more is believed: ids must not run ahead of it for hours.
        newest = max((_birth_ms(path.name) for path in self._folders()), default=0)
        if created <= newest < created + _SAME_MOMENT_MS:
            created = newest + 1
        run_id = new_run_id(created)
        building = self.runs / f".new-{run_id}-{os.getpid()}"
        try:
            RunFolder.create(
                building,
                spec=identity_body(spec),
                data=data,
                code=code.body(),
                numerics=numerics.body(),
                environment={**environment, "run_id": run_id, "created_ms": created, "spec": full_body(spec)},
                sources=code.sources,
            )
            self.admit(building, run_id)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        return RunFolder(self.runs / run_id)

    def admit(self, folder: Path, run_id: str) -> None:
        """Move a whole folder to its place. Raises RefusedError when that id exists: nothing is overwritten."""
        target = self.runs / run_id
        if not _ID.fullmatch(run_id):
            raise InputError(f"a run id looks like 20261121T094502123-3fa9c1; found {run_id!r}")
        if target.exists():
            raise RefusedError(
                f"{target}: a run of this id is there already, and nothing is overwritten. Remove it first."
            )
        try:
            # Two folders of one name can only meet by equal random digits; a rename onto files fails all the same.
            files.fs.rename(folder, target)
            files.fs.fsync_folder(self.runs)
        except OSError as error:
            raise files.disk_error("put a run at", target, error) from error

    def list(self) -> list[RunRow]:
        """See `RunStore.list`. Reads small files only."""
        return with_alarms([self._row(path) for path in self._folders()])

    def find(self, name: str) -> RunFolder:
        """As `RunStore.find`. An exact id wins over a tag, a tag over the beginning of an id."""
        if "/" in name or name in (".", ".."):
            folder = require_folder(Path(name))
            if not folder.has("spec"):
                raise UnknownNameError(
                    f"{name}: not a run's folder, it has no spec.json. `lockstep runs list` shows all."
                )
            return folder
        ids = [path.name for path in self._folders()]
        if name == "last" and ids:
            return RunFolder(self.runs / ids[-1])
        if name in ids:
            return RunFolder(self.runs / name)
        tagged = [run_id for run_id in ids if name in self._tags_or_none(self.runs / run_id)]
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
        tags = [tag for run_id in ids for tag in self._tags_or_none(self.runs / run_id)]
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
            doomed = folder.path.with_name(f".remove-{folder.path.name}-{os.getpid()}")
            try:
                files.fs.rename(folder.path, doomed)
                files.fs.fsync_folder(doomed.parent)
            except OSError as error:
                raise files.disk_error("remove", folder.path, error) from error
        shutil.rmtree(doomed, ignore_errors=True)

    def alarm(self, name: str) -> str | None:
        """As `RunStore.alarm`; reads the small files of all runs, since any other run may contradict this one."""
        run_id = self.find(name).path.name
        return next((row.alarm for row in self.list() if row.run_id == run_id), None)

    def _folders(self) -> Sequence[Path]:
        if not self.runs.is_dir():
            return []
        try:
            return sorted(path for path in self.runs.iterdir() if is_run_id(path.name) and path.is_dir())
        except OSError as error:
            raise files.disk_error("list", self.runs, error) from error

    def _row(self, path: Path) -> RunRow:
        folder = RunFolder(path)
        row = RunRow(run_id=path.name, folder=path, status=RunStatus.FAILED, created_ms=_birth_ms(path.name))
        try:
            row = replace(row, status=folder.status())
            row = replace(row, tags=read_tags(folder))
            spec = folder.read("spec")
            row = replace(row, kind=spec.get("kind"), seed=spec.get("seed"))
            if folder.has("environment"):
                row = replace(row, name=folder.read("environment").get("spec", {}).get("name"))
            if folder.has("alarm"):
                alarm = folder.read("alarm")
                row = replace(row, alarm=f"{alarm['where']} came out different after an interruption: {alarm['field']}")
            if row.status is RunStatus.COMPLETE:
                manifest = folder.read("manifest")
                return replace(
                    row,
                    fingerprint=manifest["fingerprint"],
                    journal_hash=manifest["journal_hash"],
                    steps=manifest["steps"],
                )
            return replace(row, fingerprint=_begun_fingerprint(folder))
        except LockstepError as error:
            return replace(row, problem=str(error))
        except (KeyError, TypeError, AttributeError) as error:
            return replace(
                row, problem=f"{path}: a document lacks what it should hold ({error}). Restore it from a copy."
            )

    def _tags_or_none(self, path: Path) -> tuple[str, ...]:
        try:
            return read_tags(RunFolder(path))
        except LockstepError:
            return ()

    def _clear_unfinished(self) -> None:
        """Remove what processes that no longer live left while creating or removing runs."""
        for path in self.runs.iterdir():
            match = _UNFINISHED.fullmatch(path.name)
            if match and not files.is_alive(int(match[1])):
                shutil.rmtree(path, ignore_errors=True)
        self.blobs.clear_abandoned()


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


def _birth_ms(run_id: str) -> int:
    moment = datetime.datetime.strptime(run_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=datetime.UTC)
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
    tags = folder.read("tags").get("tags")
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
