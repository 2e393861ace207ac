"""`kind = "cnn"`: a network with three heads that predicts pivots or directions of one market.

prepare   candles pinned, samples made, the network made and tried on a batch, disk and memory told
restore   the same from a run's folder
training  `learning.gradients.training.GradientTraining` over `learning.patterns.training.MarketPatternTask`

torch is imported when a run is prepared, not when the kind is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from lockstep.core.libraries import require
from lockstep.kinds.cnn.spec import CnnSpec
from lockstep.kinds.shared import market_data, network_code, rehearsal
from lockstep.kinds.shared.retraining import BATCH_KEYS, recorded_order
from lockstep.kinds.shared.three_heads import try_network
from lockstep.learning.gradients.epochs import Epochs
from lockstep.learning.patterns.baselines import numerics_entries as baseline_numerics
from lockstep.learning.patterns.data_module import PARTS, DataModule, class_weights, data_module, mapping_of
from lockstep.runs.kind import Estimate, Kind, PrepareContext, Prepared, RunContext
from lockstep.runs.seeds import SeedTree

if TYPE_CHECKING:
    from torch import nn

    from lockstep.kinds.shared.market_data import Pinned
    from lockstep.kinds.shared.network_code import NetworkCode
    from lockstep.learning.gradients.estimate import SessionEstimate
    from lockstep.learning.gradients.training import GradientTraining
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.spec import RunSpec
    from lockstep.runs.training import Training

NETWORKS: Final = {"pattern-cnn": "lockstep.learning.patterns.networks:PatternCNN"}
_MODELS: Final = 2
"""Files of weights that a run leaves: the last and the best."""


@dataclass(frozen=True, kw_only=True)
class CnnPlan:
    """Everything resolved: what `training` needs."""

    spec: CnnSpec
    pinned: Pinned
    module: DataModule
    network: NetworkCode

    @property
    def seeds(self) -> SeedTree:
        """The root of the run's streams."""
        return SeedTree(self.spec.seed)

    @property
    def sizes(self) -> dict[str, int]:
        """What the data decide of a network."""
        windows = self.module.windows
        return {
            "channels": len(windows.channels),
            "window": windows.window,
            "classes": len(self.module.label_settings.classes),
        }

    def make_network(self) -> nn.Module:
        """The network as the training begins with it."""
        return self.network.make(self.sizes, self.seeds.child("init"))

    def epochs(self) -> Epochs:
        """The order of training rows."""
        table = self.spec.training
        return Epochs(
            samples=len(self.module.parts.train),
            batch_size=table.batch_size,
            epochs=table.epochs,
            seeds=self.seeds.child("order"),
        )


class CnnKind:
    """The kind, as `runs.registry` knows it."""

    name: Final = "cnn"
    spec_model: Final = CnnSpec
    sample_keys: Final = ("market", "data", "features", "labels", "split", *BATCH_KEYS)

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Pin candles and network, make the samples, try the network on a batch, tell what the session takes.

        `context.python_objects` may hold candles ("data.candles") and a network's class or instance ("network.name").
        Raises the InputError tree, MissingLibraryError without torch or scikit-learn, MachineError for a card that is
        not there, DiskError.
        """
        _require_libraries()
        from lockstep.learning.gradients.determinism import resolve_device

        wanted = cast("CnnSpec", spec)
        wanted = wanted.model_copy(update={"device": resolve_device(wanted.device)})
        network = network_code.from_user(wanted.network, context, NETWORKS)
        pinned = market_data.pin(wanted, {}, context)
        plan = _plan(wanted, pinned, network)
        size = _size(plan, context)
        notes = (*pinned.notes, *_told(plan), *size.lines())
        if context.estimate_only and size.state_bytes > rehearsal.LARGE:
            found, notes = rehearsal.counted_only(), (*notes, rehearsal.UNTIMED)
        else:
            _try_network(plan)
            found = rehearsal.rehearse(_training(plan, context).steps, state_bytes=size.state_bytes)
        return _prepared(plan, origin=pinned.origin, notes=notes, estimate=_estimate(plan, size, found))

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
        _require_libraries()
        wanted = cast("CnnSpec", spec)
        network = network_code.from_run(wanted.network, folder, context, NETWORKS)
        pinned = market_data.restore(folder.read("data"), context.snapshots)
        return _prepared(_plan(wanted, pinned, network))

    def try_network(self, prepared: Prepared) -> None:
        """One batch through the network (`session_replay.ReplaysSessions`). Raises NetworkError."""
        _try_network(cast("CnnPlan", prepared.payload))

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training, at its start."""
        return _training(cast("CnnPlan", prepared.payload), context)


KIND: Final[Kind] = CnnKind()


def _require_libraries() -> None:
    require("torch", extra="ml", purpose='kind = "cnn"')
    baseline_numerics()


def _plan(spec: CnnSpec, pinned: Pinned, network: NetworkCode) -> CnnPlan:
    resolved = spec.model_copy(update={"network": spec.network.model_copy(update={"name": network.name})})
    module = data_module(
        pinned.candles,
        spec.features.settings(),
        spec.labels.settings(),
        spec.split.settings(),
        clip=spec.features.clip,
    )
    plan = CnnPlan(spec=resolved, pinned=pinned, module=module, network=network)
    _weights(plan)  # refuses rare classes before anything is computed
    return plan


def _prepared(
    plan: CnnPlan,
    *,
    origin: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
    estimate: Estimate | None = None,
) -> Prepared:
    from lockstep.learning.gradients.determinism import numerics_entries

    body = plan.network.pinned(plan.pinned.body())
    batches = plan.spec.session.batches
    if batches is not None:
        body["snapshots"] = sorted({*body["snapshots"], batches})
    return Prepared(
        spec=plan.spec,
        data=body,
        code=plan.network.identity(),
        payload=plan,
        origin={} if origin is None else origin,
        numerics={**numerics_entries(plan.spec.device), **baseline_numerics()},
        notes=notes,
        estimate=estimate,
    )


def _weights(plan: CnnPlan) -> Any:
    classes = plan.module.label_settings.classes
    labels = plan.module.labels.classes[plan.module.parts.train]
    return class_weights(labels, classes, plan.spec.training.class_weights)


def _training(plan: CnnPlan, context: RunContext | PrepareContext) -> GradientTraining:
    from lockstep.learning.gradients.learner import Learner
    from lockstep.learning.gradients.recorder import Recorder
    from lockstep.learning.gradients.training import GradientTraining
    from lockstep.learning.patterns.networks import HeadWeights
    from lockstep.learning.patterns.training import MarketPatternTask, PatternPlan

    spec, seeds = plan.spec, plan.seeds
    table, losses = spec.training, spec.training.loss_weights
    epochs, recorded = plan.epochs(), recorded_order(spec.session, context.home)
    task = MarketPatternTask(
        plan.module,
        epochs if recorded is None else recorded,
        PatternPlan(
            rate=table.rate,
            per_epoch=epochs.per_epoch,
            patience=table.patience,
            loss_weights=HeadWeights(
                classification=losses.classification, regression=losses.regression, confidence=losses.confidence
            ),
            class_weights=_weights(plan),
            cost=spec.labels.cost,
            target_profit=spec.labels.target_profit,
        ),
        seeds=seeds,
        device=spec.device,
        recorded=recorded is not None,
    )
    learner = Learner(plan.make_network(), table.settings(), seeds=seeds, clip_norm=table.clip_norm, device=spec.device)
    session = {
        "model": plan.network.name,
        "model_kind": "pattern",
        "task": spec.labels.task,
        "symbol": plan.pinned.candles.symbol,
        **spec.session.metadata(),
    }
    return GradientTraining(task, learner, Recorder(spec.recording.settings(), learner), session)


def _try_network(plan: CnnPlan) -> None:
    """Batches through the network before anything is written. Raises NetworkError."""
    import torch

    module = plan.network.check_repeatable(plan.sizes, plan.seeds.child("init"))
    train, size = plan.module.parts.train, plan.spec.training.batch_size
    try_network(
        plan.network,
        module,
        torch.from_numpy(plan.module.inputs(train[:size])),
        classes=plan.sizes["classes"],
        last=len(train) % size or size,
        seeds=plan.seeds.child("trial"),
    )


def _told(plan: CnnPlan) -> list[str]:
    module = plan.module
    counts = module.counts()
    lines = [f"{part}: {len(module.bars(part)):,} samples ({mapping_of(counts[part])})" for part in PARTS]
    return [*lines, f"{module.parts.purged:,} samples between the parts purged"]


def _size(plan: CnnPlan, context: PrepareContext) -> SessionEstimate:
    """Disk and memory by calculation, on the meta device where the network can be made there."""
    from lockstep.learning.gradients.estimate import estimate_of

    table, recorded = plan.spec.training, recorded_order(plan.spec.session, context.home)
    return estimate_of(
        plan.network.for_estimate(plan.sizes, plan.seeds.child("init")),
        table.settings(),
        plan.spec.recording.settings(),
        steps=(plan.epochs() if recorded is None else recorded).steps,
        batch=table.batch_size,
    )


def _estimate(plan: CnnPlan, size: SessionEstimate, found: rehearsal.Rehearsal) -> Estimate:
    table, parts = plan.spec.training, plan.module.parts
    evaluated = table.epochs * len(parts.validation) / table.batch_size * rehearsal.EVALUATED
    seconds = None if found.step_seconds is None else found.step_seconds * (size.last_step + evaluated)
    # Checkpoints keep the best weights beside the state.
    return size.as_run_estimate(
        seconds=seconds, held_bytes=found.held_bytes, kept_bytes=size.weight_bytes, models=_MODELS
    )
