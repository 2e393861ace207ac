from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.user import EXAMPLE, SMALL, User


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A home with one run of the example, trained once for all tests of a process, and what the command said of it."""
    user = User(tmp_path_factory.mktemp("trained"))
    return user.home, user("train", str(EXAMPLE), *SMALL, "--json").json


@pytest.fixture
def trained(user: User, training: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    """The user's home with that run in it, a copy of the user's own, and what the command said."""
    home, said = training
    shutil.copytree(home, user.home)
    return {**said, "folder": str(user.home / "runs" / said["run_id"])}
