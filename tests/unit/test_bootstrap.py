"""Where ports meet adapters."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep.bootstrap import place


def test_a_home_that_begins_with_a_tilde_is_the_users_and_no_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCKSTEP_HOME", "~/runs")
    assert place().store.home == tmp_path / "runs"
    assert place("~/others").store.home == tmp_path / "others"
