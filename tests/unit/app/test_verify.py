"""A share of a run may be given as a person writes it; the outcome decides the exit code."""

from __future__ import annotations

import pytest

from lockstep.app.verify import VerifyResult, parse_share
from lockstep.core.errors import InputError
from lockstep.runs.line_differences import Difference
from lockstep.runs.verify import Verification


@pytest.mark.parametrize(("text", "share"), [(None, None), ("2%", 0.02), (" 50 % ", 0.5), ("0.25", 0.25), (0.1, 0.1)])
def test_a_share_is_read_as_percent_or_fraction(text: str | float | None, share: float | None) -> None:
    assert parse_share(text) == share


def test_a_share_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match=r'share of the steps.*found "some"'):
        parse_share("some")


def result(*, equal: bool, differences: tuple[str, ...] = ()) -> VerifyResult:
    first = None if equal else Difference(where="step 3", step=3, field="scalars.valid", first=5, second=6)
    return VerifyResult(
        verification=Verification(
            run_id="r1",
            equal=equal,
            steps=8,
            computed=8,
            sampled=False,
            journal_hash="j" * 64,
            first=first,
            differences=differences,
        )
    )


def test_an_equal_run_is_zero_and_says_bit_for_bit() -> None:
    found = result(equal=True)
    assert (found.exit_code, found.outcome) == (0, "equal")
    assert "equal, bit for bit (8 of 8 steps" in str(found)


def test_an_unequal_run_is_one_and_names_step_field_and_both_values() -> None:
    found = result(equal=False)
    assert (found.exit_code, found.outcome) == (1, "not equal")
    for part in ("step 3", "scalars.valid", "5", "6"):
        assert part in str(found)
    assert found.to_json()["first"]["step"] == 3


def test_a_comparison_across_is_labelled() -> None:
    assert "numerics: numpy" in str(result(equal=True, differences=("numerics: numpy 1 then, 2 now",)))
