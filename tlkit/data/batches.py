"""Batches of images and labels, in the form that Keras trains on."""

import atexit
import gc
import re
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

import keras
import numpy as np

from tlkit.data.images import ImageFiles
from tlkit.errors import DataError


class Batches(keras.utils.PyDataset):
    """Batches of images, and of their labels if there are any; see `Split.batches`.

    While batches of files are read in order, the next batch is decoded during the current step. In any other
    order, a batch is decoded when it is requested.

    Args:
        images: `(n, height, width, 3)`, an array or `ImageFiles`; or precomputed features `(n, ...)`.
        labels: `(n,)` class indices; arrays `(n, ...)` by name for several tasks; or None.
        batch_size: at least 1.
        shuffle: draw a new order in each epoch.
        seed: the order depends on the seed and the epoch alone.
        augment: maps the images of a batch to new images.
        whole: leave out the last batch if it is not full.
        classes: number of classes; the labels of a batch are then one-hot, float32 `(batch, classes)`.
        mix: maps the images and one-hot labels of a batch to mixed ones, as mixup does; needs `classes`.

    Attributes:
        failure: the error, if a file could not be read.

    Raises:
        DataError: `batch_size` is below 1, or `mix` lacks labels or `classes`.
    """

    def __init__(
        self,
        images: np.ndarray | ImageFiles,
        labels: np.ndarray | Mapping[str, np.ndarray] | None,
        batch_size: int,
        shuffle: bool,
        seed: int,
        augment: Callable[[np.ndarray], Any] | None = None,
        *,
        whole: bool = False,
        classes: int | None = None,
        mix: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size={batch_size} was given; expected at least 1, such as 32.")
        if mix is not None and (classes is None or labels is None):
            raise DataError(
                "mix= was given without labels or without classes=; expected both, since a mixed label "
                "combines two classes: batches(..., mix=mixup(), classes=len(data.class_names))."
            )
        super().__init__()
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.augment = augment
        self.whole = whole
        self.classes = classes
        self.mix = mix
        self.failure: DataError | None = None
        self._lock = Lock()  # TensorFlow requests batches from a thread of its own
        self._stream: Generator[np.ndarray] | None = None
        self._next = 0  # the batch after the one that was requested last
        self.start_epoch(0)

    def __len__(self) -> int:
        n = len(self.images)
        return n // self.batch_size if self.whole else -(-n // self.batch_size)

    def __getitem__(self, index: int) -> np.ndarray | tuple[np.ndarray, Any]:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        images = self._read(index, chosen)
        if self.augment is not None:
            images = keras.ops.convert_to_numpy(self.augment(images))
        if self.labels is None:
            return images
        labels = keras.tree.map_structure(lambda each: each[chosen], self.labels)
        if self.classes is not None:
            labels = np.eye(self.classes, dtype="float32")[labels]
        return (images, labels) if self.mix is None else self.mix(images, labels)

    def again(self, kind: "type[Batches] | None" = None, **changes: Any) -> "Batches":
        """Return new batches of the same images in the same epoch.

        `changes` replaces options, `kind` replaces the class.
        """
        names = ("images", "labels", "batch_size", "shuffle", "seed", "augment", "whole", "classes", "mix")
        options = {name: getattr(self, name) for name in names} | changes
        batches = (kind or type(self))(**options)
        if self.epoch:
            batches.start_epoch(self.epoch)
        return batches

    def pick(self, chosen: np.ndarray) -> np.ndarray:
        """Return the images of these indices; a subclass may return features in their place."""
        return self.images[chosen]

    def on_epoch_end(self) -> None:
        self.start_epoch(self.epoch + 1)

    def start_epoch(self, epoch: int) -> None:
        """Set the order of the examples for this epoch; epochs are numbered from 0."""
        n = len(self.images)
        order = np.random.default_rng((self.seed, epoch)).permutation(n) if self.shuffle else np.arange(n)
        with self._lock:
            self._close()
            self.epoch, self.order = epoch, order

    def _read(self, index: int, chosen: np.ndarray) -> np.ndarray:
        files = self.images
        if not isinstance(files, ImageFiles):
            return self.pick(chosen)
        with self._lock:
            if index != self._next:
                self._close()
            follows, self._next = index in (0, self._next), index + 1
            stream, self._stream = self._stream, None
            try:
                if not follows:
                    return self.pick(chosen)
                if stream is None:
                    start, end = index * self.batch_size, len(self) * self.batch_size
                    stream = files.take(self.order[start:end]).blocks(self.batch_size)
                images = next(stream)
            except DataError as error:
                self.failure = error
                raise
            self._stream = stream
            if self._next == len(self):
                self._close()
            return images

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


@atexit.register
def _free_interrupted_fit() -> None:
    """Free the objects of an interrupted `fit`; otherwise TensorFlow waits for them forever at exit."""
    sys.last_value = sys.last_traceback = None
    gc.collect()


@contextmanager
def plain_errors(*inputs: Any) -> Iterator[None]:
    """Raise a one-line DataError if an unreadable file or a wrong label in these inputs stops `fit`.

    TensorFlow replaces any error of a generator, such as that of an unreadable file, with its own. For a
    label that is out of range it prints a page of text. The first batch is checked before `fit`; this
    context covers the others.
    """
    try:
        yield
    except Exception as error:
        for each in inputs:
            if isinstance(each, Batches) and each.failure is not None:
                raise each.failure from None
        if found := re.search(r"label value of (-?\d+) .*valid range of \[0, (\d+)\)", str(error)):
            raise DataError(
                f"A batch has the label {found[1]}, and the model has {found[2]} outputs; expected 0 to "
                f"{int(found[2]) - 1}. Correct the labels, or build the model for more classes."
            ) from None
        raise
