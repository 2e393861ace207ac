"""Retrain: train a new run on the recorded batches of an old one (R9.32, R9.33).

The data are those that the old run pinned. The batches are all of its batches, or those of its most valuable steps. The
model may be the same or another. The batches are pinned as data of the new run, so it never needs the old one again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from lockstep.app.ports import Ports
from lockstep.app.replay import open_record
from lockstep.app.request import name_of
from lockstep.app.train import run_to_its_end
from lockstep.app.trust import answer_for_own_code, permit
from lockstep.core import canonical
from lockstep.core.errors import InputError, RefusedError
from lockstep.kinds.shared.retraining import PinsSamples, write_order
from lockstep.learning.gradients.sessions import order_of
from lockstep.runs import registry
from lockstep.runs.environment import capture_environment
from lockstep.runs.identity import NumericsIdentity
from lockstep.runs.journal import read_lines
from lockstep.runs.kind import PrepareContext
from lockstep.runs.kind_code import whole_code
from lockstep.runs.results import TrainResult
from lockstep.runs.spec import full_body, resolve
from lockstep.runs.spec_files import load_spec
from lockstep.runs.store import require_tag

if TYPE_CHECKING:
    from lockstep.kinds.shared.retraining import Retrains
    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.kind import Kind
    from lockstep.runs.spec import RunSpec
    from lockstep.storage.blobs import BlobStore

SESSION: Final = "session"
NETWORK: Final = "network"


def retrain(
    folder: RunFolder,
    ports: Ports,
    *,
    top: int | None = None,
    network: Any = None,
    overrides: Iterable[str] = (),
    tag: str | None = None,
    base: Path,
    trust: bool = False,
) -> TrainResult:
    """Train a new run on the recorded batches of the run in `folder`.

    top         number of steps to use, the most valuable first; default: all, in their order
    network     another model: a name, "file.py:Class", a class or an instance
    overrides   "key=value" each, for any key that does not decide which samples there are
    base        folder where paths start; its git state is recorded
    trust       run code of an imported run (`app.trust`)

    Raises RefusedError for a kind that cannot be retrained, or a record without batches; InputError for an override of
    the samples; NetworkError for a model that cannot learn from them. None of them leaves a run behind.
    """
    if tag is not None:
        require_tag(tag)
    kind = registry.get(str(folder.read("spec").get("kind")))
    keys = getattr(kind, "sample_keys", None)
    if keys is None:
        raise RefusedError(
            f'kind = "{kind.name}" cannot be retrained: only a kind whose samples have fixed numbers can. To compute '
            f"the run again: lockstep verify {folder.path.name}."
        )
    permit(folder, trust=trust)
    record = open_record(folder)
    digest = _pin(kind, record, top, ports.blobs)
    values, objects = _values(kind, folder, list(overrides), network, digest)
    spec = resolve(kind.spec_model, values, source="the spec of the new run")
    _require_same_samples(folder, spec, keys)
    # Restored, not prepared: `prepare` would read the user's files, which may have changed since the old run.
    prepared = kind.restore(spec, folder, PrepareContext(blobs=ports.blobs, base=base, python_objects=objects))
    cast("Retrains", kind).try_network(prepared)
    ports.announce(prepared)
    source = folder.read("environment")
    code = whole_code(prepared.code, kind)
    new = ports.store.create(
        spec=prepared.spec,
        data=prepared.data,
        code=code,
        numerics=NumericsIdentity.collect(prepared.numerics),
        environment={
            **capture_environment(base, code=code),
            "origin": {**source.get("origin", {}), "replayed_from": folder.path.name},
        },
        source=folder,
    )
    answer_for_own_code(new, folder)
    if tag is not None:
        ports.store.tag(new.path.name, tag)
    return run_to_its_end(kind.training(prepared, ports.context), new, ports)


def _pin(kind: Kind, record: SessionRecord, top: int | None, blobs: BlobStore) -> str:
    """Store the batches of the `top` most valuable steps, or of all; the digest of that snapshot."""
    if top is not None and (not isinstance(top, int) or isinstance(top, bool) or top < 1):
        raise InputError(f"top takes the most valuable steps, a whole number of at least 1; found {top!r}")
    steps = None if top is None else record.by_value()[:top]
    if isinstance(kind, PinsSamples):
        return kind.pin_samples(record, steps, blobs)
    return write_order(order_of(record, steps), blobs)


def _values(
    kind: Kind, folder: RunFolder, overrides: list[str], network: Any, digest: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The old spec with overrides and batches, and the Python objects that go with it: another network."""
    last = ""
    for line in read_lines(folder.journal):
        last = line.hash
    old = dict(folder.read("environment")["spec"])
    other = _table(load_spec({}, overrides), NETWORK).get("name") if network is None else network
    if other is not None:
        before = _table(old, NETWORK)
        # Another class has another constructor: it would refuse the parameters of the old one.
        table = before if _short(name_of(other)) == _short(before.get("name")) else {}
        old[NETWORK] = {**table, "name": name_of(other)}
    values = load_spec(old, overrides)
    if isinstance(kind, PinsSamples):
        # Overrides go on twice: which keys the base loses depends on the algorithm that they name.
        values = load_spec(kind.retrain_base(old, values), overrides)
    values[SESSION] = {**_table(values, SESSION), "batches": digest, "replayed_from": last}
    return values, {} if other is None else {f"{NETWORK}.name": other}


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = values.get(name)
    return table if isinstance(table, Mapping) else {}


def _short(name: Any) -> str:
    """ "file.py:Class", or a class's or built-in network's name, without folders."""
    return Path(str(name)).name


def _require_same_samples(folder: RunFolder, spec: RunSpec, keys: Iterable[str]) -> None:
    # The whole spec, not only its hashed part: [data] is not hashed, and an override of it would be ignored.
    # Resolved anew: the spec of an earlier release lacks keys that were added since, and had their defaults.
    old = full_body(resolve(type(spec), folder.read("environment")["spec"], source=str(folder.document("environment"))))
    new = full_body(spec)
    for key in keys:
        name, then, now = _first_difference(key, _at(old, key), _at(new, key))
        if canonical.dumps(then) != canonical.dumps(now):
            raise InputError(
                f"retraining uses the samples of run {folder.path.name}, so {name} stays as it is ({then!r}); "
                f"found {now!r}. Train a run of its own for other samples."
            )


def _first_difference(key: str, then: Any, now: Any) -> tuple[str, Any, Any]:
    """The dotted key below `key` where two values first differ, and its two values; `key` itself when none does."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in sorted(then.keys() | now.keys()):
            if canonical.dumps(then.get(name)) != canonical.dumps(now.get(name)):
                return _first_difference(f"{key}.{name}", then.get(name), now.get(name))
    return key, then, now


def _at(value: Any, key: str) -> Any:
    """The value of a dotted key; None where a table or the key is missing."""
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
