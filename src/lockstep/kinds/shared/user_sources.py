"""Code of the user for every kind: a file that the spec names, a class from Python, or a run's own copy.

Code is loaded from the bytes that the run stores, in `train` as in `resume` and `verify`: a file may change meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.core.errors import InputError, IntegrityError, StrategyError
from lockstep.core.hashing import blake3_hex
from lockstep.kinds.shared.spec_paths import spec_path
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.sources import UserSource, source_of_class, source_of_file, source_of_text
from lockstep.runs.user_modules import Role, Source, read_source, source_of_loaded

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Travelling:
    """The user's sources as the run stores them.

    files      bytes by file name, without folders
    requires   versions of the packages that they import
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, sources: Iterable[UserSource | None], names: str) -> Travelling:
        """Several sources together; `names` is their name in an error. Raises InputError."""
        files: dict[str, bytes] = {}
        requires: dict[str, str] = {}
        for source in sources:
            if source is None:
                continue
            # A run stores its sources in one folder, so two files of one name cannot both be stored.
            clash = [name for name, text in source.files.items() if files.get(name, text) != text]
            if clash:
                raise InputError(f"{names} come from two files of one name, {clash[0]}: rename one of them")
            files |= source.files
            requires |= source.requires
        return cls(files=files, requires=requires)

    def identity(self, name: str) -> CodeIdentity:
        """The user's part of the code identity; `name` is its entry when it names a file."""
        entry = name if ".py:" in name else None
        return CodeIdentity(sources=dict(sorted(self.files.items())), entry=entry, requires=dict(self.requires))


def from_file(reference: str, base: Path, role: Role) -> UserSource:
    """The source behind "path/to/file.py:Class", relative to `base`. Raises the role's error."""
    read_source(reference, folder=base, role=role)  # refuses a file that a run cannot store, in the words of the role
    path_text, _, attribute = reference.rpartition(":")
    return _in_role(role, source_of_file, spec_path(path_text, base), attribute)


def from_class(kind: Any, role: Role) -> UserSource:
    """The source of a class or function from Python. Raises the role's error."""
    # A class that was loaded from a run's copy has no file of its own; `runs.user_modules` has its text.
    loaded = source_of_loaded(kind) if isinstance(kind, type) else None
    if loaded is not None:
        return source_of_text(loaded.text, loaded.file_name, loaded.class_name)
    return _in_role(role, source_of_class, kind)


def from_run(reference: str, folder: RunFolder, role: Role) -> UserSource | None:
    """The run's own copy of the code that a resolved spec names; None for a built-in name. Raises IntegrityError."""
    if ".py:" not in reference:
        return None
    file_name, _, attribute = reference.rpartition(":")
    source = _in_role(role, source_of_file, folder.sources / file_name, attribute)
    if blake3_hex(source.files[file_name]) != folder.read("code")["user"].get(file_name):
        raise IntegrityError(
            f"{folder.sources / file_name}: its bytes are not those the run was made with. It is not used; restore it "
            "from a copy"
        )
    return source


def reference_of(source: UserSource) -> str:
    """The name of a source in a resolved spec: "file.py:Name" without folders."""
    return f"{source.main}:{source.attribute}"


def single(source: UserSource, role: Role) -> Source:
    """The one file of a source. Raises the role's error when it imports files beside it."""
    if len(source.files) > 1:
        beside = ", ".join(sorted(set(source.files) - {source.main}))
        raise role.error(
            f"{source.main} imports {beside} from beside it. A {role.noun} travels with its run as one file: move "
            "the code into it, or install it as a package"
        )
    text = source.files[source.main]
    return Source(file_name=source.main, class_name=source.attribute, text=text, origin=source.origin)


def _in_role(role: Role, find: Any, *arguments: Any) -> UserSource:
    """`find(*arguments)`, whose StrategyError becomes the role's."""
    try:
        source: UserSource = find(*arguments)
    except StrategyError as error:
        if role.error is StrategyError:
            raise
        raise role.error(str(error)) from error
    return source
