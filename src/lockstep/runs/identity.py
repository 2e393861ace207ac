"""Identity: what a run's result is a function of, as hashes, and the one hash over all four.

    fingerprint = BLAKE3(canonical JSON {"code": ..., "data": ..., "numerics": ..., "spec": ...})

of the hashes of the four documents' bodies (`runs.folder`). Two complete runs of one fingerprint whose journals differ
raise an alarm.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from lockstep.core import canonical
from lockstep.core.errors import InputError, NotComparableError
from lockstep.core.hashing import blake3_hex
from lockstep.runs.closure import PACKAGE, SourceTree
from lockstep.runs.folder import IDENTITY_DOCUMENTS
from lockstep.runs.numerics import NumericsIdentity, entry_differences
from lockstep.runs.sources import UserSource, files_behind, versions
from lockstep.storage.documents import document_hash

__all__ = ["CodeIdentity", "NumericsIdentity", "code_differences", "fingerprint", "package_files", "require_comparable"]

HERE: Final = Path(__file__).parents[1]
"""The folder of this package."""
ROOTS_OF_EVERY_RUN: Final = tuple(
    f"{PACKAGE}.{module}"
    for module in ("runs.loop", "runs.restored_run", "runs.verify_child", "clusters.in_process", "clusters.loky")
)
"""What drives and repeats a run, whatever its kind. Both executors: the number of workers is in no identity."""
_NAMED_FILES: Final = 10


def package_files(roots: Iterable[str], texts: Iterable[bytes] = (), *, root: Path = HERE) -> Mapping[str, str]:
    """BLAKE3 of each file of Lockstep that a run can load, by its path within the package, sorted.

    roots   modules to begin with, such as "lockstep.kinds.cnn.kind"; those of every run are added
    texts   files of the user, which may import modules of Lockstep
    root    the folder of the package: this one, or a copy

    See `runs.closure`. A process reads each file once: a file edited later is not the code that this process runs.
    """
    return _digests(_tree(root), [*ROOTS_OF_EVERY_RUN, *roots], texts)


@functools.cache
def _tree(root: Path) -> SourceTree:
    return SourceTree({PACKAGE: root})


def _digests(tree: SourceTree, roots: Iterable[str], texts: Iterable[bytes]) -> dict[str, str]:
    return {key: file.digest for key, file in tree.closure(roots, texts).items()}


@dataclass(frozen=True)
class CodeIdentity:
    """The code that makes a result: files of Lockstep, and files of the user, whose bytes travel with the run.

    A kind of training supplies the user's part; `runs.kind_code` adds `package`, without which no run begins.
    """

    package: Mapping[str, str] | None = None
    sources: Mapping[str, bytes] = field(default_factory=dict)
    entry: str | None = None
    """`file.py:Name` within `sources`."""
    requires: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: UserSource | None = None) -> CodeIdentity:
        """The user's part, empty where there is no code of the user."""
        if source is None:
            return cls()
        return cls(sources=source.files, entry=f"{source.main}:{source.attribute}", requires=source.requires)

    def with_modules(self, modules: Sequence[str]) -> CodeIdentity:
        """This identity with the files that a run of a kind in `modules` can load: theirs, the loop's, the executors'.

        A kind of another package counts with the files of that package that it can load, under keys that begin with the
        package's name and a colon. What those import from elsewhere is in `requires`, as it is for the user's files.
        Raises InputError for a module whose source is in no file.
        """
        foreign = dict(_package_of(module) for module in modules if module.partition(".")[0] != PACKAGE)
        tree = SourceTree({PACKAGE: HERE, **foreign}) if foreign else _tree(HERE)
        roots = [*ROOTS_OF_EVERY_RUN, *modules]
        requires = dict(self.requires)
        if foreign:
            files = tree.closure(roots, self.sources.values()).values()
            names = {name for file in files if ":" in file.key for name in file.top_names if not tree.owns(name)}
            requires |= versions(names)
        texts = [*self.sources.values(), *(path.read_bytes() for path in files_behind(requires))]
        return replace(self, package=_digests(tree, roots, texts), requires=dict(sorted(requires.items())))

    def body(self) -> dict[str, Any]:
        """The body of code.json: digests, names and versions, no source text."""
        return {
            "package": dict(self.package or {}),
            "user": {name: blake3_hex(content) for name, content in sorted(self.sources.items())},
            "entry": self.entry,
            "requires": dict(self.requires),
        }

    def hash(self) -> str:
        """BLAKE3 of the body, as the journal's first line records it."""
        return document_hash(self.body())


def fingerprint(hashes: Mapping[str, str]) -> str:
    """The fingerprint of a run from the hashes of its spec, data, code and numerics (`RunFolder.identity_hashes`)."""
    return blake3_hex(canonical.dumps({kind: hashes[kind] for kind in IDENTITY_DOCUMENTS}))


def fingerprint_of(*, spec: Any, data: Any, code: Any, numerics: Any) -> str:
    """The fingerprint that a run with these document bodies will have."""
    bodies = {"spec": spec, "data": data, "code": code, "numerics": numerics}
    return fingerprint({kind: document_hash(body) for kind, body in bodies.items()})


def code_differences(
    then: Mapping[str, Any], now: Mapping[str, Any], sides: tuple[str, str] = ("then", "now")
) -> list[str]:
    """How two bodies of code.json differ, in words; `sides` says which body is which.

    Files are named one by one, but more than ten of Lockstep that were added, removed or changed are counted by room:
    another release may count hundreds.
    """
    lines = _file_lines(then.get("package", {}), now.get("package", {}), PACKAGE, _NAMED_FILES)
    lines += _file_lines(then.get("user", {}), now.get("user", {}), "code", None)
    requires = entry_differences(then.get("requires", {}), now.get("requires", {}), sides)
    lines += [f"package {line}" for line in requires]
    if then.get("entry") != now.get("entry"):
        lines.append(f"entry: {then.get('entry')} {sides[0]}, {now.get('entry')} {sides[1]}")
    return lines


def _file_lines(then: Mapping[str, str], now: Mapping[str, str], owner: str, named: int | None) -> list[str]:
    """Differing files of one owner, one line each; counted by room when more than `named` differ in the same way."""
    groups = {
        "changed": sorted(name for name in then.keys() & now.keys() if then[name] != now[name]),
        "added": sorted(now.keys() - then.keys()),
        "removed": sorted(then.keys() - now.keys()),
    }
    phrases = {"changed": "changed", "added": "counted only now", "removed": "no longer counted"}
    single, summed = [], []
    for change, names in groups.items():
        if named is None or len(names) <= named:
            single += [(_path_of(name, owner), change) for name in names]
        else:
            rooms = Counter(name.partition("/")[0] for name in names)
            by_room = ", ".join(f"{room} {count}" for room, count in sorted(rooms.items()))
            summed.append(f"{owner}/: {len(names)} files {phrases[change]} ({by_room})")
    return [f"{path} {change}" for path, change in sorted(single)] + summed


def _path_of(name: str, owner: str) -> str:
    return name.replace(":", "/", 1) if ":" in name else f"{owner}/{name}"


def _package_of(module: str) -> tuple[str, Path]:
    """The top-level package of a loaded module and its folder; for a module outside any package, its file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not Path(file).is_file():
        raise InputError(
            f"a kind of training in {module!r}, whose source lies in no file, so that no run of it could be repeated. "
            "Write the kind into a module and register it from there."
        )
    parts = module.split(".")
    place = Path(file).parent if Path(file).name == "__init__.py" else Path(file).with_suffix("")
    if list(place.parts[-len(parts) :]) != parts:
        return parts[0], Path(file)
    if len(parts) == 1:
        return parts[0], place if place.is_dir() and place == Path(file).parent else Path(file)
    return parts[0], place.parents[len(parts) - 2]


COMPARE_ALL_THE_SAME: Final = "Use the versions named, or compare all the same with --across."


def require_comparable(
    then: Mapping[str, Any], now: Mapping[str, Any], *, what: str = "the run", cure: str = COMPARE_ALL_THE_SAME
) -> None:
    """Raises NotComparableError when code or numerics differ, naming each difference and the cure.

    `then` and `now` hold the bodies of code.json under "code" and of numerics.json under "numerics".
    """
    lines = [f"code: {line}" for line in code_differences(then["code"], now["code"])]
    lines += [f"numerics: {line}" for line in entry_differences(then["numerics"], now["numerics"])]
    if lines:
        raise NotComparableError(
            f"{what} was made with other code or numerics, so equality can be neither claimed nor refuted:\n"
            + "\n".join(f"  - {line}" for line in lines)
            + f"\n{cure}"
        )
