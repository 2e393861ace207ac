"""A home with runs of the toy kind, made the way `train` makes them."""

import itertools

import pytest

from lockstep.clusters.in_process import InProcessExecutor
from lockstep.runs import registry
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.environment import capture_environment
from lockstep.runs.identity import NumericsIdentity, fingerprint
from lockstep.runs.kind import PrepareContext, RunContext
from lockstep.runs.kind_code import whole_code
from lockstep.runs.loop import execute
from lockstep.runs.spec import load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.testing import toy_kind


class StepClock:
    """Each look at the clock is a second later, so that checkpoints fall due in tests."""

    def __init__(self):
        self._ticks = itertools.count()

    def utc_ms(self):
        return 1_790_000_000_000 + next(self._ticks)

    def monotonic(self):
        return float(next(self._ticks))


class Home:
    """A home folder, and trainings of the toy kind in it."""

    def __init__(self, path):
        self.path = path
        self.store = FolderRunStore(path, clock=StepClock())

    def train(self, base=None, checkpoint_every=0.0, identity=None, cancel=None, kind="toy", **values):
        spec = {"kind": kind, **values}
        kind = registry.get(kind)
        spec = resolve(kind.spec_model, load_spec(spec))
        prepared = kind.prepare(spec, PrepareContext(blobs=self.store.blobs, base=base or self.path))
        folder = self.store.create(
            spec=spec,
            data=prepared.data,
            code=whole_code(prepared.code, kind),
            numerics=identity or NumericsIdentity.collect(prepared.numerics),
            environment=capture_environment(self.path),
        )
        with InProcessExecutor() as executor:
            execute(
                kind.training(prepared, RunContext(executor=executor, blobs=self.store.blobs)),
                folder,
                fingerprint=fingerprint(folder.identity_hashes()),
                policy=CheckpointPolicy(interval_s=checkpoint_every, max_share=1e9),
                clock=StepClock(),
                cancel=cancel,
            )
        return folder


@pytest.fixture(autouse=True)
def _toy_kind():
    registry.register("toy", toy_kind.PATH)
    yield
    registry.unregister("toy")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


@pytest.fixture
def other_home(tmp_path):
    (tmp_path / "other").mkdir()
    return Home(tmp_path / "other")


@pytest.fixture
def snapshot_of():
    """Every file below a folder with its bytes, to show that nothing in it changed."""

    def read(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read
