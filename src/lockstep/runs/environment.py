"""The environment a run was made in: host, platform, command, git commit and redacted diff. For people; never hashed.

A diff may hold what was never meant to leave the machine: only files that the run loads are in it, lines that look like
secrets are masked, files that exist for secrets are left out, and the size is limited.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lockstep.runs.identity import HERE, CodeIdentity
from lockstep.runs.repository import commit_of, diff_of

MAX_DIFF_CHARACTERS: Final = 64_000
_MASK: Final = "[masked: looks like a secret]"
_SECRET: Final = re.compile(
    r"""(?ix)
      pass(word|wd|phrase) | secret | token | api[-_ ]?key | private[-_ ]?key | access[-_ ]?key | credential
    | authorization | \bbearer\b | \bauth\b | \bpwd\b | \bsalt\b | \bmnemonic\b | [a-z0-9_]*_key\b\s*[:=]
    | -----BEGIN | \b(AKIA|ASIA)[0-9A-Z]{16}\b | \bgh[pousr]_[A-Za-z0-9]{20,} | \bxox[abprs]-
    | ://[^/\s:@]+:[^/\s@]+@ | \beyJ[A-Za-z0-9_-]{10,}\.
    """
)
# A long run of letters and digits that mixes both is a key far more often than a name.
_RANDOM: Final = re.compile(r"(?=[A-Za-z0-9+/_=-]*[0-9])(?=[A-Za-z0-9+/_=-]*[A-Za-z])[A-Za-z0-9+/_=-]{32,}")
_SECRET_FILE: Final = re.compile(r"(?i)(\.env.*|.*\.(pem|key|p12|pfx|kdbx|keystore)|id_[a-z0-9]+|\.netrc|\.pgpass)")


def capture_environment(
    where: Path, *, code: CodeIdentity | None = None, argv: Sequence[str] | None = None
) -> dict[str, Any]:
    """The body of environment.json, apart from what the caller adds.

    where   the folder around which a git repository is looked for
    code    the code of the run, whose files alone are compared with the commit; None: none
    argv    the command line; None for that of this process

    Text is as UTF-8 can write it: a byte of a name that is none is in escapes.
    """
    captured: dict[str, Any] = written(
        {
            "host": socket.gethostname(),
            "platform": platform.platform(),
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "python": sys.executable,
            "folder": str(where.resolve()),
            "command": redact_command(sys.argv if argv is None else argv),
            "git": _git_state(where, code),
        }
    )
    return captured


def written(value: Any) -> Any:
    """`value` with its text as UTF-8 can write it: names of files, hosts and users may hold other bytes."""
    if isinstance(value, str):
        return os.fsencode(value).decode("utf-8", errors="backslashreplace") if _has_surrogates(value) else value
    if isinstance(value, Mapping):
        return {written(name): written(item) for name, item in value.items()}
    return [written(item) for item in value] if isinstance(value, list | tuple) else value


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)


def redact(diff: str) -> str:
    """A diff with secret-looking lines masked and the hunks of secret files left out."""
    lines = []
    hidden = key_block = False
    for line in diff.splitlines():
        if line.startswith("diff --git"):
            name = line.rpartition("/")[2].rstrip('"')  # git puts paths with odd letters into quotes
            hidden = _SECRET_FILE.fullmatch(name) is not None
            key_block = False
            lines.append(line)
            if hidden:
                lines.append("[left out: a file for secrets]")
        elif not hidden:
            key_block = key_block or "-----BEGIN" in line
            lines.append(f"{line[:1]}{_MASK}" if key_block else redact_line(line))
            key_block = key_block and "-----END" not in line
    return "\n".join(lines)


def redact_line(line: str) -> str:
    """A line of a diff; masked, except for its first character, when it may hold a secret."""
    if line.startswith("index "):
        return line
    if line.startswith("@@"):
        # Behind the numbers git repeats the line that the hunk stands under, often an assignment at the top level.
        numbers, _, under = line[2:].partition("@@")
        return f"@@{numbers}@@ {_MASK}" if _is_secret(under) else line
    return f"{line[:1]}{_MASK}" if _is_secret(line) else line


def redact_command(argv: Sequence[str]) -> list[str]:
    """The words of a command line, masked where they look like secrets or follow an option named like one."""
    words, follows = [], False
    for word in argv:
        secret = _is_secret(word)
        words.append(_MASK if secret or follows else word)
        follows = secret and word.startswith("-") and "=" not in word
    return words


def _is_secret(text: str) -> bool:
    return _SECRET.search(text) is not None or _RANDOM.search(text) is not None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _git_state(where: Path, code: CodeIdentity | None) -> dict[str, Any] | None:
    commit = commit_of(where)
    if commit is None:
        return None
    sources = {} if code is None else code.sources
    package = [] if code is None or code.package is None else [HERE / name for name in code.package if ":" not in name]
    diff = redact(diff_of(where, sources, package))
    cut = len(diff) > MAX_DIFF_CHARACTERS
    return {
        "commit": commit,
        "diff": diff[:MAX_DIFF_CHARACTERS] + ("\n[cut: the diff is longer]" if cut else ""),
        "changed": bool(diff),
    }
