"""Identity: which code counts, and one fingerprint over spec, data, code and numerics."""

from pathlib import Path

import pytest

import lockstep
from lockstep.core.errors import NotComparableError
from lockstep.runs.identity import (
    CodeIdentity,
    code_differences,
    fingerprint,
    fingerprint_of,
    package_files,
    require_comparable,
)
from lockstep.runs.sources import UserSource
from lockstep.storage.documents import document_hash

HASHES = {"spec": "a" * 64, "data": "b" * 64, "code": "c" * 64, "numerics": "d" * 64}


def test_every_source_file_counts_but_delivery_and_tests_helpers():
    root = Path(lockstep.__file__).parent
    all_files = {path.relative_to(root).as_posix() for path in root.rglob("*.py")}
    counted = set(package_files())
    assert {"core/canonical.py", "runs/seeds.py", "runs/loop.py", "__init__.py"} <= counted
    left_out = {name.partition("/")[0] for name in all_files - counted}
    assert left_out <= {"cli", "api", "web", "worker", "reports", "testing"}


def test_one_changed_byte_changes_the_identity_and_is_named_by_file():
    before = CodeIdentity(package={"a.py": "1", "b.py": "2"})
    after = CodeIdentity(package={"a.py": "1", "b.py": "3", "c.py": "4"})
    assert before.hash() != after.hash()
    assert code_differences(before.body(), after.body()) == ["lockstep/b.py changed", "lockstep/c.py added"]


def test_the_users_file_is_part_of_the_identity():
    source = UserSource({"mine.py": b"x = 1"}, "mine.py", "Mine", {"numpy": "2.4.6"})
    other = UserSource({"mine.py": b"x = 2"}, "mine.py", "Mine", {"numpy": "2.4.7"})
    here, there = CodeIdentity.of(source), CodeIdentity.of(other)
    assert here.entry == "mine.py:Mine"
    assert code_differences(here.body(), there.body()) == [
        "code/mine.py changed",
        "package numpy: 2.4.6 then, 2.4.7 now",
    ]
    assert code_differences(CodeIdentity.of(None).body(), here.body())[0] == "code/mine.py added"


@pytest.mark.parametrize("part", ["spec", "data", "code", "numerics"])
def test_each_of_the_four_decides_the_fingerprint(part):
    assert fingerprint(HASHES) != fingerprint({**HASHES, part: "e" * 64})


def test_two_parts_cannot_change_places():
    assert fingerprint(HASHES) != fingerprint({**HASHES, "spec": HASHES["data"], "data": HASHES["spec"]})


def test_the_fingerprint_of_bodies_is_the_one_of_their_documents():
    bodies = {"spec": {"seed": 42}, "data": {"digest": "x"}, "code": {}, "numerics": {}}
    assert fingerprint_of(**bodies) == fingerprint({kind: document_hash(body) for kind, body in bodies.items()})


def test_other_code_or_numerics_are_not_comparable_and_every_difference_is_named():
    then = {"code": CodeIdentity(package={"a.py": "1"}).body(), "numerics": {"numpy": "2.4.6"}}
    now = {"code": CodeIdentity(package={"a.py": "2"}).body(), "numerics": {"numpy": "2.5.0"}}
    require_comparable(then, then)
    with pytest.raises(NotComparableError) as caught:
        require_comparable(then, now, what="run X")
    assert str(caught.value).splitlines() == [
        "run X was made with other code or numerics, so equality can be neither claimed nor refuted:",
        "  - code: lockstep/a.py changed",
        "  - numerics: numpy: 2.4.6 then, 2.5.0 now",
        "Use the versions named, or compare all the same with --across.",
    ]
