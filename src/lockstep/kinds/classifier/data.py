"""The samples of a classifier run: generated, read from a file, or given; pinned by digest, restored from it.

Generated samples are made again from the seed and compared with their digest; all others are kept as a snapshot
`<digest>.safetensors`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from lockstep.core import files
from lockstep.core.errors import DataError, NotComparableError
from lockstep.learning.supervised.data import Samples, pattern_images, pattern_samples, samples_of
from lockstep.storage.blobs import array_bytes, damaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.kinds.classifier.spec import SamplesTable
    from lockstep.runs.kind import PrepareContext
    from lockstep.storage.blobs import BlobStore

GIVEN: Final = "data.samples"
"""Key of samples in `PrepareContext.python_objects`: whatever `samples_of` takes."""
LABELS: Final = "labels"
SUFFIX: Final = ".safetensors"
_INPUT: Final = "input."
_GENERATORS: Final = {"windows": pattern_samples, "images": pattern_images}

Form = Literal["windows", "images"]


@dataclass(frozen=True, kw_only=True)
class PinnedSamples:
    """Samples in hand and what names them. `made` is the recipe of generated ones."""

    samples: Samples
    made: Mapping[str, Any] | None
    origin: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The body of data.json: all of it is hashed."""
        digest = self.samples.digest
        return {
            "digest": digest,
            "samples": len(self.samples),
            "classes": list(self.samples.classes),
            "inputs": {name: list(shape) for name, shape in self.samples.shapes.items()},
            "made": None if self.made is None else dict(self.made),
            "snapshots": [digest] if self.made is None else [],
        }


def pin(table: SamplesTable, context: PrepareContext, *, form: Form, seed: int) -> PinnedSamples:
    """Make, read or take the samples; store those that cannot be made again. Raises DataError, DiskError."""
    given = context.python_objects.get(GIVEN)
    if given is None and table.source == "patterns":
        made = {"form": form, "samples_per_class": table.samples_per_class, "seed": seed}
        samples = _GENERATORS[form](table.samples_per_class, seed)
        return PinnedSamples(samples=samples, made=made, origin={"source": "patterns"})
    if given is not None:
        samples, origin = samples_of(given, classes=table.classes or None), {"source": "python"}
    elif table.path is not None:
        path = Path(table.path).expanduser()
        path = path if path.is_absolute() else context.base / path
        samples, origin = read_samples(path, table.classes), {"source": "file", "path": str(path)}
    else:
        raise DataError(
            'data.source = "python" stands for samples that were given in Python: give them again, or name a file with '
            'source = "file"'
        )
    _store(samples, context.blobs)
    return PinnedSamples(samples=samples, made=None, origin=origin)


def restore(body: Mapping[str, Any], blobs: BlobStore) -> PinnedSamples:
    """The same samples again from data.json alone.

    Raises NotComparableError when this version's generator makes others, DataError, IntegrityError, DiskError.
    """
    made = body["made"]
    if made is None:
        path = blobs.path(body["digest"], SUFFIX)
        stored = _stored(files.read_bytes(path), path, body["digest"], body["inputs"], body["classes"])
        return PinnedSamples(samples=stored, made=None)
    samples = _GENERATORS[made["form"]](made["samples_per_class"], made["seed"])
    if samples.digest != body["digest"]:
        raise NotComparableError(
            f"the run learned from generated samples of digest {body['digest']}; the generator of this version makes "
            f"{samples.digest}. Use the version that the run was made with."
        )
    return PinnedSamples(samples=samples, made=made)


def read_samples(path: Path, classes: tuple[str, ...] = ()) -> Samples:
    """Samples of a .npz or .safetensors file: `labels` (n,) and one array (n, ...) per input, by name.

    Nothing that could run code is read (`allow_pickle=False`). Raises DataError, DiskError.
    """
    data = files.read_bytes(path)
    arrays = _arrays(data, path)
    if LABELS not in arrays or len(arrays) < 2:
        raise DataError(
            f"{path}: a file of samples holds the array {LABELS!r} and at least one input; found {sorted(arrays)}"
        )
    labels = arrays.pop(LABELS)
    try:
        # By name: the order in a file is its writer's affair.
        return samples_of(({name: arrays[name] for name in sorted(arrays)}, labels), classes=classes or None)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _arrays(data: bytes, path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        if path.suffix == ".safetensors":
            return dict(load(data))
        if path.suffix == ".npz":
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
    except (SafetensorError, ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as {path.suffix} ({error}). Write the file anew.") from error
    raise DataError(f"{path}: a file of samples is .npz or .safetensors; found {path.suffix or 'no suffix'}")


def _store(samples: Samples, blobs: BlobStore) -> None:
    """Keep samples under their digest, which says more than the arrays: class names too. Raises DiskError."""

    def check(path: Path) -> None:
        _stored(files.read_bytes(path), path, samples.digest, samples.inputs, samples.classes)

    arrays = {f"{_INPUT}{name}": array for name, array in samples.inputs.items()}
    blobs.put_named(samples.digest, SUFFIX, lambda: array_bytes({**arrays, LABELS: samples.labels}), check)


def _stored(data: bytes, path: Path, digest: str, inputs: Iterable[str], classes: Sequence[str]) -> Samples:
    """The samples of a snapshot's bytes. Raises IntegrityError when they are not those of `digest`."""
    try:
        arrays = _arrays(data, path)
        samples = Samples(
            inputs={name: arrays[f"{_INPUT}{name}"] for name in inputs}, labels=arrays[LABELS], classes=tuple(classes)
        )
    except (DataError, KeyError) as error:
        raise damaged(str(path), f"the file is no snapshot of samples ({error})") from error
    if samples.digest != digest:
        raise damaged(str(path), f"the samples have digest {samples.digest}, not the file's name")
    return samples
