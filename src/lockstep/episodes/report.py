"""What a collection of episodes counted: packages seen, kept and quarantined, and what became of the predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class CollectionReport:
    """Counts; shares are None where nothing was counted.

    packages            packages that were built
    stored              packages that may teach: complete enough, every mandatory flag true
    quarantined         packages that may not, by reason; "total" counts each once
    mean_completeness   mean share of the ten fields over all packages built, in [0, 1]
    integrity_failures  packages that did not match their hashes
    rapid_changes       premium examples among those stored
    validated           episodes whose outcome is known
    lapsed              episodes that no price settles any more: a gap in the data
    pending             episodes whose horizon the prices do not reach
    profitable          validated episodes with a profit
    """

    packages: int = 0
    stored: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    mean_completeness: float | None = None
    integrity_failures: int = 0
    rapid_changes: int = 0
    validated: int = 0
    lapsed: int = 0
    pending: int = 0
    profitable: int = 0

    @property
    def integrity(self) -> float | None:
        """Share of packages that match their hashes, in [0, 1]; None without packages."""
        return None if self.packages == 0 else 1.0 - self.integrity_failures / self.packages

    def plus(self, later: CollectionReport) -> CollectionReport:
        """The sum of this report and a later one of the same book.

        Episodes that were pending in this collection still count as pending: nobody came back to settle them.
        """
        counts = {
            item.name: getattr(self, item.name) + getattr(later, item.name)
            for item in fields(self)
            if item.name not in ("quarantined", "mean_completeness")
        }
        names = {*self.quarantined, *later.quarantined}
        parts = [(one.packages, one.mean_completeness) for one in (self, later) if one.mean_completeness is not None]
        # A mean of means would weigh a short collection like a long one.
        total = sum(count for count, _ in parts)
        return CollectionReport(
            **counts,
            quarantined={
                name: self.quarantined.get(name, 0) + later.quarantined.get(name, 0) for name in sorted(names)
            },
            mean_completeness=sum(count * mean for count, mean in parts) / total if total else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Counts by field name, as `book.json` has them."""
        return {**asdict(self), "quarantined": dict(self.quarantined)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CollectionReport:
        """The report that `to_json` wrote. Raises TypeError for unknown fields."""
        return cls(**value)

    def text(self) -> str:
        """Three lines of text for a person: packages, quarantine, outcomes."""
        out = {name: count for name, count in self.quarantined.items() if count and name != "total"}
        why = ", ".join(f"{name} {count:,}" for name, count in out.items())
        complete = "-" if self.mean_completeness is None else f"{self.mean_completeness:.1%}"
        sound = "-" if self.integrity is None else f"{self.integrity:.0%}"
        return "\n".join(
            [
                f"packages   {self.packages:,} built, {self.stored:,} stored, mean completeness {complete}, integrity "
                f"{sound}, {self.rapid_changes:,} in rapid changes",
                f"quarantine {self.quarantined.get('total', 0):,}{f' ({why})' if why else ''}",
                f"outcomes   {self.validated:,} validated ({self.profitable:,} with a profit), {self.lapsed:,} lapsed, "
                f"{self.pending:,} pending",
            ]
        )
