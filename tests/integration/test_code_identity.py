"""The code of a run is what the run loads: shown for each kind by a real training in a fresh process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.integration.kind_runs import SPECS

from lockstep import bootstrap
from lockstep.runs.folder import RunFolder
from lockstep.runs.identity import HERE, package_files

ROOT = Path(__file__).parents[2]
ENTRANCE = "__init__.py"
"""Loaded by whatever imports Lockstep, and never counted: a table of names."""
LIBRARIES = {"strategy": None, "classifier-keras": "keras"}
"""What each kind needs beyond the core; torch where nothing stands here."""
STRATEGY = """
import lockstep as ls
import numpy as np
from lockstep.episodes import outcomes
from lockstep.market import indicators

assert outcomes.Action.BUY is not None


class Mine(ls.Strategy):
    name = "mine"
    parameters = {"length": [5, 10, 20, 40]}

    def warmup(self, params):
        return 60

    def signals(self, view, params):
        enter = view.close > indicators.previous_max(view.high, int(params["length"]))
        enter[:60] = False
        return ls.Signals(side=enter.astype(np.int8), stop=view.close * 0.99, target=view.close * 1.01)


if __name__ == "__main__":
    print(ls.train(strategy=Mine))
"""


def need(kind: str) -> None:
    library = LIBRARIES.get(kind, "torch")
    if library is not None and find_spec(library) is None:
        pytest.skip(f'kind = "{kind}" needs {library}')


def loaded_by(kind: str, home: Path, *, workers: int = 1, **tables: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What a training of `kind` loaded, and the files that its record counts."""
    need(kind)
    home.mkdir(exist_ok=True)
    if kind == "cnn-episodes":
        from tests.unit.episodes.episode_markets import collected

        collected(200, folder=home / "episodes")
    executor = bootstrap.IN_PROCESS if workers == 1 else bootstrap.LOKY
    command = [sys.executable, "-m", "tests.integration.kind_runs", kind, bootstrap.KINDS[kind]]
    done = subprocess.run(
        [*command, str(workers), executor, str(home), json.dumps(tables)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((home / "loaded.json").read_text())
    assert report["verified"]["report"]["equal"] is True, report
    return report, RunFolder(home / "run").read("code")["package"]


@pytest.mark.parametrize("kind", sorted(bootstrap.KINDS))
def test_every_module_that_a_run_loads_is_counted(kind: str, tmp_path: Path) -> None:
    """Begun, stopped, resumed and verified from the registry on: the entrance is all that is loaded and not counted."""
    report, counted = loaded_by(kind, tmp_path / "home")
    assert set(report["here"]) - set(counted) == {ENTRANCE}
    assert len(report["here"]) > 60


def test_every_module_that_a_worker_or_the_users_own_file_loads_is_counted(tmp_path: Path) -> None:
    """Two workers, and a strategy that imports what the kind does not; what it does as a script does not count."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "mine.py").write_text(STRATEGY)
    strategy = {"name": "mine.py:Mine"}
    search = {"n_iterations": 4, "batch_size": 2, "min_trades": 1}
    report, counted = loaded_by("strategy", home, workers=2, strategy=strategy, search=search)
    assert {"clusters/worker.py", "strategies/evaluate.py", "episodes/outcomes.py"} <= set(report["workers"])
    assert set(report["here"]) - set(counted) == {ENTRANCE}
    assert set(report["workers"]) - set(counted) <= {ENTRANCE}
    without = package_files(["lockstep.kinds.strategy.kind"])
    assert "episodes/outcomes.py" in counted.keys() - without.keys()
    assert not {name for name in counted if name.startswith(("app/", "cli/", "bootstrap", "public"))}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, to be edited."""
    return Path(shutil.copytree(HERE, tmp_path / "copy" / "lockstep", ignore=shutil.ignore_patterns("__pycache__")))


def edit(package: Path, *names: str) -> None:
    for name in names:
        text = (package / name).read_text()
        (package / name).write_text(text + '\nA_WORD = "other wording"\n')


def room_of(kind: str) -> str:
    """The folder of a kind, such as "kinds/cnn"."""
    return "/".join(bootstrap.KINDS[kind].split(".")[1:3])


def outside_of(kind: str) -> list[str]:
    """A file of the command line, one of the reports, one of another kind: what each of them says is no result."""
    other = "kinds/strategy/kind.py" if kind != "strategy" else "kinds/cnn/kind.py"
    return ["cli/main.py", "reports/html.py", other]


@pytest.mark.parametrize("kind", sorted(bootstrap.KINDS))
def test_wording_and_other_kinds_do_not_change_the_identity_of_a_run(kind: str, copy: Path) -> None:
    roots = [bootstrap.KINDS[kind].partition(":")[0]]
    edit(copy, *outside_of(kind))
    assert package_files(roots, root=copy) == package_files(roots)


@pytest.mark.parametrize("kind", sorted(bootstrap.KINDS))
@pytest.mark.parametrize("name", ["runs/loop.py", "clusters/worker.py", "core/hashing.py", "{room}/__init__.py"])
def test_a_file_that_the_run_loads_changes_its_identity(kind: str, name: str, copy: Path) -> None:
    roots = [bootstrap.KINDS[kind].partition(":")[0]]
    name = name.format(room=room_of(kind))
    edit(copy, name)
    then, now = package_files(roots), package_files(roots, root=copy)
    assert {item for item in then.keys() | now.keys() if then.get(item) != now.get(item)} == {name}


SMALL = {
    "strategy": {
        "data": {"source": "sample", "last": 600},
        "search": {"n_iterations": 4, "batch_size": 2, "min_trades": 1},
    },
    "cnn": {},
}
TRAIN = """
import json, sys
import lockstep as ls
print(ls.train(json.loads(sys.argv[1]), home=sys.argv[2]).run_id)
"""


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_verify_compares_a_run_with_a_package_that_words_things_otherwise(
    kind: str, copy: Path, tmp_path: Path
) -> None:
    """The command itself, on an edited copy of the package: equal; then one file of the closure is edited as well."""
    need(kind)
    home = str(tmp_path / "home")

    def python(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
        # Uncompiled: numba would compile each kernel anew for each place where the package lies.
        variables = {**os.environ, "PYTHONPATH": str(path), "NUMBA_DISABLE_JIT": "1"}
        return subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, text=True)

    trained = python("-c", TRAIN, json.dumps({"kind": kind, **SPECS[kind], **SMALL[kind]}), home, path=HERE.parent)
    assert trained.returncode == 0, trained.stderr
    verify = ("-m", "lockstep", "verify", trained.stdout.split()[-1], "--home", home, "--json")
    edit(copy, *outside_of(kind))
    with (copy / "cli" / "main.py").open("a") as file:
        file.write('import sys\nprint("the edited copy", file=sys.stderr)\n')
    same = python(*verify, path=copy.parent)
    assert (same.returncode, json.loads(same.stdout)["equal"]) == (0, True), same.stderr
    assert "the edited copy" in same.stderr
    edit(copy, f"{room_of(kind)}/kind.py")
    other = python(*verify, path=copy.parent)
    assert other.returncode == 3
    assert f"lockstep/{room_of(kind)}/kind.py changed" in other.stderr + other.stdout


@pytest.mark.parametrize("kind", sorted(bootstrap.KINDS))
def test_a_kind_reaches_neither_the_delivery_nor_another_kind(kind: str) -> None:
    """What a run is counted by is a third of the package; the executors that delivery may choose are in it."""
    counted = package_files([bootstrap.KINDS[kind].partition(":")[0]])
    rooms = {"/".join(Path(name).parts[:2]) if name.startswith("kinds/") else Path(name).parts[0] for name in counted}
    delivery = {"app", "bootstrap.py", "cli", "faces", "public.py", "reports", "testing", ENTRANCE, "__main__.py"}
    assert rooms & delivery == set()
    assert {room for room in rooms if room.startswith("kinds/")} == {
        "kinds/__init__.py",
        "kinds/shared",
        room_of(kind),
    }
    assert {path.relative_to(HERE).as_posix() for path in (HERE / "clusters").glob("*.py")} <= set(counted)
    for path in (bootstrap.IN_PROCESS, bootstrap.LOKY):
        assert path.partition(":")[0].removeprefix("lockstep.").replace(".", "/") + ".py" in counted
    assert len(counted) < len(list(HERE.rglob("*.py"))) / 2
