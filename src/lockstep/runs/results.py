"""Results: what a training returns, now or read later from its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import Interrupted, NotEqualError, RefusedError
from lockstep.runs.folder import IDENTITY_DOCUMENTS, RunFolder, RunStatus
from lockstep.runs.identity import fingerprint_of
from lockstep.runs.journal import read_lines
from lockstep.runs.sealed import require_sealed, sealed_document
from lockstep.runs.store import read_tags

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRIALS: Final = "trials"
"""The segment of a search: a row per trial."""


def is_of_trials(name: str) -> bool:
    """Whether a file of a run's folder, named relative to it, holds a part of its trials."""
    return name.startswith(f"segments/{TRIALS}.")


_TALLY: Final = frozenset({"trials", "total", "valid"})
"""Scalars of a search's steps."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """A run in one line: its main figure, and the verdict.

    name      what was measured, such as "sharpe_ratio" or "log_loss"; "" where there is no such figure
    value     the figure, not rounded
    figures   further figures in words, in one line; "" where there are none
    text      name and value in words, with what they were measured on
    verdict   decision, sentence, reasons and evidence, as `validation.verdict` writes them; None where nothing judges
    """

    name: str = ""
    value: float | int | None = None
    text: str = ""
    figures: str = ""
    verdict: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields as a table, for `--json`; without the verdict, which `--json` has as a key of its own."""
        return {"name": self.name, "value": self.value, "text": self.text}


@dataclass(frozen=True, kw_only=True)
class Best:
    """The trial that won: its index, parameters and metrics (full precision; None where undefined)."""

    index: int
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float | int | None]

    def to_json(self) -> dict[str, Any]:
        """The fields as a table, for `--json`."""
        return {"index": self.index, "parameters": dict(self.parameters), "metrics": dict(self.metrics)}


@dataclass(frozen=True, kw_only=True)
class SearchView:
    """What a search reports besides the fields of every run.

    best     the winning trial; None while there is none
    counts   trials so far: "total", and "valid", which may win
    words    from the columns of trials as they are stored to columns with words; None where nothing is coded
    """

    folder: Path
    best: Best | None
    counts: Mapping[str, int]
    words: Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]] | None = None

    def trials(self, *, codes: bool = False) -> dict[str, NDArray[Any]]:
        """Every trial recorded so far, as columns (n_trials,): index, parameters, metrics, cause and block sums.

        A choice between texts is the text, and `cause` is "valid" or why the trial may not win; `codes=True` gives the
        numbers that are stored. Read from the run's segments, checked against their hashes and, in a complete run,
        against its seal. Raises IntegrityError when a byte changed, or a file is cut or missing.
        """
        # Imported here: it loads NumPy, which a list of runs never needs.
        from lockstep.storage.segments import SegmentReader

        folder = RunFolder(self.folder)
        require_sealed(folder, is_of_trials)
        stored = dict(SegmentReader(folder.segments).read(TRIALS))
        return stored if codes or self.words is None else self.words(stored)


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainResult:
    """A run, as its record tells it. The same facts as `lockstep runs show RUN --json`.

    run_id, folder      where the record is
    status              complete, interrupted, failed or running
    fingerprint         names spec, data, code and numerics together
    journal_hash        of the last line of the journal so far: equal runs have equal ones; None before the first
    data_hash           digest of the candles or samples used
    seed                the root seed, drawn already when the spec said "random"
    headline            the run in one line, and its verdict; None until complete, or where a summary has no figure
    search              trials and the best of them; None where no trial is recorded
    summary             everything the kind of training reports, as in result.json; empty until complete
    spec, data          the resolved spec and data.json
    alarm               why this result must not be trusted, or None
    notes               what a person should know about how the run went
    """

    run_id: str
    folder: Path
    status: str
    fingerprint: str
    journal_hash: str | None
    data_hash: str | None
    seed: int
    headline: Headline | None = None
    search: SearchView | None = None
    summary: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    alarm: str | None = None
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 complete, 130 interrupted, 1 failed or contradicted by another run of the same fingerprint."""
        if self.status == RunStatus.INTERRUPTED:
            return Interrupted.exit_code
        if self.status == RunStatus.FAILED:
            return RefusedError.exit_code
        return 0 if self.alarm is None else NotEqualError.exit_code

    @property
    def verdict(self) -> Mapping[str, Any] | None:
        """Decision, sentence, reasons and evidence; None until complete, or where nothing judges this kind of run."""
        return None if self.headline is None else self.headline.verdict

    @property
    def best(self) -> Best | None:
        """The winning trial of a search; None while there is none, and for a run without trials."""
        return None if self.search is None else self.search.best

    @property
    def trial_counts(self) -> Mapping[str, int]:
        """Trials of a search, "total" and "valid". Raises RefusedError for a run without trials."""
        return self._require_search().counts

    def trials(self, *, codes: bool = False) -> dict[str, NDArray[Any]]:
        """See `SearchView.trials`. Raises RefusedError for a run without trials."""
        return self._require_search().trials(codes=codes)

    def _require_search(self) -> SearchView:
        if self.search is None:
            raise RefusedError(
                f"run {self.run_id} has no trials: only a search records them, from its first batch on. What any "
                f"complete run came to is in .headline and .summary, and in `lockstep report {self.run_id}`."
            )
        return self.search

    def to_json(self) -> dict[str, Any]:
        """What `train --json` prints as its last line. `best` and `trials` are null for a run without trials."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "fingerprint": self.fingerprint,
            "journal_hash": self.journal_hash,
            "data_hash": self.data_hash,
            "seed": self.seed,
            "headline": None if self.headline is None else self.headline.to_json(),
            "verdict": None if self.verdict is None else dict(self.verdict),
            "best": self.best.to_json() if self.best is not None else None,
            "trials": None if self.search is None else dict(self.search.counts),
            "folder": str(self.folder),
            "alarm": self.alarm,
            "tags": list(self.tags),
            "notes": list(self.notes),
            "summary": dict(self.summary),
        }

    def __repr__(self) -> str:
        lines = [f"run {self.run_id}: {', '.join(filter(None, [self.status, self._in_a_line()]))}"]
        if self.alarm is not None:
            lines.append(f"  ALARM: {self.alarm}")
        if self.best is not None:
            parameters = ", ".join(f"{name}={value!r}" for name, value in self.best.parameters.items())
            lines.append(f"  best trial {self.best.index}: {parameters}")
        if self.headline is not None and self.headline.figures:
            lines.append(f"  {self.headline.figures}")
        if self.verdict is not None:
            lines.append(f"  verdict: {': '.join(filter(None, [self.verdict['decision'], self.verdict['sentence']]))}")
        lines.append(
            f"  fingerprint {self.fingerprint[:16]}, journal {(self.journal_hash or 'none')[:16]}, seed {self.seed}"
        )
        lines.append(f"  {self.folder}")
        return "\n".join(lines)

    def _in_a_line(self) -> str:
        if self.headline is not None:
            return self.headline.text
        return "" if self.search is None else f"{self.search.counts['total']:,} trials"


def read_result(folder: RunFolder, *, alarm: str | None = None, notes: tuple[str, ...] = ()) -> TrainResult:
    """What a run's folder says, complete or not. Raises IntegrityError when a document is damaged.

    Without a headline, which `reports.headline.read_run` adds: only rooms above this one know what the figures mean.
    """
    status = folder.status()
    documents = {kind: sealed_document(folder, kind) for kind in (*IDENTITY_DOCUMENTS, "environment")}
    spec, data = documents["spec"], documents["data"]
    summary: Mapping[str, Any] = sealed_document(folder, "result")["summary"] if status is RunStatus.COMPLETE else {}
    journal_hash, last_step = _end_of_journal(folder)
    failure = folder.read("failure") if status is RunStatus.FAILED else None
    return TrainResult(
        run_id=folder.path.name,
        folder=folder.path.absolute(),
        status=str(status),
        fingerprint=fingerprint_of(**{kind: documents[kind] for kind in IDENTITY_DOCUMENTS}),
        journal_hash=journal_hash,
        data_hash=data.get("digest"),
        seed=int(spec["seed"]),
        search=_search_of(folder, summary, last_step),
        summary=summary,
        spec=spec,
        data=data,
        environment=documents["environment"],
        alarm=alarm,
        tags=read_tags(folder),
        notes=notes if failure is None else (*notes, f"{failure['error']}: {failure['message']}"),
    )


def _search_of(folder: RunFolder, summary: Mapping[str, Any], last_step: Mapping[str, Any]) -> SearchView | None:
    """Trials as the record has them: from the summary of a complete run, else from a search's last step."""
    counts = summary.get("trials")
    if counts is None and last_step.keys() >= _TALLY:
        counts = last_step
    # A kind of another package may call something else by these names.
    if not isinstance(counts, Mapping) or not all(isinstance(counts.get(name), int) for name in ("total", "valid")):
        return None
    best = summary.get("best")
    if not isinstance(best, Mapping) or not best.keys() >= {"index", "parameters", "metrics"}:
        best = None
    return SearchView(
        folder=folder.path.absolute(),
        best=None if best is None else Best(**{name: best[name] for name in ("index", "parameters", "metrics")}),
        counts={name: int(counts[name]) for name in ("total", "valid")},
    )


def _end_of_journal(folder: RunFolder) -> tuple[str | None, Mapping[str, Any]]:
    """Hash of the last whole line of the journal, and the scalars of its last step."""
    if folder.has("manifest"):
        return str(folder.read("manifest")["journal_hash"]), {}
    last: str | None = None
    scalars: Mapping[str, Any] = {}
    if folder.journal.exists():
        for line in read_lines(folder.journal):
            last = line.hash
            scalars = line.content.get("scalars", scalars)
    return last, scalars
