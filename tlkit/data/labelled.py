"""Whatever Keras's `fit` takes as images with labels, seen in one way."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit.data.batches import Batches
from tlkit.data.dataset import Split
from tlkit.data.images import ImageFiles
from tlkit.errors import DataError

TAKEN = (
    "a Split, arrays (images, labels), a batched tf.data.Dataset, a keras.utils.PyDataset or a PyTorch "
    "DataLoader that gives (images, labels)"
)


@dataclass(frozen=True)
class Labelled:
    """Images and labels of one of the kinds that Keras takes.

    Attributes:
        name: what the caller calls these data, for errors.
        images: an array or `ImageFiles`, `(n, height, width, channels)`; None where batches were given.
        labels: class indices `(n,)`, or rows `(n, classes)`; of batches, those of the first one.
        weights: sample weights `(n,)`, or None.
        batches: the data set that was given; None where arrays were.
        image_shape: of one image.
    """

    name: str
    images: np.ndarray | ImageFiles | None
    labels: np.ndarray
    weights: np.ndarray | None
    batches: Any
    image_shape: tuple[int, ...]

    @property
    def all_labels(self) -> np.ndarray | None:
        """The labels of all examples, or None where only the batches know them."""
        if isinstance(self.batches, Batches):
            return self.batches.labels  # type: ignore[return-value]
        return None if self.batches is not None else self.labels

    @property
    def in_rows(self) -> bool:
        """Whether a label is a row of classes, and not a class index."""
        return self.labels.ndim > 1 and self.labels.shape[-1] > 1

    def __len__(self) -> int:
        assert self.images is not None
        return len(self.images)

    def steps(self, batch_size: int) -> int:
        """Return the number of steps of an epoch; a tf.data.Dataset that does not know it is counted."""
        if self.batches is None:
            return -(-len(self) // batch_size)
        try:
            return len(self.batches)
        except TypeError:
            return sum(1 for _ in self.batches)

    def each_batch(self) -> Iterator[tuple[np.ndarray, Any, Any]]:
        """Yield images, labels and weights (or None) of each batch, as arrays."""
        for batch in in_order(self.batches):
            yield unpacked(batch)

    def check(self, model: keras.Model) -> None:
        """Raise DataError where images or labels do not fit a classifier, before it is trained.

        Of batches the first one is looked at.
        """
        expected = tuple(model.inputs[0].shape[1:])
        if not fits(self.image_shape, expected):
            raise DataError(
                f"The images of {self.name} have shape {self.image_shape}, and {model.name!r} takes "
                f"{expected}. Load them with image_size={expected[0]}, or build the model for theirs."
            )
        outputs = model.outputs[0].shape[-1]
        check_labels(self.labels, outputs, self.name)
        known = self.all_labels
        if known is not None and known is not self.labels:
            check_labels(np.asarray(known), outputs, self.name)


def labelled(data: Any, name: str = "train") -> Labelled:
    """Look at images with labels, whichever of Keras's kinds they are.

    Raises:
        DataError: they are of another kind, have no labels, or cannot be gone through twice.
        NoLabelsError: the split is unlabelled.

    >>> data = labelled((np.zeros((6, 8, 8, 3)), np.zeros(6, int)))
    >>> len(data), data.image_shape, data.steps(batch_size=4)
    (6, (8, 8, 3), 2)
    """
    if isinstance(data, Split):
        return Labelled(name, data.images, data.labels, None, None, tuple(data.images.shape[1:]))
    if isinstance(data, tuple | list):
        return _of_arrays(data, name)
    if not is_batches(data):
        hint = " The labels go with the images: (images, labels)." if hasattr(data, "shape") else ""
        raise DataError(f"{name} is of type {type(data).__name__}; expected {TAKEN}.{hint}")
    check_finite(data, name)
    batch = next(in_order(data), None)
    if batch is None:
        raise DataError(f"{name} has no batch. Give at least one image of each class.")
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise DataError(f"A batch of {name} has no labels; expected {TAKEN}.")
    images, labels, _ = unpacked(batch)
    if not hasattr(images, "shape"):
        raise DataError(f"The images of {name} are a {type(images).__name__}; expected one array in a batch.")
    if not hasattr(labels, "shape") or labels.ndim == 0:
        raise DataError(
            f"An element of {name} has labels of type {type(labels).__name__} without a batch axis; expected "
            "batches: data.batch(32)."
        )
    return Labelled(name, None, labels, None, data, tuple(images.shape[1:]))


def sizes_of(*data: Labelled | None) -> dict[str, int]:
    """Return the numbers of examples by the names of the data; those of batches are not known."""
    return {each.name: len(each) for each in data if each is not None and each.batches is None}


def both(model: keras.Model, train: Any, validation_data: Any = None) -> tuple[Labelled, Labelled | None]:
    """Look at the data of a training and of its validation, and check that they fit the model.

    Raises:
        DataError: see `labelled` and `Labelled.check`.
    """
    held_out = None if validation_data is None else labelled(validation_data, "validation_data")
    data = labelled(train)
    for each in (data, held_out):
        if each is not None:
            each.check(model)
    return data, held_out


def _of_arrays(data: Any, name: str) -> Labelled:
    if len(data) not in (2, 3):
        raise DataError(f"{name} is a {type(data).__name__} of {len(data)}; expected {TAKEN}.")
    first, *others = data
    images = first if isinstance(first, np.ndarray | ImageFiles) else keras.ops.convert_to_numpy(first)
    labels, *rest = (np.asarray(keras.ops.convert_to_numpy(each)) for each in others)
    for what, each in (("labels", labels), *(("sample weights", each) for each in rest)):
        if len(each) != len(images):
            raise DataError(f"{name} has {len(images)} images and {len(each)} {what}. Give one for each.")
    if not len(images):
        raise DataError(f"{name} has no images. Give at least one of each class.")
    weights = rest[0] if rest else None
    return Labelled(name, images, labels, weights, None, tuple(images.shape[1:]))


def fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Whether inputs of a shape fit a model; where it takes any size, None is expected.

    >>> fits((32, 32, 3), (None, None, 3)), fits((32, 32, 3), (28, 28, 3)), fits((100,), (28, 28, 3))
    (True, False, False)
    """
    return len(shape) == len(expected) and all(
        size in (None, given) for size, given in zip(expected, shape, strict=True)
    )


def is_batches(data: Any) -> bool:
    """Whether these are batches that Keras takes and that can be gone through more than once."""
    if isinstance(data, keras.utils.PyDataset):
        return True
    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(data).__mro__}
    return bool(kinds & {"tensorflow.DatasetV2", "torch.DataLoader"})


def check_finite(data: Any, name: str) -> None:
    """Raise DataError where a tf.data.Dataset repeats for ever."""
    if not isinstance(data, keras.utils.PyDataset) and hasattr(data, "cardinality") and _endless(data):
        raise DataError(
            f"{name} repeats for ever, so an epoch has no end. Take repeat() away, or give "
            "data.take(steps_of_an_epoch)."
        )


def _endless(data: Any) -> bool:
    return int(data.cardinality()) == -1  # tf.data.INFINITE_CARDINALITY


def in_order(data: Any) -> Iterator[Any]:
    """Yield the batches of one epoch."""
    return (data[i] for i in range(len(data))) if isinstance(data, keras.utils.PyDataset) else iter(data)


def unpacked(batch: Any) -> tuple[np.ndarray, Any, Any]:
    """Return images, labels and weights of a batch as arrays; what is missing is None."""
    x, y, w = keras.utils.unpack_x_y_sample_weight(tuple(batch))

    def as_array(each: Any) -> Any:
        return None if each is None else keras.ops.convert_to_numpy(each)

    return keras.tree.map_structure(as_array, (x, y, w), none_is_leaf=True)


def check_labels(labels: np.ndarray, outputs: int, name: str) -> None:
    """Raise DataError where class indices, or rows of classes, do not fit the outputs of a model."""
    classes = max(outputs, 2)  # one output is the probability of the second of two classes
    rows = labels.ndim > 1 and labels.shape[-1] > 1
    if rows and labels.shape[-1] != outputs:
        raise DataError(
            f"The labels of {name} are rows of {labels.shape[-1]} classes, and the model has {outputs} "
            f"outputs. Build it with classes={labels.shape[-1]}."
        )
    if rows or labels.dtype.kind not in "iu" or not labels.size:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        advice = f"Build it with classes={high + 1}" if low >= 0 else "Number the classes from 0"
        raise DataError(
            f"The labels of {name} go from {low} to {high}, and the model has {outputs} outputs; expected 0 "
            f"to {classes - 1}. {advice}, or correct the labels."
        )
