"""Views of a module's tensors as arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from lockstep.learning.gradients.module_state import ArrayViews


def test_views_of_tensors_are_made_once_and_anew_where_a_tensor_changes() -> None:
    views, tensor = ArrayViews(), torch.arange(6.0)
    first = views.of("a", tensor)
    tensor[0] = 7.0
    assert views.of("a", tensor) is first
    assert first[0] == 7.0
    tensor.data = torch.ones(6)  # other storage under the same tensor
    assert views.of("a", tensor).tolist() == [1.0] * 6
    tensor.resize_(2, 3)
    assert views.of("a", tensor).shape == (2, 3)
    tensor[0, 1] = 5.0
    tensor.t_()
    assert views.of("a", tensor).tolist() == [[1.0, 1.0], [5.0, 1.0], [1.0, 1.0]]
    tensor.data = tensor.data.double()
    assert views.of("a", tensor).dtype == np.float64
    assert views.of("a", torch.zeros(3)).tolist() == [0.0] * 3
    assert views.of("a", nn.Parameter(torch.ones(2))).tolist() == [1.0, 1.0]
