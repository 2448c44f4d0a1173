"""Random views of images: computed before training, and used in turn by its epochs."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tlkit.backbones.structure import parts_of
from tlkit.data import Split
from tlkit.data.batches import Batches
from tlkit.data.images import ImageFiles

BLOCK = 64  # views that are augmented in one call


class Views:
    """Augmented images, computed when they are read: an array-like for `infer`.

    Its shape is `(n * views, height, width, 3)`. The views of an image are adjacent rows, so each file is
    decoded only once.

    Args:
        images: uint8 RGB `(n, height, width, 3)`, in memory or in files.
        views: number of views of each image, at least 1.
        augment: maps float32 images `(m, height, width, 3)`, values 0 to 255, to augmented images of the same
            shape.
    """

    dtype = np.dtype("float32")

    def __init__(
        self, images: np.ndarray | ImageFiles, views: int, augment: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self.images, self.views, self.augment = images, views, augment
        self.shape = (len(images) * views, *images.shape[1:])
        self._start, self._block = 0, np.empty((0, *images.shape[1:]), "float32")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        parts = []
        while start < stop:
            if not self._start <= start < self._start + len(self._block):
                self._make(start)
            part = self._block[start - self._start : stop - self._start]
            parts.append(part)
            start += len(part)
        return np.concatenate(parts) if parts else self._block[:0]

    def _make(self, row: int) -> None:
        """Compute the block of views that contains this row."""
        count = max(1, BLOCK // self.views)
        first = row // self.views // count * count
        images = np.asarray(self.images[first : first + count], "float32")
        self._start, self._block = first * self.views, self.augment(np.repeat(images, self.views, axis=0))


class Rows:
    """Some rows of an array. Values are read when they are indexed, so a file need not fit into memory.

    >>> rows = Rows(np.arange(12).reshape(6, 2), np.array([1, 4]))
    >>> rows.shape, rows[[1, 0], 0].tolist()
    ((2, 2), [8, 2])
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array, self.rows = array, rows
        self.shape = (len(rows), *array.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        first, *others = key
        return self.array[(self.rows[first], *others)]


class ViewBatches(Batches):
    """Batches of stored activations `(n, views, ...)`: each epoch uses the next view of each image.

    The first view of each image is random, so an epoch contains a mixture of all views.
    """

    @cached_property
    def first(self) -> np.ndarray:
        """The view of each image in the first epoch, int `(n,)`."""
        return np.random.default_rng(self.seed).integers(self.images.shape[1], size=len(self.images))

    def pick(self, chosen: np.ndarray) -> np.ndarray:
        """Return the activations of these images, for their views of this epoch: float32 `(m, ...)`."""
        view = (self.first[chosen] + self.epoch) % self.images.shape[1]
        activations: Any = self.images
        return activations[chosen, view].astype("float32")


def predicted(
    model: keras.Model, images: np.ndarray | Split, *, mirrored: bool = False, verbose: int | str = 0
) -> Any:
    """Return what a classifier predicts; with `mirrored`, the mean over each image and its mirror image.

    Args:
        model: images to predictions `(n, classes)`.
        images: uint8 `(n, height, width, 3)`, or a split of images in memory or in files.
        mirrored: predict both, which takes twice as long and often raises the accuracy a little.
        verbose: as for Keras's `predict`.

    >>> model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten()])
    >>> image = np.arange(12, dtype="uint8").reshape(1, 2, 2, 3)
    >>> predicted(model, image, mirrored=True)[0, :6].tolist()
    [1.5, 2.5, 3.5, 1.5, 2.5, 3.5]
    """

    def given(augment: Callable[[np.ndarray], np.ndarray] | None) -> Any:
        if not isinstance(images, np.ndarray):
            return images.batches(labels=False, augment=augment)
        return images if augment is None else augment(images)

    found = model.predict(given(None), verbose=verbose)
    if not mirrored:
        return found
    return (found + model.predict(given(lambda pixels: pixels[:, :, ::-1]), verbose=verbose)) / 2


def training_augmentation(
    model: keras.Model, augment: Callable[[np.ndarray], Any] | None
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return a function that augments images as the training of a model does.

    Args:
        model: a classifier, which may contain augmentation layers.
        augment: further augmentation, applied before that of the model; or None.

    Returns:
        A function from images `(m, height, width, 3)` to float32 images of the same shape, values 0 to 255;
        None if there is no augmentation.
    """
    layers = parts_of(model).augmentation
    if not layers and augment is None:
        return None
    pixels = x = keras.Input(model.inputs[0].shape[1:])
    for layer in layers:
        x = _AlwaysTraining(layer)(x)
    inside = keras.Model(pixels, x) if layers else None

    def augmented(images: np.ndarray) -> np.ndarray:
        if augment is not None:
            images = keras.ops.convert_to_numpy(augment(images))
        return np.asarray(images if inside is None else inside.predict_on_batch(images), "float32")

    return augmented


class _AlwaysTraining(keras.layers.Layer):
    """Call a layer with `training=True`, also in inference."""

    def __init__(self, layer: keras.Layer) -> None:
        super().__init__()
        self.layer = layer

    def call(self, images: Any) -> Any:
        return self.layer(images, training=True)
