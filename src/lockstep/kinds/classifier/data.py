"""The samples of a classifier run: generated, from a file, or from Python; pinned by digest, restored from it.

Generated samples are made again from the seed and compared with their digest; all others are stored as a snapshot
`<digest>.safetensors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from lockstep.core import files
from lockstep.core.errors import DataError, NotComparableError
from lockstep.kinds.shared.spec_paths import spec_path
from lockstep.learning.supervised.data import Samples, pattern_images, pattern_samples, samples_of
from lockstep.learning.supervised.sample_files import arrays_of
from lockstep.storage.blob_checks import check_arrays
from lockstep.storage.blobs import array_bytes, damaged

if TYPE_CHECKING:
    from lockstep.kinds.classifier.spec import SamplesTable
    from lockstep.runs.kind import PrepareContext
    from lockstep.storage.blobs import BlobStore

SAMPLES_KEY: Final = "data.samples"
"""Key of samples in `PrepareContext.python_objects`: whatever `samples_of` takes."""
LABELS: Final = "labels"
SUFFIX: Final = ".safetensors"
_INPUT: Final = "input."
_GENERATORS: Final = {"windows": pattern_samples, "images": pattern_images}

Form = Literal["windows", "images"]


@dataclass(frozen=True, kw_only=True)
class PinnedSamples:
    """Samples that are loaded and pinned.

    recipe   form, number and seed of generated samples; None for all others
    """

    samples: Samples
    recipe: Mapping[str, Any] | None
    origin: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The body of data.json; all of it is hashed into the fingerprint."""
        digest = self.samples.digest
        return {
            "digest": digest,
            "samples": len(self.samples),
            "classes": list(self.samples.classes),
            "inputs": {name: list(shape) for name, shape in self.samples.shapes.items()},
            # Enough to make the samples again, so a run of generated samples needs no snapshot.
            "made": None if self.recipe is None else dict(self.recipe),
            "snapshots": [digest] if self.recipe is None else [],
        }


def pin(table: SamplesTable, context: PrepareContext, *, form: Form, seed: int) -> PinnedSamples:
    """Make, read or take the samples; store those that cannot be made again. Raises DataError, DiskError."""
    objects = context.python_objects.get(SAMPLES_KEY)
    if objects is None and table.source == "patterns":
        recipe = {"form": form, "samples_per_class": table.samples_per_class, "seed": seed}
        samples = _GENERATORS[form](table.samples_per_class, seed)
        return PinnedSamples(samples=samples, recipe=recipe, origin={"source": "patterns"})
    if objects is not None:
        # Python comes first: whoever gives samples in the call means those, whatever the spec names.
        samples, origin = samples_of(objects, classes=table.classes or None), {"source": "python"}
    elif table.path is not None:
        path = spec_path(table.path, context.base)
        samples, origin = read_samples(path, table.classes), {"source": "file", "path": str(path)}
    else:
        raise DataError(
            'data.source = "python" stands for samples that were given in Python: give them again, or name a file with '
            'source = "file"'
        )
    # A file may change or vanish before `verify` reads it; the snapshot does not.
    _store(samples, context.blobs)
    return PinnedSamples(samples=samples, recipe=None, origin=origin)


def restore(body: Mapping[str, Any], blobs: BlobStore) -> PinnedSamples:
    """The same samples from data.json and the snapshot.

    Raises NotComparableError when the generator of this version makes others, DataError, IntegrityError, DiskError.
    """
    recipe = body["made"]
    if recipe is None:
        path = blobs.path(body["digest"], SUFFIX)
        stored = _stored(files.read_bytes(path), path, body["digest"], body["inputs"], body["classes"])
        return PinnedSamples(samples=stored, recipe=None)
    # Generated samples are not stored; the digest shows whether this version still makes the same ones.
    samples = _GENERATORS[recipe["form"]](recipe["samples_per_class"], recipe["seed"])
    if samples.digest != body["digest"]:
        raise NotComparableError(
            f"the run learned from generated samples of digest {body['digest']}; the generator of this version makes "
            f"{samples.digest}. Use the version that the run was made with."
        )
    return PinnedSamples(samples=samples, recipe=recipe)


def read_samples(path: Path, classes: tuple[str, ...] = ()) -> Samples:
    """Samples of a .npz or .safetensors file: `labels` (n,) and one array (n, ...) per input, by name.

    Nothing that could run code is read (`allow_pickle=False`). Raises DataError, DiskError.
    """
    data = files.read_bytes(path)
    arrays = arrays_of(data, path)
    # Labels are found by name, since any array could hold whole numbers.
    if LABELS not in arrays or len(arrays) < 2:
        raise DataError(
            f"{path}: a file of samples holds the array {LABELS!r} and at least one input; found {sorted(arrays)}"
        )
    labels = arrays.pop(LABELS)
    try:
        # Sorted by name: the order in a file depends on its writer, and would change the digest.
        return samples_of(({name: arrays[name] for name in sorted(arrays)}, labels), classes=classes or None)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _store(samples: Samples, blobs: BlobStore) -> None:
    """Store samples under their digest, which covers class names beside the arrays. Raises DiskError."""

    def check(path: Path) -> None:
        _stored(files.read_bytes(path), path, samples.digest, samples.inputs, samples.classes)

    # With a prefix, so that an input called "labels" cannot take the place of the labels.
    arrays = {f"{_INPUT}{name}": array for name, array in samples.inputs.items()}
    blobs.put_named(samples.digest, SUFFIX, lambda: array_bytes({**arrays, LABELS: samples.labels}), check)


def check_file(path: Path, digest: str, data: Mapping[str, Any]) -> None:
    """Compare the file of a snapshot with its digest, for `storage.blob_checks`. Raises IntegrityError, DiskError.

    The same suffix holds the weights with which a training of an instance begins.
    """
    if digest == data.get("digest"):
        _stored(files.read_bytes(path), path, digest, data["inputs"], data["classes"])
    else:
        check_arrays(path, digest)


def _stored(data: bytes, path: Path, digest: str, inputs: Iterable[str], classes: Sequence[str]) -> Samples:
    """The samples of a snapshot's bytes. Raises IntegrityError when they are not those of `digest`."""
    try:
        arrays = arrays_of(data, path)
        samples = Samples(
            inputs={name: arrays[f"{_INPUT}{name}"] for name in inputs}, labels=arrays[LABELS], classes=tuple(classes)
        )
    except (DataError, KeyError) as error:
        raise damaged(str(path), f"the file is no snapshot of samples ({error})") from error
    if samples.digest != digest:
        raise damaged(str(path), f"the samples have digest {samples.digest}, not the file's name")
    return samples
