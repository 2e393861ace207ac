"""Verify: compute a run again in a fresh process, from its own record, and compare line by line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lockstep.core.errors import InputError, NotEqualError
from lockstep.runs.store import RunStore
from lockstep.runs.verify import ExecutorChoice, Verification
from lockstep.runs.verify import verify as verify_folder


@dataclass(frozen=True, kw_only=True, repr=False)
class VerifyResult:
    """What computing a run again showed. `outcome` is "equal" or "not equal"."""

    verification: Verification

    @property
    def equal(self) -> bool:
        """Whether every line computed again is the line recorded."""
        return self.verification.equal

    @property
    def outcome(self) -> str:
        """In two words."""
        return "equal" if self.equal else "not equal"

    @property
    def exit_code(self) -> int:
        """0 equal, 1 not. A run that is not comparable never gets here: that is an error of its own, 3."""
        return 0 if self.equal else NotEqualError.exit_code

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"outcome": self.outcome, **self.verification.to_json()}

    def text(self) -> str:
        """In words."""
        verification = self.verification
        share = f"{verification.computed:,} of {verification.steps:,} steps{', a sample' if verification.sampled else ''}"
        lines = [f"run {verification.run_id}: {self.outcome}, bit for bit ({share}, computed again in a fresh process)"]
        if not self.equal:
            lines = [f"run {verification.run_id}: not equal", f"  {verification.first} (first: the record, second: computed again)"]
        if verification.differences:
            lines.append("compared across other code or numerics, as asked:")
            lines += [f"  {line}" for line in verification.differences]
        return "\n".join([*lines, f"  journal {verification.journal_hash}"])

    def __repr__(self) -> str:
        return self.text()


def verify(
    run: str,
    store: RunStore,
    *,
    executor: ExecutorChoice,
    sample: float | str | None = None,
    across: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> VerifyResult:
    """Compute `run` again. `sample` is a share of its steps: 0.02 or "2%".

    Raises NotComparableError when code or numerics are not the run's, unless `across`; IntegrityError for damage;
    RefusedError for a run that is not complete.
    """
    folder = store.find(run)
    verification = verify_folder(
        folder.path,
        home=store.home,
        blobs=store.blobs,
        across=across,
        sample=parse_share(sample),
        executor=executor,
        on_step=on_step,
    )
    return VerifyResult(verification=verification)


def parse_share(text: float | str | None) -> float | None:
    """A share from 0.02, "0.02" or "2%". Raises InputError."""
    if text is None or isinstance(text, float | int):
        return text
    percent = text.strip().endswith("%")
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        raise InputError(f'--sample is a share of the steps, such as 2% or 0.02; found "{text}"') from None
    return value / 100 if percent else value
