"""Import closure: read from the sources alone, nothing missed, nothing that cannot run."""

from pathlib import Path

import pytest

import lockstep
from lockstep.bootstrap import KINDS
from lockstep.runs.closure import SourceTree
from lockstep.runs.identity import package_files
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
        ("import lockstep.p\nx = lockstep.p\nx.A", ["a.py", "b.py"]),
        ("import lockstep as ls, lockstep.p\nls.p.A", ["a.py"]),
        ("import lockstep as ls\nls.p.Other.method", ["b.py"]),
        ("import lockstep as ls\nls.p.c.x", ["p/c.py"]),
        ("import lockstep as ls\nf(ls.p)", ["a.py", "b.py"]),
        ("import lockstep.p as m\nm.c.x", ["p/c.py"]),
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
    whole = ["a.py", "b.py", "c.py", "d.py", "start.py"]
    assert package([b'import_module("lockstep").A'], **files) == whole


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("if __name__ == '__main__':\n    import lockstep.a\nelse:\n    import lockstep.b", "b.py"),
        ("if '__main__' == __name__:\n    import lockstep.a\nelif x:\n    import lockstep.b", "b.py"),
        ("if __name__ != '__main__':\n    import lockstep.b", "b.py"),
        ("import lockstep as ls\nif __name__ == '__main__':\n    ls.a.x\nelse:\n    ls.b.x", "b.py"),
    ],
)
def test_what_runs_when_a_file_is_no_script_counts(package, text, name):
    assert package([text.encode()], a="", b="") == [name, "start.py"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import lockstep as ls\nls.p.A", ["a.py"]),
        ("import lockstep.p as m\nm.c.x", ["p/c.py"]),
        ("import lockstep as ls\nls.q.p.A", ["a.py", "q.py"]),
        ("from lockstep import q\nq.p.Other", ["b.py", "q.py"]),
        ("from lockstep import p\nf(p)", ["a.py", "b.py", "p/c.py"]),
        ("import lockstep as ls\nf(ls.p)", ["a.py", "b.py", "p/c.py"]),
        ("import lockstep as ls\ngetattr(ls.p, name)", ["a.py", "b.py", "p/c.py"]),
    ],
)
def test_chains_of_attributes_in_a_file_of_the_user_are_followed(package, text, names):
    files = {"p__of____init__": LAZY, "p__of__c": "", "a": "", "b": "", "q": "from lockstep import p"}
    assert package([text.encode()], **files) == sorted([*names, "p/__init__.py", "start.py"])


@pytest.mark.parametrize(
    "text",
    [
        'import importlib as il\nil.import_module(name="..p.a", package="lockstep.q")',
        'from importlib import import_module as load\nload("..p.a", "lockstep.q")',
        '__import__("lockstep.p.a", fromlist=["x"])',
        '__import__("lockstep.p.a", globals(), None, ["x"], 0)',
        'resolve_name("lockstep.p.a:x")',
        'exec("import lockstep.p.a")',
        'import builtins\nbuiltins.exec("from lockstep.p import a")',
        "eval(\" __import__('lockstep.p.a', fromlist=['x'])\")",
        'import lockstep as ls\neval("ls.p.a.x")',
    ],
)
def test_a_load_by_constants_counts_what_they_name(package, text):
    files = {"p__of____init__": "", "p__of__a": "", "p__of__b": "", "c": ""}
    assert package([text.encode()], **files) == ["p/__init__.py", "p/a.py", "start.py"]


def test_a_string_that_names_a_package_counts_all_of_it(package):
    files = {"p__of____init__": "", "p__of__a": "", "p__of__b": "", "c": ""}
    whole = ["p/__init__.py", "p/a.py", "p/b.py", "start.py"]
    assert package([b'import_module(".a", "lockstep.p")'], **files) == whole
    assert package([b'import_module("lockstep.p").a.x'], **files) == whole
    # In our own files a test sees what else is loaded, so only what is named counts.
    assert package(start='import_module(".a", "lockstep.p")', **files) == ["p/__init__.py", "p/a.py", "start.py"]


def test_a_name_from_a_list_and_the_main_module_of_a_package_count(package):
    files = {"p__of____init__": "", "p__of__a": "", "p__of____main__": "", "q": ""}
    assert "p/a.py" in package([b'__import__("lockstep.p", fromlist=["a"])'], **files)
    assert "p/__main__.py" in package([b'import runpy\nrunpy.run_module("lockstep.p")'], **files)


@pytest.mark.parametrize(
    "text",
    [
        'importlib.import_module("lockstep." + name)',
        'import_module(".a", package)',
        "import_module(*names)",
        "import_module(**names)",
        "load = importlib.import_module",
        "from importlib import import_module as load\nload(name)",
        'import importlib\ngetattr(importlib, "import_" + "module")',
        'getattr(module, "import_module")("x")',
        "__import__(name)",
        '__import__("a", globals(), None, ["x"], 1)',
        'import builtins as b\nb.__dict__["exec"]',
        '__builtins__["exec"](text)',
        "exec(text)",
        'exec("exec(text)")',
        "eval(f'{name}.x')",
        'def f():\n    return compile(text, "f", "exec")',
        "import runpy\nrunpy.run_module(name)",
        'runpy.run_path("beside.py")',
        'spec_from_file_location("a", "a.py")',
    ],
)
def test_every_file_counts_where_a_file_of_the_user_computes_what_it_loads(package, text, tmp_path):
    files = {"p__of____init__": "", "p__of__a": "", "b": ""}
    whole = ["b.py", "p/__init__.py", "p/a.py", "start.py"]
    assert package([text.encode()], **files) == whole
    # The same in another package, but not in ours, where a test lists such places.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "__init__.py").write_text(text)
    assert package(start="import other", other=tmp_path / "other", **files) == sorted([*whole, "other:__init__.py"])
    assert package(start=text, **files) == ["start.py"]


@pytest.mark.parametrize(
    "text",
    [
        "model.eval()",
        "import re\nre.compile(pattern)",
        "compile = True",
        "model.fit(compile=True)",
        'eval("1 + 1")',
        'import_module("numpy")',
        "import importlib\nimportlib.metadata.version(name)",
        "if __name__ == '__main__':\n    exec(text)",
        'exec("this is not Python")',
        'import_module(".a")',
    ],
)
def test_what_only_looks_like_a_computed_load_counts_nothing(package, text):
    assert package([text.encode()], a="") == ["start.py"]


def test_the_sources_themselves_answer_for_a_file_of_the_user():
    """With the real package: each of these files once led to fewer files than it loads."""
    kind = ["lockstep.kinds.strategy.kind"]
    guarded = b"if __name__ == '__main__':\n    pass\nelse:\n    import lockstep.market.rapid_change\n"
    plain = package_files(kind).keys()
    assert "market/rapid_change.py" in package_files(kind, [guarded]).keys() - plain
    for text in (
        b"import lockstep.market as m\nm.rapid_change.detect",
        b"import lockstep as ls\nls.market.rapid_change.detect",
        b'import_module(".rapid_change", "lockstep.market")',
    ):
        assert "market/rapid_change.py" in package_files(kind, [text])
    sweep = b"import lockstep as ls\nls.strategies.sweep"
    assert "strategies/sweeps.py" in SourceTree({"lockstep": HERE}).closure([], [sweep])
    whole = {path.relative_to(HERE).as_posix() for path in HERE.rglob("*.py")} - {"__init__.py"}
    assert package_files(kind, [b'importlib.import_module("lockstep." + name)']).keys() == whole


def test_a_kind_counts_the_share_of_the_files_that_the_decision_states():
    """Decision 0063: less than half for each kind, under a fifth for what every run loads."""
    total = len(list(HERE.rglob("*.py")))
    assert len(package_files([])) < total / 5
    for path in KINDS.values():
        assert len(package_files([path.partition(":")[0]])) < total / 2, path


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
