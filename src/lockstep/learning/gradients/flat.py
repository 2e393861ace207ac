"""`FlatModel`: a module whose trained parameters lie in one array and whose gradient lies in another.

Every parameter becomes a view into `weights`. So one optimiser call updates them all, one copy is a snapshot, and the
gradient of a step is one contiguous piece of memory that is appended to the record unchanged. The optimisers of
`optim_state` work element by element; over the flat array they give the bits that they give tensor by tensor. (Fused
ones may differ in the last bit: their kernels round the elements that do not fill a vector at a tensor's end
differently.)

Each parameter begins at a multiple of 64 bytes, as torch aligns its own tensors: matrix kernels choose their path by
alignment. The gap behind a parameter always holds zeros: its gradient is 0, which moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from lockstep.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIGNMENT: Final = 64
_DTYPES: Final = {torch.float32: "float32", torch.float64: "float64"}


@dataclass(frozen=True)
class Slot:
    """A parameter's elements [start, stop) in the flat array."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Layout:
    """Layout of the flat array.

    slots  its parameters, in the module's order
    dtype  "float32" or "float64"
    size   elements, gaps between parameters included
    """

    slots: tuple[Slot, ...]
    dtype: str
    size: int

    @classmethod
    def of(cls, module: nn.Module) -> Layout:
        """The layout of the parameters of `module` that require a gradient; the meta device will do.

        Raises InputError when no parameter does, or when their dtypes differ or are not float32 or float64.
        """
        trained = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
        if not trained:
            raise InputError("a model is trained when a parameter of it requires a gradient; found none that does.")
        dtypes = {value.dtype for _, value in trained}
        if len(dtypes) != 1 or not dtypes <= _DTYPES.keys():
            raise InputError(
                "trained parameters share one dtype, float32 or float64; found "
                f"{', '.join(sorted(map(str, dtypes)))}. Convert the model with .float() or .double()."
            )
        dtype = dtypes.pop()
        gap = ALIGNMENT // dtype.itemsize
        slots, start = [], 0
        for name, value in trained:
            slots.append(Slot(name, tuple(value.shape), start, start + value.numel()))
            start += -(-value.numel() // gap) * gap
        return cls(tuple(slots), _DTYPES[dtype], start)

    @property
    def parameters(self) -> int:
        """How many numbers are trained, gaps excluded."""
        return sum(slot.stop - slot.start for slot in self.slots)

    @property
    def itemsize(self) -> int:
        """Bytes of one number, 4 or 8."""
        return 4 if self.dtype == "float32" else 8

    def named(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Views into a flat array (size,), by parameter name, each of the parameter's shape."""
        return {slot.name: flat[slot.start : slot.stop].reshape(slot.shape) for slot in self.slots}

    def to_json(self) -> dict[str, Any]:
        """The layout as JSON values for the journal; each parameter is [name, shape, start, stop]."""
        slots = [[slot.name, list(slot.shape), slot.start, slot.stop] for slot in self.slots]
        return {"dtype": self.dtype, "parameters": slots, "size": self.size}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Layout:
        """Rebuild a layout from what `to_json` returned."""
        slots = tuple(Slot(name, tuple(shape), start, stop) for name, shape, start, stop in value["parameters"])
        return cls(slots, value["dtype"], value["size"])


class FlatModel:
    """A module laid out flat. It owns the module's parameters from then on: other code may not replace them."""

    def __init__(self, module: nn.Module, device: str = "cpu") -> None:
        self.module = module.to(device)
        self.layout = Layout.of(module)
        self._trained: list[nn.Parameter] = [value for value in module.parameters() if value.requires_grad]
        dtype = self._trained[0].dtype
        self.weights = nn.Parameter(torch.zeros(self.layout.size, dtype=dtype, device=device))
        self.gradient = torch.zeros(self.layout.size, dtype=dtype, device=device)
        self.weights.grad = self.gradient
        self.gradient_views = list(self.views(self.gradient))
        self.weight_views = list(self.views(self.weights.data))
        for value, view in zip(self._trained, self.weight_views, strict=True):
            view.copy_(value.data)
            value.data = view

    def views(self, flat: torch.Tensor) -> Iterator[torch.Tensor]:
        """Views into a flat tensor (size,), in the order of the layout."""
        for slot in self.layout.slots:
            yield flat[slot.start : slot.stop].view(slot.shape)

    def differentiate(self, total: torch.Tensor, *, add: bool = False) -> None:
        """Write the gradient of `total` into `gradient`, or add it to what is there.

        It is zero for a parameter that `total` does not depend on. Raises InputError for a sparse gradient.
        """
        # Not backward(): it would add into .grad, which user code may replace, and would turn -0.0 into 0.0.
        gradients: Sequence[torch.Tensor | None] = torch.autograd.grad(total, self._trained, allow_unused=True)
        if not add and any(item is None for item in gradients):
            self.gradient.zero_()
        views = [view for view, item in zip(self.gradient_views, gradients, strict=True) if item is not None]
        dense = [item for item in gradients if item is not None]
        if any(item.layout is not torch.strided for item in dense):
            raise InputError("a gradient is recorded as a dense array; found a sparse one. Use sparse=False layers.")
        if not add:
            torch._foreach_copy_(views, dense)
        elif dense:
            torch._foreach_add_(views, dense)

    def buffers(self) -> dict[str, torch.Tensor]:
        """The module's buffers by name: state of the forward pass (BatchNorm's statistics), and constants."""
        return dict(self.module.named_buffers())

    def frozen(self) -> dict[str, torch.Tensor]:
        """Parameters that are not trained, by name."""
        return {name: value.data for name, value in self.module.named_parameters() if not value.requires_grad}

    def check_valid(self) -> None:
        """Raise InputError when a parameter no longer lies where the layout says (`.to`, new tensors, unfreezing)."""
        trained = [value for value in self.module.parameters() if value.requires_grad]
        there = [value.data_ptr() for value in trained] == [view.data_ptr() for view in self.weight_views]
        if not there:
            raise InputError(
                "while a model is being trained its parameters stay where they are; some were moved, replaced, frozen "
                "or unfrozen. Convert, freeze and place the model before the training is made."
            )
