"""Deterministic torch: noise by address, device, what the numerics name."""

from __future__ import annotations

from operator import attrgetter

import pytest

pytest.importorskip("torch")

import torch

from lockstep.core.errors import InputError, MachineError
from lockstep.learning.gradients import determinism
from lockstep.runs.seeds import SeedTree

SEEDS = SeedTree(5)


def test_noise_belongs_to_its_address_and_leaves_torchs_generator_as_it_was() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    draws = []
    for node in (SEEDS.child(1), SEEDS.child(2), SEEDS.child(1)):
        with determinism.noise(node):
            draws.append(torch.rand(4).tolist())
    assert draws[0] == draws[2] != draws[1]
    assert torch.equal(torch.rand(3), expected)


def test_numerics_name_what_changes_last_bits() -> None:
    entries = determinism.numerics_entries()
    assert entries["torch"] == torch.__version__
    assert entries["torch.threads"] == "1"
    assert entries["torch.deterministic"] == "True"
    assert entries["device"] == "cpu"
    assert all(isinstance(value, str) for value in entries.values())


def test_rules_that_somebody_broke_in_the_process_are_put_in_force_again() -> None:
    """A notebook's helper sets two of the switches and leaves TF32 and bfloat16 products on."""
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("medium")
    determinism.settle()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"
    torch.use_deterministic_algorithms(True, warn_only=True)
    determinism.settle()
    assert torch.get_deterministic_debug_mode() == 2


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch before its second switch")
@pytest.mark.parametrize("switch", ["", "cuda.matmul", "cudnn.conv", "mkldnn", "mkldnn.conv", "mkldnn.matmul"])
def test_the_newer_switch_of_torch_is_put_back_as_well(switch: str) -> None:
    place = attrgetter(switch)(torch.backends) if switch else torch.backends
    place.fp32_precision = "bf16" if switch.startswith("mkldnn") else "tf32"
    determinism.settle()
    assert place.fp32_precision in {"ieee", "none"}
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch before its second switch")
@pytest.mark.parametrize("switch", ["older", "", "mkldnn.conv"])
def test_switches_of_either_family_are_what_they_were_after_a_block(switch: str) -> None:
    """And the older family can still be read where only it was used."""
    names = ("", "cuda.matmul", "cudnn.conv", "mkldnn.conv", "mkldnn.matmul")

    def state() -> list[str]:
        places = [attrgetter(name)(torch.backends) if name else torch.backends for name in names]
        return [torch.get_float32_matmul_precision(), *(place.fp32_precision for place in places)]

    determinism.settle()
    if switch == "older":
        torch.set_float32_matmul_precision("high")
    else:
        place = attrgetter(switch)(torch.backends) if switch else torch.backends
        place.fp32_precision = "bf16" if switch else "none"
    try:
        before = state()
        with determinism.settled():
            assert torch.get_float32_matmul_precision() == "highest"
        assert state() == before
    finally:
        determinism.settle()


def test_flushing_of_small_numbers_that_was_turned_on_later_is_turned_off() -> None:
    determinism.settle()
    torch.set_flush_denormal(True)
    try:
        determinism.settle()
        assert (torch.tensor([1e-40]) * 1.0).item() > 0.0
    finally:
        torch.set_flush_denormal(False)


def test_settings_of_the_process_that_are_left_alone_are_named() -> None:
    """A notebook may have chosen another type, or stand in a block of automatic casts."""
    before = determinism.numerics_entries()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            entries = determinism.numerics_entries()
    finally:
        torch.set_default_dtype(torch.float32)
    assert {name for name in before if before[name] != entries[name]} == {"torch.settings"}
    assert "autocast=torch.bfloat16" in entries["torch.settings"]
    assert "dtype=torch.float64" in entries["torch.settings"]


def test_a_digest_of_results_shows_what_nobody_thought_of() -> None:
    before = determinism.numerics_entries()
    torch._C._set_mkldnn_enabled(False)  # its block in `torch.backends` warns of another switch
    try:
        entries = determinism.numerics_entries()
    finally:
        torch._C._set_mkldnn_enabled(True)
    assert entries["torch.mkldnn"] == "False"
    assert entries["torch.results"] != before["torch.results"]
    assert determinism.numerics_entries() == before


def test_devices_are_resolved_before_the_run() -> None:
    with pytest.raises(InputError, match="device is one of cpu, cuda, auto; found 'tpu'"):
        determinism.resolve_device("tpu")
    assert determinism.resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_portable_numerics_after_torch_has_begun_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        pytest.skip("torch computes with AVX2 here anyway")
    monkeypatch.setenv("LOCKSTEP_NUMERICS", "portable")
    with pytest.raises(MachineError, match=r"torch had begun with .*\. Start the process anew"):
        determinism.numerics_entries()


def test_settling_again_restores_one_thread() -> None:
    torch.set_num_threads(2)
    determinism.settle()
    assert torch.get_num_threads() == 1
