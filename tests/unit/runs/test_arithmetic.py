"""What a process computes with is asked of the process, and variables are named where nobody can be asked."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from lockstep.runs import arithmetic
from lockstep.runs.numerics import NumericsIdentity

# From <fenv.h> of x86-64: the direction of rounding.
DIRECTIONS = {"nearest": 0, "downward": 0x400, "upward": 0x800, "towards zero": 0xC00}


@contextmanager
def rounding(direction: str) -> Iterator[None]:
    """This thread's CPU rounds so within the block."""
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    libm.fesetround(DIRECTIONS[direction])
    try:
        yield
    finally:
        libm.fesetround(0)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_rounding_of_the_cpu_is_seen_and_named(direction: str) -> None:
    with rounding(direction):
        floats = arithmetic.floats_of_cpu()
    assert floats == f"denormals=kept rounding={direction}"


def test_results_of_the_libraries_show_what_no_variable_says() -> None:
    """Rounding upward stands for any cause: other code for a CPU, another library in its place."""
    libm, numpy = arithmetic.results_of_libm(), arithmetic.results_of_numpy()
    assert (libm, numpy) == (arithmetic.results_of_libm(), arithmetic.results_of_numpy())
    with rounding("upward"):
        assert arithmetic.results_of_libm() != libm
        assert arithmetic.results_of_numpy() != numpy


def test_a_buffer_that_code_made_smaller_is_an_entry() -> None:
    plain = NumericsIdentity.collect().entries
    before = np.getbufsize()
    np.setbufsize(1024)
    try:
        small = NumericsIdentity.collect().entries
    finally:
        np.setbufsize(before)
    assert {name for name in plain if plain[name] != small[name]} == {"numpy.buffer"}


def test_variables_without_effect_on_numbers_are_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MKL_VERBOSE", "MKL_NUM_THREADS", "OPENBLAS_CORETYPE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", "")
    assert arithmetic.variables(("MKL_", "OPENBLAS_")) == {"MKL_CBWR": "AVX2"}
    assert arithmetic.written({}) == "none"


@pytest.mark.parametrize("prefix", ["ONEDNN_", "DNNL_", "MKLDNN_"])
def test_onednn_is_one_library_under_each_of_its_prefixes(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{prefix}MAX_CPU_ISA", "avx2")
    monkeypatch.setenv(f"{prefix}VERBOSE", "1")
    assert arithmetic.variables_of_onednn() == {"ONEDNN_MAX_CPU_ISA": "AVX2"}


def test_prefixes_that_disagree_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    monkeypatch.setenv("DNNL_DEFAULT_FPMATH_MODE", "strict")
    assert arithmetic.variables_of_onednn() == {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16,STRICT"}


@pytest.mark.parametrize("name", ["solve"])
def test_a_solution_of_other_bits_shows_in_the_results(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A LAPACK of another build need not differ in any product."""
    before, sound = arithmetic.results_of_numpy(), getattr(np.linalg, name)
    monkeypatch.setattr(np.linalg, name, lambda *parts: np.nextafter(sound(*parts), np.inf))
    assert arithmetic.results_of_numpy() != before
