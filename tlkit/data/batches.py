"""A split as the batches that Keras trains on."""

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
    """Batches of images, with labels unless they are None; see `Split.batches`.

    Batches of files that are asked for one after another are decoded ahead, one batch of them, in any other
    order when they are asked for. Where a file cannot be read, `failure` is the error.

    The labels of several tasks are arrays by name, and so are those of a batch. Kept features do for images.
    `whole` leaves the last batch out where it is not full. `classes` gives labels as rows of 0 and 1, one
    column a class, which `mix` needs.
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
                "mix= was given without labels or without classes=; expected both, since a mixed label is "
                "shares of two classes: batches(..., mix=mixup(), classes=len(data.class_names))."
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
        self._lock = Lock()  # TensorFlow asks from a thread of its own
        self._stream: Generator[np.ndarray] | None = None
        self._next = 0  # the batch after the last one that was asked for
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
        """Return new batches of the same images, with other options where some are given."""
        names = ("images", "labels", "batch_size", "shuffle", "seed", "augment", "whole", "classes", "mix")
        options = {name: getattr(self, name) for name in names} | changes
        return (kind or type(self))(**options)

    def pick(self, chosen: np.ndarray) -> np.ndarray:
        """Return the images, or what stands for them, of these rows."""
        return self.images[chosen]

    def on_epoch_end(self) -> None:
        self.start_epoch(self.epoch + 1)

    def start_epoch(self, epoch: int) -> None:
        """Take the order of this epoch, the first of which is 0."""
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
def let_go() -> None:
    """Free what an interrupted `fit` left: once Python has ended, TensorFlow would wait for it forever."""
    sys.last_value = sys.last_traceback = None
    gc.collect()


@contextmanager
def plain_errors(*inputs: Any) -> Iterator[None]:
    """Let what is wrong with these inputs end `fit` as the DataError that it is.

    TensorFlow makes an error of its own of whatever a generator raises, such as for a file that cannot be
    read. And of a label that is out of range it prints a page, where a batch but the first one has it.
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
