"""`KerasLearner`: a Keras 3 image classifier as a `fit.FitLearner`; one `train_on_batch` is one update.

Keras' own `fit` is not used: with a seed set it repeats the same batch order in every epoch, and it cannot stop inside
one. Every initial weight has its own seed, and the network has no random layer, so an update draws nothing.

Keras computes on the CPU, on one thread with the torch backend. TensorFlow accepts these settings only before its
first operation in a process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import DataError, IntegrityError
from lockstep.core.libraries import require
from lockstep.learning.supervised.fit import Measured
from lockstep.learning.supervised.keras_library import require_keras
from lockstep.runs import arithmetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.supervised.data import Samples
    from lockstep.runs.seeds import SeedTree

_VARIABLES_OF_BACKENDS: Final = ("TF_", "XLA_", "JAX_", "MKL_")
_MESSAGES_OF_BACKENDS: Final = ("TF_CPP_", "JAX_LOGGING", "JAX_TRACEBACK", "JAX_COMPILATION_CACHE")
_CHUNK: Final = 64
_MIN_SIDE: Final = 25


def numerics_entries() -> dict[str, str]:
    """Versions and settings of Keras and its backend, for a run's numerics."""
    keras = require_keras()
    backend = str(keras.backend.backend())
    h5py = require("h5py", extra="keras", purpose="storing a Keras model")  # it writes an artifact
    # They come from variables, from keras.json of the home folder or KERAS_HOME, or from code.
    settings = {
        "floatx": str(keras.config.floatx()),
        "epsilon": repr(float(keras.config.epsilon())),
        "image_data_format": str(keras.config.image_data_format()),
        "dtype_policy": str(keras.config.dtype_policy().name),
    }
    entries = {
        "keras": str(keras.__version__),
        "keras.backend": backend,
        "keras.settings": arithmetic.written(settings),
        "h5py": str(h5py.__version__),
    }
    if backend == "torch":
        from lockstep.learning.gradients import determinism

        return determinism.numerics_entries("cpu") | entries
    _settle()
    library = require(backend, extra="keras", purpose="training with Keras")
    variables = {
        name: value
        for name, value in (arithmetic.variables(_VARIABLES_OF_BACKENDS) | arithmetic.variables_of_onednn()).items()
        if not name.startswith(_MESSAGES_OF_BACKENDS)
    }
    entries |= {
        backend: str(library.__version__),
        f"{backend}.variables": arithmetic.written(variables),
        "device": "cpu",
    }
    if backend == "tensorflow":
        # Each of these two changed last bits when it was tried.
        entries["tensorflow.threads"] = str(library.config.threading.get_intra_op_parallelism_threads())
        entries["tensorflow.onednn"] = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default")
    return entries


class KerasLearner:
    """Network, Adam and samples; `held_out` are those that `validate` evaluates, None for none.

    Raises DataError for samples without exactly one image each.
    """

    def __init__(
        self, samples: Samples, *, learning_rate: float, seeds: SeedTree, held_out: Samples | None = None
    ) -> None:
        self._keras = require_keras()
        _settle()
        self._x, self._y = _image(samples), samples.labels
        self._held_out = None if held_out is None else (_image(held_out), held_out.labels)
        with self._keras.device("cpu"):
            self.model: Any = build_model(self._x.shape[1:], len(samples.classes), seeds)
            optimizer = self._keras.optimizers.Adam(learning_rate=float(learning_rate), name="adam")
            self.model.compile(
                optimizer=optimizer,
                loss="sparse_categorical_crossentropy",
                metrics=["accuracy"],
                # Compilers choose the order of operations by machine.
                jit_compile=False,
            )
            optimizer.build(self.model.trainable_variables)

    @property
    def samples(self) -> int:
        """How many samples it trains on."""
        return len(self._y)

    def update(self, index: int, rows: NDArray[np.int64]) -> Measured:
        """One Adam update from the samples `rows`. `index` has no effect: the network draws nothing."""
        _settle()
        with self._keras.device("cpu"):
            # Keras' figures are running means: reset, they are those of this batch alone.
            self.model.reset_metrics()
            metrics = self.model.train_on_batch(self._x[rows], self._y[rows], return_dict=True)
        return _measured(metrics, len(rows))

    def validate(self) -> Measured | None:
        """Loss and accuracy on the validation samples; None where there are none."""
        if self._held_out is None:
            return None
        _settle()
        x, y = self._held_out
        total = Measured(loss_sum=0.0, correct=0, count=0)
        with self._keras.device("cpu"):
            for start in range(0, len(y), _CHUNK):
                self.model.reset_metrics()
                part = slice(start, start + _CHUNK)
                metrics = self.model.test_on_batch(x[part], y[part], return_dict=True)
                total = total + _measured(metrics, len(y[part]))
        self.model.reset_metrics()
        return total

    def weights(self) -> dict[str, NDArray[Any]]:
        """A copy of the network's weights by path (layer/name)."""
        return {str(weight.path): np.array(_numpy(self._keras, weight)) for weight in self.model.weights}

    def get_state(self) -> dict[str, Any]:
        """Weights by path, and the optimiser's variables by index: Keras gives those no stable names."""
        variables = self.model.optimizer.variables
        adam = {str(place): np.array(_numpy(self._keras, item)) for place, item in enumerate(variables)}
        return {"weights": self.weights(), "adam": adam}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned. Raises IntegrityError for that of another network."""
        weights, variables = self.model.weights, self.model.optimizer.variables
        if state["weights"].keys() != {str(weight.path) for weight in weights} or len(state["adam"]) != len(variables):
            raise IntegrityError(
                f"a state belongs to the network it was taken from; this one has {sorted(state['weights'])}"
            )
        with self._keras.device("cpu"):
            for weight in weights:
                weight.assign(state["weights"][str(weight.path)])
            for place, item in enumerate(variables):
                item.assign(state["adam"][str(place)])


def build_model(shape: tuple[int, ...], classes: int, seeds: SeedTree) -> Any:
    """Build conv 32 - pool - conv 64 - pool - dense 128 - softmax, each kernel from its own seed.

    Raises DataError for images that are smaller than the two poolings need.
    """
    keras = require_keras()
    _check_shape(shape)
    layers = keras.layers

    def first(name: str) -> Any:
        # 31 bits: what every backend takes as a seed.
        return keras.initializers.GlorotUniform(seed=seeds.child("network", name).integer() >> 32)

    return keras.Sequential(
        [
            keras.Input(shape=shape, name="image"),
            layers.Conv2D(32, 3, strides=2, activation="relu", kernel_initializer=first("conv_32"), name="conv_32"),
            layers.MaxPooling2D(2, name="pool_32"),
            layers.Conv2D(64, 3, activation="relu", kernel_initializer=first("conv_64"), name="conv_64"),
            layers.MaxPooling2D(4, name="pool_64"),
            layers.Flatten(name="flat"),
            layers.Dense(128, activation="relu", kernel_initializer=first("dense_128"), name="dense_128"),
            layers.Dense(classes, activation="softmax", kernel_initializer=first("classes"), name="classes"),
        ],
        # Every layer has a name: Keras numbers unnamed ones per process, and the file's bytes would differ.
        name="radar_model",
    )


def weight_count(shape: tuple[int, ...], classes: int) -> int:
    """Number of weights of `build_model`, computed without building it. Raises DataError for the same images."""
    _check_shape(shape)
    # Convolutions of 3 x 3 without padding, the first in steps of 2; then means over 2 x 2 and 4 x 4 places.
    height, width = ((((side - 3) // 2 + 1) // 2 - 2) // 4 for side in shape[:2])
    convolved = (9 * shape[2] + 1) * 32 + (9 * 32 + 1) * 64
    return convolved + (height * width * 64 + 1) * 128 + (128 + 1) * classes


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or min(shape[:2]) < _MIN_SIDE:
        raise DataError(
            f"an image is (height, width, channels) with sides of at least {_MIN_SIDE}; found samples of shape {shape}"
        )


def probabilities(model: Any, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Class probabilities (n, classes) of a trained model for images (n, height, width, channels)."""
    keras = require_keras()
    _settle()
    with keras.device("cpu"):
        parts = [
            _numpy(keras, model(images[start : start + _CHUNK], training=False))
            for start in range(0, len(images), _CHUNK)
        ]
    return np.concatenate(parts).astype(np.float64)


def h5_bytes(model: Any) -> bytes:
    """The model as bytes of an .h5 file, architecture and weights, for `keras.models.load_model`.

    Lockstep itself never uses that function, which can run code: it builds the network and loads only the weights
    (`load_weights`).
    """
    absl = logging.getLogger("absl")
    level = absl.level
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        try:
            absl.setLevel(logging.ERROR)  # it warns that .h5 is an older format
            with _numpy_conversion():
                model.save(path, include_optimizer=False)
        finally:
            absl.setLevel(level)
        return path.read_bytes()


def load_weights(path: Path | str, shape: tuple[int, ...], classes: int) -> Any:
    """The network of `build_model` with the weights of an .h5 file, whose stored architecture is ignored.

    Raises IntegrityError when the weights are another network's.
    """
    from lockstep.runs.seeds import SeedTree

    model = build_model(shape, classes, SeedTree(0))
    try:
        model.load_weights(path)
    except (ValueError, KeyError) as error:
        raise IntegrityError(f"{path}: not the weights of this network ({error}). Train it again.") from error
    return model


def _image(samples: Samples) -> NDArray[np.float32]:
    if len(samples.inputs) != 1:
        raise DataError(f"the Keras trainer takes one image per sample; found inputs {sorted(samples.inputs)}")
    return next(iter(samples.inputs.values()))


def _measured(metrics: Mapping[str, Any], count: int) -> Measured:
    return Measured(
        loss_sum=float(metrics["loss"]) * count, correct=round(float(metrics["accuracy"]) * count), count=count
    )


def _numpy(keras: Any, value: Any) -> NDArray[Any]:
    with _numpy_conversion():
        array: NDArray[Any] = keras.ops.convert_to_numpy(value)
    return array


@contextlib.contextmanager
def _numpy_conversion() -> Iterator[None]:
    """Hide NumPy 2's DeprecationWarning about the way in which Keras' torch backend converts tensors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        yield


def _settle() -> None:
    """Set one thread and deterministic algorithms, as far as the backend allows."""
    keras = require_keras()
    if keras.backend.backend() == "torch":
        from lockstep.learning.gradients import determinism

        determinism.settle()
    elif keras.backend.backend() == "tensorflow":
        _settle_tensorflow()


def _settle_tensorflow() -> None:
    tf = require("tensorflow", extra="keras", purpose="training with Keras on TensorFlow")
    with contextlib.suppress(RuntimeError):  # raised once TensorFlow has computed: its threads are fixed then
        if tf.config.threading.get_intra_op_parallelism_threads() != 1:
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
            tf.config.experimental.enable_op_determinism()
