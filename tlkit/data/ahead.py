"""Batches that lie on the device before the step that asks for them."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import keras

from tlkit.data.batches import Batches
from tlkit.data.images import ImageFiles

THREADS = 4


class BatchesAhead(Batches):
    """Batches of a split that threads take, and copy to the device, while the steps before are running.

    Keras on JAX does both in the thread that starts the steps. Of large images this takes longer than a step
    of a fast GPU. The order is that of `Batches`: give them to `fit(shuffle=False)`, which asks for one after
    the other. Arguments are those of `Batches`.

    >>> import numpy as np
    >>> batches = BatchesAhead(np.arange(6).reshape(6, 1), None, 2, shuffle=False, seed=0)
    >>> [keras.ops.convert_to_numpy(batches[i]).tolist() for i in range(3)]
    [[[0], [1]], [[2], [3]], [[4], [5]]]
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # files are decoded, and random numbers drawn, in the order of the batches: by one thread
        alone = isinstance(self.images, ImageFiles) or self.augment is not None or self.mix is not None
        self.threads = 1 if alone else THREADS
        self.pool = ThreadPoolExecutor(self.threads)

    def __getitem__(self, index: int) -> Any:
        for each in range(index, min(index + self.threads + 1, len(self))):
            if each not in self.coming:
                self.coming[each] = self.pool.submit(self.on_device, each)
        return self.coming.pop(index).result()

    def on_device(self, index: int) -> Any:
        """Return a batch as tensors of Keras's backend."""
        return keras.tree.map_structure(keras.ops.convert_to_tensor, super().__getitem__(index))

    def start_epoch(self, epoch: int) -> None:
        left = [each for each in getattr(self, "coming", {}).values() if not each.cancel()]
        wait(left)  # they still read the order of the epoch before
        self.coming: dict[int, Future] = {}
        super().start_epoch(epoch)
