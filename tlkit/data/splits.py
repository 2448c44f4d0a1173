"""Split examples by a hash, with the same result on every machine and with every library version."""

import hashlib
from collections.abc import Sequence

import numpy as np

from tlkit.errors import DataError


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


def _count(n: int, fraction: float) -> int:
    return max(1, round(n * fraction)) if fraction else 0
