"""Two domains as one input of Keras's fit: source with labels, target without."""

from functools import cached_property
from typing import Any

import keras
import numpy as np

from tlkit.data import Split
from tlkit.data.labelled import check_finite, in_order, is_batches, unpacked
from tlkit.errors import DataError

SMALLEST = 2  # examples of a domain: statistics need two
LARGEST = 2**30  # bytes of both domains that are held a second time, as tensors
AT_ONCE = 500  # steps: about a second on features


class Pairs(keras.utils.PyDataset):
    """Batches `({"source": inputs, "target": inputs}, source_labels)`, the same number from each domain.

    An epoch is one pass over the larger domain; the smaller one comes again, in another order. Every
    batch is full. Without a source, batches are `({"target": inputs},)`. See `pair`.

    Attributes:
        source, target: inputs `(n, ...)`, arrays or lazily decoded files; the source may be None.
        labels: int `(n,)` of the source; None without a source.
        weights: `None`, or the weight of each source example in the supervised loss, float32 `(n,)`.
    """

    def __init__(
        self, source: Any, labels: Any, target: Any, batch_size: int, seed: int, weights: Any = None
    ) -> None:
        super().__init__()
        self.source, self.labels, self.target, self.weights = source, labels, target, weights
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self._set_order()

    def __len__(self) -> int:
        return -(-max(map(len, self.domains.values())) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        chosen = {name: self._orders[name][rows] for name in self.domains}
        inputs = {name: each[chosen[name]] for name, each in self.domains.items()}
        return inputs, *(each[chosen["source"]] for each in self.of_source)

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._set_order()

    @property
    def domains(self) -> dict[str, Any]:
        """The inputs of each domain, by its name."""
        return (
            {"target": self.target} if self.source is None else {"source": self.source, "target": self.target}
        )

    @property
    def of_source(self) -> list[np.ndarray]:
        """Labels and weights of the source, as far as there are any."""
        return [each for each in (self.labels, self.weights) if each is not None]

    def rows(self) -> dict[str, np.ndarray]:
        """The positions of the examples of this epoch, int32 `(steps, batch size)` for each domain."""
        return {
            name: order.reshape(len(self), self.batch_size).astype("int32")
            for name, order in self._orders.items()
        }

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one input of each domain, by its name."""
        return {name: tuple(each.shape[1:]) for name, each in self.domains.items()}

    def weighted(self, weights: np.ndarray) -> "Pairs":
        """Return the same pairs with a weight for each source example, scaled to a mean of 1."""
        weights = (weights / np.mean(weights)).astype("float32")
        return Pairs(self.source, self.labels, self.target, self.batch_size, self.seed, weights)

    def without_source(self) -> "Pairs":
        """Return batches of the target alone."""
        return Pairs(None, None, self.target, self.batch_size, self.seed)

    def in_memory(self) -> "Pairs":
        """Return the pairs themselves; see `PairBatches`."""
        return self

    @property
    def small(self) -> bool:
        """Whether both domains are arrays in memory that may be held there a second time."""
        domains = self.domains.values()
        plain = all(type(each) is np.ndarray for each in domains)
        return plain and sum(each.nbytes for each in domains) <= LARGEST

    @property
    def steps_at_once(self) -> int:
        """How many steps of an epoch should run in one call of the backend: several if a step is short.

        The number divides that of the steps of an epoch. A step on features is shorter than the call.
        """
        if any(len(shape) > 1 for shape in self.shapes.values()):
            return 1
        return max(n for n in range(1, min(len(self), AT_ONCE) + 1) if len(self) % n == 0)

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
            orders.append(self.rows())
        with tf.device("CPU"):
            inputs = {name: tf.constant(each) for name, each in self.domains.items()}
            rest = [tf.constant(each) for each in self.of_source]

        def batch(rows: dict[str, Any]) -> tuple[Any, ...]:
            gathered = {name: tf.gather(each, rows[name]) for name, each in inputs.items()}
            return gathered, *(tf.gather(each, rows["source"]) for each in rest)

        rows = {name: np.concatenate([each[name] for each in orders]) for name in self.domains}
        return tf.data.Dataset.from_tensor_slices(rows).map(batch).prefetch(2)

    def _set_order(self) -> None:
        needed = len(self) * self.batch_size
        self._orders = {}
        for name, inputs in self.domains.items():
            rng = np.random.default_rng((self.seed, self.epoch, ("source", "target").index(name)))
            rounds = [rng.permutation(len(inputs)) for _ in range(-(-needed // len(inputs)))]
            self._orders[name] = np.concatenate(rounds)[:needed]


class PairBatches:
    """Pairs that the user made: batches `({"source": inputs, "target": inputs}, source_labels)`.

    A third element of a batch is the weight of each source example.

    Args:
        data: `tf.data.Dataset`, `PyDataset` or PyTorch `DataLoader`.

    Raises:
        DataError: the batches are of another form, or never end.
    """

    small = False

    def __init__(self, data: Any) -> None:
        check_finite(data, "x")
        self.data, self.seed = data, 0
        first = next(in_order(data))
        domains = first[0] if isinstance(first, tuple | list) and len(first) > 1 else None
        if not isinstance(domains, dict) or set(domains) != {"source", "target"}:
            raise DataError(
                "The batches of x have another form than ({'source': inputs, 'target': inputs}, labels), "
                "where the labels are those of the source. Give such batches, or pair(source, target)."
            )
        inputs: Any
        inputs, self.labels, _ = unpacked(first)
        if not hasattr(self.labels, "shape") or self.labels.ndim != 1:
            raise DataError("The labels of a batch have another shape than (n,); expected class indices.")
        self.batch_size = len(self.labels)
        self.shapes = {name: tuple(each.shape[1:]) for name, each in inputs.items()}

    def __len__(self) -> int:
        return self.steps

    @cached_property
    def steps(self) -> int:
        """The number of steps of an epoch; a tf.data.Dataset that does not know it is counted."""
        try:
            return len(self.data)
        except TypeError:
            return sum(1 for _ in self.data)

    def in_memory(self) -> Pairs:
        """Read one epoch into memory, for methods that need whole domains."""
        batches: list[Any] = [unpacked(batch) for batch in in_order(self.data)]
        source, target = (np.concatenate([x[name] for x, _, _ in batches]) for name in ("source", "target"))
        labels = np.concatenate([y for _, y, _ in batches])
        weights = [w for _, _, w in batches]
        given = None if weights[0] is None else np.concatenate(weights)
        return Pairs(source, _indices(labels), target, self.batch_size, self.seed, given)


def as_pairs(x: Any, y: Any = None, *, batch_size: int | None = None) -> "Pairs | PairBatches":
    """Convert the data that `DomainAdapter.fit` takes to pairs.

    Args:
        x: `pair(source, target)`; inputs of both domains, `{"source": ..., "target": ...}`, with the source's
            labels as `y`; or batches, see `PairBatches`.
        y: class indices `(n,)` of the source, for inputs.
        batch_size: examples of each domain in a step, for inputs; 32, or as many as there are.

    Raises:
        DataError: x is of another kind; or see `pair`.
    """
    if isinstance(x, Pairs):
        return x
    if is_batches(x):
        return PairBatches(x)
    if isinstance(x, dict) and set(x) == {"source", "target"}:
        source, target = x["source"], x["target"]
        if isinstance(source, Split) and y is None:
            y = source.labels
        if y is None:
            raise DataError("x has inputs of both domains, and y is missing. Give the labels of the source.")
        inputs = source.images if isinstance(source, Split) else source
        others = len(target)
        return pair((inputs, y), target, batch_size=batch_size or min(32, len(inputs), others))
    raise DataError(
        f"fit was given {type(x).__name__}. Give pair(source, target): a labelled and an unlabelled domain; "
        "or fit({'source': inputs, 'target': inputs}, source_labels); or batches of these."
    )


def pair(
    source: Split | tuple[Any, Any] | None, target: Split | Any, *, batch_size: int = 32, seed: int = 0
) -> Pairs:
    """Join a labelled source and an unlabelled target to the input of `DomainAdapter.fit`.

    Labels that the target may have are left behind here: nothing that trains can read them.

    Args:
        source: a labelled split; or inputs and labels, such as features `(n, d)` and int `(n,)`; or None for
            a method that adapts a trained network without source examples, such as SHOT.
        target: a split, its labels are not used; or inputs.
        batch_size: examples of each domain in a step.
        seed: of the order of the examples.

    Raises:
        DataError: a domain is smaller than a batch, the inputs differ in shape, or labels are missing.

    >>> pairs = pair((np.zeros((100, 8)), np.zeros(100, int)), np.ones((60, 8)), batch_size=20)
    >>> len(pairs), pairs[0][0]["target"].shape, pairs[0][1].shape
    (5, (20, 8), (20,))
    """
    others = target.unlabelled().images if isinstance(target, Split) else target
    if isinstance(others, tuple):
        raise DataError(
            "The target was given as (inputs, labels), but target labels are never used. Give inputs alone."
        )
    if source is None:
        _check_size("target", others, batch_size)
        return Pairs(None, None, others, batch_size, seed)
    inputs, labels = (source.images, source.labels) if isinstance(source, Split) else source
    if len(inputs) != len(labels):
        raise DataError(
            f"The source has {len(inputs)} inputs and {len(labels)} labels. Give a label for each."
        )
    _check_size("source", inputs, batch_size)
    _check_size("target", others, batch_size)
    if tuple(inputs.shape[1:]) != tuple(others.shape[1:]):
        raise DataError(
            f"An input of the source has shape {tuple(inputs.shape[1:])}, one of the target "
            f"{tuple(others.shape[1:])}. Load both with the same image_size, or take the features of both "
            "from one backbone."
        )
    return Pairs(inputs, _indices(np.asarray(labels)), others, batch_size, seed)


def _check_size(name: str, given: Any, batch_size: int) -> None:
    if len(given) < SMALLEST:
        raise DataError(
            f"The {name} domain has {len(given)} examples; at least {SMALLEST} are needed, and dozens to say "
            "anything about it. Add images."
        )
    if len(given) < batch_size:
        raise DataError(
            f"The {name} domain has {len(given)} examples, fewer than a batch of {batch_size}. Use "
            f"batch_size={len(given)} or less."
        )


def _indices(labels: np.ndarray) -> np.ndarray:
    """Return class indices, int32 `(n,)`, also of rows of 0 and 1."""
    rows = labels.ndim > 1 and labels.shape[-1] > 1
    return (labels.argmax(axis=-1) if rows else labels.reshape(len(labels))).astype("int32")
