"""Who trains and who tests, decided by a hash: the same on every machine and with every library version."""

import hashlib
from collections.abc import Sequence

import numpy as np

from tlkit.errors import DataError


def hash_order(keys: Sequence[str | bytes], purpose: bytes = b"") -> np.ndarray:
    """Return the indices that put the keys in the order of their BLAKE2b digests: a shuffle without a seed.

    Another `purpose` (up to 16 bytes) gives another, independent order. What is split by one order must
    not be listed by the same: the first of train would be those of a class that just missed the test.

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
    """Give each example "train", "validation" or "test", in the same proportions within every class.

    Args:
        keys: what identifies each example; its hash decides. Put a seed into it for another split.
        labels: int (n,), indices into `class_names`.
        validation, test: fractions from 0 up to, and together below, 1. A fraction above 0 gets at least
            one example of each class.

    Returns:
        The name of the split of each example, (n,) str.

    Raises:
        DataError: the fractions are out of range, or a class has fewer examples than there are splits.
    """
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise DataError(
            f"validation={validation} and test={test} leave nothing to train on, or are negative. "
            "Give fractions of at least 0 that are together below 1, such as 0.2 and 0.2."
        )
    wanted = ["train"] + ["validation"] * (validation > 0) + ["test"] * (test > 0)
    counts = np.bincount(labels, minlength=len(class_names))
    few = [f"{name!r} has {n}" for name, n in zip(class_names, counts, strict=True) if n < len(wanted)]
    if few:
        raise DataError(
            f"Too few images: class {', class '.join(few)}, and each needs at least {len(wanted)}, one for "
            f"each of {', '.join(wanted)}. Add images, remove the class, or load with validation=0 or test=0."
        )
    order = hash_order(keys)
    splits = np.full(len(keys), "train", dtype="U10")
    for label, n in enumerate(counts.tolist()):
        members = order[labels[order] == label]
        n_test = min(_share(n, test), n - 1 - (validation > 0))
        n_validation = min(_share(n, validation), n - 1 - n_test)
        splits[members[:n_test]] = "test"
        splits[members[n_test : n_test + n_validation]] = "validation"
    return splits


def _share(n: int, fraction: float) -> int:
    return max(1, round(n * fraction)) if fraction else 0
