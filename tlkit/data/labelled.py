"""Handle every form of labelled images that Keras's `fit` takes in one way."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit.data.batches import Batches
from tlkit.data.dataset import Split
from tlkit.data.images import ImageFiles
from tlkit.data.values import check_images, check_label_values, check_weights
from tlkit.errors import DataError

ACCEPTED = (
    "a Split, arrays (images, labels), or batches of (images, labels): a batched tf.data.Dataset, a "
    "keras.utils.PyDataset or a PyTorch DataLoader"
)


@dataclass(frozen=True)
class Labelled:
    """Images and labels, as arrays or as a data set of batches.

    Attributes:
        name: the name of the caller's argument, for error messages.
        images: an array or `ImageFiles`, `(n, height, width, channels)`; None for batches.
        labels: class indices `(n,)` or one-hot labels `(n, classes)`; for batches, those of the first batch.
        weights: sample weights `(n,)`, or None.
        batches: the data set of batches; None for arrays.
        image_shape: the shape of one image.
    """

    name: str
    images: np.ndarray | ImageFiles | None
    labels: np.ndarray
    weights: np.ndarray | None
    batches: Any
    image_shape: tuple[int, ...]

    @property
    def all_labels(self) -> np.ndarray | None:
        """The labels of all examples; None if only the batches contain them."""
        if isinstance(self.batches, Batches):
            return self.batches.labels  # type: ignore[return-value]
        return None if self.batches is not None else self.labels

    @property
    def in_rows(self) -> bool:
        """Whether the labels are one-hot (or class probabilities), and not class indices."""
        return self.labels.ndim > 1 and self.labels.shape[-1] > 1

    def __len__(self) -> int:
        assert self.images is not None
        return len(self.images)

    def steps(self, batch_size: int) -> int:
        """Return the number of steps per epoch; a tf.data.Dataset of unknown length is counted."""
        if self.batches is None:
            return -(-len(self) // batch_size)
        try:
            return len(self.batches)
        except TypeError:
            return sum(1 for _ in self.batches)

    def each_batch(self) -> Iterator[tuple[np.ndarray, Any, Any]]:
        """Yield the images, labels and weights (or None) of each batch, as arrays."""
        for batch in in_order(self.batches):
            yield unpacked(batch)

    def check(self, model: keras.Model) -> None:
        """Raise DataError if the images or labels do not fit a classifier; call it before training.

        For batches, only the first batch is checked.
        """
        expected = tuple(model.inputs[0].shape[1:])
        if not fits(self.image_shape, expected):
            raise DataError(
                f"The images of {self.name} have shape {self.image_shape}, and {model.name!r} takes "
                f"{expected}. Load them with image_size={expected[0]}, or build the model for their shape."
            )
        outputs = model.outputs[0].shape[-1]
        check_labels(self.labels, outputs, self.name)
        all_labels = self.all_labels
        if all_labels is not None and all_labels is not self.labels:
            check_labels(np.asarray(all_labels), outputs, self.name)


def labelled(data: Any, name: str = "train") -> Labelled:
    """Wrap labelled images of any kind that Keras takes.

    Args:
        data: a `Split`, arrays (images, labels) or (images, labels, sample weights), or a data set of such
            batches.
        name: the name of the caller's argument, for error messages.

    Raises:
        DataError: the data are of another kind, are empty, have no labels, or repeat for ever.
        NoLabelsError: the split is unlabelled.

    >>> data = labelled((np.zeros((6, 8, 8, 3)), np.zeros(6, int)))
    >>> len(data), data.image_shape, data.steps(batch_size=4)
    (6, (8, 8, 3), 2)
    """
    if isinstance(data, Split):
        check_images(data.images, name)
        return Labelled(name, data.images, data.labels, None, None, tuple(data.images.shape[1:]))
    if isinstance(data, tuple | list):
        return _of_arrays(data, name)
    if not is_batches(data):
        hint = " The labels go with the images: (images, labels)." if hasattr(data, "shape") else ""
        raise DataError(f"{name} is of type {type(data).__name__}; expected {ACCEPTED}.{hint}")
    check_finite(data, name)
    batch = next(in_order(data), None)
    if batch is None:
        raise DataError(f"{name} has no batch. Give at least one image of each class.")
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise DataError(f"A batch of {name} has no labels; expected {ACCEPTED}.")
    images, labels, _ = unpacked(batch)
    if not hasattr(images, "shape"):
        raise DataError(f"The images of {name} are a {type(images).__name__}; expected one array per batch.")
    if not hasattr(labels, "shape") or labels.ndim == 0:
        raise DataError(
            f"An element of {name} has labels of type {type(labels).__name__} without a batch axis; expected "
            "batches: data.batch(32)."
        )
    check_images(images, f"the first batch of {name}")
    return Labelled(name, None, labels, None, data, tuple(images.shape[1:]))


def sizes_of(*data: Labelled | None) -> dict[str, int]:
    """Return the number of examples by the name of the data; batches, whose size is unknown, are left out."""
    return {each.name: len(each) for each in data if each is not None and each.batches is None}


def both(model: keras.Model, train: Any, validation_data: Any = None) -> tuple[Labelled, Labelled | None]:
    """Wrap the training data and the validation data, and check that both fit the model.

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
        raise DataError(f"{name} is a {type(data).__name__} of {len(data)}; expected {ACCEPTED}.")
    first, *others = data
    images = first if isinstance(first, ImageFiles) else _as_array(first, "images", name)
    labels, *rest = (
        _as_array(each, kind, name) for each, kind in zip(others, ("labels", "sample weights"), strict=False)
    )
    for kind, each in (("labels", labels), *(("sample weights", each) for each in rest)):
        if len(each) != len(images):
            raise DataError(
                f"{name} has {len(images)} images and {len(each)} {kind}. Give one for each image."
            )
    if not len(images):
        raise DataError(f"{name} has no images. Give at least one of each class.")
    weights = rest[0] if rest else None
    check_images(images, name)
    if weights is not None:
        check_weights(weights, name)
    return Labelled(name, images, labels, weights, None, tuple(images.shape[1:]))


def _as_array(values: Any, kind: str, name: str) -> np.ndarray:
    try:
        array = values if isinstance(values, np.ndarray) else keras.ops.convert_to_numpy(values)
    except Exception:  # each backend raises its own types
        array = np.array(None)
    if np.ndim(array) == 0:
        raise DataError(
            f"The {kind} of {name} are of type {type(values).__name__} and make no array; expected NumPy "
            "arrays (images, labels). Stack images of one size: np.stack(images)."
        )
    return np.asarray(array)


def fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Return whether a model that expects one shape takes another; None in `expected` fits any size.

    >>> fits((32, 32, 3), (None, None, 3)), fits((32, 32, 3), (28, 28, 3)), fits((100,), (28, 28, 3))
    (True, False, False)
    """
    return len(shape) == len(expected) and all(
        size in (None, actual) for size, actual in zip(expected, shape, strict=True)
    )


def is_batches(data: Any) -> bool:
    """Return whether `data` is a data set of batches that Keras takes and that can be iterated repeatedly."""
    if isinstance(data, keras.utils.PyDataset):
        return True
    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(data).__mro__}
    return bool(kinds & {"tensorflow.DatasetV2", "torch.DataLoader"})


def check_finite(data: Any, name: str) -> None:
    """Raise DataError if `data` is a tf.data.Dataset that repeats for ever."""
    if not isinstance(data, keras.utils.PyDataset) and hasattr(data, "cardinality") and _endless(data):
        raise DataError(
            f"{name} repeats for ever, so an epoch has no end. Remove repeat(), or pass "
            "data.take(steps_per_epoch)."
        )


def _endless(data: Any) -> bool:
    return int(data.cardinality()) == -1  # tf.data.INFINITE_CARDINALITY


def in_order(data: Any) -> Iterator[Any]:
    """Yield the batches of one epoch, in order."""
    return (data[i] for i in range(len(data))) if isinstance(data, keras.utils.PyDataset) else iter(data)


def unpacked(batch: Any) -> tuple[np.ndarray, Any, Any]:
    """Return the images, labels and sample weights of a batch as arrays; missing ones are None."""
    x, y, w = keras.utils.unpack_x_y_sample_weight(tuple(batch))

    def as_array(each: Any) -> Any:
        return None if each is None else keras.ops.convert_to_numpy(each)

    return keras.tree.map_structure(as_array, (x, y, w), none_is_leaf=True)


def check_labels(labels: np.ndarray, outputs: int, name: str) -> None:
    """Raise DataError if class indices, one-hot or soft labels do not fit the outputs of a model."""
    classes = max(outputs, 2)  # one output is the probability of the second of two classes
    check_label_values(labels, name, indices=outputs > 1)
    one_hot = labels.ndim > 1 and labels.shape[-1] > 1
    if one_hot and labels.shape[-1] != outputs:
        raise DataError(
            f"The labels of {name} are one-hot labels of {labels.shape[-1]} classes, and the model has "
            f"{outputs} outputs. Build the model with classes={labels.shape[-1]}."
        )
    if one_hot or not labels.size:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        advice = f"Build the model with classes={high + 1}" if low >= 0 else "Number the classes from 0"
        raise DataError(
            f"The labels of {name} go from {low} to {high}, and the model has {outputs} outputs; expected 0 "
            f"to {classes - 1}. {advice}, or correct the labels."
        )
