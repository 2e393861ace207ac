"""`lockstep predict`: what the model of a run says of candles or samples in a file, as a table.

Candles go to models that read candles; left out, those that the run learned from. Samples are a .npz or .safetensors
file with an array for each input; an array `labels` in it is left aside.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.app.files import load_options
from lockstep.app.paths import require_writable_name
from lockstep.core import files
from lockstep.core.errors import InputError
from lockstep.kinds.shared.models import CandleModel, SampleModel
from lockstep.learning.supervised.sample_files import arrays_of
from lockstep.market.checks import format_time
from lockstep.market.load import load_candles
from lockstep.market.sample import sample_candles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.kinds.shared.models import Model

_LABELS: Final = "labels"
_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class PredictReport:
    """A table of predictions or decisions.

    columns   one array (n,) each; `signal` is the side that opens at the bar's close, of models that read candles
    counts    how many rows have each class, or each action
    written   the file that holds the table; None where none was asked for
    """

    run_id: str
    columns: Mapping[str, NDArray[Any]]
    counts: Mapping[str, int]
    written: Path | None
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many rows the table has."""
        return len(next(iter(self.columns.values())))

    def row(self, place: int) -> dict[str, Any]:
        """A row as plain Python values."""
        return {name: column[place].item() for name, column in self.columns.items()}

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep predict --json` prints: counts, and the last row in place of all."""
        return {
            "run_id": self.run_id,
            "rows": self.rows,
            "counts": dict(self.counts),
            "last": self.row(-1),
            "written": None if self.written is None else str(self.written),
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """The lines that `lockstep predict` prints: counts, and the last rows."""
        counts = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
        lines = [f"run {self.run_id}: {self.rows:,} rows ({counts})"]
        for place in range(max(0, self.rows - _SHOWN), self.rows):
            row = self.row(place)
            front = format_time(row.pop("timestamp")) if "timestamp" in row else f"row {place}"
            lines.append(f"  {front}  " + ", ".join(f"{name} {_short(value)}" for name, value in row.items()))
        if self.written is not None:
            lines.append(f"written to {self.written}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def predict(
    model: Model, data: str | None = None, *, reading: Mapping[str, Any] | None = None, out: Path | None = None
) -> PredictReport:
    """What a model says of `data`, written to `out` as CSV.

    data      a file of candles or samples, or "sample", the bundled candles; None: the candles of the run
    reading   how a file of candles is read, by the names of options (`app.files`)

    Raises InputError, DataError for data that the model cannot read, DiskError.
    """
    if out is not None:
        require_writable_name(out, "what is written")
    columns = _table(model, data, reading or {})
    named = columns["class"] if "class" in columns else np.array(["sell", "hold", "buy"])[columns["action"]]
    names, counts = np.unique(named, return_counts=True)
    report = PredictReport(
        run_id=model.run_id,
        columns=columns,
        counts=dict(zip(names.tolist(), counts.tolist(), strict=True)),
        written=out,
        notes=model.notes,
    )
    if out is not None:
        files.write_atomic(out, _csv(columns))
    return report


def _table(model: Model, data: str | None, reading: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    if isinstance(model, CandleModel):
        if data is None and reading:
            raise InputError("options about a file of candles go with --data FILE; found none. Name the file.")
        candles = (
            model.candles
            if data is None
            else sample_candles()
            if data == "sample"
            else load_candles(data, **load_options(reading))
        )
        output = model.predict(candles)
        if output.bars is None:
            raise TypeError("a model that reads candles names its bars")
        return {**output.columns(), "signal": model.signals(candles).side[output.bars]}
    if not isinstance(model, SampleModel):
        raise TypeError(f"a model reads candles or samples; found {type(model).__name__}")
    if data is None or reading:
        raise InputError(
            f"run {model.run_id} reads samples: name a .npz or .safetensors file of them with --data, without options "
            "about candles."
        )
    arrays = arrays_of(files.read_bytes(Path(data)), Path(data))
    arrays.pop(_LABELS, None)
    samples: Any = arrays if len(arrays) != 1 else next(iter(arrays.values()))
    return model.predict(samples).columns()


def _csv(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """One header line; times in ms UTC, floats in their shortest exact form."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return text.getvalue().encode()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
