"""Identity: which code counts, and one fingerprint over spec, data, code and numerics."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest

import lockstep
from lockstep.core.errors import InputError, NotComparableError
from lockstep.core.hashing import blake3_hex
from lockstep.runs import registry
from lockstep.runs.identity import (
    CodeIdentity,
    code_differences,
    fingerprint,
    fingerprint_of,
    package_files,
    require_comparable,
)
from lockstep.runs.kind_code import whole_code
from lockstep.runs.sources import UserSource
from lockstep.runs.verify import ExecutorChoice, verify
from lockstep.storage.documents import document_hash
from lockstep.testing import toy_kind

HASHES = {"spec": "a" * 64, "data": "b" * 64, "code": "c" * 64, "numerics": "d" * 64}


LOOP = "runs/loop.py"


def test_the_loop_and_both_executors_count_for_every_kind_and_the_delivery_for_none():
    counted = set(package_files([]))
    assert {LOOP, "runs/resume.py", "runs/checkpoint.py", "clusters/in_process.py", "clusters/loky.py"} <= counted
    assert not {name for name in counted if name.startswith(("cli/", "app/", "reports/", "kinds/", "faces/"))}
    assert set(package_files(["lockstep.kinds.strategy.kind"])) > counted | {"kinds/strategy/kind.py"}


def test_a_copy_of_the_package_has_the_same_files_wherever_it_lies(tmp_path):
    root = Path(lockstep.__file__).parent
    copy = Path(shutil.copytree(root, tmp_path / "site-packages" / "lockstep"))
    roots = ["lockstep.testing.toy_kind"]
    assert package_files(roots, root=copy) == package_files(roots)


def test_one_changed_byte_changes_the_identity_and_is_named_by_file():
    before = CodeIdentity(package={"a.py": "1", "b.py": "2"})
    after = CodeIdentity(package={"a.py": "1", "b.py": "3", "c.py": "4"})
    assert before.hash() != after.hash()
    assert code_differences(before.body(), after.body()) == ["lockstep/b.py changed", "lockstep/c.py added"]


def test_many_files_are_counted_by_room():
    """A run of a release that counted the whole package: 187 files are not listed one by one."""
    rooms = {"app": 28, "cli": 22, "learning": 137}
    more = {f"{room}/f{number}.py": "1" for room, count in rooms.items() for number in range(count)}
    common = {"runs/loop.py": "1", "core/files.py": "2"}
    then, now = {"package": {**common, **more}}, {"package": {**common, "core/files.py": "3"}}
    assert code_differences(then, now) == [
        "lockstep/core/files.py changed",
        "lockstep/: 187 files no longer counted (app 28, cli 22, learning 137)",
    ]
    assert code_differences(now, then) == [
        "lockstep/core/files.py changed",
        "lockstep/: 187 files counted only now (app 28, cli 22, learning 137)",
    ]
    other = {"package": dict.fromkeys(now["package"] | more, "9")}
    assert code_differences({"package": now["package"] | more}, other) == [
        "lockstep/: 189 files changed (app 28, cli 22, core 1, learning 137, runs 1)"
    ]


def test_ten_files_are_named_and_eleven_are_counted():
    files = {f"app/f{number:02}.py": "1" for number in range(11)}
    ten = dict(list(files.items())[:10])
    assert code_differences({"package": ten}, {}) == [f"lockstep/{name} removed" for name in ten]
    assert code_differences({"package": files}, {}) == ["lockstep/: 11 files no longer counted (app 11)"]
    # The user's own files are always named.
    assert len(code_differences({"user": files}, {})) == 11


def test_a_kind_completes_what_it_supplied_of_the_users_code():
    part = CodeIdentity.of(UserSource({"mine.py": b"from lockstep.rl import sum_tree"}, "mine.py", "M", {"numpy": "2"}))
    whole = whole_code(part, toy_kind.KIND)
    assert (part.package, part.body()["package"]) == (None, {})
    assert whole.package is not None
    assert {"testing/toy_kind.py", "testing/toy_training.py", LOOP, "rl/sum_tree.py"} <= whole.package.keys()
    assert "rl/sum_tree.py" not in whole_code(CodeIdentity.of(), toy_kind.KIND).package
    assert (whole.sources, whole.entry, whole.requires) == (part.sources, part.entry, {"numpy": "2"})


FOREIGN = """
from lockstep.rl import sum_tree
from lockstep.testing.toy_kind import ToyKind
import {library}
from mykinds import helper

class Mine(ToyKind):
    name = "toy-of-mine"

KIND = Mine()
"""


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A kind in a package of somebody else, which imports a module that no package owns."""
    names = {"library": f"library_{tmp_path.name.replace('-', '_')}"}
    (tmp_path / "mykinds").mkdir()
    for name, text in {"__init__": "", "toy": FOREIGN.format(**names), "helper": "x = 1", "other": "y = 1"}.items():
        (tmp_path / "mykinds" / f"{name}.py").write_text(text)
    (tmp_path / f"{names['library']}.py").write_text("from lockstep.episodes import outcomes")
    monkeypatch.syspath_prepend(tmp_path)
    registry.register("toy-of-mine", "mykinds.toy:KIND")
    yield tmp_path, names["library"]
    registry.unregister("toy-of-mine")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mykinds", names["library"])]:
        del sys.modules[name]


def test_a_kind_of_another_package_is_counted_by_the_files_of_that_package_that_it_loads(foreign):
    folder, library = foreign
    whole = whole_code(CodeIdentity.of(), registry.get("toy-of-mine"))
    assert [name for name in whole.package if ":" in name] == [
        "mykinds:__init__.py",
        "mykinds:helper.py",
        "mykinds:toy.py",
    ]
    # What it imports of Lockstep counts, and so does what a module does that it imports from elsewhere.
    assert {"rl/sum_tree.py", "testing/toy_kind.py", "episodes/outcomes.py"} <= whole.package.keys()
    assert list(whole.requires) == [f"{library} (source)"]
    (folder / "mykinds" / "helper.py").write_text("x = 2")
    again = whole_code(CodeIdentity.of(), registry.get("toy-of-mine"))
    assert code_differences(whole.body(), again.body()) == ["mykinds/helper.py changed"]


def test_a_run_of_a_kind_of_another_package_is_verified_and_refused_after_a_change(foreign, home):
    folder, _ = foreign
    run = home.train(kind="toy-of-mine", steps=3)
    choice = ExecutorChoice("lockstep.clusters.in_process:InProcessExecutor")
    assert verify(run.path, home=home.path, blobs=home.store.blobs, executor=choice).equal
    (folder / "mykinds" / "toy.py").write_text((folder / "mykinds" / "toy.py").read_text() + "# other\n")
    with pytest.raises(NotComparableError, match=r"mykinds/toy.py changed"):
        verify(run.path, home=home.path, blobs=home.store.blobs, executor=choice)


def test_a_kind_without_a_file_is_refused():
    """Written into a session: two kinds of other code would have one fingerprint."""
    kind = type("Mine", (toy_kind.ToyKind,), {"__module__": "nowhere", "name": "of-a-session"})()
    with pytest.raises(InputError, match="Write the kind into a module"):
        whole_code(CodeIdentity.of(), kind)


def test_a_kind_in_a_single_file_is_counted_by_that_file(tmp_path, monkeypatch):
    (tmp_path / "one_kind.py").write_text("from lockstep.testing.toy_kind import ToyKind\nclass Mine(ToyKind): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("one_kind")
    try:
        counted = whole_code(CodeIdentity.of(), module.Mine()).package
    finally:
        del sys.modules["one_kind"]
    assert counted["one_kind:one_kind.py"] == blake3_hex((tmp_path / "one_kind.py").read_bytes())
    assert "testing/toy_kind.py" in counted


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
