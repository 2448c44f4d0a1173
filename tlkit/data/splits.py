"""Split examples by a hash, with the same result on every machine and with every library version."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tlkit.errors import DataError

MOST_NUMBERS = 20  # a column with more different numbers has measurements, and not a number for each class
MOST_BINS = 10  # into which measurements are grouped


def hash_order(keys: Sequence[str | bytes], purpose: bytes = b"") -> np.ndarray:
    """Return the indices that sort the keys by their BLAKE2b digests: a shuffle without a seed.

    Another `purpose` (up to 16 bytes) gives an independent order. Use different purposes to split examples
    and to order them; with the same purpose, a split could begin with examples of a few classes only.

    >>> hash_order(["cat", "dog", "cow"]).tolist()
    [2, 0, 1]
    """
    raw = [key.encode() if isinstance(key, str) else key for key in keys]
    return np.array(
        sorted(range(len(raw)), key=lambda i: hashlib.blake2b(raw[i], person=purpose).digest()), int
    )


def stratified(
    keys: Sequence[str | bytes],
    labels: np.ndarray,
    class_names: Sequence[str],
    validation: float = 0.2,
    test: float = 0.2,
) -> np.ndarray:
    """Assign each example to "train", "validation" or "test", in the same proportions in every class.

    Args:
        keys: one identifier per example, whose hash decides. Include a seed in the keys for another split.
        labels: integer `(n,)`, indices into `class_names`.
        class_names: the name of each class, for error messages.
        validation, test: fractions of each class, at least 0 and together below 1. A split with a fraction
            above 0 gets at least one example of each class.

    Returns:
        The name of the split of each example, `(n,)` strings.

    Raises:
        DataError: the fractions are out of range, or a class has fewer examples than there are splits.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise DataError(
            f"validation={validation} and test={test} leave no training data, or are negative. Give "
            "fractions of at least 0 that are together below 1, such as 0.2 and 0.2."
        )
    needed = ["train"] + ["validation"] * (validation > 0) + ["test"] * (test > 0)
    counts = np.bincount(labels, minlength=len(class_names))
    few = [f"{name!r} has {n}" for name, n in zip(class_names, counts, strict=True) if n < len(needed)]
    if few:
        raise DataError(
            f"Too few images: class {', class '.join(few)}, and each needs at least {len(needed)}, one for "
            f"each of {', '.join(needed)}. Add images, remove the class, or load with validation=0 or test=0."
        )
    order = hash_order(keys)
    splits = np.full(len(keys), "train", dtype="U10")
    for label, n in enumerate(counts.tolist()):
        members = order[labels[order] == label]
        n_test = min(_count(n, test), n - 1 - (validation > 0))
        n_validation = min(_count(n, validation), n - 1 - n_test)
        splits[members[:n_test]] = "test"
        splits[members[n_test : n_test + n_validation]] = "validation"
    return splits


def strata(columns: Mapping[str, np.ndarray], fewest: int, enough: int) -> np.ndarray:
    """Group the rows of a table of labels, so that `stratified` can divide each group.

    A group is a combination of the classes of all columns if every combination has `enough` rows, and
    otherwise a class of the first column of classes. If all columns have measurements, a group is an
    interval between quantiles of the first column. A row with several labels counts as its rarest label. A
    missing label is a group, too. Groups with fewer than `fewest` rows are merged.

    Args:
        columns: texts `(n,)`, by the name of the column; "" is a missing label.
        fewest: rows that a group needs to be divided, at least 1.
        enough: rows that a combination needs to be divided in the right proportions.

    Returns:
        The group of each row, int `(n,)`: 0, 1, ... Each group has at least `fewest` rows, if the table has.

    >>> kind = np.array(["cat", "dog", "cat", "dog", "cat", "dog", "cow"])
    >>> strata({"kind": kind}, fewest=3, enough=5).tolist()
    [0, 1, 0, 1, 0, 1, 0]
    """
    rows = len(next(iter(columns.values())))
    labels = [_rarest(column) for column in columns.values()]
    classes = [column for column in labels if are_classes(column)]
    groups = np.zeros(rows, int)
    if classes:
        groups = _numbered(["|".join(row) for row in zip(*classes, strict=True)])
        if np.bincount(groups).min() < enough:
            groups = _numbered(classes[0])
    elif measured := [values for each in labels if (values := _numbers(each)) is not None]:
        groups = _quantiles(measured[0], enough)
    return _merged(groups, fewest)


def are_classes(column: np.ndarray) -> bool:
    """Return whether the texts of a column `(n,)` are classes: few different texts, or very few numbers.

    >>> [are_classes(np.array(texts.split())) for texts in ("cat dog cat dog", "a b c d", "1 2 3 3")]
    [True, False, False]
    """
    known = column[~_missing(column)]
    most = len(known) // 2 if _numbers(column) is None else min(MOST_NUMBERS, len(known) // 5)
    return 2 <= len(set(known)) <= most


def _missing(column: np.ndarray) -> np.ndarray:
    return np.isin(np.char.lower(column), ("", "nan", "none"))


def _numbers(column: np.ndarray) -> np.ndarray | None:
    """Return a column of numbers as floats, NaN where they are missing; None if it has other texts."""
    try:
        return np.where(_missing(column), "nan", column).astype(float)
    except ValueError:
        return None


def _rarest(column: np.ndarray) -> np.ndarray:
    """Return the rarest of the labels of each row, which `|` separates."""
    several = [[each.strip() for each in text.split("|")] for text in column]
    counts = Counter(label for labels in several for label in labels)
    return np.array([min(labels, key=lambda label: (counts[label], label)) for labels in several])


def _numbered(labels: Sequence[str] | np.ndarray) -> np.ndarray:
    return np.unique(np.asarray(labels), return_inverse=True)[1]


def _quantiles(values: np.ndarray, enough: int) -> np.ndarray:
    """Return the interval between quantiles in which each value lies; missing values have their own."""
    known = ~np.isnan(values)
    bins = min(MOST_BINS, max(1, int(known.sum()) // enough))
    edges = np.quantile(values[known], np.linspace(0, 1, bins + 1)[1:-1]) if known.any() else []
    return np.where(known, np.searchsorted(edges, values, side="right"), bins)


def _merged(groups: np.ndarray, fewest: int) -> np.ndarray:
    """Merge all groups with fewer than `fewest` rows, with the largest group if they are too few together."""
    counts = np.bincount(groups)
    rare = (counts < fewest)[groups]
    return _numbered(np.where(rare, len(counts) if rare.sum() >= fewest else counts.argmax(), groups))


def _count(n: int, fraction: float) -> int:
    return max(1, round(n * fraction)) if fraction else 0
