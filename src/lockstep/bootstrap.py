"""Wiring: which kinds of training there are, where runs live and who computes. The only place that chooses adapters.

The command line (`cli`) and the functions of `import lockstep` (`public`) take a `Place` and hand its parts to the use
cases of `app`, so both do the same things in the same way. Nothing here loads NumPy: a process first takes the numerics
of a run, which NumPy reads when it loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lockstep.app.ports import Ports, unannounced
from lockstep.core.clock import Clock, SystemClock
from lockstep.kinds.shared.model_registry import register_model
from lockstep.runs import registry
from lockstep.runs.cancel import Cancel
from lockstep.runs.kind import Prepared, RunContext
from lockstep.runs.observer import Observer, Observers
from lockstep.runs.store import FolderRunStore, default_home
from lockstep.storage.blob_checks import register_check

if TYPE_CHECKING:
    from lockstep.runs.executor import Executor
    from lockstep.runs.verify import ExecutorChoice

KINDS: Final = {
    "cnn": "lockstep.kinds.cnn.kind:KIND",
    "classifier": "lockstep.kinds.classifier.kind:KIND",
    "classifier-keras": "lockstep.kinds.classifier.keras:KERAS_KIND",
    "cnn-episodes": "lockstep.kinds.cnn_episodes.kind:KIND",
    "agent-session": "lockstep.kinds.agent_session.kind:KIND",
    "replay-agent": "lockstep.kinds.replay_agent.kind:KIND",
    "strategy": "lockstep.kinds.strategy.kind:KIND",
}
for _name, _path in KINDS.items():
    registry.register(_name, _path)

MODELS: Final = {
    "cnn": "lockstep.kinds.cnn.model:CnnModel",
    "classifier": "lockstep.kinds.classifier.model:ClassifierModel",
    "classifier-keras": "lockstep.kinds.classifier.keras_model:KerasModel",
    "cnn-episodes": "lockstep.kinds.cnn_episodes.model:EpisodesModel",
    "agent-session": "lockstep.kinds.agent_session.model:SessionModel",
    "replay-agent": "lockstep.kinds.replay_agent.model:ReplayAgentModel",
}
"""What runs of a kind leave for use; a search leaves parameters."""
for _name, _path in MODELS.items():
    register_model(_name, _path)

BLOB_CHECKS: Final = {
    ".arrow": "lockstep.market.snapshot:check_file",
    ".safetensors": "lockstep.kinds.classifier.data:check_file",
    ".episodes": "lockstep.kinds.cnn_episodes.data:check_file",
}
"""How blobs are compared with digests that only their kind can take."""
for _suffix, _path in BLOB_CHECKS.items():
    register_check(_suffix, _path)

IN_PROCESS: Final = "lockstep.clusters.in_process:InProcessExecutor"
LOKY: Final = "lockstep.clusters.loky:LokyExecutor"

Home = Path | str | None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where runs live and who computes.

    store   keeps the runs of a home and the data that they share
    clock   tells the time, which enters no hashed content
    """

    store: FolderRunStore
    clock: Clock = field(default_factory=SystemClock)

    def executor(self, workers: int) -> Executor:
        """Who does the work: with one worker this process, with more as many processes of this machine."""
        return executor_of(workers)

    def executor_choice(self, workers: int) -> ExecutorChoice:
        """The same choice as import path and arguments, for a fresh process that makes the executor by itself."""
        from lockstep.runs.verify import ExecutorChoice

        return ExecutorChoice(path=IN_PROCESS) if workers == 1 else ExecutorChoice(path=LOKY, arguments=(workers,))

    @contextmanager
    def context(self, workers: int = 1) -> Iterator[RunContext]:
        """Ports that computing recorded steps again needs; the workers end with the block."""
        with self.executor(workers) as executor:
            yield RunContext(executor=executor, blobs=self.store.blobs)

    @contextmanager
    def ports(
        self,
        *,
        workers: int = 1,
        observers: Sequence[Observer] = (),
        cancel: Cancel | None = None,
        announce: Callable[[Prepared], None] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Iterator[Ports]:
        """Ports that a training needs; the workers end with the block.

        Lines about work outside of the steps go to `tell`; without one, to the observers.
        Without a `cancel` Ctrl-C stops the run at a step, with a checkpoint.
        """
        own = Cancel()
        with self.executor(workers) as executor, own.on_signals() if cancel is None else nullcontext():
            yield Ports(
                store=self.store,
                executor=executor,
                observers=observers,
                cancel=own if cancel is None else cancel,
                clock=self.clock,
                announce=unannounced if announce is None else announce,
                tell=Observers(observers).tell if tell is None else tell,
            )


def place(home: Home = None) -> Place:
    """The place whose runs are in `home`; None is LOCKSTEP_HOME, else ./lockstep-home."""
    # A shell expands "~"; an environment file or a notebook does not, and a folder of that name would be made.
    return Place(store=FolderRunStore((default_home() if home is None else Path(home)).expanduser()))


def executor_of(workers: int) -> Executor:
    """One worker is this process; more are processes of this machine."""
    if workers == 1:
        from lockstep.clusters.in_process import InProcessExecutor

        return InProcessExecutor()
    from lockstep.clusters.loky import LokyExecutor

    return LokyExecutor(workers)
