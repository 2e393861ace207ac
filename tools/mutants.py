"""Puts small faults into the code, one at a time, and asks whether the tests notice: `make mutants`.

    python -m tools.mutants --seed 1 --count 200 --jobs 2          draws, runs, prints what survived
    python -m tools.mutants --seed 1 --count 200 --jobs 2 --resume goes on where an earlier call stopped
    python -m tools.mutants --seed 1 --count 200 --show            prints the faults that are drawn, runs nothing
    python -m tools.mutants --seed 1 --rooms engine search         draws from these rooms only

Each worker has a copy of the checkout of its own. For each fault it runs the tests of the fault's room (`ROOMS`): those
that run the changed line first (`tools.mutant_order`), then the file that mirrors the module, then the others. It stops
at the first failure. When all faults have been put to their rooms,
those that passed there are put to the wider tests (`WIDER`), which take minutes each. A fault is `killed` by a failure
or by four times the processor time of the sound code, `killed wider` by the wider tests, and has `survived` otherwise.
Results are appended to .mutants/results.jsonl, one line each; the last line of a fault counts.

Kernels are compiled as a user has them, never interpreted: a fault in one has to be compiled to be seen. A fault in a
file that no kernel can read leaves the compiled code as it was, so its cache begins as a copy of the sound one; numba
would compile for a minute otherwise, because caches are named after a digest of all sources (`core/compiled.py`).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import json
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tools.mutant_sites import Fault

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / ".mutants" / "results.jsonl"
LEAST_SHARE: Final = 0.9
PASSED: Final = "passed its room"
"""Outcome of a fault that the tests of its room did not notice, until the wider tests have run."""
_SLOWER: Final = 4.0
_START_UP_S: Final = 90.0
"""Beside the factor: kernels that are compiled."""
_BUSY: Final = 5.0
"""Seconds on the clock for each second of the limit, so that other work on the machine notices no fault."""

ROOMS: Final[dict[str, tuple[str, ...]]] = {
    "core": ("tests/unit/core", "tests/property/test_space.py"),
    "storage": ("tests/unit/storage", "tests/property/test_segments_properties.py"),
    "runs": (
        "tests/unit/runs",
        "tests/integration/runs",
        "tests/property/test_journal_properties.py",
        "tests/property/test_spec_properties.py",
        "tests/contract/test_toy_training.py",
        "tests/contract/test_run_stores.py",
    ),
    "market": (
        "tests/unit/market",
        "tests/property/test_candles.py",
        "tests/property/test_cleaner.py",
        "tests/property/test_indicators.py",
        "tests/property/test_loading.py",
        "tests/property/test_packages_rapid_change.py",
    ),
    "engine": ("tests/unit/engine", "tests/property/test_fills.py"),
    "strategies": ("tests/unit/strategies", "tests/property/test_causality_properties.py"),
    "search": ("tests/unit/search", "tests/contract/test_proposers.py"),
    "validation": ("tests/unit/validation", "tests/property/test_causality_properties.py"),
}
"""Rooms that faults are drawn from, and the tests of each: unit, property, and contracts of its ports."""
WIDER: Final = (
    "tests/contract",
    "tests/golden",
    "tests/resume/test_every_call.py",
    "tests/unit/kinds/strategy",
    "tests/acceptance/test_a_run_from_start_to_end.py",
)
_LIMITED: Final = (
    "import resource, sys\n"
    "seconds = int(sys.argv.pop(1))\n"
    "resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))\n"
    "sys.argv[0] = 'pytest'\n"
    "import pytest\n"
    "sys.exit(pytest.main())"
)
"""Runs pytest with a limit of processor time, which its children inherit."""
_ASK_FOLDERS: Final = (
    "from lockstep.core.compiled import ROOMS_WITH_KERNELS as rooms, cache_folder\n"
    "print('\\n'.join(str(cache_folder(room)) for room in rooms))"
)


def modules(rooms: list[str]) -> list[str]:
    """Source files of rooms, relative to the checkout."""
    paths = [path for room in rooms for path in (ROOT / "src" / "lockstep" / room).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def room_of(module: str) -> str:
    """Room of a module: "engine" for src/lockstep/engine/walk.py."""
    return Path(module).parts[2]


def own_tests(module: str, root: Path) -> tuple[str, ...]:
    """The tests of a module's room in the checkout at `root`; those that mirror the module first, where there are."""
    room, *rest = Path(module).parts[2:]
    own = Path("tests", "unit", room, *rest[:-1], f"test_{rest[-1]}")
    return (*((str(own),) if (root / own).exists() else ()), *ROOMS[room])


def compiled_modules() -> frozenset[str]:
    """Files that compiled code is made of: those with kernels, and all that these import from our rooms, directly or
    not, because numba compiles a constant into the code."""
    source = ROOT / "src"
    imports: dict[str, set[str]] = {}
    kernels = set()
    for path in sorted((source / "lockstep").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        imports[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lockstep"):
                for alias in (node.module, *(f"{node.module}.{item.name}" for item in node.names)):
                    target = source.joinpath(*str(alias).split("."))
                    for file in (target.with_suffix(".py"), target / "__init__.py"):
                        if file.exists():
                            imports[name].add(str(file.relative_to(ROOT)))
                if any(item.name == "kernel" for item in node.names):
                    kernels.add(name)
    reached: set[str] = set()
    waiting = sorted(kernels)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += sorted(imports[name])
    return frozenset(reached)


@dataclass(frozen=True)
class Verdict:
    """What became of a fault (`killed`, `killed wider`, `survived`, or PASSED); the test that noticed; seconds."""

    outcome: str
    by: str
    seconds: float


class Copy:
    """A checkout of its own for one worker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.splitlines()  # fmt: skip
        for name in listed:
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        # Candles that some tests read where they are there.
        if (ROOT.parent / "shared").exists():
            (folder.parent / "shared").unlink(missing_ok=True)
            (folder.parent / "shared").symlink_to((ROOT.parent / "shared").resolve())
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_")},
            "PYTHONPATH": str(folder / "src"),
            "NUMBA_CACHE_DIR": str(folder / ".kernels"),
            "TMPDIR": str(folder / ".tmp"),
            # Bytecode is taken for fresh by its time and length, and a fault may leave both as they were.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.seconds: dict[str, float] = {}
        """Processor seconds of the sound code's tests by room."""
        self.lines: dict[str, dict[str, list[str]]] = {}
        """Tests by line by module: those that run it."""
        self.caches: list[Path] = []

    def warm(self, rooms: list[str]) -> None:
        """Run the tests on sound code, so that kernels are compiled and times known. Raises SystemExit at a failure."""
        for room in rooms:
            self._warm(room, ROOMS[room])
        self.caches = self._cache_folders()

    def _warm(self, name: str, tests: tuple[str, ...]) -> None:
        # Twice where it fails: tests that wait for a process may lose patience while that compiles all kernels.
        for attempt in range(2):
            began = resource.getrusage(resource.RUSAGE_CHILDREN)
            failed = self.tests(tests, limit=3_600.0, lines=name in ROOMS)
            ended = resource.getrusage(resource.RUSAGE_CHILDREN)
            # Of all workers, where several run: only ever too patient.
            self.seconds[name] = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
            if failed is None:
                break
            if attempt == 1:
                raise SystemExit(f"the tests of {name} fail without any fault ({failed}): mend them first")

    def judge(self, fault: Fault, mutated: str, *, shares_kernels: bool, wider: bool) -> Verdict:
        """Put the fault in, run the tests of its room, or the wider ones, and take it out."""
        place = self.folder / fault.module
        sound, times = place.read_bytes(), place.stat()
        began = time.monotonic()
        mine: list[Path] = []
        room = room_of(fault.module)
        name, tests = ("wider", WIDER) if wider else (room, own_tests(fault.module, self.folder))
        if name not in self.seconds:
            self._warm(name, tests)
        try:
            place.write_text(mutated)
            if shares_kernels:
                mine = self._share_kernels()
            first = [] if wider else self._runners(fault)
            failed = self.tests(tests, limit=_SLOWER * self.seconds[name] + _START_UP_S, first=first)
            outcomes = ("survived", "killed wider") if wider else (PASSED, "killed")
            return Verdict(outcomes[failed is not None], failed or "", time.monotonic() - began)
        finally:
            place.write_bytes(sound)
            os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
            for folder in set(self.folder.joinpath(".kernels", "lockstep", "kernels").glob("*")) - set(self.caches):
                shutil.rmtree(folder, ignore_errors=True)
            for folder in mine:
                shutil.rmtree(folder, ignore_errors=True)

    def _runners(self, fault: Fault) -> list[str]:
        """Tests that run the fault's line; of a line within a statement, those that run its beginning."""
        lines = self.lines.get(fault.module, {})
        line = max((int(line) for line in lines if int(line) <= fault.line), default=0)
        return lines.get(str(line), [])

    def tests(
        self, tests: tuple[str, ...], *, limit: float, first: Sequence[str] = (), lines: bool = False
    ) -> str | None:
        """The first test that failed, `time` for too slow, or None where all passed.

        limit   processor seconds of one process; on the clock `_BUSY` times as many
        first   tests that run before the others
        lines   whether to note which tests run which lines (`self.lines`)
        """
        shutil.rmtree(self.folder / ".tmp", ignore_errors=True)
        (self.folder / ".tmp").mkdir()
        told, order = self.folder / ".lines.json", self.folder / ".first"
        order.write_text("\n".join(first))
        environment = self.environment | ({"LOCKSTEP_LINES": str(told)} if lines else {"LOCKSTEP_FIRST": str(order)})
        process = subprocess.Popen(
            [
                sys.executable, "-c", _LIMITED, str(int(limit) + 1),
                "-x", "-q", "-p", "no:cacheprovider", "-p", "tools.mutant_order", "-m", "not long", *tests,
            ],
            cwd=self.folder, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=_BUSY * limit)
        except subprocess.TimeoutExpired:
            output = ""
        finally:
            # Workers and children that a fault left behind go with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if lines and told.exists():
            self.lines |= json.loads(told.read_text())
            told.unlink()
        if process.returncode == -signal.SIGXCPU:
            return "time"
        if not output:
            return "time"
        if process.returncode == 0:
            return None
        failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return failed[0].split(" - ")[0] if failed else f"pytest ended with {process.returncode}"

    def _cache_folders(self) -> list[Path]:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_FOLDERS],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [Path(line) for line in done.stdout.split()]

    def _share_kernels(self) -> list[Path]:
        """Give the faulty code the compiled kernels of the sound code; returns the folders that it filled."""
        folders = []
        # A fault that keeps `compiled` from loading has no folders, and no kernels either.
        for sound, own in zip(self.caches, self._cache_folders(), strict=False):
            if own != sound and sound.exists():
                shutil.rmtree(own, ignore_errors=True)
                shutil.copytree(sound, own, copy_function=os.link)
                folders.append(own)
        return folders


def difference(fault: Fault, mutated: str) -> list[str]:
    """The lines that the fault changes."""
    lines = difflib.unified_diff((ROOT / fault.module).read_text().splitlines(), mutated.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:1] in "+-" and not line.startswith(("+++", "---"))]


def stored(seed: int, rooms: list[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Results of an earlier call by fault and changed lines; those of other code do not count."""
    if not RESULTS.exists():
        return {}
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    return {key_of(row): row for row in rows if row["seed"] == seed and row["rooms"] == rooms}


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What makes two rows one: the place, the fault and the lines."""
    return row["module"], row["line"], row["column"], row["operator"], tuple(row["difference"])


def run(drawn: list[tuple[Fault, str]], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Judge all that have no result yet; the rows of all, in the order of the draw."""
    rows = [
        {
            "seed": arguments.seed, "rooms": arguments.rooms, "module": fault.module, "line": fault.line,
            "column": fault.column, "operator": fault.operator, "difference": difference(fault, mutated),
        }
        for fault, mutated in drawn
    ]  # fmt: skip
    verdicts = stored(arguments.seed, arguments.rooms) if arguments.resume else {}
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    beyond: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number, row in enumerate(rows):
        if key_of(row) in verdicts:
            rows[number] = verdicts[key_of(row)]
        if "outcome" not in rows[number]:
            waiting.put(number)
        elif rows[number]["outcome"] == PASSED:
            beyond.put(number)
    compiled = compiled_modules()
    used = [room for room in arguments.rooms if any(room_of(fault.module) == room for fault, _ in drawn)]
    RESULTS.parent.mkdir(exist_ok=True)
    if not arguments.resume:
        RESULTS.unlink(missing_ok=True)
    lock = threading.Lock()
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) and "TMPDIR" not in os.environ else None

    def work(folder: Path) -> None:
        copy = Copy(folder)
        copy.warm(used)
        while True:
            try:
                number, wider = waiting.get_nowait(), False
            except queue.Empty:
                try:
                    number, wider = beyond.get_nowait(), True
                except queue.Empty:
                    return
            fault, mutated = drawn[number]
            verdict = copy.judge(fault, mutated, shares_kernels=fault.module not in compiled, wider=wider)
            if verdict.outcome == PASSED:
                beyond.put(number)
            with lock, RESULTS.open("a") as handle:
                rows[number] |= {"outcome": verdict.outcome, "by": verdict.by, "seconds": round(verdict.seconds, 1)}
                handle.write(json.dumps(rows[number]) + "\n")
                done = sum("outcome" in row for row in rows)
                print(f"{done}/{len(rows)} {verdict.outcome}: {fault.module}:{fault.line} {verdict.by}", flush=True)

    if not (waiting.empty() and beyond.empty()):
        with tempfile.TemporaryDirectory(prefix="lockstep-mutants-", dir=base) as folder:
            errors: list[BaseException] = []

            def guarded(place: Path) -> None:
                try:
                    work(place)
                except BaseException as error:  # noqa: BLE001 - told in the main thread
                    errors.append(error)

            threads = []
            for number in range(arguments.jobs):
                place = Path(folder, str(number), "checkout")
                place.mkdir(parents=True)
                threads.append(threading.Thread(target=guarded, args=(place,)))
                threads[-1].start()
            for thread in threads:
                thread.join()
            if errors:
                raise errors[0]
    return rows


def report(rows: list[dict[str, Any]], seed: int) -> Iterator[str]:
    """What was noticed, by room, and what was not."""
    yield f"seed {seed}, {len(rows)} faults"
    outcomes: dict[str, Counter[str]] = {}
    for row in rows:
        outcomes.setdefault(room_of(row["module"]), Counter())[row["outcome"]] += 1
    yield "| Room | Faults | Killed by the room's tests | By wider tests | Survived |"
    yield "|---|---|---|---|---|"
    total: Counter[str] = sum(outcomes.values(), Counter())
    for room, counts in [*sorted(outcomes.items()), ("all", total)]:
        columns = [counts[name] for name in ("killed", "killed wider", "survived")]
        yield f"| {room} | {sum(columns)} | {' | '.join(map(str, columns))} |"
    for row in rows:
        if row["outcome"] == "survived":
            yield f"\n{row['module']}:{row['line']} {row['operator']}"
            yield from (f"    {line}" for line in row["difference"])


def main() -> None:
    """Exit 0 when at least nine of ten faults were noticed, else 1."""
    # Here, because it needs cosmic-ray, which only `make mutants` installs.
    from tools.mutant_sites import draw

    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description="Do the tests notice small faults?")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rooms", nargs="+", choices=sorted(ROOMS), default=sorted(ROOMS))
    parser.add_argument("--resume", action="store_true", help="keep the results of an earlier call")
    parser.add_argument("--show", action="store_true", help="print the faults and run nothing")
    arguments = parser.parse_args()
    # A shell that starts this in the background has it ignore Ctrl-C, and every test of Ctrl-C would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    drawn = draw(ROOT, modules(arguments.rooms), seed=arguments.seed, count=arguments.count)
    if arguments.show:
        for fault, mutated in drawn:
            print(f"{fault.module}:{fault.line} {fault.operator}", *difference(fault, mutated), sep="\n    ")
        return
    rows = run(drawn, arguments)
    print(*report(rows, arguments.seed), sep="\n")
    noticed = sum(row["outcome"] != "survived" for row in rows)
    print(f"\n{noticed} of {len(rows)} were noticed ({noticed / len(rows):.1%}); at least {LEAST_SHARE:.0%} are needed")
    sys.exit(noticed < LEAST_SHARE * len(rows))


if __name__ == "__main__":
    main()
