"""Train an agent from a replay buffer, as a `runs.training.Training`: one step is one optimiser update.

    source (adds experiences, if any) -> batch -> update -> priorities -> watcher

Segments are the recorder's (`gradients.recorder`), with `td_error` beside each experience of `batches` (and `weight`,
where the loss is weighted), `mean_reward` in `steps`, and a segment `experiences`, with each experience as it was when
it was added. A checkpoint holds the buffer without its observations; `set_state` reads those from that segment, or
takes them from `FixedExperiences`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import numpy as np
from safetensors.numpy import save as save_arrays

from lockstep.core.errors import InputError
from lockstep.core.means import mean_in_order
from lockstep.learning.gradients.recorder import StepFacts
from lockstep.learning.gradients.step_log import StepLog
from lockstep.learning.gradients.training import WEIGHTS_FILE, model_arrays
from lockstep.learning.gradients.user_failures import failures_of_agent
from lockstep.rl.prioritized import PrioritizedExperienceBuffer
from lockstep.rl.recorded_batches import RecordedBuffer, RecordedReplay
from lockstep.rl.replay_buffer import ProfitWeightedExperienceBuffer
from lockstep.runs.training import Result, RunRecord, State, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.learner import Learner
    from lockstep.learning.gradients.recorder import Recorder
    from lockstep.rl.agent import Agent, AgentUpdate
    from lockstep.rl.experience import ExperienceBatch

EXPERIENCES: Final = "experiences"
Mode = Literal["profit", "uniform", "prioritized"]
MODES: Final[tuple[Mode, ...]] = ("profit", "uniform", "prioritized")
Buffer = ProfitWeightedExperienceBuffer | PrioritizedExperienceBuffer | RecordedBuffer


class ExperienceSource(Protocol):
    """Adds experiences to the buffer while an agent is trained: a `Rollout`, or `FixedExperiences`."""

    def before(self, step: int, agent: Agent, buffer: Any) -> Mapping[str, NDArray[Any]] | None:
        """Add the experiences that precede update `step`. Returns them as columns of segment `experiences`, None for
        none."""
        ...

    def scalars(self) -> Mapping[str, Any]:
        """The source's scalars for the journal's line."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Everything that later experiences depend on."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        ...


class FixedExperiences:
    """A source that adds no experiences to those in the buffer.

    `recorded` are the observations of these, columns `id`, `state` and `next_state`.
    """

    def __init__(self, recorded: Mapping[str, NDArray[Any]]) -> None:
        self.recorded = recorded

    def before(self, step: int, agent: Agent, buffer: Any) -> None:
        """Add nothing: the buffer was filled before the run."""

    def scalars(self) -> dict[str, Any]:
        """An empty dict: the buffer's size is in every line already."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """An empty dict, since no experiences follow."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Accept the empty state of `get_state`."""


class AgentWatcher:
    """Evaluates the agent after each update and at the end, without changing it. Subclasses override what they need."""

    def after(self, step: int, agent: Agent) -> Mapping[str, Any]:
        """Scalars for the journal's line of `step`."""
        return {}

    def result(self, agent: Agent) -> Mapping[str, Any]:
        """Entries for the summary. The agent's state must be the same afterwards."""
        return {}

    def artifacts(self, agent: Agent) -> Mapping[str, bytes]:
        """Files of the finished run beside its weights, by flat name."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """Everything that later calls depend on."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """How an agent learns from a buffer: number of updates, size of a batch, way of drawing it.

    mode    profit        R9.22: most of a batch is profitable
            uniform       all experiences are equally likely
            prioritized   by td error; weights of the loss correct for it, and beta rises to 1 over the updates

    Raises InputError for a number below 1 or an unknown mode.
    """

    updates: int
    batch_size: int = 64
    mode: Mode = "profit"

    def __post_init__(self) -> None:
        if self.updates < 1 or self.batch_size < 1:
            raise InputError(
                f"replay: at least 1 update of at least 1 experience; found {self.updates!r} and {self.batch_size!r}"
            )
        if self.mode not in MODES:
            raise InputError(f"replay: mode is one of {', '.join(MODES)}; found {self.mode!r}")

    @property
    def weighted(self) -> bool:
        """Whether samples have importance weights of the loss."""
        return self.mode == "prioritized"

    def fits(self, buffer: Buffer) -> bool:
        """Whether this mode draws from a buffer of this class."""
        kind = PrioritizedExperienceBuffer if self.mode == "prioritized" else ProfitWeightedExperienceBuffer
        return isinstance(buffer, kind)

    def draw(self, buffer: Any, step: int) -> ExperienceBatch:
        """Draw the batch of update `step`; `buffer` has to fit."""
        if isinstance(buffer, PrioritizedExperienceBuffer):
            # Schaul et al. 2016, section 3.4: the correction matters most at the end.
            beta = buffer.beta + (1.0 - buffer.beta) * step / self.updates
            return buffer.sample_batch(self.batch_size, min(beta, 1.0))
        batch: ExperienceBatch = buffer.sample_batch(self.batch_size, self.mode == "profit")
        return batch


@dataclass(frozen=True, kw_only=True)
class BatchFacts:
    """Profitability of a batch (R9.26).

    mean_score        0 .. 1; an experience without outcome scores 0
    profitable_share  0 .. 1
    mean_reward       not scaled

    Means are taken in order of the batch, which fixes their last bit.
    """

    mean_score: float
    profitable_share: float
    mean_reward: float

    @classmethod
    def of(cls, batch: ExperienceBatch) -> BatchFacts:
        """Compute the means of a batch; all are 0 when it is empty."""
        return cls(
            mean_score=mean_in_order(batch.profitability_scores),
            profitable_share=int(np.count_nonzero(batch.is_profitable)) / len(batch) if len(batch) else 0.0,
            mean_reward=mean_in_order(batch.rewards),
        )


class ReplayTraining:
    """A `runs.training.Training` of an agent.

    replay   which batches, how many
    source   adds experiences before each update
    watcher  evaluates the agent; default does nothing
    rate     learning rate of a step; None for the optimiser's own
    session  metadata for the summary; it has to follow from the spec, since it is part of the result

    Raises InputError where `replay` cannot draw from `buffer`.
    """

    def __init__(
        self,
        agent: Agent,
        buffer: Buffer,
        recorder: Recorder,
        replay: Replay | RecordedReplay,
        source: ExperienceSource,
        *,
        watcher: AgentWatcher | None = None,
        rate: Callable[[int], float] | None = None,
        session: Mapping[str, Any] | None = None,
    ) -> None:
        if not replay.fits(buffer):
            raise InputError(
                'replay: mode "prioritized" draws from a PrioritizedExperienceBuffer, "recorded" from the '
                "RecordedBuffer of its batches, the others from a ProfitWeightedExperienceBuffer; found "
                f"{replay.mode!r} and {type(buffer).__name__}"
            )
        self.agent, self.buffer = agent, buffer
        self._log, self._replay, self._source = StepLog(recorder), replay, source
        self._watcher = watcher if watcher is not None else AgentWatcher()
        self._rate = rate
        self._session = dict(session or {})
        self._next = 0

    @property
    def learner(self) -> Learner:
        """The agent's networks and optimiser, which each step updates."""
        return self.agent.learner

    @property
    def total_steps(self) -> int | None:
        """Number of updates; None where the byte limit could end the run before."""
        return self._log.total_steps(self._replay.updates)

    def attach(self, record: RunRecord) -> None:
        """Keep the record: observations and the run's value are read back from it."""
        self._log.attach(record)

    def steps(self) -> Iterator[Step]:
        """One step per update, from the present state on."""
        while self._next < self._replay.updates and not self._log.ends_before(self._next):
            yield self._step(self._next)

    def _step(self, index: int) -> Step:
        with failures_of_agent(self.agent, f"step {index}"):
            added = self._source.before(index, self.agent, self.buffer)
        batch = self._replay.draw(self.buffer, index)
        self._log.begin(index)
        with failures_of_agent(self.agent, f"step {index}"):
            result = self.agent.update(index, batch, None if self._rate is None else self._rate(index))
        self.buffer.update_priorities(batch.ids, result.td_errors)
        facts = self._facts(batch, result)
        step = self._log.step(
            index,
            result.update,
            facts,
            extra=lambda: {
                "profitable_share": facts.profitable,
                "mean_score": facts.profitability,
                **facts.scalars,
                "buffer": len(self.buffer),
                **self._source.scalars(),
                **self._watcher.after(index, self.agent),
            },
            further=None if added is None else {EXPERIENCES: added},
        )
        self._next = index + 1
        return step

    def _facts(self, batch: ExperienceBatch, result: AgentUpdate) -> StepFacts:
        worth = BatchFacts.of(batch)
        return StepFacts(
            batch=batch.ids,
            profitability=worth.mean_score,
            profitable=worth.profitable_share,
            scalars={"mean_reward": worth.mean_reward},
            samples={"td_error": result.td_errors, **({"weight": batch.weights} if self._replay.weighted else {})},
        )

    def get_state(self) -> State:
        """Agent, buffer without its observations (segments have them), source, recorder, watcher, counters."""
        return {
            "next": self._next,
            "agent": self.agent.get_state(),
            "buffer": self.buffer.get_state(observations=False),
            "source": self._source.get_state(),
            **self._log.get_state(),
            "watcher": self._watcher.get_state(),
        }

    def set_state(self, state: State) -> None:
        """Restore a state that `get_state` returned."""
        self._next = state["next"]
        self.agent.set_state(state["agent"])
        self.buffer.set_state(state["buffer"], recorded=self._recorded(state["buffer"]))
        self._source.set_state(state["source"])
        self._log.set_state(state)
        self._watcher.set_state(state["watcher"])

    def _recorded(self, buffer: State) -> Mapping[str, NDArray[Any]] | None:
        """Observations of the experiences in a buffer's state, and of no others: evicted ones would fill the memory."""
        if isinstance(self._source, FixedExperiences):
            return self._source.recorded
        ids, pieces = np.sort(buffer["store"]["ids"]), []
        for frame in self._log.record.segments.frames(EXPERIENCES):
            columns = frame.columns
            here = np.isin(columns["id"], ids, assume_unique=True)
            if here.any():
                pieces.append({name: columns[name][here] for name in ("id", "state", "next_state")})
        if not pieces:
            return None
        return {name: np.concatenate([columns[name] for columns in pieces]) for name in pieces[0]}

    def finish(self) -> Result:
        """Value and convergence of the run, the watcher's entries, and the weights as safetensors."""
        facts = self._log.session_facts(self.learner, steps=self._next, limited=self._next < self._replay.updates)
        watched = self._watcher.result(self.agent)
        summary = {
            "session": self._session,
            **facts,
            "replay": {"mode": self._replay.mode, **_statistics(self.buffer)},
            **watched,
            "editions": {**facts["editions"], **watched.get("editions", {})},
        }
        weights = save_arrays(model_arrays(self.learner))
        return Result(summary=summary, artifacts={WEIGHTS_FILE: weights, **self._watcher.artifacts(self.agent)})


def _statistics(buffer: Buffer) -> dict[str, Any]:
    """The buffer's statistics for the summary, by account where it has accounts (R9.25)."""
    if isinstance(buffer, PrioritizedExperienceBuffer):
        return {"experiences": len(buffer)}
    if isinstance(buffer, RecordedBuffer):
        return buffer.statistics()
    statistics = buffer.statistics()
    return {
        "experiences": statistics.size,
        "added": statistics.added,
        "unknown": statistics.unknown,
        "mean_score": statistics.mean_score,
        "max_training_count": statistics.max_training_count,
        "profitable": statistics.profitable.size,
        "profitable_draws": statistics.profitable.draws,
        "unprofitable": statistics.unprofitable.size,
        "unprofitable_draws": statistics.unprofitable.draws,
    }
