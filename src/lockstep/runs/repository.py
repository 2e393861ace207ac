"""What git says of the files that a run loaded: the commit, and how they differ from it. Runs no program but git.

The repository around a spec may be anybody's: a download, a USB stick. Its settings can name programs for filters, text
conversion, external diffs, file system monitors, hooks, transports and credentials (git-config(1)), and `git diff` runs
some of them. So git is asked for the names and bytes of stored objects only, which it returns as they are (ls-tree,
cat-file), and lines are compared here. A file whose bytes have the name of the stored object needs no bytes of git.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

_GIT_SECONDS: Final = 5
_MAX_FILE_BYTES: Final = 1 << 20
"""Longer files are no sources: comparing their lines would take long."""
_SETTINGS: Final = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    "core.sshCommand=false",
    "core.askPass=false",
    "credential.helper=",
    "protocol.allow=never",
    "submodule.recurse=false",
    "log.showSignature=false",
)
"""None of the commands below needs any of these; they are off in case a later git does."""


class TrackedFile(NamedTuple):
    """A file of a commit: its path in the repository, its object, and the bytes that the run loaded."""

    name: str
    object: str
    content: bytes


def commit_of(where: Path) -> str | None:
    """The commit that is checked out around `where`; None without git, a repository or a commit."""
    answer = _git(where, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    commit = "" if answer is None else answer.decode("ascii", errors="replace").strip()
    return commit if commit.isalnum() else None


def diff_of(where: Path, sources: Mapping[str, bytes], paths: Sequence[Path]) -> str:
    """How the files of a run differ from the commit around `where`, as a unified diff; empty where they do not.

    sources   the user's files by flat name, as the run stores them
    paths     further files that the run can load
    """
    top = _git(where, "rev-parse", "--show-toplevel")
    listing = _git(where, "ls-tree", "-r", "-z", "--full-tree", "HEAD")
    if top is None or listing is None:
        return ""
    root = Path(os.fsdecode(top.removesuffix(b"\n")))
    pieces = []
    for file in _loaded(root, listing, sources, paths):
        if file.object == _object_name(file):
            continue  # a run loads some two hundred files, and a git for each is slower than a small training
        then = _git(where, "cat-file", "blob", file.object)
        if then is not None and then != file.content:
            pieces += _lines_of_diff(file, then)
    return "\n".join(pieces)


def _loaded(root: Path, listing: bytes, sources: Mapping[str, bytes], paths: Sequence[Path]) -> list[TrackedFile]:
    """The files of a commit that a run loaded: by their path, or by name and bytes for what travels without folders."""
    whole = {path.resolve() for path in paths}
    # Resolving a path takes several looks at the disk, and a commit may have thousands of files.
    names = {path.name for path in whole}
    files = []
    for entry in listing.split(b"\0"):
        head, _, raw = entry.partition(b"\t")
        words = head.split()
        if len(words) != 3 or words[1] != b"blob" or words[0] == b"120000":
            continue
        path = root / os.fsdecode(raw)
        flat = sources.get(path.name)
        if flat is None and (path.name not in names or path.resolve() not in whole):
            continue
        content = _read(path)
        if content is not None and (flat is None or content == flat):
            name = raw.decode("utf-8", errors="backslashreplace")
            files.append(TrackedFile(name, words[2].decode("ascii", errors="replace"), content))
    return files


def _object_name(file: TrackedFile) -> str:
    """The name that git gives to these bytes: SHA-1, or SHA-256 where the repository uses that (gitformat-index(5))."""
    text = b"blob %d\0%b" % (len(file.content), file.content)
    if len(file.object) == hashlib.sha1(usedforsecurity=False).digest_size * 2:
        return hashlib.sha1(text, usedforsecurity=False).hexdigest()
    return hashlib.sha256(text).hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_FILE_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _lines_of_diff(file: TrackedFile, then: bytes) -> list[str]:
    before, now = (data.decode("utf-8", errors="replace").splitlines() for data in (then, file.content))
    if before == now:
        return []  # line ends, which git may store otherwise than a working copy has them
    head = f"diff --git a/{file.name} b/{file.name}"
    return [head, *difflib.unified_diff(before, now, f"a/{file.name}", f"b/{file.name}", lineterm="")]


def _git(where: Path, *arguments: str) -> bytes | None:
    """What git prints; None when it fails, is not there, or takes too long."""
    git = _program()
    if git is None:
        return None
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    # Variables of git may name programs too, or another repository than the one around `where`.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    variables |= {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_ASKPASS": "false",
        "GIT_PAGER": "cat",
    }
    try:
        done = subprocess.run(
            [git, "--no-pager", "-C", os.fspath(where), *settings, *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_GIT_SECONDS,
            env=variables,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _program() -> str | None:
    """The git of the system. One in the working folder, which an entry like "." of PATH leads to, may be anybody's."""
    for folder in map(Path, os.get_exec_path()):
        path = folder / "git"
        if folder.is_absolute() and path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None
