"""Code of an imported run runs when the user says so, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep.app.trust import answer_for_own_code, permit, reading
from lockstep.cli import consent
from lockstep.core.errors import IntegrityError, RefusedError
from lockstep.runs.folder import RunFolder
from lockstep.runs.store import FolderRunStore
from lockstep.runs.trust import foreign_code, is_imported, mark_imported
from lockstep.testing.contracts.run_store import create


@pytest.fixture
def imported(tmp_path: Path) -> RunFolder:
    """A run with code of its own, marked as one that came from elsewhere."""
    folder = create(FolderRunStore(tmp_path))
    mark_imported(tmp_path, folder.path.name, "theirs.lockstep")
    return folder


def test_code_of_an_imported_run_is_refused_with_the_cure_until_it_is_trusted(imported: RunFolder) -> None:
    """R4.40: whose code it is, where it came from, where to read it, and how to allow it."""
    with pytest.raises(RefusedError) as refusal:
        permit(imported, trust=False)
    for part in ("theirs.lockstep", "mine.py", str(imported.sources), "--run-imported-code", "trust=True"):
        assert part in str(refusal.value)
    permit(imported, trust=True)
    permit(imported, trust=False)
    assert foreign_code(imported) is None


def test_code_of_this_home_needs_no_word(tmp_path: Path) -> None:
    folder = create(FolderRunStore(tmp_path))
    permit(folder, trust=False)
    assert not (tmp_path / "imports").exists()


def test_odd_values_are_an_error_about_an_imported_run_and_a_defect_in_one_of_this_home(
    imported: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(IntegrityError, match="of this imported run lacks what it should hold"), reading(imported):
        raise KeyError("best")
    with pytest.raises(KeyError), reading(create(FolderRunStore(tmp_path))):
        raise KeyError("best")


def test_a_run_made_from_an_imported_one_counts_as_imported(imported: RunFolder, tmp_path: Path) -> None:
    """Its batches, names and code are a stranger's still, also when the run that it was made from is gone."""
    store = FolderRunStore(tmp_path)
    derived = create(store, source=imported)
    store.remove(imported.path.name)
    assert is_imported(derived)
    assert foreign_code(derived).archive == "theirs.lockstep"
    assert not is_imported(create(store, source=create(store)))


def test_code_that_the_user_names_for_it_needs_no_word(imported: RunFolder, tmp_path: Path) -> None:
    derived = create(FolderRunStore(tmp_path), source=imported)
    answer_for_own_code(derived, imported)
    assert foreign_code(derived) is not None, "the same files are the stranger's"
    (derived.sources / "mine.py").write_text("another = True\n")
    answer_for_own_code(derived, imported)
    assert foreign_code(derived) is None


class Terminal:
    """A stream of a terminal, where somebody answers."""

    def __init__(self, answer: str = "") -> None:
        self.answer, self.shown = answer, ""

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self.answer

    def write(self, text: str) -> None:
        self.shown += text

    def flush(self) -> None:
        """Nothing is held back."""


@pytest.mark.parametrize(("answer", "allowed"), [("y\n", True), ("yes\n", True), ("\n", False), ("n\n", False)])
def test_a_terminal_is_asked(imported: RunFolder, monkeypatch: pytest.MonkeyPatch, answer: str, allowed: bool) -> None:
    screen = Terminal()
    monkeypatch.setattr(consent.sys, "stdin", Terminal(answer))
    monkeypatch.setattr(consent.sys, "stderr", screen)
    assert consent.consent(imported, flag=False) is allowed
    assert "mine.py" in screen.shown
    assert "[y/N]" in screen.shown


def test_without_a_terminal_nobody_is_asked(imported: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consent.sys, "stdin", None)
    assert not consent.consent(imported, flag=False)
    assert consent.consent(imported, flag=True)
