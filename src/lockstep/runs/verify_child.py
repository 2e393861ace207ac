"""The fresh process of `runs.verify`: reads a job from standard input, writes progress and one report to its output.

Run as `python -m lockstep.runs.verify_child`. Whatever a kind prints goes to standard error.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lockstep.core import canonical
from lockstep.runs import registry
from lockstep.runs.cancel import Cancel
from lockstep.runs.checkpoint import Checkpoint, CheckpointPolicy, CheckpointStore
from lockstep.runs.executor import Executor
from lockstep.runs.folder import RunFolder
from lockstep.runs.identity import code_differences, fingerprint, require_comparable
from lockstep.runs.journal import Line, end_content, read_lines
from lockstep.runs.kind import RunContext
from lockstep.runs.line_differences import Apart, Difference, Side, line_difference
from lockstep.runs.loop import execute, recompute
from lockstep.runs.numerics import entry_differences
from lockstep.runs.observer import Observer
from lockstep.runs.processes import die_with
from lockstep.runs.restored_run import RestoredRun, recorded_bodies, restore_run
from lockstep.runs.seeds import SeedTree, draw_seed
from lockstep.runs.training import Training
from lockstep.storage.blobs import StoreAddress, open_store
from lockstep.storage.documents import document_bytes

_REPORT_SECONDS: Final = 0.2
_NO_CHECKPOINTS: Final = CheckpointPolicy(interval_s=float("inf"))


class _Comparer(Observer):
    """Compares each line of the scratch journal with the record's, and stops the run at the first that differs."""

    def __init__(
        self,
        record: RunFolder,
        scratch: RunFolder,
        cancel: Cancel,
        tell: Callable[[int], None],
        apart: Apart | None = None,
    ) -> None:
        self._record = record
        self._apart = apart
        self._scratch = scratch
        self._cancel = cancel
        self._tell = tell
        self._recorded = read_lines(record.journal)
        self._written: Iterator[Line] | None = None
        self.first: Difference | None = None
        self.steps = 0

    def step(self, step: object, journal_hash: str) -> None:
        """Compare the line just written: it is whole, so reading it back sees it."""
        self.steps += 1
        self._tell(self.steps)
        if self.first is None:
            self._compare()

    def _compare(self) -> None:
        if self._written is None:
            self._written = read_lines(self._scratch.journal)
            # The first lines hold code and numerics, which were compared before.
            next(self._written)
            next(self._recorded)
        # A complete journal ends with its end line, so the record always has a next line until they part.
        now, then = next(self._written), next(self._recorded)
        if then.body != now.body:
            sides = Side.of(self._record), Side.of(self._scratch)
            self.first = line_difference(then.content, now.content, *sides, self._apart)
            if self.first is not None:
                self._cancel.request("the first difference")

    def end(self) -> None:
        """Compare the last line, after the run is complete."""
        if self.first is None:
            self._compare()


def compute_all(
    folder: RunFolder,
    restored: RestoredRun,
    context: RunContext,
    scratch: Path,
    tell: Callable[[int], None],
    apart: Apart | None = None,
) -> Any:
    """Compute the whole run into `scratch`; returns the comparer."""
    from lockstep.core.errors import Interrupted

    bodies = restored.bodies()
    again = RunFolder.create(
        scratch / "run",
        spec=folder.read("spec"),
        data=folder.read("data"),
        code=bodies["code"],
        numerics=bodies["numerics"],
        environment={},
        sources=restored.prepared.code.sources,
    )
    cancel = Cancel()
    comparer = _Comparer(folder, again, cancel, tell, apart)
    training = restored.kind.training(restored.prepared, context)
    try:
        execute(
            training,
            again,
            fingerprint=fingerprint(again.identity_hashes()),
            observers=[_Strict(comparer)],
            cancel=cancel,
            policy=_NO_CHECKPOINTS,
            hand_over=1,  # each line is compared as it comes, and a difference is looked for in its frames
        )
    except Interrupted:
        if comparer.first is None:
            raise
    else:
        comparer.end()
    return comparer


class _Strict(Observer):
    """An observer whose exceptions are not dropped: a comparison that fails must not pass for an equal one."""

    def __init__(self, comparer: _Comparer) -> None:
        self._comparer = comparer

    def step(self, step: object, journal_hash: str) -> None:
        """Pass the step on; carry any error past the guard that would drop this observer."""
        try:
            self._comparer.step(step, journal_hash)
        except BaseException as error:
            raise _ComparisonFailed(error) from error


class _ComparisonFailed(BaseException):
    """Carries an error past the guard around observers, which catches Exception only."""


def main() -> int:
    """Do the job on standard input; the report, or the error, goes to the parent. Always returns 0."""
    job = json.loads(sys.stdin.buffer.read())
    die_with(job["parent"])
    # The report has its own descriptor; prints of a strategy must not look like one.
    channel = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.path[:] = [*sys.path, *(entry for entry in job["sys_path"] if entry not in sys.path)]

    def say(message: Mapping[str, Any]) -> None:
        channel.write(canonical.dumps(message) + b"\n")

    try:
        say({"report": _verify(job, say)})
    except _ComparisonFailed as failure:
        cause = failure.args[0]
        say({"error": type(cause).__name__, "message": str(cause)})
    except Exception as error:  # noqa: BLE001 - the parent raises it again
        if not hasattr(error, "exit_code"):
            import traceback

            traceback.print_exc()
        say({"error": type(error).__name__, "message": str(error)})
    return 0


def _verify(job: Mapping[str, Any], say: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    folder = RunFolder(Path(job["folder"]))
    blobs = open_store(StoreAddress(path=job["blobs"], arguments=tuple(job["blobs_arguments"])))
    if job["kind_path"] is not None and job["kind"] not in registry.names():
        registry.register(job["kind"], job["kind_path"])
    restored = restore_run(folder, blobs)
    then, now = recorded_bodies(folder), restored.bodies()
    if not job["across"]:
        require_comparable(then, now, what=f"run {folder.path.name}")
    manifest = folder.read("manifest")
    # Other code may have other columns; the same code has not.
    apart = Apart() if job["across"] else None
    with _executor(job) as executor:
        context = RunContext(executor=executor, blobs=blobs)
        if job["sample"] is None:
            tell = _throttled(say, manifest["steps"])
            comparer = compute_all(folder, restored, context, Path(job["scratch"]), tell, apart)
            first, computed = comparer.first, comparer.steps
        else:
            seed = job["sample_seed"] if job["sample_seed"] is not None else draw_seed()
            first, computed = compute_sample(folder, restored, context, job["sample"], seed, say, apart)
    return {
        "equal": first is None,
        "steps": manifest["steps"],
        "computed": computed,
        "sampled": job["sample"] is not None,
        "journal_hash": manifest["journal_hash"],
        "first": first.to_json() if first is not None else None,
        "differences": [f"code: {line}" for line in code_differences(then["code"], now["code"])]
        + [f"numerics: {line}" for line in entry_differences(then["numerics"], now["numerics"])]
        + ([] if apart is None else apart.lines()),
    }


def _executor(job: Mapping[str, Any]) -> Executor:
    module, attribute = job["executor"].split(":")
    executor: Executor = getattr(importlib.import_module(module), attribute)(*job["executor_arguments"])
    return executor


def _throttled(say: Callable[[Mapping[str, Any]], None], total: int) -> Callable[[int], None]:
    last = 0.0

    def tell(steps: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REPORT_SECONDS or steps == total:
            last = now
            say({"step": steps, "of": total})

    return tell


def plan_sample(boundaries: list[int], total: int, share: float, seed: int) -> list[tuple[int, int]]:
    """Which steps to compute: (start, stop) pieces, each from a boundary (0 or a checkpoint's step), none across one.

    Pieces are taken in a random order until `share` of `total` steps, at least one, is covered; the last is cut short.
    """
    edges = sorted({0, *(step for step in boundaries if step < total), total})
    # A piece cannot begin elsewhere: only at a checkpoint is there a state to begin from.
    pieces = list(itertools.pairwise(edges))
    remaining = min(total, max(1, round(share * total)))
    order = SeedTree(seed).child("verify", "sample").generator().permutation(len(pieces))
    chosen = []
    for index in order:
        if remaining <= 0:
            break
        start, stop = pieces[index]
        stop = min(stop, start + remaining)
        chosen.append((start, stop))
        remaining -= stop - start
    return sorted(chosen)


def compute_sample(
    folder: RunFolder,
    restored: RestoredRun,
    context: RunContext,
    share: float,
    seed: int,
    say: Callable[[Mapping[str, Any]], None],
    apart: Apart | None = None,
) -> tuple[Difference | None, int]:
    """Compute pieces again from checkpoints, and the result from the last; returns first difference and steps."""
    store = CheckpointStore(folder.checkpoints)
    total = int(folder.read("manifest")["steps"])
    stored = store.stored_steps()
    pieces = plan_sample(stored, total, share, seed) if total else []
    tell = _throttled(say, sum(stop - start for start, stop in pieces))
    lines = read_lines(folder.journal)
    next(lines)
    computed = 0
    for start, stop in pieces:
        checkpoint = store.load(start) if start in stored else None
        training = restored.kind.training(restored.prepared, context)
        again = recompute(training, folder, checkpoint)
        for recorded in lines:
            index = recorded.content["index"]
            if index < start:
                continue
            recomputed = next(again, None)
            if recomputed is None:
                return Difference(where=f"step {index}", step=index, field="type", first="step", second="end"), computed
            line, step = recomputed
            computed += 1
            tell(computed)
            if line != recorded.data:
                now = canonical.loads(line)["content"]
                difference = _explain(recorded, now, step.segments, folder, apart)
                if difference is not None:
                    return difference, computed
            if index == stop - 1:
                break
    last = store.load(total) if total in stored else None
    return _result_difference(folder, restored, context, last, lines, apart), computed


def _explain(
    recorded: Line, now: Mapping[str, Any], segments: Mapping[str, Any], folder: RunFolder, apart: Apart | None
) -> Difference | None:
    """The difference in words. The columns of a step just computed are in memory, the record's are read."""
    computed = Side(
        frame=lambda name, step: dict(segments.get(name, {})),
        summary=folder.result,
        artifact=lambda name: b"",
    )
    # The hashes that chain the lines begin with the code; the contents alone are compared.
    return line_difference(recorded.content, now, Side.of(folder), computed, apart)


def _result_difference(
    folder: RunFolder,
    restored: RestoredRun,
    context: RunContext,
    last: Checkpoint | None,
    lines: Iterator[Line],
    apart: Apart | None,
) -> Difference | None:
    """How `finish` from the last checkpoint differs from the record; None also when there is no such checkpoint."""
    from lockstep.core.hashing import blake3_hex
    from lockstep.runs.training import ReadsRecord, RunRecord
    from lockstep.storage.segments import SegmentReader

    if last is None:
        return None
    training: Training = restored.kind.training(restored.prepared, context)
    if isinstance(training, ReadsRecord):
        training.attach(RunRecord(segments=SegmentReader(folder.segments)))
    training.set_state(last.state)
    if next(iter(training.steps()), None) is not None:
        return Difference(where="the end", step=None, field="steps", first=last.steps, second="more")
    result = training.finish()
    digests = {name: blake3_hex(content) for name, content in result.artifacts.items()}
    data = document_bytes("result", {"artifacts": digests, "steps": last.steps, "summary": result.summary})
    now = canonical.loads(canonical.dumps(end_content(last.steps, blake3_hex(data), digests)))
    recorded = [line for line in lines if line.type == "end"]
    if recorded and recorded[0].content != now:
        computed = Side(
            frame=lambda name, step: {},
            summary=lambda: canonical.loads(canonical.dumps(result.summary)),
            artifact=lambda name: result.artifacts[name],
        )
        return line_difference(recorded[0].content, now, Side.of(folder), computed, apart)
    return None


if __name__ == "__main__":
    sys.exit(main())
