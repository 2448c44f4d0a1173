"""Two domains as one input of Keras's fit: source with labels, target without."""

from typing import Any

import keras
import numpy as np

from tlkit.data import Split
from tlkit.errors import DataError

SMALLEST = 2  # examples of a domain: statistics need two
LARGEST = 2**30  # bytes of both domains that are held a second time, as tensors


class Pairs(keras.utils.PyDataset):
    """Batches `({"source": inputs, "target": inputs}, source_labels)`, the same number from each domain.

    An epoch is one pass over the larger domain; the smaller one comes again, in another order. Every
    batch is full. See `pair`.

    Attributes:
        source, target: inputs `(n, ...)`, arrays or lazily decoded files.
        labels: int `(n,)` of the source.
        weights: `None`, or the weight of each source example in the supervised loss, float32 `(n,)`.
    """

    def __init__(
        self, source: Any, labels: np.ndarray, target: Any, batch_size: int, seed: int, weights: Any = None
    ) -> None:
        super().__init__()
        self.source, self.labels, self.target, self.weights = source, labels, target, weights
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self._set_order()

    def __len__(self) -> int:
        return -(-max(len(self.source), len(self.target)) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        chosen, others = self._orders[0][rows], self._orders[1][rows]
        batch = {"source": self.source[chosen], "target": self.target[others]}, self.labels[chosen]
        return batch if self.weights is None else (*batch, self.weights[chosen])

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._set_order()

    def weighted(self, weights: np.ndarray) -> "Pairs":
        """Return the same pairs with a weight for each source example, scaled to a mean of 1."""
        weights = (weights / np.mean(weights)).astype("float32")
        return Pairs(self.source, self.labels, self.target, self.batch_size, self.seed, weights)

    @property
    def small(self) -> bool:
        """Whether both domains are arrays in memory that may be held there a second time."""
        domains = self.source, self.target
        plain = all(type(each) is np.ndarray for each in domains)
        return plain and sum(each.nbytes for each in domains) <= LARGEST

    def tensors(self, epochs: int) -> Any:
        """Return the batches of the next epochs, in the same order, as one `tf.data.Dataset` of TensorFlow.

        Keras hands each batch of a PyDataset from Python to TensorFlow, and starts anew for every epoch. This
        costs as much as a step of a small network. Give `fit` these with `steps_per_epoch=len(pairs)`.

        Args:
            epochs: how many. It is then as if these pairs had gone through them.

        >>> pairs = pair((np.zeros((100, 8)), np.zeros(100, int)), np.ones((60, 8)), batch_size=20)
        >>> len(pairs.tensors(epochs=3)), pairs.epoch
        (15, 3)
        """
        import tensorflow as tf

        orders = []
        for _ in range(epochs):
            self.on_epoch_end()  # as Keras does before the first epoch too
            orders.append(np.reshape(self._orders, (2, len(self), self.batch_size)))
        arrays = [self.source, self.target, self.labels, *([] if self.weights is None else [self.weights])]
        with tf.device("CPU"):
            examples = [tf.constant(each) for each in arrays]

        def batch(chosen: Any, others: Any) -> tuple[Any, ...]:
            source, target, *rest = (
                tf.gather(each, others if i == 1 else chosen) for i, each in enumerate(examples)
            )
            return {"source": source, "target": target}, *rest

        rows = np.concatenate(orders, axis=1).astype("int32")
        return tf.data.Dataset.from_tensor_slices(tuple(rows)).map(batch).prefetch(2)

    def _set_order(self) -> None:
        needed = len(self) * self.batch_size
        self._orders = []
        for domain, inputs in enumerate((self.source, self.target)):
            rng = np.random.default_rng((self.seed, self.epoch, domain))
            rounds = [rng.permutation(len(inputs)) for _ in range(-(-needed // len(inputs)))]
            self._orders.append(np.concatenate(rounds)[:needed])


def pair(
    source: Split | tuple[Any, Any], target: Split | Any, *, batch_size: int = 32, seed: int = 0
) -> Pairs:
    """Join a labelled source and an unlabelled target to the input of `DomainAdapter.fit`.

    Labels that the target may have are left behind here: nothing that trains can read them.

    Args:
        source: a labelled split; or inputs and labels, such as features `(n, d)` and int `(n,)`.
        target: a split, its labels are not used; or inputs.
        batch_size: examples of each domain in a step.
        seed: of the order of the examples.

    Raises:
        DataError: a domain is smaller than a batch, the inputs differ in shape, or labels are missing.

    >>> pairs = pair((np.zeros((100, 8)), np.zeros(100, int)), np.ones((60, 8)), batch_size=20)
    >>> len(pairs), pairs[0][0]["target"].shape, pairs[0][1].shape
    (5, (20, 8), (20,))
    """
    inputs, labels = (source.images, source.labels) if isinstance(source, Split) else source
    others = target.unlabelled().images if isinstance(target, Split) else target
    if isinstance(others, tuple):
        raise DataError(
            "The target was given as (inputs, labels), but target labels are never used. Give inputs alone."
        )
    if len(inputs) != len(labels):
        raise DataError(
            f"The source has {len(inputs)} inputs and {len(labels)} labels. Give a label for each."
        )
    for name, given in (("source", inputs), ("target", others)):
        if len(given) < SMALLEST:
            raise DataError(
                f"The {name} domain has {len(given)} examples; at least {SMALLEST} are needed, and dozens "
                "to say anything about it. Add images."
            )
        if len(given) < batch_size:
            raise DataError(
                f"The {name} domain has {len(given)} examples, fewer than a batch of {batch_size}. "
                f"Use batch_size={len(given)} or less."
            )
    if tuple(inputs.shape[1:]) != tuple(others.shape[1:]):
        raise DataError(
            f"An input of the source has shape {tuple(inputs.shape[1:])}, one of the target "
            f"{tuple(others.shape[1:])}. Load both with the same image_size, or take the features of both "
            "from one backbone."
        )
    return Pairs(inputs, np.asarray(labels).astype("int32"), others, batch_size, seed)
