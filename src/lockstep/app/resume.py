"""Resume: go on with a run that was stopped or killed; its result is that of a run that never stopped."""

from __future__ import annotations

from lockstep.app.ports import Ports
from lockstep.app.train import run_to_its_end
from lockstep.app.trust import permit
from lockstep.reports.headline import read_run
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.restored_run import require_same_code, restore_run
from lockstep.runs.results import TrainResult
from lockstep.runs.store import RunStore


def complete_already(folder: RunFolder, store: RunStore) -> TrainResult | None:
    """The result of a run that is complete, which there is nothing to do for; else None."""
    if folder.status() is not RunStatus.COMPLETE:
        return None
    note = "the run was complete already; nothing was computed"
    return read_run(folder, alarm=store.alarm(folder.path.name), notes=(note,))


def resume(folder: RunFolder, ports: Ports, *, trust: bool = False) -> TrainResult:
    """Go on with the run in `folder` from its newest good checkpoint.

    trust   run code of an imported run (`app.trust`)

    Raises NotComparableError when code or numerics differ from those of its start, IntegrityError for damage,
    NotEqualError when a step computed again differs from the record, RefusedError while another process writes the
    run, and for an imported run whose code is not trusted.
    """
    done = complete_already(folder, ports.store)
    if done is not None:
        return done
    permit(folder, trust=trust)
    # Spec, data and code come from the run's own record: the user's files may have changed or gone.
    restored = restore_run(folder, ports.blobs)
    require_same_code(folder, restored, cure="Resume it with the release that began it, or train its spec again.")
    ports.announce(restored.prepared)
    return run_to_its_end(restored.kind.training(restored.prepared, ports.context), folder, ports)
