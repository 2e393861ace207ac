"""The state of a module beside its trained parameters, as arrays: buffers, frozen parameters, declared state.

A module declares state that is no tensor of its own (a counter, a generator) by torch's `get_extra_state` and
`set_extra_state`. Its numbers are stored with the buffers, one array each, under the name that `state_dict` gives them
and their place inside: `layer._extra_state.count`.

Source: PyTorch, torch.nn.Module.get_extra_state.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn

from lockstep.core.errors import NetworkError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXTRA: Final = "_extra_state"
_STORED: Final = frozenset("biuf")
"""Kinds of NumPy dtypes that a segment holds."""


class ArrayViews:
    """NumPy views of tensors by name, made once: to make a dozen takes longer than to hash them.

    A view is made anew where the tensor is another one, or has other storage, shape, strides or type: code may put any
    of these in its place. What lies on a card is copied at each call.
    """

    def __init__(self) -> None:
        self._views: dict[str, tuple[torch.Tensor, tuple[Any, ...], NDArray[Any]]] = {}

    def of(self, name: str, tensor: torch.Tensor) -> NDArray[Any]:
        """The tensor as an array of its shape."""
        form = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        held = self._views.get(name)
        # The view keeps its storage alive, so that no other can come to lie at its address.
        if held is not None and held[0] is tensor and held[1] == form:
            return held[2]
        array: NDArray[Any] = (tensor.detach() if tensor.requires_grad else tensor).cpu().numpy()
        if tensor.is_cpu:
            self._views[name] = (tensor, form, array)
        return array


class StateOutside:
    """Buffers and declared state of a module by name, as `named_buffers` and `declared_arrays` give them.

    A walk through a module takes longer than hashing a small one, so the walk is repeated only where its parts are no
    longer the same: a layer or a buffer was added, removed, renamed or replaced by another.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._parts: list[tuple[nn.Module, list[nn.Module | None], list[str], list[torch.Tensor | None]]] = []
        self._buffers: dict[str, torch.Tensor] = {}
        self._declares = False
        self._views = ArrayViews()

    def buffers(self) -> dict[str, torch.Tensor]:
        """The buffers by name, as tensors of any shape; not to be changed."""
        self._look()
        return self._buffers

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Views of the buffers on the CPU and copies of the declared state. Raises NetworkError for other state."""
        self._look()
        arrays = {name: self._views.of(name, value) for name, value in self._buffers.items()}
        return arrays | declared_arrays(self._module) if self._declares else arrays

    def _look(self) -> None:
        if self._parts and all(map(_unchanged, self._parts)):
            return
        modules = list(self._module.modules())
        # The tensors themselves are kept, so that none of another buffer can come to have their identity.
        self._parts = [
            (inner, list(inner._modules.values()), list(inner._buffers), list(inner._buffers.values()))
            for inner in modules
        ]
        self._buffers = dict(self._module.named_buffers())
        self._declares = any(map(declares_state, modules))


def _unchanged(part: tuple[nn.Module, list[nn.Module | None], list[str], list[torch.Tensor | None]]) -> bool:
    module, inner, names, tensors = part
    there = module._buffers
    if not there and not names:
        return list(module._modules.values()) == inner
    return (
        list(there) == names
        and all(map(operator.is_, there.values(), tensors))
        and list(module._modules.values()) == inner
    )


def declares_state(module: nn.Module) -> bool:
    """Whether a module, without those inside it, has a `get_extra_state` of its own."""
    return type(module).get_extra_state is not nn.Module.get_extra_state


def declared_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Copies of the declared state of a module and all inside it, by name. Raises NetworkError for other than numbers.

    Numbers become int64, float64 or bool arrays without a dimension.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for prefix, inner in module.named_modules():
        if declares_state(inner):
            name = f"{prefix}.{_EXTRA}" if prefix else _EXTRA
            arrays |= _flat(name, inner.get_extra_state())
    return arrays


def set_declared(module: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Hand every module its declared state back, in the form in which it declares it now."""
    for prefix, inner in module.named_modules():
        if declares_state(inner):
            name = f"{prefix}.{_EXTRA}" if prefix else _EXTRA
            inner.set_extra_state(_nested(name, inner.get_extra_state(), arrays))


def module_arrays(module: nn.Module) -> dict[str, NDArray[Any]]:
    """Weights, persistent buffers and declared state by `state_dict` name, in its order: copies in host memory.

    Raises TypeError for a tensor of a type that NumPy lacks (`require_storable` says so in words).
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in module.state_dict().items():
        if name == _EXTRA or name.endswith(f".{_EXTRA}"):
            arrays |= _flat(name, value)
        else:
            arrays[name] = np.array(value.detach().cpu().numpy())
    return arrays


def load_module_arrays(module: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Load arrays that `module_arrays` returned into a module of the same form."""
    state: dict[str, Any] = {}
    for name, value in module.state_dict().items():
        if name == _EXTRA or name.endswith(f".{_EXTRA}"):
            state[name] = _nested(name, value, arrays)
        else:
            state[name] = torch.from_numpy(np.array(arrays[name]))
    module.load_state_dict(state)


def require_storable(module: nn.Module, name: str) -> None:
    """Raise NetworkError for a weight or buffer that a record cannot hold; `name` is the network's."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for place, value in tensors.items():
        try:
            storable = np.dtype(str(value.dtype).removeprefix("torch.")).kind in _STORED
        except TypeError:  # bfloat16, float8 and others that NumPy does not have
            storable = False
        if not storable:
            raise NetworkError(
                f"{name}: weights and buffers are of types that NumPy has too, and real; {place} is {value.dtype}. "
                f"Keep it as torch.float32, for example .float() where {place} is made, and convert it inside forward()"
            )


def _flat(name: str, value: Any) -> dict[str, NDArray[Any]]:
    if isinstance(value, torch.Tensor):
        return {name: np.array(value.detach().cpu().numpy())}
    if isinstance(value, bool | int | float):
        return {name: np.array(value)}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        inner = list(value.items())
    elif isinstance(value, list | tuple):
        inner = [(str(place), item) for place, item in enumerate(value)]
    else:
        raise NetworkError(
            f"get_extra_state() returns tensors, numbers, and mappings or lists of them; {name} is "
            f"{type(value).__name__}. Turn it into numbers or a tensor"
        )
    return {key: array for place, item in inner for key, array in _flat(f"{name}.{place}", item).items()}


def _nested(name: str, form: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The arrays below `name`, in the form of the value `form`."""
    if isinstance(form, torch.Tensor):
        return torch.from_numpy(np.array(arrays[name])).to(form.device)
    if isinstance(form, bool | int | float):
        return type(form)(arrays[name].item())
    if isinstance(form, Mapping):
        return {key: _nested(f"{name}.{key}", item, arrays) for key, item in form.items()}
    return type(form)(_nested(f"{name}.{place}", item, arrays) for place, item in enumerate(form))
