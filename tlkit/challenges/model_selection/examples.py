"""Validation of the inputs of every score: features, labels, and the probabilities of a source head."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from tlkit.errors import DataError

BLOCK = 4096  # rows that are converted to float64 at a time
SHOWN = 5  # row numbers that an error message lists
SUM_TOLERANCE = 1e-2  # for the sum of a row of probabilities; float16 rounding is smaller


class Examples(NamedTuple):
    """Features of labelled target examples, after validation.

    Attributes:
        features: float64 `(n, d)` (or float32, if requested), finite, not all the same.
        classes: int `(n,)`, class indices from 0 to k - 1, in the order of the sorted labels.
        counts: int `(k,)`, the number of examples per class, at least 1; k is at least 2.
    """

    features: np.ndarray
    classes: np.ndarray
    counts: np.ndarray

    @property
    def one_hot(self) -> np.ndarray:
        """The classes as one-hot vectors, float64 `(n, k)`."""
        return np.eye(len(self.counts))[self.classes]

    @property
    def class_means(self) -> np.ndarray:
        """The mean features of each class, float64 `(k, d)`."""
        return self.one_hot.T @ self.features / self.counts[:, None]

    def sample(self, max_examples: int, seed: int) -> "Examples":
        """Return a random sample that keeps the class proportions, with at least one example per class.

        Args:
            max_examples: size of the sample; with no more examples than this, all of them are returned.
            seed: random seed for the sample.

        >>> examples = check_examples(np.arange(20.0)[:, None], [0] * 15 + [1] * 5)
        >>> examples.sample(8, seed=0).counts.tolist()
        [6, 2]
        """
        if len(self.features) <= max_examples:
            return self
        shuffled = np.random.default_rng(seed).permutation(len(self.features))
        order = shuffled[np.argsort(self.classes[shuffled], kind="stable")]
        starts = np.cumsum(self.counts) - self.counts
        position = np.arange(len(order)) - starts[self.classes[order]]
        fraction = position / self.counts[self.classes[order]]
        chosen = np.sort(order[np.argsort(fraction, kind="stable")[:max_examples]])
        return check_examples(self.features[chosen], self.classes[chosen])

    def moments(self, *, centred: bool = False, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Return the sum of `x x'` over all examples, and the sum of `x` over each class.

        The sums are computed in float64, block by block, so float32 features are never copied as a whole.

        Args:
            centred: subtract the mean of all examples first.
            scale: divide the features by this number.

        Returns:
            float64 `(d, d)` and `(k, d)`.

        >>> second, sums = check_examples(np.eye(2)[[0, 1, 1]], [0, 1, 1]).moments()
        >>> second.tolist(), sums.tolist()
        ([[1.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 2.0]])
        """
        n, d = self.features.shape
        second, sums = np.zeros((d, d)), np.zeros((len(self.counts), d))
        mean = self.features.mean(axis=0, dtype="float64") if centred else 0.0
        for rows in blocks(n):
            x = self.features[rows].astype("float64")
            x -= mean
            x /= scale
            second += x.T @ x
            sums += class_sums(x, self.classes[rows], len(sums))
        return second, sums


def blocks(n: int, rows: int = BLOCK) -> Iterator[slice]:
    """Return slices that cut n rows into blocks of this many rows.

    >>> [(block.start, block.stop) for block in blocks(5000)]
    [(0, 4096), (4096, 8192)]
    """
    return (slice(start, start + rows) for start in range(0, n, rows))


def class_sums(
    values: np.ndarray, classes: np.ndarray, k: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the sum of the rows of each class, float64 `(k, d)`.

    Args:
        values: `(n, d)`.
        classes: int `(n,)`, class indices from 0 to k - 1.
        k: number of classes.
        weights: `(n,)`, a factor for each row; 1 by default.

    >>> class_sums(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1]), 2).tolist()
    [[2.0], [5.0]]
    """
    n = len(values)
    one_hot = np.ones(n) if weights is None else weights, classes, np.arange(n + 1)
    return csr_array(one_hot, shape=(n, k)).T @ values


def check_examples(
    features: np.ndarray, labels: np.ndarray, *, min_per_class: int = 1, keep_float32: bool = False
) -> Examples:
    """Validate features and labels, and return them in the form that the scores use.

    Args:
        features: real numbers `(n, d)`, such as the result of `tlkit.extract`.
        labels: integers `(n,)`; any values, gaps are allowed.
        min_per_class: number of examples that each class must have.
        keep_float32: do not convert float32 features, for a score that only uses `Examples.moments`.

    Raises:
        DataError: a shape is wrong, features are NaN or infinite or the same for all examples, labels are not
            integers, there are fewer than two classes, or a class has too few examples.

    >>> check_examples(np.eye(3), [7, 2, 7]).classes.tolist()
    [1, 0, 1]
    """
    try:
        x = np.asarray(features)
        if not (keep_float32 and x.dtype == np.float32):
            x = x.astype("float64", copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"The features are not numbers ({error}); pass a float array (n, d).") from error
    if x.ndim != 2 or 0 in x.shape:
        raise DataError(
            f"Features of shape {x.shape} were given; expected (n, d). For images, use "
            "tlkit.extract(backbone, split); for feature maps (n, h, w, d), take the mean over h and w."
        )
    low, high = x.min(axis=0), x.max(axis=0)
    if not (np.isfinite(low) & np.isfinite(high)).all():
        broken = np.flatnonzero(~np.isfinite(x).all(axis=1))
        raise DataError(
            f"The features have NaN or infinite values in {_rows(broken, len(x))}. Check these images, or "
            "leave the rows out. If all rows are affected, the network is broken or float16 has overflowed."
        )
    if (low == high).all():
        raise DataError(
            f"All {len(x)} examples have the same features, so no score can separate the classes. Check that "
            "the network has its weights, and that the images have values from 0 to 255."
        )
    classes, counts = class_indices(labels, len(x))
    rare = np.flatnonzero(counts < min_per_class)
    if len(rare):
        names = np.unique(labels)[rare[:SHOWN]].tolist()
        raise DataError(
            f"{len(rare)} of {len(counts)} classes have fewer than {min_per_class} examples, such as label "
            f"{', '.join(map(str, names))}. This score needs at least {min_per_class} examples per class: "
            "add examples, or leave these classes out."
        )
    return Examples(x, classes, counts)


def class_indices(labels: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Convert integer labels to class indices from 0 without gaps.

    Args:
        labels: integers `(n,)`.
        n: expected number of labels.

    Returns:
        The class index of each example, int `(n,)`, and the number of examples per class, int `(k,)`.

    Raises:
        DataError: the labels are not integers of shape `(n,)`, or there are fewer than two classes.

    >>> [each.tolist() for each in class_indices(np.array([9, -1, 9]), 3)]
    [[1, 0, 1], [1, 2]]
    """
    labels = np.asarray(labels)
    if labels.shape != (n,):
        advice = " For one-hot labels, use labels.argmax(axis=1)." if labels.ndim == 2 else ""
        raise DataError(
            f"Labels of shape {labels.shape} were given; expected ({n},), one label per example.{advice}"
        )
    if labels.dtype.kind not in "iub":
        raise DataError(
            f"Labels of type {labels.dtype} were given; expected integers. To convert class names, use "
            "np.unique(labels, return_inverse=True)[1]."
        )
    found, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(found) < 2:
        raise DataError(
            f"All {n} labels are {found[0] if n else 'missing'}; a score needs 2 or more classes. Add "
            "examples of other classes."
        )
    return classes, counts


def check_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Validate the probabilities of a source head, and return them with the class indices of the labels.

    Args:
        probabilities: `(n, source classes)`, 0 to 1; each row sums to 1.
        labels: integers `(n,)`.

    Returns:
        float64 `(n, source classes)`, normalised, and int `(n,)`.

    Raises:
        DataError: the shape is wrong, a row is not a probability distribution, or the labels are invalid.
    """
    theta, sums = row_sums(probabilities)
    classes, _ = class_indices(labels, len(theta))
    return theta / sums[:, None], classes


def row_sums(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Validate probabilities, and return them with the sum of each row.

    Returns:
        float32 or float64 `(n, source classes)`, not normalised, and float64 `(n,)`.

    Raises:
        DataError: the shape is wrong, or a row is not a probability distribution.
    """
    theta = np.asarray(probabilities)
    if theta.dtype != np.float32:
        theta = theta.astype("float64", copy=False)
    if theta.ndim != 2 or 0 in theta.shape:
        raise DataError(
            f"Source probabilities of shape {theta.shape} were given; expected (n, source classes), such as "
            "tlkit.backbones.source_head(name).predict(features)."
        )
    sums = theta.sum(axis=1).astype("float64")
    valid = np.abs(sums - 1) <= SUM_TOLERANCE
    if not (theta.min() >= 0 and valid.all()):
        rows = _rows(np.flatnonzero((theta < 0).any(axis=1) | ~valid), len(theta))
        raise DataError(
            f"The source probabilities are negative or infinite, or do not sum to 1, in {rows}. Convert "
            "logits with a softmax: scipy.special.softmax(logits, axis=1)."
        )
    return theta, sums


def _rows(which: np.ndarray, n: int) -> str:
    shown = ", ".join(map(str, which[:SHOWN])) + (", ..." if len(which) > SHOWN else "")
    return f"{len(which)} of {n} rows ({'index' if len(which) == 1 else 'indices'} {shown})"
