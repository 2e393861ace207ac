"""The network of a gradient training: built in, "file.py:Class" of the spec, or a class or instance from Python.

The run stores the source of a user's network, and loads the network from those bytes, in `train` as in `resume` and
`verify`. The constructor gets `[network.parameters]` and those sizes of the data that it has arguments for; it draws
from the run's own stream. Of an instance, the run takes the class and the weights: the weights are pinned by digest as
a snapshot, and the training begins with them.
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
from lockstep.learning.gradients.module_state import load_module_arrays, module_arrays, require_storable
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
"""Key in data.json of the digest of an instance's weights."""
FROZEN: Final = "frozen"
"""Key in data.json: the instance's parameters that do not require gradients. Older runs do not have the key."""
_SUFFIX: Final = ".safetensors"
"""Suffix of the snapshot of those weights."""

BuiltIn = Mapping[str, str]
"""Networks that come with Lockstep: name -> "module:Class"."""


@dataclass(frozen=True, kw_only=True)
class NetworkCode:
    """A network that any machine can make again.

    name         name in the resolved spec: a built-in name, or "file.py:Class" without folders
    parameters   keyword arguments of its constructor
    travelling   the user's source, as the run stores it
    initial      an instance's weights and buffers by `state_dict` name; None without an instance
    frozen       the instance's parameters that do not require gradients; None without an instance
    """

    name: str
    parameters: Mapping[str, Any]
    travelling: Travelling = field(default_factory=Travelling)
    initial: Mapping[str, NDArray[Any]] | None = None
    frozen: tuple[str, ...] | None = None
    _place: str | Source

    @property
    def is_users(self) -> bool:
        """Whether the class comes from the user, not from Lockstep."""
        return isinstance(self._place, Source)

    def identity(self) -> CodeIdentity:
        """The user's part of the code identity."""
        return self.travelling.identity(self.name)

    def resolved(self, table: NetworkTable) -> NetworkTable:
        """`[network]` as the run stores it: a name without folders is true on any machine."""
        return table.model_copy(update={"name": self.name})

    def pinned(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """`body` of data.json, with the digest of an instance's weights when there is an instance."""
        # Runs without an instance keep the data.json, and so the fingerprint, that they always had.
        if self.initial is None:
            return dict(body)
        digest = digest_columns(self.initial)
        more: dict[str, Any] = {} if self.frozen is None else {FROZEN: list(self.frozen)}
        return {**body, INITIAL: digest, **more, "snapshots": sorted({*body["snapshots"], digest})}

    def build(self, sizes: Mapping[str, Any]) -> nn.Module:
        """The network as its constructor makes it, with torch's global generator in its present state.

        sizes   decided by the data, such as channels, window and classes; the constructor gets those it has arguments
                for

        Raises NetworkError with the line of the user's file that failed.
        """
        # Before the constructor, which may already compute on the device.
        determinism.settle()
        kind = self._class()
        try:
            module = kind(**self._arguments(kind, sizes))
        except USER_FAILURES as error:
            if isinstance(self._place, str) and isinstance(error, LockstepError):
                raise  # our own networks already say which parameter is wrong
            raise NetworkError(
                f"{self.name}{self.line(error)}: the network cannot be made from its parameters: "
                f"{type(error).__name__}: {error}. Correct [network.parameters]"
            ) from error
        return _module(module, self.name)

    def make(self, sizes: Mapping[str, Any], seeds: SeedTree) -> nn.Module:
        """The network at the start of a training: a function of parameters, sizes, seed and an instance's weights.

        Weights are drawn from the stream `seeds`, or are the instance's. Raises NetworkError.
        """
        default = torch.get_default_dtype()
        try:
            with noise(seeds):
                module = self.build(sizes)
        finally:
            # What a constructor changes for the whole process would reach the training's own tensors.
            torch.set_default_dtype(default)
            determinism.settle()
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
        """`on_meta`; or in memory, when the constructor computes with values, which the meta device does not have."""
        try:
            return self.on_meta(sizes)
        # A network with an error of its own fails here again, with its line.
        except NetworkError:
            return self.make(sizes, seeds)

    def check_repeatable(self, sizes: Mapping[str, Any], seeds: SeedTree) -> nn.Module:
        """`make` twice, and compare: a constructor that draws from elsewhere than torch makes other weights.

        Raises NetworkError.
        """
        module = self.make(sizes, seeds)
        # Our own networks draw from torch alone, and the weights of an instance are pinned.
        if isinstance(self._place, Source) and self.initial is None:
            again = state_arrays(self.make(sizes, seeds))
            if digest_columns(again) != digest_columns(state_arrays(module)):
                raise NetworkError(
                    f"{self.name}: made twice from the same seed it has other weights. Draw initial weights from "
                    "torch's global generator, as torch.nn's layers do: Lockstep sets it before your constructor runs"
                )
        return module

    def call(self, module: nn.Module, *inputs: Any, train: bool = False) -> Any:
        """The output for `inputs`, in evaluation without gradients, or as in training with `train`.

        Raises NetworkError with the line of the user's file that failed.
        """
        # Put back afterwards: the caller's module stays as it was.
        training = module.training
        module.train(train)
        try:
            with torch.set_grad_enabled(train):
                return module(*inputs)
        except USER_FAILURES as error:
            shapes = ", ".join(str(tuple(getattr(item, "shape", ()))) for item in inputs)
            raise NetworkError(
                f"{self.name}{self.line(error)}: the network cannot read an input of shape {shapes} in "
                f"{'training' if train else 'evaluation'} mode: "
                f"{type(error).__name__}: {error}"
            ) from error
        finally:
            module.train(training)

    def line(self, error: BaseException) -> str:
        """The line of the user's file that an error passed through, in words; empty for a built-in network."""
        line = line_of(self._place, error) if isinstance(self._place, Source) else "?"
        return "" if line == "?" else f", line {line}"

    def _class(self) -> Any:
        if isinstance(self._place, str):
            module, _, name = self._place.partition(":")
            return getattr(import_module(module), name)
        # A process runs the file once, whoever asks first: an estimate, or the stream of the initial weights. Under a
        # stream of its own, what the file draws at its top does not depend on who that was.
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
            # A constructor without a signature, as one written in C: it cannot be asked which sizes it takes.
            return arguments
        every = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in takes.values())
        return {name: size for name, size in sizes.items() if every or name in takes} | arguments


def from_user(table: NetworkTable, context: PrepareContext, built_in: BuiltIn) -> NetworkCode:
    """The network that Python or the spec names; the weights of an instance are stored as a snapshot.

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
        initial = state_arrays(module)
        frozen = tuple(name for name, value in module.named_parameters() if not value.requires_grad)
        context.blobs.put_arrays(initial, _SUFFIX)
    # A built-in class is stored by name, as when a spec names it: its source is in the code identity already.
    own = {path: name for name, path in built_in.items()}.get(f"{kind.__module__}:{kind.__qualname__}")
    if own is not None:
        return _built_in(own, table, built_in, initial, frozen)
    return _of_source(user_sources.from_class(kind, NETWORK), table, initial, frozen)


def from_run(table: NetworkTable, folder: RunFolder, context: PrepareContext, built_in: BuiltIn) -> NetworkCode:
    """The network from the run's `code/` and the snapshots of its home. Raises IntegrityError, NetworkError, DataError.

    A network in the context replaces that of the run: the run is retrained with another model.
    """
    # Retraining with another model goes this way.
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
    """Weights and buffers by `state_dict` name, sorted, as copies in host memory."""
    return dict(sorted(module_arrays(module).items()))


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
    require_storable(candidate, name)
    return candidate


def _load(module: nn.Module, arrays: Mapping[str, NDArray[Any]], name: str) -> None:
    own = module_arrays(module)
    shapes = {key: list(array.shape) for key, array in own.items()}
    instance = {key: list(array.shape) for key, array in arrays.items()}
    # `load_state_dict` names every difference at once, in terms of torch; the first is enough.
    if shapes != instance:
        first = sorted(key for key in shapes.keys() | instance.keys() if shapes.get(key) != instance.get(key))[0]
        raise NetworkError(
            f"{name}: made from [network.parameters], {first} has shape {shapes.get(first)}; in the instance that was "
            f"given it has {instance.get(first)}. Give the same parameters, or the class in place of the instance"
        )
    for key, array in own.items():
        # `load_state_dict` casts without a word, and the run would not begin with the pinned weights.
        if array.dtype != arrays[key].dtype:
            raise NetworkError(
                f"{name}: made from [network.parameters], {key} is {array.dtype}; in the instance that was given it is "
                f"{arrays[key].dtype}, and would be rounded. Give the instance in the type that its class makes"
            )
    load_module_arrays(module, arrays)
