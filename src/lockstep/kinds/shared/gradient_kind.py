"""The skeleton of the kinds that train networks and agents.

    prepare    check libraries, decide the device, `Recipe.pin`, `Recipe.try_network`
    restore    check libraries, `Recipe.restore`
    estimate   `Recipe.costs`, and `Recipe.time_steps` unless the network is only counted
    training   `Recipe.training`

A kind has a name, a spec and a `Recipe`. Listing the kinds imports them, so the module of a kind loads no torch. The
recipe stands in another module of the same folder, which may import torch at its top: `GradientKind.recipe` imports it
after `needs` has checked that torch is installed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, cast

from lockstep.core.libraries import require
from lockstep.kinds.shared import step_timing
from lockstep.kinds.shared.retraining import with_batches
from lockstep.kinds.shared.step_timing import StepTiming
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, PrepareContext, Prepared, RunContext
from lockstep.runs.numerics import pinned_threads
from lockstep.runs.spec import RunSpec

if TYPE_CHECKING:
    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.training import Training


class Pins(Protocol):
    """Data that are loaded and pinned by digest."""

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where the data came from, for a reader; in no hash."""
        ...

    def body(self) -> dict[str, Any]:
        """The body of data.json; all of it is hashed into the fingerprint."""
        ...


class Plan(Protocol):
    """Everything that a training needs, resolved; the payload of `Prepared`."""

    @property
    def spec(self) -> RunSpec:
        """The spec as the run stores it, with every default and name filled in."""
        ...

    @property
    def pinned(self) -> Pins:
        """The data, and their digests for data.json."""
        ...


class NetworkPlan(Plan, Protocol):
    """The plan of a kind whose network may be the user's."""

    @property
    def network(self) -> NetworkCode:
        """The network as source and parameters, from which any machine can make it."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingCosts:
    """What a training takes, by calculation.

    state_bytes   bytes of weights, moments and gradients; a network with more than `step_timing.LARGE` is large
    lines         the counts in words
    estimate      makes the estimate of the run from the timing of a few steps
    """

    state_bytes: int
    lines: tuple[str, ...]
    estimate: Callable[[StepTiming], Estimate]


SpecT = TypeVar("SpecT", bound=RunSpec)
PlanT = TypeVar("PlanT", bound=Plan)
NetworkPlanT = TypeVar("NetworkPlanT", bound=NetworkPlan)


class Recipe(ABC, Generic[SpecT, PlanT]):
    """What a kind adds to the skeleton. It has no state."""

    @abstractmethod
    def pin(self, spec: SpecT, context: PrepareContext) -> PlanT:
        """Load data and code from the user's files or objects, and pin them. Raises the InputError tree."""

    @abstractmethod
    def restore(self, spec: SpecT, folder: RunFolder, context: PrepareContext) -> PlanT:
        """The same plan from a run's folder. Raises IntegrityError, DataError."""

    @abstractmethod
    def try_network(self, plan: PlanT) -> None:
        """Make the network and put through it every form of batch that the training will. Raises NetworkError."""

    @abstractmethod
    def costs(self, plan: PlanT, context: PrepareContext) -> TrainingCosts:
        """Steps, disk and memory by calculation, without memory for the network."""

    @abstractmethod
    def training(self, plan: PlanT, context: PrepareContext | RunContext) -> Training:
        """The training before its first step."""

    def time_steps(self, plan: PlanT, costs: TrainingCosts, context: PrepareContext) -> StepTiming:
        """Time a few steps of a training that is thrown away; `costs` are those of `plan`."""
        return step_timing.time_steps(self.training(plan, context).steps, state_bytes=costs.state_bytes)

    def data(self, plan: PlanT) -> Mapping[str, Any]:
        """The body of data.json, without the batches of a retrained run."""
        return plan.pinned.body()

    def code(self, plan: PlanT) -> CodeIdentity:
        """The user's part of the code identity: empty unless a kind runs code of the user."""
        return CodeIdentity.of()

    def numerics(self, plan: PlanT) -> Mapping[str, str]:
        """Entries that the kind's libraries add to the numerics identity."""
        from lockstep.learning.gradients.determinism import numerics_entries

        return numerics_entries(cast("Any", plan.spec).device)

    def notes(self, plan: PlanT) -> tuple[str, ...]:
        """Lines that say what is trained on what."""
        return ()


class NetworkRecipe(Recipe[SpecT, NetworkPlanT]):
    """The recipe of a kind whose network may be the user's; the run stores its source and its initial weights."""

    def data(self, plan: NetworkPlanT) -> Mapping[str, Any]:
        """The body of data.json, with the digest of an instance's weights."""
        return plan.network.pinned(plan.pinned.body())

    def code(self, plan: NetworkPlanT) -> CodeIdentity:
        """The user's part of the code identity: the source of the network."""
        return plan.network.identity()


AnyRecipe: TypeAlias = Recipe[Any, Any]
"""A recipe gets only specs of its own kind and plans that it made, so `GradientKind` need not know their types."""


class GradientKind(ABC):
    """The base of these kinds. A subclass sets `name`, `spec_model` and `recipe`, and `sample_keys` for retraining."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The value of `kind` in a spec."""

    @property
    @abstractmethod
    def spec_model(self) -> type[RunSpec]:
        """The model that the spec is validated against."""

    @abstractmethod
    def recipe(self) -> AnyRecipe:
        """The recipe, imported in this method because its module may load torch."""

    def needs(self) -> None:
        """Raises MissingLibraryError, which says what to install."""
        require("torch", extra="ml", purpose=f'kind = "{self.name}"')

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Pin data and code, decide the device, try the network; make no step of the training.

        Raises the InputError tree, NetworkError, MissingLibraryError, MachineError for a card that is not there,
        DiskError.
        """
        recipe = self._recipe()
        plan = recipe.pin(_on_device(spec), context)
        # To make a large network takes minutes and gigabytes, and an estimate may not need it. `estimate` tries it when
        # it makes it for timing; `train` calls that before it creates the run, so a bad network still leaves no run.
        if recipe.costs(plan, context).state_bytes <= step_timing.LARGE:
            recipe.try_network(plan)
        return _prepared(recipe, plan)

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same plan from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
        recipe = self._recipe()
        return _prepared(recipe, recipe.restore(spec, folder, context))

    def estimate(self, prepared: Prepared, context: PrepareContext, *, time_large: bool = True) -> Estimate:
        """Bytes by calculation, seconds from a few steps of a training that is thrown away; see `runs.kind.Kind`."""
        recipe, plan = self._recipe(), prepared.payload
        costs = recipe.costs(plan, context)
        large = costs.state_bytes > step_timing.LARGE
        if large and not time_large:
            # Counted only: a person asked what it would take, and making it could take what there is not.
            return _with_notes(costs.estimate(step_timing.untimed()), *costs.lines, step_timing.UNTIMED)
        # `prepare` left this out for a large network.
        if large:
            recipe.try_network(plan)
        with pinned_threads():  # as the run computes: a library's own threads would give other times
            timing = recipe.time_steps(plan, costs, context)
        return _with_notes(costs.estimate(timing), *costs.lines)

    def try_network(self, prepared: Prepared) -> None:
        """The trial of `prepare`, for a plan restored with another network (`retraining.Retrains`)."""
        self._recipe().try_network(prepared.payload)

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training before its first step."""
        return self._recipe().training(prepared.payload, context)

    def _recipe(self) -> AnyRecipe:
        self.needs()
        return self.recipe()


def _on_device(spec: RunSpec) -> RunSpec:
    """`spec` with its device decided: the run stores "cpu" or "cuda", not "auto", since the last bits depend on it."""
    # Not every spec of these kinds has the key.
    device = getattr(spec, "device", None)
    if device is None:  # Keras computes on the CPU, and an agent that Python hands over has a device already
        return spec
    from lockstep.learning.gradients.determinism import resolve_device

    return spec.model_copy(update={"device": resolve_device(device)})


def _prepared(recipe: AnyRecipe, plan: Plan) -> Prepared:
    return Prepared(
        spec=plan.spec,
        # An export packs the snapshots listed here; without its batches a retrained run could not be verified.
        data=with_batches(recipe.data(plan), getattr(plan.spec, "session", None)),
        code=recipe.code(plan),
        payload=plan,
        origin=plan.pinned.origin,
        numerics=recipe.numerics(plan),
        notes=recipe.notes(plan),
    )


def _with_notes(estimate: Estimate, *notes: str) -> Estimate:
    return replace(estimate, notes=(*estimate.notes, *notes))
