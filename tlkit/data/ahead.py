"""Batches that are prepared, and copied to the device, before the training step that needs them."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import keras

from tlkit.data.batches import Batches
from tlkit.data.images import ImageFiles

THREADS = 4


class BatchesAhead(Batches):
    """Batches that threads prepare, and copy to the device, while earlier training steps run.

    On JAX, Keras prepares and copies each batch in the thread that starts the steps. For large images this
    takes longer than a step on a fast GPU. The order of the batches is that of `Batches`: pass them to
    `fit(shuffle=False)`, which asks for one batch after the other. The arguments are those of `Batches`.

    >>> import numpy as np
    >>> batches = BatchesAhead(np.arange(6).reshape(6, 1), None, 2, shuffle=False, seed=0)
    >>> [keras.ops.convert_to_numpy(batches[i]).tolist() for i in range(3)]
    [[[0], [1]], [[2], [3]], [[4], [5]]]
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # One thread reads files, and draws random numbers, in the order of the batches.
        ordered = isinstance(self.images, ImageFiles) or self.augment is not None or self.mix is not None
        self.threads = 1 if ordered else THREADS
        self.pool = ThreadPoolExecutor(self.threads)

    def __getitem__(self, index: int) -> Any:
        for each in range(index, min(index + self.threads + 1, len(self))):
            if each not in self._pending:
                self._pending[each] = self.pool.submit(self.on_device, each)
        return self._pending.pop(index).result()

    def on_device(self, index: int) -> Any:
        """Return a batch as tensors of the Keras backend."""
        return keras.tree.map_structure(keras.ops.convert_to_tensor, super().__getitem__(index))

    def start_epoch(self, epoch: int) -> None:
        running = [each for each in getattr(self, "_pending", {}).values() if not each.cancel()]
        wait(running)  # they still read the order of the previous epoch
        self._pending: dict[int, Future] = {}
        super().start_epoch(epoch)
