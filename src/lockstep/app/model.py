"""The trained model of a run, loaded for use: `ls.load_model` and `lockstep predict`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lockstep.app.trust import permit, reading
from lockstep.core.errors import RefusedError
from lockstep.kinds.shared.model_registry import model_class
from lockstep.runs.numerics import entry_differences
from lockstep.runs.restored_run import restore_run

if TYPE_CHECKING:
    from lockstep.kinds.shared.models import Model
    from lockstep.runs.folder import RunFolder
    from lockstep.storage.blobs import BlobStore


def load_model(folder: RunFolder, blobs: BlobStore, *, trust: bool = False) -> Model:
    """The trained model of a complete run, with the data that it learned from.

    blobs   hold the data of the run
    trust   run code of an imported run (`app.trust`)

    Raises RefusedError for a run that is not complete or leaves no model, and for code that nobody has allowed;
    IntegrityError for damage, DataError when a snapshot is missing, MissingLibraryError.
    """
    name = folder.path.name
    if not folder.has("manifest"):
        raise RefusedError(f"run {name} is not complete, so nothing was judged yet. Resume it: lockstep resume {name}.")
    with reading(folder):
        kind = str(folder.read("spec").get("kind"))
        model_of = model_class(kind)
        if model_of is None:
            raise RefusedError(
                f'run {name} is of kind = "{kind}", which leaves no model: its best trial runs with lockstep backtest '
                f"{name} (Python: ls.backtest with its parameters)."
            )
        permit(folder, trust=trust)
        restored = restore_run(folder, blobs)
        model = model_of(restored.prepared.payload, folder)
    differences = entry_differences(folder.read("numerics"), restored.numerics.body())
    if differences:
        model.notes = (
            f"numerics differ from the run's, so last digits may too: {'; '.join(differences)}",
            *model.notes,
        )
    return model
