"""`Samples`: labelled samples, built in or from a user's data set.

    pattern_samples(50, seed=42)      six patterns as windows and eight figures       -> PyTorch
    pattern_images(200, seed=42)      four of them as 128 x 128 x 1 images            -> Keras
    samples_of((x, y))                arrays, named arrays, or a PyTorch Dataset of (input, ..., label)

All samples are in memory, because a data set is pinned by the digest of its columns before the first update.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from blake3 import blake3

from lockstep.core.errors import DataError, InputError
from lockstep.core.hashing import digest_columns
from lockstep.learning.supervised.synthetic_patterns import Pattern, Windows, make_windows
from lockstep.market.splits import cuts_from_end, purged
from lockstep.runs.seeds import MAX_SEED, SeedTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_PATTERNS: Final = (Pattern.BULL, Pattern.BEAR, Pattern.SIDEWAYS, Pattern.BREAKOUT)
IMAGE_SIZE: Final = 128
_PRICE_ROWS: Final = 96
_VOLUME_ROWS: Final = 28


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """n labelled samples.

    inputs   float32 arrays by name, (n, ...) each
    labels   int64 (n,), indices into `classes`
    classes  names of the classes

    Raises DataError for another shape or dtype, numbers that are not finite, or labels outside `classes`.
    """

    inputs: Mapping[str, NDArray[np.float32]]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.inputs:
            raise DataError("a data set has at least one input; found none")
        if self.labels.ndim != 1 or self.labels.dtype != np.int64 or len(self.labels) == 0:
            raise DataError(
                f"labels are whole numbers, one per sample, of at least one sample; found {self.labels.dtype} "
                f"{self.labels.shape}"
            )
        for name, array in self.inputs.items():
            if array.dtype != np.float32 or array.ndim < 2 or len(array) != len(self.labels):
                raise DataError(
                    f"input {name!r} is float32 with a row per sample, ({len(self.labels)}, ...); found {array.dtype} "
                    f"{array.shape}"
                )
            if not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0, 0])
                raise DataError(
                    f"input {name!r}, sample {row}: no finite number in float32. Remove or repair the sample."
                )
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            label = self.labels[(self.labels < 0) | (self.labels >= len(self.classes))][0]
            raise DataError(f"labels are 0 to {len(self.classes) - 1}, places in the list of classes; found {label}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample, by input name."""
        return {name: array.shape[1:] for name, array in self.inputs.items()}

    @property
    def per_class(self) -> int | None:
        """Samples per class where all classes have the same number, else None."""
        counts = set(np.bincount(self.labels, minlength=len(self.classes)).tolist())
        return int(counts.pop()) if len(counts) == 1 else None

    @property
    def digest(self) -> str:
        """Digest of all inputs with their names, the labels and the class names."""
        inputs = {f"input.{name}": array for name, array in self.inputs.items()}
        classes = {f"class.{name}": np.array([place]) for place, name in enumerate(self.classes)}
        return digest_columns({**inputs, "label": self.labels, **classes})

    def take(self, rows: NDArray[np.int64]) -> Samples:
        """The samples of `rows`, in their order, copied."""
        inputs = {name: array[rows] for name, array in self.inputs.items()}
        return Samples(inputs=inputs, labels=self.labels[rows], classes=self.classes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """A split data set.

    train       samples to learn from
    validation  evaluated after each epoch; None for none
    test        evaluated once, at the end; None for none
    """

    train: Samples
    validation: Samples | None = None
    test: Samples | None = None


def check_training(samples: Samples, held_out: Samples | None = None) -> None:
    """Raise DataError for samples of one class only, or where `held_out` has other inputs than `samples`."""
    if len(set(samples.labels.tolist())) < 2:
        raise DataError(
            f"a classifier tells at least two classes apart; all {len(samples)} samples have label {samples.labels[0]}"
        )
    if held_out is not None and list(held_out.shapes.items()) != list(samples.shapes.items()):
        raise DataError(
            "samples to validate on have the inputs of those to train on, of the same shapes in the same order: "
            f"{samples.shapes}; found {held_out.shapes}"
        )


def train_test_split(samples: Samples, *, test_size: float, random_state: int) -> tuple[Samples, Samples]:
    """Split samples into (train, test), with the same share of each class; `random_state` decides which.

    test_size   share of each class in the test part, 0 < test_size < 1, rounded to whole samples

    Raises InputError when a part would be empty.
    """
    if isinstance(test_size, bool) or not 0.0 < test_size < 1.0:
        raise InputError(f"test_size is a share between 0 and 1; found {test_size!r}")
    rng = SeedTree(random_state).child("split").generator()
    held = []
    for label in range(len(samples.classes)):
        rows = rng.permutation(np.flatnonzero(samples.labels == label))
        held.append(rows[: int(len(rows) * test_size + 0.5)])
    test = np.sort(np.concatenate(held)).astype(np.int64)
    train = np.setdiff1d(np.arange(len(samples), dtype=np.int64), test)
    if len(test) == 0 or len(train) == 0:
        raise InputError(
            f"test_size = {test_size} of {len(samples)} samples in {len(samples.classes)} classes leaves a part empty; "
            "give more samples or another share"
        )
    return samples.take(train), samples.take(test)


def pattern_samples(samples_per_class: int, seed: int) -> Samples:
    """Windows of the six patterns: "price" (4, 64), "activity" (3, 64) and "about" (8,), all scale-free."""
    windows = make_windows(samples_per_class, SeedTree(seed).child("data"))
    price, activity = _price(windows), _activity(windows)
    inputs = {"price": price, "activity": activity, "about": _about(windows, price, activity)}
    return Samples(
        inputs={name: array.astype(np.float32) for name, array in inputs.items()},
        labels=windows.label,
        classes=tuple(map(str, windows.patterns)),
    )


def _price(windows: Windows) -> NDArray[np.float64]:
    """Open, high, low, close (n, 4, B), as a fraction of the window's range: 0 its low, 1 its high."""
    low = windows.low.min(axis=1)[:, None]
    span = windows.high.max(axis=1)[:, None] - low
    return np.stack([(column - low) / span for column in (windows.open, windows.high, windows.low, windows.close)], 1)


def _activity(windows: Windows) -> NDArray[np.float64]:
    """Volume and bar range as multiples of their means (divided by 4), and body by range in [-1, 1]: (n, 3, B)."""
    ranges = windows.high - windows.low
    body = (windows.close - windows.open) / np.where(ranges > 0.0, ranges, 1.0)
    return np.stack([_by_mean(windows.volume) / 4.0, _by_mean(ranges) / 4.0, body], 1)


def _by_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values / (_total(values) / values.shape[1])[:, None]


def _total(values: NDArray[np.float64]) -> NDArray[np.float64]:
    # One after the other: NumPy's own sum takes an order that depends on the CPU's vector width.
    return np.cumsum(values, axis=1)[:, -1]


def _about(windows: Windows, price: NDArray[np.float64], activity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eight figures of a window, (n, 8).

    net change by range; place of the last close; share of rising bars; place in time of the low; place in time of the
    high; volume of the last quarter by that of the first; bar range of the same; largest bar range by the mean.
    """
    bars = price.shape[2]
    quarter = bars // 4
    first, last = activity[:, :, :quarter], activity[:, :, -quarter:]
    figures = [
        price[:, 3, -1] - price[:, 0, 0],
        price[:, 3, -1],
        (windows.close > windows.open).sum(axis=1) / bars,
        price[:, 2].argmin(axis=1) / bars,
        price[:, 1].argmax(axis=1) / bars,
        _total(last[:, 0]) / _total(first[:, 0]) / 4.0,
        _total(last[:, 1]) / _total(first[:, 1]) / 4.0,
        activity[:, 1].max(axis=1),
    ]
    return np.stack(figures, axis=1)


def pattern_images(samples_per_class: int, seed: int) -> Samples:
    """Four patterns drawn as candles: "image" (128, 128, 1), two columns per bar, volume in the lowest 28 rows.

    Wicks 0.5, bodies 1.0 where the bar rose and 0.75 where it fell, volume 0.25.
    """
    windows = make_windows(samples_per_class, SeedTree(seed).child("data"), patterns=IMAGE_PATTERNS)
    price = (1.0 - _price(windows)) * (_PRICE_ROWS - 1)  # row 0 is the window's high
    opened, high, low, close = (price[:, i][:, None, :] for i in range(4))
    rows = np.arange(IMAGE_SIZE, dtype=np.float64)[None, :, None]
    tall = windows.volume / windows.volume.max(axis=1)[:, None] * _VOLUME_ROWS
    wick = (rows >= np.floor(high)) & (rows <= np.floor(low))
    body = (rows >= np.floor(np.minimum(opened, close))) & (rows <= np.floor(np.maximum(opened, close)))
    volume = rows >= IMAGE_SIZE - np.floor(tall)[:, None, :]
    colour = np.where((windows.close >= windows.open)[:, None, :], 1.0, 0.75)
    bodies = np.where(body, colour, np.where(volume, 0.25, 0.0))
    image = np.empty((len(windows), IMAGE_SIZE, IMAGE_SIZE, 1), dtype=np.float32)
    image[:, :, 0::2, 0] = np.where(wick & ~body, 0.5, bodies)
    image[:, :, 1::2, 0] = bodies
    return Samples(inputs={"image": image}, labels=windows.label, classes=tuple(map(str, windows.patterns)))


def samples_of(dataset: Any, *, classes: tuple[str, ...] | None = None) -> Samples:
    """Convert a user's data set to `Samples`: (x, y), ({name: x}, y), rows of (input, ..., label), or `Samples`.

    Rows are anything with `len` and `[i]`, such as a PyTorch Dataset. Each is read once, in order, so random
    augmentation is drawn once and then fixed. Class names default to "0", "1" ... Raises DataError.
    """
    if isinstance(dataset, Samples):
        return dataset
    if isinstance(dataset, Mapping) or hasattr(dataset, "columns"):
        held = ", ".join(repr(name) for name in list(getattr(dataset, "columns", dataset))[:6])
        raise DataError(
            f"inputs and labels are two values, (x, y) or ({{name: x}}, y); found one {type(dataset).__name__} with "
            f"{held or 'nothing'}. Give its inputs and its labels apart, such as ({{'x': samples['x']}}, "
            "samples['labels'])"
        )
    if isinstance(dataset, tuple) and len(dataset) == 2:
        x, y = dataset
        inputs = dict(x) if isinstance(x, Mapping) else {"input": x}
    elif hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and len(dataset) > 0:
        columns = list(zip(*_rows(dataset), strict=True))
        if len(columns) < 2:
            raise DataError("a sample of a data set is (input, ..., label); found one value only")
        names = ["input"] if len(columns) == 2 else [f"input{i}" for i in range(len(columns) - 1)]
        inputs = {name: _stacked(name, column) for name, column in zip(names, columns[:-1], strict=True)}
        y = _stacked("label", columns[-1])
    else:
        raise DataError(
            f"a data set is Samples, (x, y), ({{name: x}}, y) or rows of (input, ..., label), at least one; found "
            f"{'an empty ' if hasattr(dataset, '__len__') and len(dataset) == 0 else ''}{type(dataset).__name__}"
        )
    labels = _labels(y, classes)
    if classes is None:
        classes = tuple(map(str, range(int(labels.max()) + 1)))
    return Samples(
        inputs={str(name): _numbers(str(name), array) for name, array in inputs.items()},
        labels=labels,
        classes=classes,
    )


def _labels(values: Any, classes: tuple[str, ...] | None) -> NDArray[np.int64]:
    labels = _array("labels", values)
    if labels.ndim != 1 or len(labels) == 0:
        raise DataError(f"labels are one whole number per sample, of at least one sample; found shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"labels are whole numbers, 0 to the number of classes - 1; found {labels.dtype}. Code names as their "
            "places in a list of classes."
        )
    low, high = int(labels.min()), int(labels.max())
    # Without names the number of classes is a guess; a stray id must not become a network of a billion outputs.
    if low < 0 or (classes is None and high >= len(labels)):
        raise DataError(
            f"labels are places in a list of classes, from 0 on, {len(labels)} classes at most for as many samples; "
            f"found {low} to {high}. Number the classes 0, 1, 2 ..."
        )
    return labels.astype(np.int64)


def _numbers(name: str, values: Any) -> NDArray[np.float32]:
    array = _array(f"input {name!r}", values)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"input {name!r} is an array of numbers (float32 is what is kept); found {array.dtype}. Code text and "
            "times as numbers."
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and `Samples` names its sample
        return np.ascontiguousarray(array, dtype=np.float32)


def _array(name: str, values: Any) -> NDArray[Any]:
    """Convert an array, a tensor with or without gradient on any device, or nested lists of one length."""
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name}: not an array with one row per sample ({error})") from error


def _rows(dataset: Any) -> Iterator[tuple[NDArray[Any], ...]]:
    for i in range(len(dataset)):
        try:
            row = dataset[i]
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"a data set of {len(dataset)} samples has [0] to [{len(dataset) - 1}]; [{i}] of this "
                f"{type(dataset).__name__} raises {type(error).__name__}: {error}. Give (x, y) in its place"
            ) from error
        if not isinstance(row, tuple | list):
            raise DataError(f"sample {i} of a data set is (input, ..., label); found {type(row).__name__}")
        yield tuple(_array(f"sample {i}", value) for value in row)


def _stacked(name: str, column: tuple[NDArray[Any], ...]) -> NDArray[Any]:
    shapes = {array.shape for array in column}
    if len(shapes) != 1:
        raise DataError(f"{name!r} has one shape in every sample of a data set; found {sorted(shapes)}")
    return np.stack(column)


def three_parts(
    samples: Samples, *, test_size: float, val_size: float, seed: int
) -> tuple[Samples, Samples | None, Samples | None]:
    """Split samples into (train, validation, test) (R11.4): the test part is drawn with `seed`, then, from the rest,
    the validation part with seed + 1. A part of size 0 is None. Raises InputError.
    """
    train, validation, test = samples, None, None
    if test_size != 0:
        train, test = train_test_split(train, test_size=test_size, random_state=seed)
    if val_size != 0:
        train, validation = train_test_split(train, test_size=val_size, random_state=(seed + 1) & MAX_SEED)
    return train, validation, test


def parts_in_order(samples: Samples, *, test_size: float, val_size: float, purge: int = 0) -> Parts:
    """Split samples that are in order of time and share bars with their neighbours: the last are the test part, those
    before it the validation part, and `purge` samples at each border belong to no part. Raises InputError.

    purge   at least the bars of a window plus those that its label looks ahead, in samples (`market.splits`, eq. 1)
    """
    count = len(samples)
    held = _share(count, test_size)
    validation = _share(count - held, val_size)
    # The purge before the test part comes out of the training part, so that validation keeps its size.
    between = validation + purge if validation and held else validation
    rows = np.arange(count, dtype=np.int64)
    train, middle, last = purged(rows, rows, cuts_from_end(count, (between, held)), reach=purge)
    if len(train) < 1 or bool(test_size) > held or bool(val_size) > validation:
        raise InputError(
            f"{len(samples)} samples in order, test_size = {test_size}, validation_split = {val_size} and purge = "
            f"{purge} leave a part empty; give more samples or other shares"
        )
    return Parts(
        train=samples.take(train),
        validation=samples.take(middle) if len(middle) else None,
        test=samples.take(last) if len(last) else None,
    )


def _share(count: int, size: float) -> int:
    return int(count * size + 0.5)


def seen_before(parts: Parts) -> int:
    """How many samples of validation and test equal one of training, input by input and bit by bit."""
    trained = set(_sample_hashes(parts.train))
    held_out = (part for part in (parts.validation, parts.test) if part is not None)
    return sum(item in trained for part in held_out for item in _sample_hashes(part))


def _sample_hashes(samples: Samples) -> Iterator[bytes]:
    for row in range(len(samples)):
        yield blake3(b"".join(array[row].tobytes() for array in samples.inputs.values())).digest()
