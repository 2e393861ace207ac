"""The network of a gradient training: built in, "file.py:Class" of the spec, or a class or instance given in Python.

The source of a user's network travels with the run and is loaded from those bytes, the first time as well as on resume
and verify. A class is made from `[network.parameters]` and from the sizes that the data decide, those of them that its
constructor takes, under the run's own noise stream. An instance contributes its class and its weights: they are pinned
by digest as a snapshot, and the training begins with them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from lockstep.core.errors import LockstepError, NetworkError, UnknownNameError
from lockstep.core.hashing import digest_columns
from lockstep.kinds.shared import user_sources
from lockstep.kinds.shared.gradient_spec import json_parameters
from lockstep.kinds.shared.user_sources import Travelling, reference_of, single
from lockstep.learning.gradients import determinism
from lockstep.learning.gradients.determinism import noise
from lockstep.runs.seeds import SeedTree
from lockstep.runs.user_modules import NETWORK, USER_FAILURES, Source, line_of, load_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.kinds.shared.gradient_spec import NetworkTable
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.identity import CodeIdentity
    from lockstep.runs.kind import PrepareContext
    from lockstep.runs.sources import UserSource

NETWORK_KEY: Final = "network.name"
"""Key of a network's class, or of an instance, in `PrepareContext.python_objects`."""
INITIAL: Final = "initial_weights"
"""Key in data.json of the digest of the weights that an instance brought."""
FROZEN: Final = "frozen"
"""Key in data.json of the names of its parameters that do not require gradients; older runs do not have it."""
_SUFFIX: Final = ".safetensors"
"""Of the snapshot of those weights."""

BuiltIn = Mapping[str, str]
"""Networks that come with Lockstep: name -> "module:Class"."""


@dataclass(frozen=True, kw_only=True)
class NetworkCode:
    """A network that can be made again anywhere.

    name         as the resolved spec has it: a built-in name, or "file.py:Class" without folders
    parameters   keyword arguments of its constructor
    travelling   what the run keeps of the user's source
    initial      weights and buffers by `state_dict` name that an instance brought, or None
    frozen       parameters that do not require gradients in that instance; None where none was given
    """

    name: str
    parameters: Mapping[str, Any]
    travelling: Travelling = field(default_factory=Travelling)
    initial: Mapping[str, NDArray[Any]] | None = None
    frozen: tuple[str, ...] | None = None
    _place: str | Source

    def identity(self) -> CodeIdentity:
        """The user's part of the identity of the code."""
        return self.travelling.identity(self.name)

    def resolved(self, table: NetworkTable) -> NetworkTable:
        """`[network]` as the run stores it: by a name that is true in any folder."""
        return table.model_copy(update={"name": self.name})

    def pinned(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A body of data.json with the weights that an instance brought, if one did, pinned beside the data."""
        if self.initial is None:
            return dict(body)
        digest = digest_columns(self.initial)
        more: dict[str, Any] = {} if self.frozen is None else {FROZEN: list(self.frozen)}
        return {**body, INITIAL: digest, **more, "snapshots": sorted({*body["snapshots"], digest})}

    def build(self, sizes: Mapping[str, Any]) -> nn.Module:
        """The network as its constructor makes it, with torch's global generator as it stands.

        sizes   what the data decide, such as channels, window and classes; handed over where it is asked for
        Raises NetworkError with the line of the user's file that failed.
        """
        # Before the constructor, which may compute already.
        determinism.settle()
        kind = self._class()
        try:
            module = kind(**self._arguments(kind, sizes))
        except USER_FAILURES as error:
            if isinstance(self._place, str) and isinstance(error, LockstepError):
                raise  # one of ours says itself what is wrong
            raise NetworkError(
                f"{self.name}{self._line(error)}: the network cannot be made from its parameters: "
                f"{type(error).__name__}: {error}. Correct [network.parameters]"
            ) from error
        return _module(module, self.name)

    def make(self, sizes: Mapping[str, Any], seeds: SeedTree) -> nn.Module:
        """The network as a training begins with it: a function of parameters, sizes, seed and given weights alone.

        Weights are drawn from the stream `seeds`, or are those that an instance brought. Raises NetworkError.
        """
        with noise(seeds):
            module = self.build(sizes)
        if self.initial is not None:
            _load(module, self.initial, self.name)
        if self.frozen is not None:
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(name not in self.frozen)
        return module

    def on_meta(self, sizes: Mapping[str, Any]) -> nn.Module:
        """The network on torch's meta device: shapes without memory, for an estimate. Raises NetworkError."""
        with torch.device("meta"):
            return self.build(sizes)

    def for_estimate(self, sizes: Mapping[str, Any], seeds: SeedTree) -> nn.Module:
        """`on_meta`; in memory where the constructor computes with numbers, which are not there on the meta device."""
        try:
            return self.on_meta(sizes)
        except NetworkError:
            return self.make(sizes, seeds)

    def check_repeatable(self, sizes: Mapping[str, Any], seeds: SeedTree) -> nn.Module:
        """`make`, and the same again: a constructor that draws from elsewhere than torch would make other weights.

        Raises NetworkError.
        """
        module = self.make(sizes, seeds)
        # Networks of ours draw from torch alone, and weights that an instance brought are pinned.
        if isinstance(self._place, Source) and self.initial is None:
            again = state_arrays(self.make(sizes, seeds))
            if digest_columns(again) != digest_columns(state_arrays(module)):
                raise NetworkError(
                    f"{self.name}: made twice from the same seed it has other weights. Draw initial weights from "
                    "torch's global generator, as torch.nn's layers do: Lockstep sets it before your constructor runs"
                )
        return module

    def call(self, module: nn.Module, *inputs: Any, train: bool = False) -> Any:
        """What the network returns for `inputs` before a run starts: evaluated without gradients, or as in training.

        Raises NetworkError with the line of the user's file that failed.
        """
        training = module.training
        module.train(train)
        try:
            with torch.set_grad_enabled(train):
                return module(*inputs)
        except USER_FAILURES as error:
            shapes = ", ".join(str(tuple(getattr(item, "shape", ()))) for item in inputs)
            raise NetworkError(
                f"{self.name}{self._line(error)}: the network cannot read an input of shape {shapes} in "
                f"{'training' if train else 'evaluation'} mode: "
                f"{type(error).__name__}: {error}"
            ) from error
        finally:
            module.train(training)

    def _line(self, error: BaseException) -> str:
        return f", line {line_of(self._place, error)}" if isinstance(self._place, Source) else ""

    def _class(self) -> Any:
        if isinstance(self._place, str):
            module, _, name = self._place.partition(":")
            return getattr(import_module(module), name)
        # A file is run once in a process, wherever that comes first: within an estimate, or under the stream of the
        # initial weights. What it draws and makes at its top is to be the same each time.
        with torch.device("cpu"), noise(SeedTree(0).child("module")):
            loaded = load_module(self._place, NETWORK)
        network = getattr(loaded, self._place.class_name, None)
        if network is None:
            raise NetworkError(f"{self._place.file_name} has no class {self._place.class_name!r}: correct network.name")
        return network

    def _arguments(self, kind: Any, sizes: Mapping[str, Any]) -> dict[str, Any]:
        arguments = json_parameters(dict(self.parameters))
        try:
            takes = inspect.signature(kind).parameters
        except (TypeError, ValueError):
            # A constructor without a signature, written in C, say: nobody can ask which sizes it takes.
            return arguments
        every = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in takes.values())
        return {name: size for name, size in sizes.items() if every or name in takes} | arguments


def from_user(table: NetworkTable, context: PrepareContext, built_in: BuiltIn) -> NetworkCode:
    """The network as the spec and the session name it; weights of an instance are stored as a snapshot.

    Raises NetworkError, UnknownNameError, InputError, DiskError.
    """
    network = context.python_objects.get(NETWORK_KEY)
    if network is None or isinstance(network, str):
        name = table.name if network is None else network
        if ".py" not in name:
            return _built_in(name, table, built_in)
        return _of_source(user_sources.from_file(name, context.base, NETWORK), table)
    kind = network if isinstance(network, type) else type(network)
    initial = frozen = None
    if not isinstance(network, type):
        module = _module(network, kind.__name__)
        try:
            initial = state_arrays(module)
        except TypeError as error:  # bfloat16 and the like
            raise NetworkError(
                f"{kind.__name__}: weights and buffers are of types that NumPy has too; {error}. Convert the instance "
                "with .float() first"
            ) from error
        frozen = tuple(name for name, value in module.named_parameters() if not value.requires_grad)
        context.blobs.put_arrays(initial, _SUFFIX)
    # A class of ours travels by its name, like one that a spec names, not as text.
    own = {path: name for name, path in built_in.items()}.get(f"{kind.__module__}:{kind.__qualname__}")
    if own is not None:
        return _built_in(own, table, built_in, initial, frozen)
    return _of_source(user_sources.from_class(kind, NETWORK), table, initial, frozen)


def from_run(table: NetworkTable, folder: RunFolder, context: PrepareContext, built_in: BuiltIn) -> NetworkCode:
    """The same from the run's `code/` and the snapshots of its home. Raises IntegrityError, NetworkError, DataError.

    A network that the context names takes the place of the run's: it is retrained with another model.
    """
    if NETWORK_KEY in context.python_objects:
        return from_user(table, context, built_in)
    source = user_sources.from_run(table.name, folder, NETWORK)
    body = folder.read("data")
    digest = body.get(INITIAL)
    initial = None if digest is None else context.blobs.get_arrays(digest, _SUFFIX)
    frozen = tuple(body[FROZEN]) if FROZEN in body else None
    if source is None:
        return _built_in(table.name, table, built_in, initial, frozen)
    return _of_source(source, table, initial, frozen)


def state_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Weights and buffers by `state_dict` name, copied to the host, sorted."""
    state = module.state_dict()
    return {name: state[name].detach().cpu().numpy().copy() for name in sorted(state)}


def _built_in(
    name: str,
    table: NetworkTable,
    built_in: BuiltIn,
    initial: Mapping[str, NDArray[Any]] | None = None,
    frozen: tuple[str, ...] | None = None,
) -> NetworkCode:
    if name not in built_in:
        raise UnknownNameError(
            f"network.name = {name!r}: no network is called that; built in: {', '.join(sorted(built_in))}. For your "
            "own, give 'path/to/file.py:Class'"
        )
    return NetworkCode(name=name, parameters=table.parameters, initial=initial, frozen=frozen, _place=built_in[name])


def _of_source(
    source: UserSource,
    table: NetworkTable,
    initial: Mapping[str, NDArray[Any]] | None = None,
    frozen: tuple[str, ...] | None = None,
) -> NetworkCode:
    return NetworkCode(
        name=reference_of(source),
        parameters=table.parameters,
        travelling=Travelling.of((source,), "networks"),
        initial=initial,
        frozen=frozen,
        _place=single(source, NETWORK),
    )


def _module(candidate: Any, name: str) -> nn.Module:
    if not isinstance(candidate, nn.Module):
        raise NetworkError(f"{name}: a network is a torch.nn.Module; found {type(candidate).__name__}")
    if lazy := [key for key, value in candidate.named_parameters() if nn.parameter.is_lazy(value)]:
        raise NetworkError(
            f"{name}: weights have their shape when the network is made; {lazy[0]} would get its own at the first "
            "call. Give the layer its sizes: the constructor is handed those of the data"
        )
    return candidate


def _load(module: nn.Module, arrays: Mapping[str, NDArray[Any]], name: str) -> None:
    shapes = {key: list(value.shape) for key, value in module.state_dict().items()}
    instance = {key: list(array.shape) for key, array in arrays.items()}
    if shapes != instance:
        first = sorted(key for key in shapes.keys() | instance.keys() if shapes.get(key) != instance.get(key))[0]
        raise NetworkError(
            f"{name}: made from [network.parameters], {first} has shape {shapes.get(first)}; in the instance that was "
            f"given it has {instance.get(first)}. Give the same parameters, or the class in place of the instance"
        )
    for key, value in module.state_dict().items():
        own = value.numpy().dtype
        if own != arrays[key].dtype:
            raise NetworkError(
                f"{name}: made from [network.parameters], {key} is {own}; in the instance that was given it is "
                f"{arrays[key].dtype}, and would be rounded. Give the instance in the type that its class makes"
            )
    module.load_state_dict({key: torch.from_numpy(array.copy()) for key, array in arrays.items()})
