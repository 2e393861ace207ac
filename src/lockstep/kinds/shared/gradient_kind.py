"""The skeleton of the kinds that train networks and agents: what all of them do, in one order.

    prepare    libraries, device, `Recipe.pin`, a trial of the network
    restore    libraries, `Recipe.restore`
    estimate   `Recipe.costs`, and `Recipe.rehearse` unless the network is only to be counted
    training   `Recipe.training`

A kind has a name, a spec and a `Recipe`. The kind is imported whenever somebody asks which kinds there are, so its
module loads no torch; the recipe lives in another module of the same folder, which may import torch at its top:
`GradientKind.recipe` is called only after `needs` has made sure that the library is there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, cast

from lockstep.core.libraries import require
from lockstep.kinds.shared import rehearsal
from lockstep.kinds.shared.rehearsal import Rehearsal
from lockstep.kinds.shared.retraining import with_batches
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, PrepareContext, Prepared, RunContext
from lockstep.runs.spec import RunSpec

if TYPE_CHECKING:
    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.training import Training


class Pins(Protocol):
    """Data in hand, and what names them."""

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where they came from; not hashed."""
        ...

    def body(self) -> dict[str, Any]:
        """The body of data.json: all of it is hashed."""
        ...


class Plan(Protocol):
    """Everything that a training needs, resolved: the payload of `Prepared`."""

    @property
    def spec(self) -> RunSpec:
        """With every default and every name filled in, as the run stores it."""
        ...

    @property
    def pinned(self) -> Pins:
        """The data."""
        ...


class NetworkPlan(Plan, Protocol):
    """The plan of a kind whose network may be the user's."""

    @property
    def network(self) -> NetworkCode:
        """The network as text and parameters, to be made again anywhere."""
        ...


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a training takes as far as counting goes.

    state_bytes   of weights, moments and gradients: beyond `rehearsal.LARGE` a network counts as large
    lines         the counts for a person
    estimate      from the timing of a few steps to the estimate of the run
    """

    state_bytes: int
    lines: tuple[str, ...]
    estimate: Callable[[Rehearsal], Estimate]


SpecT = TypeVar("SpecT", bound=RunSpec)
PlanT = TypeVar("PlanT", bound=Plan)
NetworkPlanT = TypeVar("NetworkPlanT", bound=NetworkPlan)


class Recipe(ABC, Generic[SpecT, PlanT]):
    """What a kind adds to the skeleton. Stateless."""

    @abstractmethod
    def pin(self, spec: SpecT, context: PrepareContext) -> PlanT:
        """Load data and code where the user is, and pin them. Raises the InputError tree."""

    @abstractmethod
    def restore(self, spec: SpecT, folder: RunFolder, context: PrepareContext) -> PlanT:
        """The same plan from a run's folder. Raises IntegrityError, DataError."""

    @abstractmethod
    def try_network(self, plan: PlanT) -> None:
        """Make the network and hand it whatever the training will hand it. Raises NetworkError."""

    @abstractmethod
    def costs(self, plan: PlanT, context: PrepareContext) -> Costs:
        """Steps, disk and memory by calculation: a large network is not made for this."""

    @abstractmethod
    def training(self, plan: PlanT, context: PrepareContext | RunContext) -> Training:
        """The training at its start."""

    def rehearse(self, plan: PlanT, costs: Costs, context: PrepareContext) -> Rehearsal:
        """Time a few steps of a training that is thrown away."""
        return rehearsal.rehearse(self.training(plan, context).steps, state_bytes=costs.state_bytes)

    def data(self, plan: PlanT) -> Mapping[str, Any]:
        """The body of data.json, without the batches of a run that is trained again."""
        return plan.pinned.body()

    def code(self, plan: PlanT) -> CodeIdentity:
        """Lockstep's code, and the user's where there is any."""
        return CodeIdentity.of()

    def numerics(self, plan: PlanT) -> Mapping[str, str]:
        """What the kind's libraries add to the numerics identity."""
        from lockstep.learning.gradients.determinism import numerics_entries

        return numerics_entries(cast("Any", plan.spec).device)

    def notes(self, plan: PlanT) -> tuple[str, ...]:
        """Lines for a person on what is trained on what."""
        return ()


class NetworkRecipe(Recipe[SpecT, NetworkPlanT]):
    """The recipe of a kind whose network may be the user's: its source, and its weights, travel with the run."""

    def data(self, plan: NetworkPlanT) -> Mapping[str, Any]:
        """With the digest of the weights that an instance brought."""
        return plan.network.pinned(plan.pinned.body())

    def code(self, plan: NetworkPlanT) -> CodeIdentity:
        """Lockstep's code and the network's."""
        return plan.network.identity()


AnyRecipe: TypeAlias = Recipe[Any, Any]
"""A kind hands its recipe nothing but its own specs and the plans that its recipe made of them."""


class GradientKind(ABC):
    """See the module's docstring. A subclass sets `name`, `spec_model`, for retraining `sample_keys`, and `recipe`."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The spec's `kind`."""

    @property
    @abstractmethod
    def spec_model(self) -> type[RunSpec]:
        """The model that the spec is validated against."""

    @abstractmethod
    def recipe(self) -> AnyRecipe:
        """The kind's recipe, imported here: the first line of this kind that may load torch."""

    def needs(self) -> None:
        """Raise MissingLibraryError, which says what to install, where a library is missing."""
        require("torch", extra="ml", purpose=f'kind = "{self.name}"')

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Pin data and code, decide the device, try the network. No step of the training is made.

        Raises the InputError tree, NetworkError, MissingLibraryError, MachineError for a card that is not there,
        DiskError.
        """
        recipe = self._recipe()
        plan = recipe.pin(_on_device(spec), context)
        # A large network would be made here for a moment, minutes and gigabytes, perhaps for an estimate that is not
        # to make it: it is tried when it is made to be timed, which `train` does before there is a run too.
        if recipe.costs(plan, context).state_bytes <= rehearsal.LARGE:
            recipe.try_network(plan)
        return _prepared(recipe, plan)

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
        recipe = self._recipe()
        return _prepared(recipe, recipe.restore(spec, folder, context))

    def estimate(self, prepared: Prepared, context: PrepareContext, *, time_large: bool = True) -> Estimate:
        """Bytes by counting, seconds from a few steps of a training that is thrown away; see `runs.kind.Kind`."""
        recipe, plan = self._recipe(), prepared.payload
        costs = recipe.costs(plan, context)
        large = costs.state_bytes > rehearsal.LARGE
        if large and not time_large:
            return _with_notes(costs.estimate(rehearsal.counted_only()), *costs.lines, rehearsal.UNTIMED)
        if large:
            recipe.try_network(plan)
        return _with_notes(costs.estimate(recipe.rehearse(plan, costs, context)), *costs.lines)

    def try_network(self, prepared: Prepared) -> None:
        """What `prepare` tries, for a plan that was restored with another network (`retraining.Retrains`)."""
        self._recipe().try_network(prepared.payload)

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        return self._recipe().training(prepared.payload, context)

    def _recipe(self) -> AnyRecipe:
        self.needs()
        return self.recipe()


def _on_device(spec: RunSpec) -> RunSpec:
    """`spec` with "auto" decided: the run stores where it computed, for the last bits depend on it."""
    device = getattr(spec, "device", None)
    if device is None:  # Keras computes on the CPU, and an agent that Python hands over has a device already
        return spec
    from lockstep.learning.gradients.determinism import resolve_device

    return spec.model_copy(update={"device": resolve_device(device)})


def _prepared(recipe: AnyRecipe, plan: Plan) -> Prepared:
    return Prepared(
        spec=plan.spec,
        # A run on recorded batches needs their file wherever it goes, like every other datum.
        data=with_batches(recipe.data(plan), getattr(plan.spec, "session", None)),
        code=recipe.code(plan),
        payload=plan,
        origin=plan.pinned.origin,
        numerics=recipe.numerics(plan),
        notes=recipe.notes(plan),
    )


def _with_notes(estimate: Estimate, *notes: str) -> Estimate:
    return replace(estimate, notes=(*estimate.notes, *notes))
