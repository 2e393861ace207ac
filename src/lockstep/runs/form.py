"""Whether the documents of a run have the form that this program gives them, and agree on what the run is.

Digests show that bytes are those that were written, not who wrote them: a record from elsewhere may hold a list where
a name belongs, or claim a fingerprint that its documents do not give. `check` compares bytes, this module values.
Keys that a document lacks are no fault, so that runs of older releases stay readable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from lockstep.core.errors import IntegrityError, LockstepError
from lockstep.core.hashing import digest_file
from lockstep.runs.audit import Problem
from lockstep.runs.folder import IDENTITY_DOCUMENTS, RunFolder
from lockstep.runs.identity import fingerprint
from lockstep.runs.journal import read_lines
from lockstep.runs.numerics import MODES
from lockstep.storage.documents import document_hash

MAX_DOCUMENT_BYTES: Final = 256 << 20
"""A larger document is not read: it was made to fill memory."""
MISFORMED: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What reading a value of another form than the expected one raises."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Rule = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _table_or_none(value: Any) -> bool:
    return value is None or isinstance(value, Mapping)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _digests(value: Any) -> bool:
    return isinstance(value, list) and all(map(_digest, value))


def _texts_by_name(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_text, value.values()))


def _digests_by_name(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_digest, value.values()))


def _files(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(entry, Mapping) and _digest(entry.get("blake3")) and _count(entry.get("length"))
        for entry in value.values()
    )


_RULES: Final[Mapping[str, Mapping[str, tuple[Rule, str]]]] = {
    "spec": {
        "kind": (_text, "text"),
        "seed": (lambda value: type(value) is int, "a whole number"),
        "numerics": (lambda value: value in MODES, f"one of {', '.join(MODES)}"),
    },
    "data": {"digest": (_text_or_none, "text"), "snapshots": (_digests, "a list of digests")},
    "code": {
        "package": (_texts_by_name, "a table of digests"),
        "user": (_digests_by_name, "a table of digests"),
        "requires": (_texts_by_name, "a table of versions"),
        "entry": (_text_or_none, "text"),
    },
    "environment": {
        "host": (_text_or_none, "text"),
        "platform": (_text_or_none, "text"),
        "cpu": (_text_or_none, "text"),
        "python": (_text_or_none, "text"),
        "folder": (_text_or_none, "text"),
        "run_id": (_text_or_none, "text"),
        "created_ms": (_count, "a whole number"),
        "command": (_texts, "a list of words"),
        "git": (_table_or_none, "a table"),
        "origin": (_table, "a table"),
        "spec": (lambda value: isinstance(value, Mapping) and _text_or_none(value.get("name")), "a spec"),
    },
    "inputs": {"files": (_files, "lengths and digests by file")},
    "manifest": {
        "files": (_files, "lengths and digests by file"),
        "fingerprint": (_digest, "a digest"),
        "journal_hash": (_digest, "a digest"),
        "steps": (_count, "a whole number"),
    },
    "result": {
        "artifacts": (_texts_by_name, "a table of digests"),
        "steps": (_count, "a whole number"),
        "summary": (_table, "a table"),
    },
    "failure": {"error": (_text, "text"), "message": (_text, "text")},
    "alarm": {"where": (_text, "text"), "field": (_text, "text")},
}
_NEEDED: Final = {
    "inputs": ("files",),
    "manifest": ("files", "fingerprint", "journal_hash", "steps"),
    "result": ("artifacts", "steps", "summary"),
    "failure": ("error", "message"),
    "alarm": ("where", "field"),
}
"""Keys without which a document says nothing. All others may be missing: older releases did not write them."""


def form_problems(folder: RunFolder) -> list[Problem]:
    """Documents whose values are none that this program writes, one problem each. Damaged ones are left to `check`."""
    problems = []
    for kind in (*_RULES, "numerics"):
        path = folder.document(kind)
        if not path.exists():
            continue
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            problems.append(_problem(folder, kind, f"has more than {MAX_DOCUMENT_BYTES} bytes"))
            continue
        try:
            body = folder.read(kind)
        except LockstepError:
            continue
        if (fault := _fault(kind, body)) is not None:
            problems.append(_problem(folder, kind, fault))
    return problems


def read_formed(folder: RunFolder, kind: str) -> Any:
    """The body of a document that has the form this program gives it. Raises IntegrityError, DiskError."""
    body = folder.read(kind)
    if (fault := _fault(kind, body)) is not None:
        raise IntegrityError(_problem(folder, kind, fault).message)
    return body


def _problem(folder: RunFolder, kind: str, fault: str) -> Problem:
    path = folder.document(kind)
    return Problem(path.name, f"{path}: {fault}; no run of this program has that. It is not used.")


def _fault(kind: str, body: Any) -> str | None:
    """What is wrong with the body of a document, in words."""
    if not isinstance(body, Mapping):
        return f"holds {type(body).__name__} and no table"
    if kind == "numerics":
        return None if _texts_by_name(body) else "holds an entry that is no text"
    for key in _NEEDED.get(kind, ()):
        if key not in body:
            return f"lacks {key}"
    for key, (rule, words) in _RULES[kind].items():
        if key in body and not rule(body[key]):
            return f"{key} is {words}; found {body[key]!r:.80}"
    return None


def identity_problems(folder: RunFolder) -> list[Problem]:
    """What a run says of its own identity that its documents and files do not bear out.

    The fingerprint in the journal's first line and in the manifest has to be that of the four documents, and the files
    in code/ those that code.json names. Damaged files are left to `check`. Raises DiskError.
    """
    try:
        hashes = {kind: document_hash(folder.read(kind)) for kind in IDENTITY_DOCUMENTS}
        first = next(read_lines(folder.journal), None) if folder.journal.exists() else None
        manifest = folder.read("manifest") if folder.has("manifest") else None
    except LockstepError:
        return []
    problems, name = [], fingerprint(hashes)
    if first is not None and first.type == "genesis" and first.content["fingerprint"] != name:
        problems.append(_forged(folder, "journal.jsonl", str(first.content["fingerprint"]), name))
    if manifest is not None and manifest["fingerprint"] != name:
        problems.append(_forged(folder, "MANIFEST.json", manifest["fingerprint"], name))
    return problems + _code_problems(folder)


def _forged(folder: RunFolder, file: str, claim: str, name: str) -> Problem:
    return Problem(
        file,
        f"{folder.path / file}: names the fingerprint {claim:.16}, but spec, data, code and numerics of this run have "
        f"{name:.16}. The record was changed by somebody, and is not used; restore it from a copy.",
    )


def _code_problems(folder: RunFolder) -> list[Problem]:
    user = folder.read("code").get("user")
    if user is None:
        return []
    there = {path.name: path for path in sorted(folder.sources.iterdir())} if folder.sources.is_dir() else {}
    problems = []
    for name in sorted({*user, *there}):
        path = there.get(name)
        if path is None or not path.is_file() or path.is_symlink() or digest_file(path) != user.get(name):
            what = "missing" if path is None else "not the file that code.json names"
            problems.append(
                Problem(f"code/{name}", f"{folder.sources / name}: {what}. It is not used; restore it from a copy.")
            )
    return problems
