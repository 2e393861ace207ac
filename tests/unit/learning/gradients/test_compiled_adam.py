"""Compiled Adam gives the bits of torch's own update, or is not used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lockstep.learning.gradients import adam_kernels  # noqa: E402
from lockstep.learning.gradients import compiled_adam as room  # noqa: E402
from lockstep.learning.gradients.compiled_adam import CompiledAdam, compiled_adam  # noqa: E402
from lockstep.learning.gradients.determinism import settled  # noqa: E402
from lockstep.learning.gradients.optim_state import (  # noqa: E402
    OptimizerSettings,
    load_optimizer_arrays,
    optimizer_arrays,
    set_rates,
)

FLOAT32, FLOAT64 = "<f4", "<f8"
CASES = [
    (OptimizerSettings(name=name, form=form, weight_decay=decay, betas=betas), dtype)  # type: ignore[arg-type]
    for name, form in (("adam", "single"), ("adamw", "foreach"), ("adam", "fused"), ("adamw", "single"))
    for decay, betas, dtype in ((0.0, (0.9, 0.999), FLOAT32), (0.01, (0.4, 0.99), FLOAT32), (0.3, (0.5, 0.9), FLOAT64))
]


def numbers(rng: np.random.Generator, size: int, dtype: str) -> Any:
    """Ordinary, tiny, denormal and huge numbers, and zeros of both signs."""
    exponents = np.where(rng.random(size) < 0.5, rng.uniform(-20, 4, size), rng.uniform(-149, 55, size))
    values = (rng.normal(size=size) * np.exp2(exponents)).astype(dtype)
    values[rng.random(size) < 0.05] = 0.0
    values[rng.random(size) < 0.05] = -0.0
    return values


@pytest.mark.parametrize(("settings", "dtype"), CASES)
@pytest.mark.parametrize("size", [16, 1008, 4112])
def test_every_update_has_the_bits_of_torch(settings: OptimizerSettings, dtype: str, size: int) -> None:
    rng = np.random.Generator(np.random.Philox(key=size))
    weights = numbers(rng, size, dtype)
    with settled():
        parameter = torch.nn.Parameter(torch.from_numpy(weights.copy()))
        theirs = settings.make(parameter)
        ours = compiled_adam(settings, weights, {})
        if ours is None:
            pytest.skip("torch's roundings are others here, so its own update is used")
        for step in range(6):
            gradient, rate = numbers(rng, size, dtype), 10.0 ** -(step % 4)
            parameter.grad = torch.from_numpy(gradient.copy())
            set_rates(theirs, rate)
            theirs.step()
            ours.apply(gradient, rate)
            state = optimizer_arrays(theirs, parameter)
            assert list(ours.moments()) == list(state)
            for name, array in ours.moments().items():
                assert array.tobytes() == state[name].tobytes(), f"{name} after update {step}"
            assert weights.tobytes() == parameter.detach().numpy().tobytes(), f"weights after update {step}"


def test_it_goes_on_from_a_stored_state() -> None:
    rng = np.random.Generator(np.random.Philox(key=3))
    settings, gradient = OptimizerSettings(weight_decay=0.1), numbers(rng, 64, FLOAT32)
    moments = {
        "exp_avg": numbers(rng, 64, FLOAT32),
        "exp_avg_sq": np.abs(numbers(rng, 64, FLOAT32)),
        "step": np.array([41.0], np.float32),
    }
    weights = numbers(rng, 64, FLOAT32)
    parameter = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    theirs = settings.make(parameter)
    load_optimizer_arrays(theirs, parameter, moments)
    parameter.grad = torch.from_numpy(gradient.copy())
    theirs.step()
    ours = compiled_adam(settings, weights, moments)
    if ours is None:
        pytest.skip("torch's roundings are others here, so its own update is used")
    ours.apply(gradient, settings.learning_rate)
    assert weights.tobytes() == parameter.detach().numpy().tobytes()
    assert moments["step"][0] == 41.0, "the stored state is copied"


def test_before_the_first_update_there_is_no_state() -> None:
    assert CompiledAdam(OptimizerSettings(), np.zeros(16, np.float32), {}).moments() == {}


def test_other_optimisers_and_other_states_are_left_to_torch() -> None:
    weights = np.zeros(16, np.float32)
    assert compiled_adam(OptimizerSettings(name="sgd"), weights, {}) is None
    amsgrad = dict.fromkeys(("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"), weights)
    assert compiled_adam(OptimizerSettings(), weights, amsgrad) is None


def test_one_rounding_elsewhere_and_torch_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine whose torch was compiled without fused multiply-add."""
    room._proven.cache_clear()
    plain = adam_kernels.advance
    monkeypatch.setattr(adam_kernels, "advance", lambda *arguments: _twice(plain, *arguments))
    assert compiled_adam(OptimizerSettings(), np.zeros(1024, np.float32), {}) is None
    room._proven.cache_clear()


def _twice(plain: Any, weights: Any, gradient: Any, first: Any, second: Any, share: Any, *rest: Any) -> None:
    before = first.copy()
    plain(weights, gradient, first, second, share, *rest)
    first[:] = before + share * (gradient - before)


@pytest.mark.parametrize("more", [{}, {"ema_decay": 0.9}, {"amsgrad": True}])
def test_a_replay_of_many_updates_gives_the_bits_of_one_of_few(more: dict[str, Any]) -> None:
    """Averages of the weights go on beside compiled passes; AMSGrad is torch's own."""
    from lockstep.learning.gradients.record import COMPILED_FROM, FlatOptimizer

    settings = OptimizerSettings(name="adam", **more)
    rng = np.random.Generator(np.random.Philox(key=3))
    weights = rng.normal(size=37).astype(np.float32)
    state = {"weights": weights, "ema.weights": weights, "ema.updates": np.zeros(1, np.int64)}
    many, few = FlatOptimizer(settings, state, COMPILED_FROM), FlatOptimizer(settings, state)
    for gradient in rng.normal(size=(5, 37)).astype(np.float32):
        many.apply(gradient, 1e-2)
        few.apply(gradient, 1e-2)
    one, other = many.arrays(), few.arrays()
    assert one.keys() == other.keys()
    assert {name: array.tobytes() for name, array in one.items()} == {
        name: array.tobytes() for name, array in other.items()
    }
    assert ("optimizer.max_exp_avg_sq" in one) == ("amsgrad" in more)
    assert ("ema.weights" in one) == ("ema_decay" in more)


def test_compiled_passes_refuse_a_momentum_that_moves() -> None:
    from lockstep.learning.gradients.record import COMPILED_FROM, FlatOptimizer

    machine = FlatOptimizer(OptimizerSettings(), {"weights": np.zeros(3, np.float32)}, COMPILED_FROM)
    with pytest.raises(ValueError, match="give updates=0 where a schedule moves it"):
        machine.apply(np.ones(3, np.float32), 1e-3, 0.9)
