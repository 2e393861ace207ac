"""Training of an agent from a replay buffer, as a `runs.training.Training`: one step is one optimiser update.

    the source lives on (environment steps, if any) -> a batch -> update -> priorities -> watched

Segments are the recorder's (`gradients.recorder`), with `td_error` beside each experience of `batches` (and `weight`,
where the loss is weighted), `mean_reward` in `steps`, and `experiences`: whatever was added, as it was then. A
checkpoint holds the buffer without its observations; those come back from that segment, or from wherever the source
says.
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


class Source(Protocol):
    """Where experiences come from."""

    def before(self, step: int, agent: Agent, buffer: Any) -> Mapping[str, NDArray[Any]] | None:
        """Add what was lived before update `step`; returns it as columns of segment `experiences`, None for none."""
        ...

    def scalars(self) -> Mapping[str, Any]:
        """For the journal's line."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Everything later experiences depend on."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `get_state`."""
        ...


class FixedExperiences:
    """A source of no experiences: what is in the buffer is all there is. `recorded` are its observations."""

    def __init__(self, recorded: Mapping[str, NDArray[Any]]) -> None:
        self.recorded = recorded

    def before(self, step: int, agent: Agent, buffer: Any) -> None:
        """Nothing happens."""

    def scalars(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to go back to."""


class Watcher:
    """Looks at the agent after each update, at its end too; changes nothing of it. Subclass what is needed."""

    def after(self, step: int, agent: Agent) -> Mapping[str, Any]:
        """What goes into the journal's line of `step`."""
        return {}

    def result(self, agent: Agent) -> Mapping[str, Any]:
        """What goes into the summary. The agent is left as it was found."""
        return {}

    def artifacts(self, agent: Agent) -> Mapping[str, bytes]:
        """Further files."""
        return {}

    def get_state(self) -> dict[str, Any]:
        """What the watcher remembers."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `get_state`."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """How a buffer is learned from: how many updates, of batches how large, drawn how.

    mode    profit        R9.22: most of a batch turned out profitable
            uniform       every experience alike
            prioritized   by td error, the loss weighted against it; beta rises to 1 over the updates
    """

    updates: int
    batch_size: int = 64
    mode: Mode = "profit"

    def __post_init__(self) -> None:
        """Raises InputError for a number below 1 or an unknown mode."""
        if self.updates < 1 or self.batch_size < 1:
            raise InputError(
                f"replay: at least 1 update of at least 1 experience; found {self.updates!r} and {self.batch_size!r}"
            )
        if self.mode not in MODES:
            raise InputError(f"replay: mode is one of {', '.join(MODES)}; found {self.mode!r}")

    @property
    def weighted(self) -> bool:
        """Whether samples have importance weights."""
        return self.mode == "prioritized"

    def fits(self, buffer: Buffer) -> bool:
        """Whether batches can be drawn from it in this mode."""
        kind = PrioritizedExperienceBuffer if self.mode == "prioritized" else ProfitWeightedExperienceBuffer
        return isinstance(buffer, kind)

    def draw(self, buffer: Any, step: int) -> ExperienceBatch:
        """The batch of update `step`, from a buffer that fits."""
        if isinstance(buffer, PrioritizedExperienceBuffer):
            # Schaul et al. 2016, section 3.4: the correction matters most at the end.
            beta = buffer.beta + (1.0 - buffer.beta) * step / self.updates
            return buffer.sample_batch(self.batch_size, min(beta, 1.0))
        batch: ExperienceBatch = buffer.sample_batch(self.batch_size, self.mode == "profit")
        return batch


@dataclass(frozen=True, kw_only=True)
class BatchFacts:
    """Profitability of a batch (R9.26), means in order of the batch; an experience without outcome scores 0."""

    mean_score: float
    profitable_share: float
    mean_reward: float

    @classmethod
    def of(cls, batch: ExperienceBatch) -> BatchFacts:
        """Measure a batch; all zero when it is empty."""
        return cls(
            mean_score=mean_in_order(batch.profitability_scores),
            profitable_share=mean_in_order(batch.is_profitable),
            mean_reward=mean_in_order(batch.rewards),
        )


class ReplayTraining:
    """See the module's docstring.

    `rate` gives the learning rate of a step, None leaves the optimiser's own. `session` is what the summary says of the
    run; it has to follow from the spec, since it is part of the result.
    """

    def __init__(
        self,
        agent: Agent,
        buffer: Buffer,
        recorder: Recorder,
        replay: Replay | RecordedReplay,
        source: Source,
        *,
        watcher: Watcher | None = None,
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
        self._watcher = watcher if watcher is not None else Watcher()
        self._rate = rate
        self._session = dict(session or {})
        self._next = 0

    @property
    def learner(self) -> Learner:
        """Networks and optimiser."""
        return self.agent.learner

    @property
    def total_steps(self) -> int | None:
        """The updates, unless the byte limit could end the run before."""
        return self._log.total_steps(self._replay.updates)

    def attach(self, record: RunRecord) -> None:
        """Keep the record: observations and the run's value are read back from it."""
        self._log.attach(record)

    def steps(self) -> Iterator[Step]:
        """One step per update, from the present state on."""
        while self._next < self._replay.updates and not self._log.ends_before(self._next):
            yield self._step(self._next)

    def _step(self, index: int) -> Step:
        added = self._source.before(index, self.agent, self.buffer)
        batch = self._replay.draw(self.buffer, index)
        self._log.begin(index)
        done = self.agent.update(index, batch, None if self._rate is None else self._rate(index))
        self.buffer.update_priorities(batch.ids, done.td_errors)
        facts = self._facts(batch, done)
        step = self._log.step(
            index,
            done.update,
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

    def _facts(self, batch: ExperienceBatch, done: AgentUpdate) -> StepFacts:
        worth = BatchFacts.of(batch)
        return StepFacts(
            batch=batch.ids,
            profitability=worth.mean_score,
            profitable=worth.profitable_share,
            scalars={"mean_reward": worth.mean_reward},
            samples={"td_error": done.td_errors, **({"weight": batch.weights} if self._replay.weighted else {})},
        )

    def get_state(self) -> State:
        """Agent, buffer (its observations are in segments), source, recorder, watcher, counters."""
        return {
            "next": self._next,
            "agent": self.agent.get_state(),
            "buffer": self.buffer.get_state(observations=False),
            "source": self._source.get_state(),
            **self._log.get_state(),
            "watcher": self._watcher.get_state(),
        }

    def set_state(self, state: State) -> None:
        """Go to a state of `get_state`."""
        self._next = state["next"]
        self.agent.set_state(state["agent"])
        self.buffer.set_state(state["buffer"], recorded=self._recorded(state["buffer"]))
        self._source.set_state(state["source"])
        self._log.set_state(state)
        self._watcher.set_state(state["watcher"])

    def _recorded(self, buffer: State) -> Mapping[str, NDArray[Any]] | None:
        """Observations of the experiences in a buffer's state: only those, whatever else was lived in between."""
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
        """Value and convergence of the run, what the watcher found, the weights as safetensors."""
        facts = self._log.session_facts(self.learner, steps=self._next, limited=self._next < self._replay.updates)
        summary = {
            "session": self._session,
            **facts,
            "replay": {"mode": self._replay.mode, **_statistics(self.buffer)},
            **self._watcher.result(self.agent),
        }
        weights = save_arrays(model_arrays(self.learner))
        return Result(summary=summary, artifacts={WEIGHTS_FILE: weights, **self._watcher.artifacts(self.agent)})


def _statistics(buffer: Buffer) -> dict[str, Any]:
    """The buffer at the end, both accounts where it keeps them (R9.25)."""
    if isinstance(buffer, PrioritizedExperienceBuffer):
        return {"experiences": len(buffer)}
    if isinstance(buffer, RecordedBuffer):
        return buffer.statistics()
    found = buffer.statistics()
    return {
        "experiences": found.size,
        "added": found.added,
        "unknown": found.unknown,
        "mean_score": found.mean_score,
        "max_training_count": found.max_training_count,
        "profitable": found.profitable.size,
        "profitable_draws": found.profitable.draws,
        "unprofitable": found.unprofitable.size,
        "unprofitable_draws": found.unprofitable.draws,
    }
