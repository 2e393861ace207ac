"""Identity: what a run's result is a function of, as hashes; and the one that stands for all four.

    fingerprint = BLAKE3(canonical JSON {"code": ..., "data": ..., "numerics": ..., "spec": ...})

of the hashes of the four documents' bodies (`runs.folder`). Same fingerprint, both complete, other journal: an alarm.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lockstep.core import canonical
from lockstep.core.errors import NotComparableError
from lockstep.core.hashing import blake3_hex
from lockstep.runs.folder import IDENTITY_DOCUMENTS
from lockstep.runs.numerics import NumericsIdentity, entry_differences
from lockstep.runs.sources import UserSource
from lockstep.storage.documents import document_hash

__all__ = ["CodeIdentity", "NumericsIdentity", "code_differences", "fingerprint", "package_files", "require_comparable"]

DELIVERY: Final = frozenset({"cli", "api", "web", "worker", "reports", "testing"})
"""Parts of the package that show results, or test them, and cannot change one. Everything else counts."""


@functools.cache
def package_files() -> Mapping[str, str]:
    """BLAKE3 of each source file of Lockstep that can change a result, by path relative to the package, sorted."""
    root = Path(__file__).parents[1]
    found = {}
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if relative.parts[0] not in DELIVERY:
            found[relative.as_posix()] = blake3_hex(path.read_bytes())
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class CodeIdentity:
    """Which code makes the result: Lockstep's files and the user's own, whose bytes travel with the run."""

    package: Mapping[str, str] = field(default_factory=package_files)
    sources: Mapping[str, bytes] = field(default_factory=dict)
    entry: str | None = None
    """`file.py:Name` within `sources`."""
    requires: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: UserSource | None = None) -> CodeIdentity:
        """Lockstep's code here, with the user's where there is some."""
        if source is None:
            return cls()
        return cls(sources=source.files, entry=f"{source.main}:{source.attribute}", requires=source.requires)

    def body(self) -> dict[str, Any]:
        """The body of code.json."""
        return {
            "package": dict(self.package),
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
    """How two bodies of code.json differ, file by file, in words; `sides` says which body is which."""
    lines = []
    for part, owner in (("package", "lockstep/"), ("user", "code/")):
        before, after = then.get(part, {}), now.get(part, {})
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                change = "added" if name not in before else "removed" if name not in after else "changed"
                lines.append(f"{owner}{name} {change}")
    requires = entry_differences(then.get("requires", {}), now.get("requires", {}), sides)
    lines += [f"package {line}" for line in requires]
    if then.get("entry") != now.get("entry"):
        lines.append(f"entry: {then.get('entry')} {sides[0]}, {now.get('entry')} {sides[1]}")
    return lines


def require_comparable(then: Mapping[str, Any], now: Mapping[str, Any], *, what: str = "the run") -> None:
    """Raises NotComparableError when code or numerics differ, naming each difference.

    `then` and `now` hold the bodies of code.json under "code" and of numerics.json under "numerics".
    """
    lines = [f"code: {line}" for line in code_differences(then["code"], now["code"])]
    lines += [f"numerics: {line}" for line in entry_differences(then["numerics"], now["numerics"])]
    if lines:
        raise NotComparableError(
            f"{what} was made with other code or numerics, so equality can be neither claimed nor refuted:\n"
            + "\n".join(f"  - {line}" for line in lines)
            + "\nUse the versions named, or compare all the same with --across."
        )
