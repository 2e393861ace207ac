"""The import closure reads sources; what is loaded under a name that is computed is listed here, with its reason."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "lockstep"
LOADERS = {
    "__import__",
    "exec_module",
    "find_spec",
    "import_module",
    "run_module",
    "run_path",
    "spec_from_file_location",
}
COVERED = {
    ("__init__.py", "import_module(_HOMES[name])"): "the entrance: a name counts where a file asks for it",
    ("__init__.py", "import_module(_SOURCE_NAMES)"): "words for an error about a name that there is not",
    ("core/libraries.py", "import_module(module)"): "libraries of others: every call names one, and numerics holds it",
    ("core/libraries.py", "find_spec(name)"): "asks, loads nothing",
    (
        "kinds/shared/model_registry.py",
        "import_module(module)",
    ): "what is done with a model after its run: no result passes through it",
    ("kinds/shared/network_code.py", "import_module(module)"): "the tables NETWORKS of the kinds: strings that count",
    ("runs/registry.py", "import_module(module)"): "the module of the kind: a root of its closure",
    (
        "runs/sources.py",
        "find_spec(module)",
    ): "finds what the user's file imports; its source or version is in requires",
    ("runs/user_modules.py", "exec_module(module)"): "the user's own file, whose bytes travel and count",
    ("runs/verify_child.py", "import_module(module)"): "an executor: both are roots of every closure",
    (
        "storage/blob_checks.py",
        "import_module(module)",
    ): "compares a file with its digest before a run leaves a home or comes into one: no result passes through it",
    (
        "storage/blobs.py",
        "import_module(module)",
    ): "a store of blobs: it keeps bytes under the digest that names them, and every reader compares",
    ("strategies/__init__.py", "import_module(f'{__name__}.{home}')"): "names at first use, shown under TYPE_CHECKING",
    ("strategies/registry.py", "import_module(module)"): "the table of built-in strategies: strings that count",
    ("validation/__init__.py", "import_module(f'{__name__}.causality')"): "as in strategies/__init__.py",
}


def computed_loads() -> set[tuple[str, str]]:
    """File and call of each load whose argument is no constant."""
    calls = set()
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in LOADERS and not (node.args and isinstance(node.args[0], ast.Constant)):
                arguments = ", ".join(ast.unparse(argument) for argument in node.args)
                calls.add((path.relative_to(SOURCE).as_posix(), f"{name}({arguments})"))
    return calls


def test_every_load_of_a_computed_name_is_covered_for_a_reason() -> None:
    """A new one would make the code identity too small without a word: say here why it does not, or name it."""
    assert computed_loads() == set(COVERED)


def test_a_package_that_loads_names_at_first_use_shows_where_each_of_them_lives() -> None:
    """The closure reads the block for type checkers, so a name that is missing there would lead nowhere."""
    packages = []
    for path in sorted(SOURCE.rglob("__init__.py")):
        body = ast.parse(path.read_text()).body
        if not any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in body):
            continue
        packages.append(path.parent.relative_to(SOURCE).as_posix())
        shown = {
            alias.asname or alias.name
            for block in body
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
            for node in block.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        (public,) = (
            ast.literal_eval(node.value)
            for node in body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        )
        assert set(public) - {"__version__"} <= shown, path
    assert packages == [".", "strategies", "validation"]
