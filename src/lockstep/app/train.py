"""Train: from a spec to a result that can be repeated. The product in one screen."""

from __future__ import annotations

from lockstep.app.headroom import with_warnings
from lockstep.app.ports import Ports
from lockstep.app.request import TrainingRequest
from lockstep.app.timing import timed
from lockstep.core.errors import SpecError
from lockstep.reports.headline import read_run
from lockstep.runs import registry
from lockstep.runs.environment import capture_environment
from lockstep.runs.folder import RunFolder
from lockstep.runs.identity import NumericsIdentity, fingerprint
from lockstep.runs.kind import Kind, PrepareContext
from lockstep.runs.kind_code import whole_code
from lockstep.runs.loop import execute
from lockstep.runs.results import TrainResult
from lockstep.runs.spec import resolve
from lockstep.runs.store import require_tag
from lockstep.runs.training import Training


def train(request: TrainingRequest, ports: Ports, *, tag: str | None = None) -> TrainResult:
    """Train what a request describes. Raises the whole error tree (`core.errors`)."""
    if tag is not None:
        require_tag(tag)
    kind = kind_of(request)
    # Every key is checked, every default filled in, and a "random" seed drawn once.
    spec = resolve(kind.spec_model, request.values, source=request.name)
    # Data are pinned by digest, code is identified, and a spec that cannot be trained is refused.
    context = PrepareContext(
        blobs=ports.blobs, home=ports.home, base=request.base, python_objects=request.objects, tell=ports.tell
    )
    prepared = kind.prepare(spec, context)
    # A few steps are timed and thrown away, so that a user learns before the start that a training takes days.
    announcement = prepared.with_estimate(kind.estimate(prepared, context))
    ports.announce(with_warnings(announcement, ports.home))
    # Spec, data, code and numerics are on disk before the first step: a killed run can be resumed at once.
    code = whole_code(prepared.code, kind)
    folder = ports.store.create(
        spec=prepared.spec,
        data=prepared.data,
        code=code,
        numerics=NumericsIdentity.collect(prepared.numerics),
        environment={**capture_environment(request.base, code=code), "origin": dict(prepared.origin)},
    )
    if tag is not None:
        ports.store.tag(folder.path.name, tag)
    return run_to_its_end(kind.training(prepared, ports.context), folder, ports)


def run_to_its_end(training: Training, folder: RunFolder, ports: Ports) -> TrainResult:
    """Run a training from its newest checkpoint, or its start, and compare it with other runs of its fingerprint."""
    with timed(folder, ports.clock) as watch:
        outcome = execute(
            training,
            folder,
            fingerprint=fingerprint(folder.identity_hashes()),
            observers=[*ports.observers, watch],
            cancel=ports.cancel,
            clock=ports.clock,
        )
    return read_run(folder, alarm=ports.store.alarm(folder.path.name), notes=outcome.notes)


def kind_of(request: TrainingRequest) -> Kind:
    """The kind of training that a request names. Raises SpecError, UnknownNameError."""
    name = request.values.get("kind")
    if not isinstance(name, str):
        names = ", ".join(f'"{item}"' for item in registry.names())
        raise SpecError(f"{request.name}: kind names what is trained ({names}); found {name!r}. Add kind = ...")
    return registry.get(name)
