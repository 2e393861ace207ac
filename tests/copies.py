"""A copy of the package to add something to, as a contributor would, and a fresh process that runs it.

The process interprets the kernels instead of compiling them: a copy has no cache, and what is asked here is whether an
addition is found everywhere, not how fast it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lockstep


class PackageCopy:
    """The package's source below `folder`, to be edited; `changed` counts the files that were."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "lockstep"
        self.changed: set[str] = set()
        shutil.copytree(Path(lockstep.__file__).parent, self.root, ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, name: str, text: str) -> None:
        """A new file."""
        path = self.root / name
        assert not path.exists()
        path.write_text(text)
        self.changed.add(name)

    def insert(self, name: str, before: str, text: str) -> None:
        """`text` in front of the only place where `before` stands."""
        path = self.root / name
        source = path.read_text()
        assert source.count(before) == 1, f"{name} has {before!r} {source.count(before)} times"
        path.write_text(source.replace(before, text + before))
        self.changed.add(name)

    def run(self, code: str, *arguments: str) -> Any:
        """What `code` prints last, as JSON, run in a fresh process on the copy."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "NUMBA_DISABLE_JIT": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])
