"""Validate feature matrices, and raise an error that names the problem."""

import warnings

import numpy as np

from tlkit.errors import DataError, TlkitWarning


def feature_matrix(features: np.ndarray, name: str, min_examples: int = 2) -> np.ndarray:
    """Return features as float64 `(n, d)`.

    Args:
        features: real numbers `(n, d)`.
        name: what an error message calls them.
        min_examples: smallest valid n.

    Raises:
        DataError: the shape is wrong, there are too few examples, or values are NaN or infinite.
    """
    features = np.asarray(features, "float64")
    if features.ndim != 2 or features.shape[1] < 1:
        raise DataError(
            f"The features of {name} have shape {features.shape}; expected (n, d), one row per image, as "
            "tlkit.extract(backbone, images) returns them."
        )
    if len(features) < min_examples:
        raise DataError(
            f"{name} has {len(features)} example{'s' * (len(features) != 1)}; expected at least "
            f"{min_examples}. Add images, or leave this data set out."
        )
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(broken):
        raise DataError(
            f"The features of {name} are NaN or infinite in {len(broken)} of {len(features)} rows, the first "
            f"is row {broken[0]}. The network or its input is broken; check that image and the weights."
        )
    return features


def domain_pair(one: np.ndarray, other: np.ndarray, min_examples: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Validate the features of two domains, and return them as float64 `(n, d)` and `(m, d)`.

    Raises:
        DataError: as for `feature_matrix`, or the numbers of features differ.
    """
    first = feature_matrix(one, "the first domain", min_examples)
    second = feature_matrix(other, "the second domain", min_examples)
    check_widths({"the first domain": first, "the second domain": second})
    return first, second


def check_widths(features: dict[str, np.ndarray]) -> None:
    """Raise a DataError if the numbers of features differ, because they then come from different networks."""
    widths = {name: each.shape[1] for name, each in features.items()}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise DataError(
            f"The numbers of features differ: {listed}. Domains are compared in the features of one network; "
            "extract all features with the same backbone."
        )


def centred_pair(x: np.ndarray, y: np.ndarray, min_examples: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Validate two representations of the same examples, and return them with the mean of each column at 0.

    Args:
        x, y: `(n, p)` and `(n, q)`, row i of both from the same image.
        min_examples: smallest valid n.

    Raises:
        DataError: as for `feature_matrix`, the numbers of rows differ, or a representation is the same for
            every example.
    """
    first = feature_matrix(x, "the first network", min_examples)
    second = feature_matrix(y, "the second network", min_examples)
    if len(first) != len(second):
        raise DataError(
            f"The representations have {len(first)} and {len(second)} rows; expected equal numbers, row i of "
            "both from the same image. To compare two sets of different images, use a distance between "
            "domains."
        )
    centred = []
    for name, each in (("first", first), ("second", second)):
        moved = each - each.mean(axis=0)
        # if all rows are equal, only rounding error is left
        if np.linalg.norm(moved) <= 1e-6 * np.linalg.norm(each) or not moved.any():
            raise DataError(
                f"The {name} network has the same features for all {len(first)} examples, so there is "
                "nothing to compare. Its layer is dead or collapsed; choose another layer."
            )
        centred.append(moved)
    return centred[0], centred[1]


def warn_few_examples(score: str, examples: int, features: int, consequence: str) -> None:
    """Warn that a score is biased because there are too few examples for the number of features."""
    warnings.warn(
        f"{score} of {examples} examples with {features} features is biased: {consequence}",
        TlkitWarning,
        stacklevel=3,
    )
