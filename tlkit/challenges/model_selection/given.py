"""What the scores are given, checked in one place: features, labels, and a source head's probabilities."""

from typing import NamedTuple

import numpy as np

from tlkit.errors import DataError

SHOWN = 5  # row numbers that an error names
SUM_TOLERANCE = 1e-2  # of a row of probabilities: float16 is off by less


class Examples(NamedTuple):
    """Features of labelled examples of the target.

    Attributes:
        features: float64 `(n, d)`, finite, not all the same.
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


def examples(features: np.ndarray, labels: np.ndarray, *, least: int = 1) -> Examples:
    """Check features and labels, and return them ready for a score.

    Args:
        features: real numbers `(n, d)`, such as `tlkit.extract` gives them.
        labels: integers `(n,)`; which ones does not matter, nor whether there are gaps.
        least: number of examples that each class must have.

    Raises:
        DataError: other shapes, NaN or infinite features, the same features for all examples, labels that
            are no integers, fewer than two classes, or a class with too few examples.

    >>> examples(np.eye(3), [7, 2, 7]).classes.tolist()
    [1, 0, 1]
    """
    try:
        x = np.asarray(features, "float64")
    except (TypeError, ValueError) as error:
        raise DataError(f"The features are not numbers ({error}); give a float array (n, d).") from error
    if x.ndim != 2 or 0 in x.shape:
        raise DataError(
            f"Features of shape {x.shape} were given; expected (n, d). Of images: tlkit.extract(backbone, "
            "split); of feature maps (n, h, w, d) take the mean over h and w."
        )
    broken = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(broken):
        raise DataError(
            f"{_rows(broken, len(x))} of the features hold NaN or infinite values. Look at these images, or "
            "leave the rows out. Where it is all of them, the network is broken or float16 too small for it."
        )
    if np.ptp(x, axis=0).max() == 0:
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
    theta = np.asarray(probabilities, "float64")
    if theta.ndim != 2 or 0 in theta.shape:
        raise DataError(
            f"Source probabilities of shape {theta.shape} were given; expected (n, source classes), such as "
            "tlkit.backbones.source_head(name).predict(features)."
        )
    wrong = ~np.isfinite(theta).all(axis=1) | (theta < 0).any(axis=1)
    wrong |= np.abs(theta.sum(axis=1) - 1) > SUM_TOLERANCE
    if wrong.any():
        rows = _rows(np.flatnonzero(wrong), len(theta))
        raise DataError(
            f"{rows} of the source probabilities are negative or infinite, or do not sum to 1. Of logits "
            "take the softmax first: scipy.special.softmax(logits, axis=1)."
        )
    classes, _ = class_indices(labels, len(theta))
    return theta / theta.sum(axis=1, keepdims=True), classes


def _rows(which: np.ndarray, n: int) -> str:
    shown = ", ".join(map(str, which[:SHOWN])) + (", ..." if len(which) > SHOWN else "")
    return f"{len(which)} of {n} rows (number {shown})"
