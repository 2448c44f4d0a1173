"""Random views of images: made ahead of training, and taken in turn."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tlkit.backbones.structure import parts_of
from tlkit.data.batches import Batches
from tlkit.data.images import ImageFiles

BLOCK = 64  # pictures that are changed together


class Views:
    """Random views of images, made when they are read: an array `(n * views, height, width, 3)` for `infer`.

    The views of one image stand side by side, so a file is decoded once for all of them.

    Args:
        images: uint8 RGB `(n, height, width, 3)`, in memory or in files.
        views: number of views of each image, at least 1.
        augment: maps float32 images `(m, height, width, 3)`, values 0 to 255, to changed ones.
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
        at_once = max(1, BLOCK // self.views)
        first = row // self.views // at_once * at_once
        pictures = np.asarray(self.images[first : first + at_once], "float32")
        self._start, self._block = first * self.views, self.augment(np.repeat(pictures, self.views, axis=0))


class ViewBatches(Batches):
    """Batches of kept activations `(n, views, ...)`: in each epoch another view of each image.

    Where an image starts in its round of views is drawn, so that the views of an epoch are mixed.
    """

    @cached_property
    def first(self) -> np.ndarray:
        """The view of each image in the first epoch, int `(n,)`."""
        return np.random.default_rng(self.seed).integers(self.images.shape[1], size=len(self.images))

    def pick(self, chosen: np.ndarray) -> np.ndarray:
        """Return the activations of these images, each of its view of this epoch: float32 `(m, ...)`."""
        view = (self.first[chosen] + self.epoch) % self.images.shape[1]
        kept: Any = self.images
        return kept[chosen, view].astype("float32")


def random_views(
    model: keras.Model, augment: Callable[[np.ndarray], Any] | None
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return what changes training images, `augment` and then the model's own augmentation; or None."""
    own = parts_of(model).augmentation
    if not own and augment is None:
        return None
    pixels = x = keras.Input(model.inputs[0].shape[1:])
    for layer in own:
        x = _InTraining(layer)(x)
    inside = keras.Model(pixels, x) if own else None

    def changed(images: np.ndarray) -> np.ndarray:
        if augment is not None:
            images = keras.ops.convert_to_numpy(augment(images))
        return np.asarray(images if inside is None else inside.predict_on_batch(images), "float32")

    return changed


class _InTraining(keras.layers.Layer):
    """A layer as it acts in training, whoever calls it."""

    def __init__(self, layer: keras.Layer) -> None:
        super().__init__()
        self.layer = layer

    def call(self, images: Any) -> Any:
        return self.layer(images, training=True)
