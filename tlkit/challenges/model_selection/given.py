"""What the scores are given, checked in one place: features, labels, and a source head's probabilities."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from tlkit.errors import DataError

BLOCK = 4096  # rows that are turned to float64 at a time
SHOWN = 5  # row numbers that an error names
SUM_TOLERANCE = 1e-2  # of a row of probabilities: float16 is off by less


class Examples(NamedTuple):
    """Features of labelled examples of the target.

    Attributes:
        features: float64 `(n, d)` (or float32, where that was asked for), finite, not all the same.
        classes: int `(n,)`, from 0 to k - 1 without a gap, in the order of the labels.
        counts: int `(k,)`, examples of each class, at least 1; k is at least 2.
    """

    features: np.ndarray
    classes: np.ndarray
    counts: np.ndarray

    @property
    def one_hot(self) -> np.ndarray:
        """The classes as float64 `(n, k)` of 0 and 1."""
        return np.eye(len(self.counts))[self.classes]

    @property
    def class_means(self) -> np.ndarray:
        """The mean features of each class, float64 `(k, d)`."""
        return self.one_hot.T @ self.features / self.counts[:, None]

    def sample(self, most: int, seed: int) -> "Examples":
        """Return at most this many examples, drawn with the seed; every class keeps its share, and one.

        >>> given = examples(np.arange(20.0)[:, None], [0] * 15 + [1] * 5)
        >>> given.sample(8, seed=0).counts.tolist()
        [6, 2]
        """
        if len(self.features) <= most:
            return self
        shuffled = np.random.default_rng(seed).permutation(len(self.features))
        order = shuffled[np.argsort(self.classes[shuffled], kind="stable")]
        starts = np.cumsum(self.counts) - self.counts
        place = np.arange(len(order)) - starts[self.classes[order]]
        share = place / self.counts[self.classes[order]]
        return examples(*(each[np.sort(order[np.argsort(share, kind="stable")[:most]])] for each in self[:2]))

    def moments(self, *, centred: bool = False, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of `x x'` over all examples, and of `x` over those of each class.

        Block by block in float64, so that float32 features are never copied as a whole.

        Args:
            centred: take the mean of all examples from each first.
            scale: divide the features by this number.

        Returns:
            float64 `(d, d)` and `(k, d)`.

        >>> second, sums = examples(np.eye(2)[[0, 1, 1]], [0, 1, 1]).moments()
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
    """Cut n rows into blocks of so many.

    >>> [(block.start, block.stop) for block in blocks(5000)]
    [(0, 4096), (4096, 8192)]
    """
    return (slice(start, start + rows) for start in range(0, n, rows))


def class_sums(
    values: np.ndarray, classes: np.ndarray, k: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the sum of the rows `(n, d)` of each of k classes, with weights `(n,)`: float64 `(k, d)`.

    >>> class_sums(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1]), 2).tolist()
    [[2.0], [5.0]]
    """
    n = len(values)
    one_hot = np.ones(n) if weights is None else weights, classes, np.arange(n + 1)
    return csr_array(one_hot, shape=(n, k)).T @ values


def examples(features: np.ndarray, labels: np.ndarray, *, least: int = 1, single: bool = False) -> Examples:
    """Check features and labels, and return them ready for a score.

    Args:
        features: real numbers `(n, d)`, such as `tlkit.extract` gives them.
        labels: integers `(n,)`; which ones does not matter, nor whether there are gaps.
        least: number of examples that each class must have.
        single: leave float32 features as they are, for a score that goes through them by `moments`.

    Raises:
        DataError: other shapes, NaN or infinite features, the same features for all examples, labels that
            are no integers, fewer than two classes, or a class with too few examples.

    >>> examples(np.eye(3), [7, 2, 7]).classes.tolist()
    [1, 0, 1]
    """
    try:
        x = np.asarray(features)
        if not (single and x.dtype == np.float32):
            x = x.astype("float64", copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"The features are not numbers ({error}); give a float array (n, d).") from error
    if x.ndim != 2 or 0 in x.shape:
        raise DataError(
            f"Features of shape {x.shape} were given; expected (n, d). Of images: tlkit.extract(backbone, "
            "split); of feature maps (n, h, w, d) take the mean over h and w."
        )
    low, high = x.min(axis=0), x.max(axis=0)
    if not (np.isfinite(low) & np.isfinite(high)).all():
        broken = np.flatnonzero(~np.isfinite(x).all(axis=1))
        raise DataError(
            f"{_rows(broken, len(x))} of the features hold NaN or infinite values. Look at these images, or "
            "leave the rows out. Where it is all of them, the network is broken or float16 too small for it."
        )
    if (low == high).all():
        raise DataError(
            f"All {len(x)} examples have the same features, so nothing can tell the classes apart. Look "
            "whether the network got its weights, and images with values 0 to 255."
        )
    classes, counts = class_indices(labels, len(x))
    rare = np.flatnonzero(counts < least)
    if len(rare):
        names = np.unique(labels)[rare[:SHOWN]].tolist()
        raise DataError(
            f"{len(rare)} of {len(counts)} classes have fewer than {least} examples, such as label "
            f"{', '.join(map(str, names))}. This score needs {least} of each: add examples, or leave these "
            "classes out."
        )
    return Examples(x, classes, counts)


def class_indices(labels: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Number the classes from 0 without a gap; return each example's number `(n,)`, and the counts `(k,)`.

    Raises:
        DataError: labels that are no integers `(n,)`, or fewer than two classes.
    """
    given = np.asarray(labels)
    if given.shape != (n,):
        advice = " For one-hot labels: labels.argmax(axis=1)." if given.ndim == 2 else ""
        raise DataError(
            f"Labels of shape {given.shape} were given; expected ({n},), one for each example.{advice}"
        )
    if given.dtype.kind not in "iub":
        raise DataError(
            f"Labels of type {given.dtype} were given; expected integers. To number names: "
            "np.unique(labels, return_inverse=True)[1]."
        )
    found, classes, counts = np.unique(given, return_inverse=True, return_counts=True)
    if len(found) < 2:
        raise DataError(
            f"All {n} labels are {found[0] if n else 'missing'}; a score tells classes apart and needs 2 or "
            "more. Give examples of more classes."
        )
    return classes, counts


def check_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check a source head's probabilities; return them as float64 `(n, source classes)`, and class numbers.

    Raises:
        DataError: another shape, values that are no probabilities, rows that do not sum to one, or bad
        labels.
    """
    theta, sums = row_sums(probabilities)
    classes, _ = class_indices(labels, len(theta))
    return theta / sums[:, None], classes


def row_sums(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Check probabilities, float32 or float64 `(n, source classes)`; return them, and their sums `(n,)`.

    Raises:
        DataError: another shape, values that are no probabilities, or rows that do not sum to one.
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
    right = np.abs(sums - 1) <= SUM_TOLERANCE
    if not (theta.min() >= 0 and right.all()):
        rows = _rows(np.flatnonzero((theta < 0).any(axis=1) | ~right), len(theta))
        raise DataError(
            f"{rows} of the source probabilities are negative or infinite, or do not sum to 1. Of logits "
            "take the softmax first: scipy.special.softmax(logits, axis=1)."
        )
    return theta, sums


def _rows(which: np.ndarray, n: int) -> str:
    shown = ", ".join(map(str, which[:SHOWN])) + (", ..." if len(which) > SHOWN else "")
    return f"{len(which)} of {n} rows (number {shown})"
