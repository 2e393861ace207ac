"""Values derived from files: kept while the files are those that they were."""

from __future__ import annotations

import os
from pathlib import Path

from lockstep.storage.derived import DerivedValues, stamp_of


def test_a_value_is_derived_again_when_a_file_behind_it_changes_in_any_way(tmp_path: Path) -> None:
    folder, file = tmp_path, tmp_path / "a.json"
    file.write_bytes(b"1")
    (tmp_path / "b.json").write_bytes(b"not asked for")
    derived: list[bytes] = []

    def value() -> str:
        values = DerivedValues(tmp_path / "cache" / "values.json", "1")

        def derive() -> str:
            derived.append(file.read_bytes())
            return file.read_text()

        result = values.get("a", stamp_of(folder, frozenset({"a.json"})), derive)
        values.save()
        return str(result)

    assert [value(), value()] == ["1", "1"]
    assert len(derived) == 1
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    file.write_bytes(b"2")
    os.utime(file, ns=times)  # the same length and time of change: the kernel's own time moves all the same
    assert value() == "2"
    (tmp_path / "cache" / "values.json").write_bytes(b"damaged")
    assert value() == "2"
    assert derived == [b"1", b"2", b"2"]


def test_values_of_another_version_are_made_anew(tmp_path: Path) -> None:
    for version in ("1", "2"):
        values = DerivedValues(tmp_path / "values.json", version)
        assert values.get("a", [], lambda version=version: version) == version
        values.save()


def test_a_place_that_cannot_be_written_to_keeps_nothing_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    values = DerivedValues(tmp_path / "file" / "values.json", "1")
    assert values.get("a", [], lambda: 1) == 1
    values.save()
