"""The specs of `kind = "classifier"` (PyTorch) and `kind = "classifier-keras"`: every key, its unit and its rule."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lockstep.kinds.shared.gradient_spec import Device, NetworkTable, NetworkTrainingTable, RecordingTable
from lockstep.kinds.shared.retraining import SessionTable
from lockstep.runs.spec import NOT_IDENTITY, RunSpec, SpecModel


class SamplesTable(SpecModel):
    """`[data]`: where the samples come from. Not in the fingerprint, which has their digest."""

    source: Literal["patterns", "file", "python"] = "patterns"
    """"patterns": the generator of `learning.supervised.synthetic_patterns`; "python": samples from Python."""
    samples_per_class: int = Field(default=50, ge=1)
    """Number of samples of each class that are generated."""
    path: str | None = None
    """A .npz or .safetensors file, relative to the spec file: the array `labels` (n,) and inputs by name (n, ...)."""
    classes: tuple[str, ...] = ()
    """Names of the classes of a file, label 0 first; default: their numbers."""

    @model_validator(mode="after")
    def _path_fits(self) -> Self:
        # Both ways: a path that nothing reads would look as if it were used.
        if (self.source == "file") != (self.path is not None):
            raise ValueError(
                f'path and source = "file" come together; found source = "{self.source}" and path = {self.path!r}'
            )
        return self


class ImagesTable(SamplesTable):
    """`[data]` of the Keras kind, whose generated samples are images."""

    samples_per_class: int = Field(default=200, ge=1)


class _Passes(SpecModel):
    """Epochs, batches, and the parts that are held out."""

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=16, ge=1)
    test_size: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Share of all samples that is held out and predicted once, at the end; 0 holds out nothing."""
    validation_split: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the rest that is predicted after each epoch."""
    split: Literal["random", "in_order"] = "random"
    """How the parts are drawn: at random from each class, or in the order of time, the last for the test."""
    purge: int = Field(default=0, ge=0)
    """Samples that are left out at each border of parts in order, since window or label reaches across it."""

    @model_validator(mode="after")
    def _purges_in_order(self) -> Self:
        # Ignored in silence it would look like protection against overlapping windows.
        if self.purge and self.split != "in_order":
            raise ValueError('purge belongs to split = "in_order": parts drawn at random border everywhere')
        return self


class FitTable(_Passes, NetworkTrainingTable):
    """`[training]`: how the network is trained. The defaults are those of `train_pytorch_model`."""


class KerasFitTable(_Passes):
    """`[training]` of the Keras kind, with the defaults of R11.18; the optimiser is Keras' Adam."""

    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=0.001, gt=0.0)
    validation_split: float = Field(default=0.2, ge=0.0, lt=1.0)


class ClassifierNetwork(NetworkTable):
    """`[network]`: the built-in network, or "file.py:Class"."""

    name: str = Field(default="pattern-net", min_length=1)


class ClassifierSpec(RunSpec):
    """A network that tells the classes of a data set apart, trained with PyTorch."""

    kind: Literal["classifier"] = "classifier"
    device: Device = "cpu"
    """"auto" is decided before the run and stored."""
    data: SamplesTable = Field(default=SamplesTable(), json_schema_extra=NOT_IDENTITY)
    network: ClassifierNetwork = ClassifierNetwork()
    training: FitTable = FitTable()
    recording: RecordingTable = RecordingTable()
    session: SessionTable = SessionTable()


class KerasRecordingTable(SpecModel):
    """`[recording]` of the Keras kind: only "none".

    Keras does not hand out its gradients. A step records its loss, and the digests of its samples and of the weights
    after it.
    """

    level: Literal["none"] = "none"


class KerasClassifierSpec(RunSpec):
    """A network that tells the classes of images apart, trained with Keras on the CPU."""

    kind: Literal["classifier-keras"] = "classifier-keras"
    data: ImagesTable = Field(default=ImagesTable(), json_schema_extra=NOT_IDENTITY)
    training: KerasFitTable = KerasFitTable()
    recording: KerasRecordingTable = KerasRecordingTable()
