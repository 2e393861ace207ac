"""verify: compute a run again from its spec, in a fresh process, and compare the journals line by line.

    integrity of the folder -> same code and numerics? -> compute again -> first line that differs, or none

The whole run is computed into a scratch folder; with `sample`, pieces between checkpoints are computed from the
checkpoints' states until that share of the steps is covered. A run of less than half a minute has no checkpoint but
its last, so its pieces begin at the first step. The run's own folder is only read.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lockstep.core import canonical, errors
from lockstep.core.errors import DiskError, InputError, Interrupted, LockstepError, MachineError, RefusedError
from lockstep.runs import registry
from lockstep.runs.check import check_record
from lockstep.runs.folder import RunFolder, RunStatus, require_folder
from lockstep.runs.line_differences import Difference
from lockstep.runs.numerics import MODE_VARIABLE, PORTABLE_CPU, environment
from lockstep.storage.blobs import BlobStore
from lockstep.storage.claims import claimed, clear_abandoned

_SCRATCH: Final = ".verify-"
"""What the names of scratch folders begin with."""


@dataclass(frozen=True)
class ExecutorChoice:
    """How the fresh process builds its executor: "package.module:NAME" and arguments (canonical JSON)."""

    path: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome of computing a run again.

    equal         whether every line computed again is the line recorded
    steps         steps of the run; `computed` of them were computed again
    sampled       whether only a sample was computed
    first         the first difference: its first value is the record's, its second the new one
    differences   how code and numerics differ from the record; only with `across`, to be shown beside the outcome
    """

    run_id: str
    equal: bool
    steps: int
    computed: int
    sampled: bool
    journal_hash: str
    first: Difference | None = None
    differences: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """The fields as a table, for `--json`."""
        return {
            "run_id": self.run_id,
            "equal": self.equal,
            "steps": self.steps,
            "computed": self.computed,
            "sampled": self.sampled,
            "journal_hash": self.journal_hash,
            "first": self.first.to_json() if self.first is not None else None,
            "differences": list(self.differences),
        }


def verify(
    path: Path,
    *,
    home: Path,
    blobs: BlobStore,
    executor: ExecutorChoice,
    across: bool = False,
    sample: float | None = None,
    sample_seed: int | None = None,
    kind: str | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Verification:
    """Compute the run in `path` again and compare. Never writes into the run's folder.

    home          folder where the fresh process may write meanwhile
    blobs         where it reads the run's data
    across        compare although code or numerics differ
    sample        share of the steps to compute, in (0, 1]; None for all
    sample_seed   decides which steps; None draws other ones each time
    kind          import path for a kind that is registered as an object
    on_step       called with the steps done and the steps to do

    Raises IntegrityError for damage, RefusedError for a run that is not complete, NotComparableError for other code or
    numerics unless `across`, WorkerLostError, MachineError when the fresh process is killed, ChildCrashError when it
    fails by a defect, Interrupted on Ctrl-C.
    """
    if sample is not None and not 0.0 < sample <= 1.0:
        raise InputError(f"a sample is a share of the steps, more than 0 and at most 1; found {sample!r}. 0.02 is 2 %.")
    folder = require_folder(path)
    status = folder.status()
    if status is not RunStatus.COMPLETE:
        raise RefusedError(f"{path}: only a complete run is verified; this one is {status}. Resume it first.")
    check_record(path).raise_for_problems()
    body = folder.read("spec")
    name = str(body.get("kind"))
    path_of_kind = kind if kind is not None else registry.path(name)
    if path_of_kind is None:
        registry.get(name)
        raise InputError(
            f"kind = {name!r} was registered as an object, which the fresh process of verify cannot find. Register it "
            f'by its path: runs.registry.register({name!r}, "package.module:KIND").'
        )
    job = {
        "folder": str(path.resolve()),
        "blobs": blobs.address.path,
        "blobs_arguments": list(blobs.address.arguments),
        "kind": name,
        "kind_path": path_of_kind,
        "executor": executor.path,
        "executor_arguments": list(executor.arguments),
        "across": across,
        "sample": sample,
        "sample_seed": sample_seed,
        "sys_path": sys.path,
        "parent": os.getpid(),
    }
    with _scratch(home) as scratch:
        report = _in_fresh_process({**job, "scratch": str(scratch)}, _numerics_of(folder, body), on_step)
    first = Difference(**report.pop("first")) if report["first"] is not None else report.pop("first")
    return Verification(run_id=path.resolve().name, first=first, differences=tuple(report.pop("differences")), **report)


def _numerics_of(folder: RunFolder, spec: Mapping[str, Any]) -> str:
    """The numerics for the fresh process: the spec's, unless a portable process, as this one is, computed the run."""
    as_here = (
        folder.read("numerics").get("numba.target") == PORTABLE_CPU and os.environ.get(MODE_VARIABLE) == "portable"
    )
    return "portable" if as_here else str(spec.get("numerics", "native"))


@contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """A folder on the home's disk, or on the temporary one where the home is read-only; gone afterwards."""
    # Scratch folders hold whole runs: those of killed processes would fill the disk.
    clear_abandoned(home, _SCRATCH)
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(claimed(home, _SCRATCH))
        except DiskError:
            folder = stack.enter_context(claimed(Path(tempfile.gettempdir()), "lockstep-verify-"))
        yield folder


def _in_fresh_process(
    job: Mapping[str, Any], numerics: str, on_step: Callable[[int, int], None] | None
) -> dict[str, Any]:
    """Run `lockstep.runs.verify_child` and return its report, or raise the error it reports."""
    # Another hash seed than this process's: a result that depends on the order of a set would show.
    variables = {**environment(numerics), "PYTHONHASHSEED": "random"}
    process = subprocess.Popen(
        [sys.executable, "-m", "lockstep.runs.verify_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=variables,
        # Ctrl-C reaches this process alone, which then ends the other.
        start_new_session=True,
    )
    try:
        answer = _talk(process, job, on_step)
    except KeyboardInterrupt:
        raise Interrupted("verify was stopped; the run is untouched. Start it again at any time.") from None
    finally:
        if process.poll() is None:
            # The whole process group: the child and its workers.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    if answer is None:
        code = process.returncode
        reason = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if code not in (-signal.SIGKILL, -signal.SIGTERM):
            raise ChildCrashError(f"the fresh process {reason} before it finished; its messages are above")
        raise MachineError(
            f"the fresh process {reason} before it finished. Check memory and the messages above, then verify again."
        )
    if "error" in answer:
        raise _error_of(answer["error"], answer["message"])
    report: dict[str, Any] = answer["report"]
    return report


def _talk(
    process: subprocess.Popen[bytes], job: Mapping[str, Any], on_step: Callable[[int, int], None] | None
) -> dict[str, Any] | None:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process was started without pipes")
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
    for line in process.stdout:
        message: dict[str, Any] = canonical.loads(line)
        if "step" not in message:
            process.wait()
            return message
        if on_step is not None:
            on_step(message["step"], message["of"])
    process.wait()
    return None


class ChildCrashError(RuntimeError):
    """The fresh process failed in a way that nobody foresaw: a defect, which says nothing about equality."""


def _error_of(name: str, message: str) -> Exception:
    """The error of our tree with this name; for any other, a `ChildCrashError` that says the name."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, LockstepError):
        return kind(message)
    if name == MemoryError.__name__:
        return MachineError("the fresh process ran out of memory. Use fewer workers, or a machine with more memory.")
    return ChildCrashError(f"computing the run again raised {name}: {message}")
