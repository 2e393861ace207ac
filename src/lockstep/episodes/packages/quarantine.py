"""Which packages may enter training storage, and a bounded account of those that may not."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lockstep.episodes.packages.batch import PackageBatch
from lockstep.episodes.packages.package import FIELDS, FLAGS, MANDATORY, ModelInputPackage, PackageRules

REASONS: Final = ("completeness", *MANDATORY)
"""Why a package is kept out: too few fields, or a mandatory flag that is false (R9.3, R9.4)."""
_EXAMPLES: Final = 100


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """One package that was refused: its moment (milliseconds UTC), symbol, missing fields and every reason."""

    timestamp: int | None
    symbol: str | None
    completeness_score: float
    missing: tuple[str, ...]
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        lacks = f", without {', '.join(self.missing)}" if self.missing else ""
        return f"{self.symbol} at {self.timestamp}: {'; '.join(self.reasons)} ({self.completeness_score:.0%}{lacks})"


def reasons_against(package: ModelInputPackage, rules: PackageRules) -> tuple[str, ...]:
    """Why a package may not enter storage, in the order of `REASONS`; empty when it may."""
    reasons = ["completeness"] if package.completeness_score < rules.min_completeness else []
    return (*reasons, *(name for name in MANDATORY if not package.validation_flags[name]))


def admitted(
    completeness: NDArray[np.float64], flags: NDArray[np.bool_], rules: PackageRules
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.bool_]]]:
    """The batch form of `reasons_against`: which packages may enter, bool (n,), and which may not, by reason.

    completeness  float64 (n,), shares
    flags         bool (n, 6), in the order of `FLAGS`
    """
    against = {"completeness": completeness < rules.min_completeness}
    against |= {name: ~flags[:, FLAGS.index(name)] for name in MANDATORY}
    return ~np.logical_or.reduce(list(against.values())), against


class Quarantine:
    """Counts of packages kept out, by reason, and the most recent of them. Bounded, however many come."""

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts = {name: int((counts or {}).get(name, 0)) for name in REASONS}
        self.total = int((counts or {}).get("total", 0))
        self.recent: deque[Quarantined] = deque(maxlen=_EXAMPLES)

    def add(self, package: ModelInputPackage, reasons: tuple[str, ...]) -> None:
        """Count one package that was kept out for these reasons."""
        self.total += 1
        for name in reasons:
            self._counts[name] += 1
        self._remember(package, reasons)

    def add_batch(self, batch: PackageBatch, against: Mapping[str, NDArray[np.bool_]]) -> None:
        """Count the packages of a batch that something speaks against: by reason, which they are, bool (n,)."""
        out = np.flatnonzero(np.logical_or.reduce(list(against.values())))
        self.total += out.size
        for name, bad in against.items():
            self._counts[name] += int(np.count_nonzero(bad))
        for index in out[-_EXAMPLES:].tolist():
            self._remember(batch.package(index), tuple(name for name, bad in against.items() if bad[index]))

    def _remember(self, package: ModelInputPackage, reasons: tuple[str, ...]) -> None:
        present = package.present_fields()
        timestamp = package.timestamp if isinstance(package.timestamp, int) else None
        self.recent.append(
            Quarantined(
                timestamp=timestamp,
                symbol=package.symbol,
                completeness_score=package.completeness_score,
                missing=tuple(name for name in FIELDS if name not in present),
                reasons=reasons,
            )
        )

    @property
    def integrity_failures(self) -> int:
        """How many packages did not match their hashes."""
        return self._counts["integrity"]

    def counts(self) -> dict[str, int]:
        """Packages kept out in total and by reason; one package may have several reasons."""
        return {"total": self.total, **self._counts}
