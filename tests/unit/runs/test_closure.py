"""Import closure: read from the sources alone, nothing missed, nothing that cannot run."""

from pathlib import Path

import pytest

import lockstep
from lockstep.runs.closure import SourceTree
from lockstep.strategies.registry import _BUILT_IN

HERE = Path(lockstep.__file__).parent


@pytest.fixture
def package(tmp_path):
    """Writes files of a package called `lockstep` and answers which of them `lockstep.start` loads."""

    def reached(texts=(), *, other=None, **files):
        packages = {"lockstep": tmp_path / "lockstep"}
        for name, text in {"__init__": "", "start": "", **files}.items():
            path = packages["lockstep"] / (name.replace("__of__", "/").replace("__init__", "__init__") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        if other is not None:
            packages["other"] = other
        return list(SourceTree(packages).closure(["lockstep.start"], texts))

    return reached


@pytest.mark.parametrize(
    "text",
    [
        "import lockstep.a",
        "import lockstep.a as x",
        "from lockstep import a",
        "from lockstep.a import x",
        "from . import a",
        "from .a import x",
        "def f():\n    import lockstep.a",
        "class C:\n    def f(self):\n        if self:\n            from lockstep import a",
        "try:\n    import lockstep.a\nexcept ImportError:\n    pass",
        "try:\n    pass\nexcept ImportError:\n    import lockstep.a",
        "try:\n    pass\nfinally:\n    import lockstep.a",
        "try:\n    pass\nexcept* ImportError:\n    import lockstep.a",
        "for x in ():\n    pass\nelse:\n    import lockstep.a",
        "while x:\n    import lockstep.a",
        "with x:\n    import lockstep.a",
        "async def f():\n    async with x:\n        import lockstep.a",
        "match x:\n    case 1:\n        import lockstep.a",
        "if x: import lockstep.a",
        "x = 1; import lockstep.a",
        'importlib.import_module("lockstep.a")',
        "import_module('lockstep.a')",
        'TABLE = {"A": "lockstep.a:A"}',
        'subprocess.run(["python", "-m", "lockstep.a"])',
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import lockstep.a",
        "if not TYPE_CHECKING:\n    import lockstep.a",
    ],
)
def test_every_way_to_load_a_module_counts(package, text):
    assert package(start=text, a="", b="") == ["a.py", "start.py"]


@pytest.mark.parametrize(
    "text",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import lockstep.a",
        "import typing\nif typing.TYPE_CHECKING:\n    from lockstep.a import x",
        '"""Not for those who say `import lockstep.a`."""',
        "# import lockstep.a",
        'message = "see lockstep.a"',
        "import numpy.a",
        'x = "other.a:A"',
        "from lockstep import nothing",
        "import lockstep.nothing",
    ],
)
def test_what_cannot_load_a_module_does_not_count(package, text):
    assert package(start=text, a="") == ["start.py"]


def test_modules_are_followed_to_the_end_circles_included(package):
    files = {"a": "import lockstep.b", "b": "import lockstep.a, lockstep.c", "c": "", "d": "import lockstep.a"}
    assert package(start="import lockstep.a", **files) == ["a.py", "b.py", "c.py", "start.py"]


def test_packages_on_the_way_are_loaded_and_followed(package):
    files = {"p__of____init__": "import lockstep.b", "p__of__a": "from .c import x", "p__of__c": "", "b": "", "d": ""}
    assert package(start="import lockstep.p.a", **files) == ["b.py", "p/__init__.py", "p/a.py", "p/c.py", "start.py"]


def test_a_name_that_a_package_defines_is_not_taken_for_a_module(package):
    files = {"p__of____init__": "x = 1", "p__of__y": ""}
    assert package(start="from lockstep.p import x", **files) == ["p/__init__.py", "start.py"]


LAZY = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from lockstep.a import A
    from lockstep.b import B as Other
_HOMES = {"A": "lockstep.a", "Other": "lockstep.b"}
def __getattr__(name): ...
"""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("from lockstep.p import A", ["a.py"]),
        ("from lockstep.p import Other", ["b.py"]),
        ("from lockstep.p import *", ["a.py", "b.py"]),
        ("import lockstep.p as p\np.A()", ["a.py"]),
        ("from lockstep import p\nclass C(p.Other): pass", ["b.py"]),
        ("import lockstep.p\nlockstep.p.A", ["a.py"]),
        ("import lockstep.p\nx = lockstep.p\nx.A", ["a.py"]),
        ("from lockstep import p\nself.A()", []),
        ('from lockstep import p\np.__dict__["A"]', ["a.py", "b.py"]),
        ("from lockstep import p\np.__version__", []),
        ("from lockstep import p\ngetattr(p, name)", ["a.py", "b.py"]),
        ("from lockstep import p\nthing = p", ["a.py", "b.py"]),
        ('p = import_module("lockstep.p")', ["a.py", "b.py"]),
        ('p = "lockstep.p:A"', ["a.py"]),
        ("from lockstep import p", []),
        ("import lockstep.p.c", ["p/c.py"]),
    ],
)
def test_a_package_that_loads_its_names_at_first_use_leads_to_the_names_that_are_asked_for(package, text, names):
    files = {"p__of____init__": LAZY, "p__of__c": "", "a": "", "b": ""}
    assert package(start=text, **files) == sorted([*names, "p/__init__.py", "start.py"])


def test_the_entrance_leads_on_and_is_not_counted_itself(package):
    files = {"__init__": LAZY, "a": "import lockstep.c", "b": "", "c": ""}
    assert package(start="import lockstep as ls\nls.A", **files) == ["a.py", "c.py", "start.py"]


def test_files_of_the_user_are_roots_but_what_they_do_as_scripts_is_not_run(package):
    text = b"""
import lockstep as ls
from lockstep.c import x
class Mine(ls.A): pass
if __name__ == "__main__":
    import lockstep.d
    ls.Other(Mine)
"""
    files = {"__init__": LAZY, "a": "", "b": "", "c": "", "d": ""}
    assert package([text], **files) == ["a.py", "c.py", "start.py"]
    assert package([b"import lockstep.c", b"this is not Python"], **files) == ["c.py", "start.py"]
    assert package([b'import_module("lockstep").A'], **files) == ["a.py", "b.py", "start.py"]


def test_the_digest_is_of_the_bytes_and_keys_are_sorted_paths(package, tmp_path):
    package(start="import lockstep.a", a="x = 1\n")
    files = SourceTree({"lockstep": tmp_path / "lockstep"}).closure(["lockstep.start"])
    assert list(files) == ["a.py", "start.py"]
    # b3sum of "x = 1\n"
    assert files["a.py"].digest == lockstep_blake3(b"x = 1\n")
    (tmp_path / "lockstep" / "a.py").write_text("x = 2\n")
    again = SourceTree({"lockstep": tmp_path / "lockstep"}).closure(["lockstep.start"])
    assert again["a.py"].digest == lockstep_blake3(b"x = 2\n")


def lockstep_blake3(content):
    from blake3 import blake3

    return blake3(content).hexdigest()


def test_another_package_is_followed_within_itself_and_into_ours(package, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "__init__.py").write_text("")
    (other / "helper.py").write_text("import lockstep.c, yaml")
    (other / "unused.py").write_text("import lockstep.d")
    files = {"a": "", "c": "", "d": ""}
    keys = package(start="import other.helper", other=other, **files)
    assert keys == ["c.py", "other:__init__.py", "other:helper.py", "start.py"]


def test_every_public_name_and_every_built_in_strategy_has_its_home_in_the_closure():
    """A table that the closure could not read would make it too small without a word."""
    tree = SourceTree({"lockstep": HERE})
    for name in lockstep.__all__:
        if name != "__version__":
            home = f"{getattr(lockstep, name).__module__.removeprefix('lockstep.').replace('.', '/')}.py"
            assert home in tree.closure([], [f"import lockstep as ls\nls.{name}".encode()]), name
            assert home in tree.closure([], [f"from lockstep import {name}".encode()]), name
    strategies = tree.closure(["lockstep.strategies.registry"])
    for path in _BUILT_IN.values():
        assert path.partition(":")[0].removeprefix("lockstep.").replace(".", "/") + ".py" in strategies


def test_nothing_is_imported_to_find_the_closure(tmp_path):
    (tmp_path / "lockstep").mkdir()
    (tmp_path / "lockstep" / "__init__.py").write_text("")
    (tmp_path / "lockstep" / "start.py").write_text("raise SystemExit('was run')")
    assert list(SourceTree({"lockstep": tmp_path / "lockstep"}).closure(["lockstep.start"])) == ["start.py"]
