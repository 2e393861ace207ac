"""The user's source travels with the run: whole, or refused by name."""

import importlib.metadata
import linecache
import math
import subprocess
import sys
import types

import pytest

from lockstep.core.errors import StrategyError
from lockstep.runs.sources import files_behind, source_of_class, source_of_file, versions

COUNTER = iter(range(1_000))


def session(monkeypatch, text):
    """A notebook: a module without a file, whose source only `linecache` knows, as IPython does it."""
    name = f"session_{next(COUNTER)}"
    filename = f"<ipython-input-{name}>"
    module = types.ModuleType(name)
    module.__file__ = filename
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(text, filename, "exec"), vars(module))
    return module


def restored(source):
    namespace = {"__name__": "restored"}
    exec(compile(source.files[source.main], source.main, "exec"), namespace)
    return namespace[source.attribute]


def test_a_file_travels_as_it_is(tmp_path):
    file = tmp_path / "mine.py"
    file.write_bytes(b"import math\r\nclass Mine:\r\n    pass\r\n")
    source = source_of_file(file, "Mine")
    assert source.files == {"mine.py": file.read_bytes()}
    assert (source.main, source.attribute, source.requires) == ("mine.py", "Mine", {})


def test_modules_beside_the_file_travel_along(tmp_path):
    (tmp_path / "mine.py").write_text("import helper\nclass Mine: pass\n")
    (tmp_path / "helper.py").write_text("from deeper import f\nimport mine\n")
    (tmp_path / "deeper.py").write_text("f = 1\n")
    (tmp_path / "unused.py").write_text("")
    assert list(source_of_file(tmp_path / "mine.py", "Mine").files) == ["deeper.py", "helper.py", "mine.py"]


def test_installed_packages_are_named_with_their_version(tmp_path):
    import numpy

    (tmp_path / "mine.py").write_text("import numpy as np\nimport lockstep\nimport json\n")
    assert source_of_file(tmp_path / "mine.py", "Mine").requires == {"numpy": numpy.__version__}


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder on Python's path that no installed package owns."""
    folder = tmp_path / "elsewhere"
    (folder / "my_package").mkdir(parents=True)
    (folder / "my_package" / "__init__.py").write_text("from . import inner\n")
    (folder / "my_package" / "inner.py").write_text("import my_module\n")
    (folder / "my_module.py").write_text("K = 1\n")
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.parametrize("changed", ["my_package/inner.py", "my_module.py"])
def test_a_module_of_pythons_path_that_is_not_installed_is_part_of_the_identity(tmp_path, elsewhere, changed):
    """It does not travel and has no version; without its digest, equal fingerprints would give other results."""
    (tmp_path / "mine.py").write_text("import my_package\n")
    before = source_of_file(tmp_path / "mine.py", "Mine").requires
    assert list(before) == ["my_module (source)", "my_package (source)"]
    assert source_of_file(tmp_path / "mine.py", "Mine").requires == before
    (elsewhere / changed).write_text((elsewhere / changed).read_text() + "L = 2\n")
    after = source_of_file(tmp_path / "mine.py", "Mine").requires
    assert [name for name in before if after[name] != before[name]] == [
        f"{changed.partition('/')[0].removesuffix('.py')} (source)"
    ]


def test_a_package_that_is_edited_where_it_lies_is_known_by_its_source_too(elsewhere):
    about = elsewhere / "my_module-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-module\nVersion: 1.0\n")
    (about / "top_level.txt").write_text("my_module\n")
    assert versions(["my_module"]) == {"my-module": "1.0"}
    (about / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    assert list(versions(["my_module"])) == ["my-module", "my_module (source)"]


def test_lists_of_installed_files_are_read_again_only_when_they_changed(tmp_path, monkeypatch):
    """They take a fifth of a second, in each training with code of the user."""
    read, calls = importlib.metadata.packages_distributions, []
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: calls.append(1) or read())
    monkeypatch.syspath_prepend(tmp_path)
    assert list(versions(["my_module"])) == ["my_module (source)"]
    number = len(calls)
    assert list(versions(["my_module", "numpy"])) == ["my_module (source)", "numpy"]
    assert len(calls) == number
    about = tmp_path / "my_module-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-module\nVersion: 1.0\n")
    (about / "RECORD").write_text("other.py,,\n")
    assert list(versions(["my_module"])) == ["my_module (source)"]
    (about / "RECORD").write_text("my_module.py,,\n")
    assert versions(["my_module"]) == {"my-module": "1.0"}


@pytest.mark.parametrize(
    ("needs", "text", "is_read"),
    [
        ("", "from lockstep.market import rapid_change\n", True),
        ("", "import math\n", False),
        ("Requires-Dist: lockstep-trading>=0.1\n", "import math\n", True),
        ("Requires-Dist: numpy\n", "import lockstep\n", False),
    ],
)
def test_an_installed_package_is_read_when_it_may_import_lockstep(elsewhere, needs, text, is_read):
    """Who declares what it needs is believed; who declares nothing is looked into."""
    about = elsewhere / "my_module-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: my-module\nVersion: 1.0\n{needs}")
    (about / "top_level.txt").write_text("my_module\n")
    (about / "RECORD").write_text("my_module.py,,\n")
    (elsewhere / "my_module.py").write_text(text)
    assert files_behind(versions(["my_module"])) == ([elsewhere / "my_module.py"] if is_read else [])


def test_a_module_that_is_not_there_is_noted(tmp_path):
    (tmp_path / "mine.py").write_text("try:\n    import not_there\nexcept ImportError:\n    not_there = None\n")
    assert source_of_file(tmp_path / "mine.py", "Mine").requires == {"not_there (source)": "absent"}


def test_a_link_travels_under_its_own_name(tmp_path):
    (tmp_path / "real.py").write_text("class Mine: pass\n")
    (tmp_path / "link.py").symlink_to("real.py")
    source = source_of_file(tmp_path / "link.py", "Mine")
    assert (source.main, dict(source.files)) == ("link.py", {"link.py": b"class Mine: pass\n"})


def test_a_name_that_no_run_can_hold_is_refused_with_the_cure(tmp_path):
    (tmp_path / "stratégie.py").write_text("class Mine: pass\n")
    with pytest.raises(
        StrategyError, match=r"flat name of at most 120 ASCII .*found 'stratégie\.py'\. Rename the file"
    ):
        source_of_file(tmp_path / "stratégie.py", "Mine")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from .helper import f\n", "line 1: a relative import"),
        ("import package\n", "imports the package"),
        ("def f(:\n", "not Python"),
    ],
)
def test_what_cannot_travel_is_refused(tmp_path, text, expected):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(StrategyError, match=expected):
        source_of_file(tmp_path / "mine.py", "Mine")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StrategyError, match=r"nowhere\.py: the source cannot be read \(No such file"):
        source_of_file(tmp_path / "nowhere.py", "Mine")


def test_a_class_of_an_installed_module_is_found_by_its_file(tmp_path, monkeypatch):
    (tmp_path / "my_strategy_file.py").write_text("class Mine:\n    x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import my_strategy_file

    source = source_of_class(my_strategy_file.Mine)
    assert source.files == {"my_strategy_file.py": b"class Mine:\n    x = 1\n"}
    monkeypatch.delitem(sys.modules, "my_strategy_file")


def test_a_notebook_class_takes_along_what_it_uses_and_nothing_else(monkeypatch):
    notebook = session(
        monkeypatch,
        "import math\nimport numpy as np\nfrom collections import OrderedDict as Ordered\n"
        "LIMIT = (3, 4.5)\nUNUSED = object()\n"
        "def helper(x):\n    return np.sqrt(x) + LIMIT[0]\n"
        "class Base:\n    def base(self):\n        return math.floor(LIMIT[1])\n"
        "class Mine(Base):\n    table = Ordered(a=1)\n    def value(self):\n        return helper(4.0) + self.base()\n",
    )
    source = source_of_class(notebook.Mine)
    text = source.files["session.py"].decode()
    assert restored(source)().value() == notebook.Mine().value() == 2 + 3 + 4
    assert "UNUSED" not in text
    assert text.index("class Base") < text.index("class Mine")
    assert list(source.requires) == ["numpy"]


NOTEBOOK_NAMES = "import numpy as np\nx, y, df, data, model, side, close, h = (np.zeros(3) for _ in range(8))\n"


@pytest.mark.parametrize(
    "body",
    [
        "    def forward(self, x):\n        return x\n",
        "    def forward(self, inputs):\n        h = inputs\n        side = h\n        return side\n",
        "    def forward(self, inputs):\n        return [(lambda data: data)(y) for y in inputs]\n",
        "    close = 3\n    def forward(self, df):\n        return df.data * self.close\n",
        "    def forward(self, *x):\n        for h in x:\n            with h as model:\n                return model\n",
    ],
)
def test_arguments_and_locals_may_be_called_like_variables_of_the_notebook(monkeypatch, body):
    text = f"class Mine:\n{body}"
    source = source_of_class(session(monkeypatch, NOTEBOOK_NAMES + text).Mine)
    assert source.files == source_of_class(session(monkeypatch, text).Mine).files
    assert source.requires == {}


def test_a_variable_that_the_class_only_seems_to_name_changes_nothing(monkeypatch):
    text = "class Mine:\n    def f(self, inputs):\n        h = inputs\n        return h\n"
    first, second = (source_of_class(session(monkeypatch, f"h = {value}\n{text}").Mine) for value in (1, 2))
    assert first == second


def test_a_variable_that_is_read_is_still_taken_along_or_refused(monkeypatch):
    text = "class Mine:\n    size = size\n    def f(self):\n        return self.size + h\n"
    assert restored(source_of_class(session(monkeypatch, f"size = 2\nh = 3\n{text}").Mine))().f() == 5
    with pytest.raises(StrategyError, match="Mine uses h, a object of this"):
        source_of_class(session(monkeypatch, f"size = 2\nh = object()\n{text}").Mine)


def test_a_function_of_the_notebook_named_like_a_builtin_travels(monkeypatch):
    text = "def sum(values):\n    return 42\nclass Mine:\n    def f(self):\n        return sum([1]), max(1, 2)\n"
    assert restored(source_of_class(session(monkeypatch, text).Mine))().f() == (42, 2)


def test_what_a_method_imports_is_part_of_the_identity(monkeypatch):
    text = "class Mine:\n    def f(self):\n        import numpy\n        return numpy.pi\n"
    assert list(source_of_class(session(monkeypatch, text).Mine).requires) == ["numpy"]


def test_types_of_annotations_travel_where_they_can(monkeypatch):
    text = (
        "import typing\nfrom decimal import Decimal\nPair = tuple[int, int]\n"
        "class Mine:\n    size: Decimal\n    at: Pair\n    any: typing.Any\n"
    )
    restored_class = restored(source := source_of_class(session(monkeypatch, text).Mine))
    assert b"from decimal import Decimal as Decimal" in source.files["session.py"]
    assert b"import typing as typing" in source.files["session.py"]
    assert restored_class.__annotations__["at"] == "Pair"


def test_the_same_notebook_class_gives_the_same_bytes(monkeypatch):
    text = "import math, json\nA = 1\nB = 'x'\nclass Mine:\n    def f(self):\n        return math, json, A, B\n"
    first = source_of_class(session(monkeypatch, text).Mine)
    assert first.files == source_of_class(session(monkeypatch, text).Mine).files


@pytest.mark.parametrize(
    "value",
    [
        "float('inf')",
        "(-float('inf'), 1)",
        "[1.5, ()]",
        "{'a': float('inf'), 2: (None,)}",
        "complex(0.0, float('-inf'))",
    ],
)
def test_constants_come_back_as_they_were(monkeypatch, value):
    notebook = session(monkeypatch, f"LIMIT = {value}\nclass Mine:\n    def f(self):\n        return LIMIT\n")
    assert restored(source_of_class(notebook.Mine))().f() == notebook.LIMIT


def test_nan_comes_back_too(monkeypatch):
    notebook = session(monkeypatch, "GAP = float('nan')\nclass Mine:\n    def f(self):\n        return GAP\n")
    assert math.isnan(restored(source_of_class(notebook.Mine))().f())


def test_a_named_tuple_is_no_plain_constant(monkeypatch):
    text = "from collections import namedtuple\nAt = namedtuple('At', 'x')\nAT = At(1)\n"
    notebook = session(monkeypatch, text + "class Mine:\n    def f(self):\n        return AT.x\n")
    with pytest.raises(StrategyError, match="Mine uses AT, a At of this interactive Python that cannot be written"):
        source_of_class(notebook.Mine)


def test_a_class_typed_into_a_console_is_refused_with_the_way_out():
    namespace = {"__name__": "console"}
    sys.modules["console"] = types.ModuleType("console")
    try:
        exec("class Mine: pass", namespace)
        with pytest.raises(StrategyError, match=r'Mine: its source is not available.*name = "my_file\.py:Mine"'):
            source_of_class(namespace["Mine"])
    finally:
        del sys.modules["console"]


def test_a_class_that_was_run_out_of_a_markdown_page_is_refused_with_the_way_out(tmp_path, monkeypatch):
    """Tools that run the blocks of a page give their code the page's name; the page is no Python."""
    page = tmp_path / "page.md"
    page.write_text("# A page: it isn't Python\n\n    class Mine:\n        def signals(self): ...\n")
    monkeypatch.setitem(sys.modules, "page", types.ModuleType("page"))
    namespace = {"__name__": "page"}
    sys.modules["page"].__file__ = str(page)
    exec(compile("\n\nclass Mine:\n    def signals(self): ...\n", str(page), "exec"), namespace)
    with pytest.raises(StrategyError, match=r'Mine: its source is not available.*name = "my_file\.py:Mine"'):
        source_of_class(namespace["Mine"])


def test_an_object_of_the_session_cannot_travel(monkeypatch):
    notebook = session(monkeypatch, "model = object()\nclass Mine:\n    def f(self):\n        return model\n")
    with pytest.raises(StrategyError, match="Mine uses model, a object of this interactive Python"):
        source_of_class(notebook.Mine)


def test_decorated_helpers_travel_with_their_decorators(monkeypatch):
    notebook = session(
        monkeypatch,
        "import functools\nimport numba\n"
        "@numba.njit\ndef twice(x):\n    return 2 * x\n"
        "@functools.cache\ndef thrice(x):\n    return 3 * x\n"
        "class Mine:\n    def f(self):\n        return twice(4) + thrice(5)\n",
    )
    source = source_of_class(notebook.Mine)
    assert "@numba.njit\ndef twice" in source.files["session.py"].decode()
    assert restored(source)().f() == 8 + 15


def test_a_function_travels_like_a_class(monkeypatch):
    notebook = session(monkeypatch, "LIMIT = 3\ndef objective(metrics):\n    return metrics['x'] - LIMIT\n")
    assert restored(source_of_class(notebook.objective))({"x": 5}) == 2


def test_a_class_of_a_script_travels_without_what_the_script_does(tmp_path):
    """Loading the whole script again would train again, without end."""
    script = tmp_path / "script.py"
    script.write_text(
        "from lockstep.runs.sources import source_of_class\n"
        "LIMIT = 3\n"
        "class Mine:\n    def f(self):\n        return LIMIT\n"
        "print(source_of_class(Mine).files['session.py'].decode())\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert "LIMIT = 3" in done.stdout
    assert "class Mine" in done.stdout
    assert "print" not in done.stdout


def test_a_class_inside_a_function_is_refused():
    class Inner:
        pass

    with pytest.raises(StrategyError, match="defined inside a function or a class"):
        source_of_class(Inner)


def test_a_class_of_a_notebook_cell_is_found_although_main_has_no_file():
    """What IPython does: cells are compiled in `__main__`, which no file holds; only `linecache` knows their text."""
    cell = "import math\n\n\nclass Mine:\n    size = 2\n    def f(self):\n        return math.pi\n"
    script = (
        "import linecache\n"
        f"text = {cell!r}\n"
        "linecache.cache['<cell 1>'] = (len(text), None, text.splitlines(keepends=True), '<cell 1>')\n"
        "exec(compile(text, '<cell 1>', 'exec'), globals())\n"
        "from lockstep.runs.sources import source_of_class\n"
        "source = source_of_class(Mine)\n"
        "print(source.files[source.main].decode())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "import math" in done.stdout
    assert "class Mine:\n    size = 2\n    def f(self):\n        return math.pi\n" in done.stdout
