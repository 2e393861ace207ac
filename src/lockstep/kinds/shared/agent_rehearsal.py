"""The rehearsal of an agent before its run: updates from real batches and actions in real states, all undone.

    1. updates: the first batch twice, another one, the first once more, each from the state that `get_state` gave. The
       same losses, td errors, gradients and states have to come out, and nothing else changed; weights are changed by
       the optimiser alone, so that a replay of the gradients ends at them.
    2. actions: `act` and `explore` twice. The same actions; nothing changes.

Listed state is what `get_state` returns, in the form in which a checkpoint gives it back. Agents of Lockstep itself
are tested elsewhere, so these only act once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from lockstep.core.errors import NetworkError, RefusedError
from lockstep.core.hashing import digest_columns
from lockstep.kinds.shared import unlisted_state
from lockstep.kinds.shared.passes import Judge, Pass
from lockstep.kinds.shared.rehearsal import as_before
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.determinism import noise
from lockstep.learning.gradients.learner import WEIGHTS
from lockstep.learning.gradients.record import FlatOptimizer
from lockstep.learning.gradients.user_failures import failures_of_agent
from lockstep.rl.agent import Q_LOSS, AgentUpdate
from lockstep.runs.checkpoint import through_storage
from lockstep.runs.seeds import SeedTree
from lockstep.runs.user_modules import USER_FAILURES
from lockstep.validation.held_values import digest_of_data, is_users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lockstep.rl.agent import Agent
    from lockstep.rl.experience import ExperienceBatch

T = TypeVar("T")
_LIST_IT: Final = "Return it from get_state() and set it in set_state()"
_STATES: Final = 8
"""States in which an agent acts for a rehearsal."""


def rehearse_agent(
    agent: Agent, batches: tuple[ExperienceBatch, ExperienceBatch], *, seeds: SeedTree, rate: float | None = None
) -> None:
    """Put a user's agent through the rehearsal; it has its state again afterwards.

    batches   two that the run may draw, of the same size
    seeds     stream of the noise around updates
    rate      learning rate of the updates; None for the optimiser's own

    Raises NetworkError, which names rule, line and cure.
    """
    with as_before():
        start = through_storage(agent.get_state())
        stage = _Stage(agent, batches, start, seeds, rate)
        try:
            stage.play()
        finally:
            # What a broken set_state() raises was said by the rehearsal.
            with contextlib.suppress(*USER_FAILURES):
                agent.set_state(start)


def act_once(agent: Agent, states: NDArray[np.float32]) -> None:
    """Let an agent act in states (n, *shape): what does not fit its network fails here. Raises NetworkError."""
    with failures_of_agent(agent, "rehearsal"):
        actions = agent.act(states)
    _check_actions(type(agent).__name__, actions, len(states))


def is_of_user(agent: Agent) -> bool:
    """Whether an agent, or the network in its learner, is code of the user."""
    return is_users(type(agent).__module__) or any(
        is_users(type(module).__module__) for module in agent.learner.module.modules()
    )


class _Stage:
    def __init__(
        self,
        agent: Agent,
        batches: tuple[ExperienceBatch, ExperienceBatch],
        start: Mapping[str, Any],
        seeds: SeedTree,
        rate: float | None,
    ) -> None:
        self._agent, self._batches, self._start, self._seeds, self._rate = agent, batches, start, seeds, rate
        self._name = type(agent).__name__
        self._passes = 0

    def _judge(self, method: str) -> Judge:
        return Judge(
            name=self._name,
            method=method,
            state="no part of what get_state() returns",
            list_it=_LIST_IT,
            noise="neither in get_state() nor drawn inside learner.update()",
            draw=(
                "Draw with torch inside the function that learner.update() is handed: its noise is seeded for each step"
                if method == "update()"
                else "Draw from the generator that explore() is handed; act() draws nothing"
            ),
            settle=determinism.settle,
            switches=determinism.switches,
        )

    def play(self) -> None:
        self._require_restored("before its first update")
        judge = self._judge("update()")
        one, two = self._update(0), self._update(0)
        judge.require_equal(one, two, "twice")
        judge.require_listed(one, two)
        self._update(1)
        three = self._update(0)
        judge.require_equal(two, three, "before and after another batch")
        judge.require_listed(two, three)
        self._require_restored("after updates")
        self._act()

    def _require_restored(self, when: str) -> None:
        self._call(lambda: self._agent.set_state(self._start))
        one, two = digest_of_data(self._start), digest_of_data(through_storage(self._agent.get_state()))
        if one != two:
            raise NetworkError(
                f"{self._name}: get_state() after set_state() is the state that was set; it differs {when}, so a run "
                "that is stopped and resumed would go on from another one. Set everything in set_state() that "
                "get_state() returns"
            )

    def _update(self, number: int) -> Pass:
        agent, batch = self._agent, self._batches[number]
        self._call(lambda: agent.set_state(self._start))
        learner = agent.learner
        weights = FlatOptimizer(learner.settings, learner.get_state())
        with self._judge("update()").watching():
            update = self._call(lambda: agent.update(0, batch, self._rate))
        self._check(update, len(batch))
        gradient = learner.gradient().copy()
        weights.apply(gradient, update.update.learning_rate)
        if not np.array_equal(weights.arrays()[WEIGHTS], learner.arrays()[WEIGHTS]):
            raise NetworkError(
                f"{self._name}: weights change by learner.update() alone, from its gradient; after update() they are "
                "others, so a replay of the gradients would not end at them. Keep what follows them (target networks) "
                "as buffers of the module, and clip copies of weights in place of the weights"
            )
        losses = {name: np.array([value]) for name, value in update.update.losses.items()}
        return Pass(
            results={
                "losses": digest_columns(losses),
                "td errors": digest_columns({"td": update.td_errors}),
                "gradients": digest_columns({"gradient": gradient}),
                "states": digest_of_data(through_storage(agent.get_state())),
            },
            unlisted=unlisted_state.read_agent(agent, learner.module),
        )

    def _check(self, update: Any, rows: int) -> None:
        if not isinstance(update, AgentUpdate):
            raise NetworkError(
                f"{self._name}: update() returns lockstep.rl.agent.AgentUpdate(update=..., td_errors=...), with what "
                f"learner.update() returned; found {type(update).__name__}"
            )
        errors, losses = update.td_errors, update.update.losses
        if not isinstance(errors, np.ndarray) or errors.shape != (rows,) or errors.dtype != np.float64:
            what = f"{errors.dtype} {errors.shape}" if isinstance(errors, np.ndarray) else type(errors).__name__
            raise NetworkError(
                f"{self._name}: update() returns the td errors of its batch as float64 ({rows},); found {what}. "
                "Convert them: errors.detach().numpy().astype(np.float64)"
            )
        if not np.isfinite(errors).all() or not all(np.isfinite(value) for value in losses.values()):
            raise NetworkError(
                f"{self._name}: losses and td errors of update() are finite; found {losses} and td errors from "
                f"{errors.min():g} to {errors.max():g}. Scale the rewards, or look at what the loss divides by"
            )
        if Q_LOSS not in losses:
            raise NetworkError(
                f"{self._name}: the losses of an update have a part {Q_LOSS!r}, that of the action values; found "
                f'{sorted(losses)}. Name it: Losses(total=total, parts={{"{Q_LOSS}": loss}})'
            )

    def _act(self) -> None:
        agent, states = self._agent, self._batches[0].states[:_STATES]
        judge = self._judge("act() or explore()")
        passes = []
        for _ in range(2):
            with judge.watching():
                actions = self._call(lambda: agent.act(states))
                rng = np.random.Generator(np.random.Philox(key=1))
                explored = [self._call(lambda: agent.explore(state, 0, rng)) for state in states]  # noqa: B023
            _check_actions(self._name, actions, len(states))
            passes.append(
                Pass(
                    results={
                        "actions of act()": digest_columns({"actions": np.asarray(actions)}),
                        "actions of explore()": digest_columns({"actions": np.array(explored)}),
                    },
                    unlisted=unlisted_state.read_agent(agent, agent.learner.module),
                )
            )
        one, two = passes
        judge.require_equal(one, two, "twice")
        judge.require_listed(one, two)
        if digest_of_data(through_storage(agent.get_state())) != digest_of_data(self._start):
            raise NetworkError(
                f"{self._name}: act() and explore() change nothing, since validation acts as often as it likes; "
                "get_state() is another one after them. Change state in update() alone"
            )

    def _call(self, call: Callable[[], T]) -> T:
        # Another stream for each call: what is drawn outside of learner.update() is drawn from no seed in a run.
        self._passes += 1
        with noise(self._seeds.child("outside", self._passes)), _in_words(self._agent):
            return call()


@contextmanager
def _in_words(agent: Agent) -> Iterator[None]:
    """An error of the agent's code as NetworkError; so too a gradient that is not finite with its first batch."""
    try:
        with failures_of_agent(agent, "rehearsal"):
            yield
    except RefusedError as error:
        raise NetworkError(f"{type(agent).__name__}: {error}") from error


def _check_actions(name: str, actions: Any, rows: int) -> None:
    if not isinstance(actions, np.ndarray) or actions.shape != (rows,) or actions.dtype.kind not in "iu":
        what = f"{actions.dtype} {actions.shape}" if isinstance(actions, np.ndarray) else type(actions).__name__
        raise NetworkError(
            f"{name}: act() returns one action for each state, int64 ({rows},); found {what}. Return "
            "values.argmax(axis=1)"
        )
