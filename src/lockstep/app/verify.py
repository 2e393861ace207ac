"""Verify: compute a run again from its record in a fresh process, and compare line by line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lockstep.app.trust import permit
from lockstep.core.errors import InputError, NotEqualError
from lockstep.runs.store import RunStore
from lockstep.runs.verify import ExecutorChoice, Verification
from lockstep.runs.verify import verify as verify_folder


@dataclass(frozen=True, kw_only=True, repr=False)
class VerifyResult:
    """The comparison of a run with its record."""

    verification: Verification

    @property
    def equal(self) -> bool:
        """Whether every line computed again equals the recorded line."""
        return self.verification.equal

    @property
    def outcome(self) -> str:
        """ "equal" or "not equal", as in the output."""
        return "equal" if self.equal else "not equal"

    @property
    def exit_code(self) -> int:
        """0 when equal, 1 when not equal. A run that is not comparable raises an error with exit code 3 instead."""
        return 0 if self.equal else NotEqualError.exit_code

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep verify --json` prints."""
        return {"outcome": self.outcome, **self.verification.to_json()}

    def text(self) -> str:
        """The lines that `lockstep verify` prints."""
        report = self.verification
        share = f"{report.computed:,} of {report.steps:,} steps{', a sample' if report.sampled else ''}"
        lines = [f"run {report.run_id}: {self.outcome}, bit for bit ({share}, computed again in a fresh process)"]
        if not self.equal:
            lines = [f"run {report.run_id}: not equal", f"  {report.first} (first: the record, second: computed again)"]
        if report.differences:
            lines.append("compared across other code or numerics, as asked; the first is the record:")
            lines += [f"  {line}" for line in report.differences]
        return "\n".join([*lines, f"  journal {report.journal_hash}"])

    def __repr__(self) -> str:
        return self.text()


def verify(
    run: str,
    store: RunStore,
    *,
    executor: ExecutorChoice,
    sample: float | str | None = None,
    across: bool = False,
    trust: bool = False,
    on_step: Callable[[int, int], None] | None = None,
) -> VerifyResult:
    """Compute `run` again.

    sample    share of its steps to compute, 0.02 or "2%"; default: all
    across    compare although code or numerics differ
    trust     run code of an imported run (`app.trust`)
    on_step   is called with the number of steps that are done, and of all

    Raises NotComparableError when code or numerics differ, unless `across`; IntegrityError for damage; RefusedError for
    a run that is not complete, or whose code came from elsewhere and is not trusted.
    """
    folder = store.find(run)
    permit(folder, trust=trust)
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
    """A share, 0 to 1, from 0.02, "0.02" or "2%". Raises InputError."""
    if text is None or isinstance(text, float | int):
        return text
    percent = text.strip().endswith("%")
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        raise InputError(f'--sample is a share of the steps, such as 2% or 0.02; found "{text}"') from None
    return value / 100 if percent else value
