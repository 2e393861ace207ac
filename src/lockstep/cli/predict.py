"""`lockstep predict`: the model of a run over candles or samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lockstep.cli.consent import consent
from lockstep.cli.options import Home, Json, RecordedRun, RunImportedCode, Verbose
from lockstep.cli.output import Output
from lockstep.cli.reading import reads_files


@reads_files
def predict(
    run: RecordedRun,
    reading: Mapping[str, Any],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|sample",
            help="Candles, or samples (.npz, .safetensors), to predict on (default: the candles of the run).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write every prediction to a CSV file.")
    ] = None,
    run_imported_code: RunImportedCode = False,
    home: Home = None,
    json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Predict with the model of a complete run, and say what it would signal.

    A value in a row is known at the close of its bar and depends on no later one.
    """
    from lockstep.bootstrap import place
    from lockstep.cli.process import looked_up

    here = place(home)
    folder = looked_up(run, here)
    from rich.text import Text

    from lockstep.app.model import load_model
    from lockstep.app.predict import predict as use_case

    model = load_model(folder, here.store.blobs, trust=consent(folder, flag=run_imported_code))
    report = use_case(model, data, reading=reading, out=out)
    Output(json=json).result(report.to_json(), Text(report.text()))
