"""What features have to be before they are compared, said where they are not."""

import warnings

import numpy as np

from tlkit.errors import DataError, TlkitWarning


def matrix(given: np.ndarray, name: str, least: int = 2) -> np.ndarray:
    """Return features as float64 `(n, d)`.

    Args:
        name: what they are called in an error.
        least: the number of examples below which they are refused.

    Raises:
        DataError: another shape, too few examples, NaN or infinite values.
    """
    features = np.asarray(given, "float64")
    if features.ndim != 2 or features.shape[1] < 1:
        raise DataError(
            f"The features of {name} have shape {features.shape}; expected (n, d), one row for each image. "
            "tlkit.extract(backbone, images) gives them so."
        )
    if len(features) < least:
        raise DataError(
            f"{name} has {len(features)} example{'s' * (len(features) != 1)}; expected at least {least}. Add "
            "images, or leave this data set out."
        )
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(broken):
        raise DataError(
            f"The features of {name} are NaN or infinite in {len(broken)} of {len(features)} rows, the first "
            f"is row {broken[0]}. The network or its input is broken; look at that image and the weights."
        )
    return features


def two_domains(one: np.ndarray, other: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of two domains, `(n, d)` and `(m, d)`, after the checks of `matrix`.

    Raises:
        DataError: as `matrix`, or numbers of features that differ.
    """
    first, second = matrix(one, "the first domain", least), matrix(other, "the second domain", least)
    same_width({"the first domain": first, "the second domain": second})
    return first, second


def same_width(features: dict[str, np.ndarray]) -> None:
    """Raise DataError where the numbers of features differ: they are of different networks."""
    widths = {name: each.shape[1] for name, each in features.items()}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise DataError(
            f"The numbers of features differ: {listed}. Domains are compared in the features of one network; "
            "extract them all with the same backbone."
        )


def same_examples(x: np.ndarray, y: np.ndarray, least: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return two representations of the same examples, `(n, p)` and `(n, q)`, with columns of mean 0.

    Raises:
        DataError: as `matrix`, numbers of rows that differ, or the same features for every example.
    """
    first, second = matrix(x, "the first network", least), matrix(y, "the second network", least)
    if len(first) != len(second):
        raise DataError(
            f"The representations have {len(first)} and {len(second)} rows; expected as many, row i of both "
            "from the same image. For two sets of different images use a distance between domains."
        )
    centred = []
    for name, each in (("first", first), ("second", second)):
        moved = each - each.mean(axis=0)
        # what is left of equal rows is rounding
        if np.linalg.norm(moved) <= 1e-6 * np.linalg.norm(each) or not moved.any():
            raise DataError(
                f"The {name} network gives the same features for all {len(first)} examples, so there is "
                "nothing to compare. Its layer is dead or collapsed; choose another one."
            )
        centred.append(moved)
    return centred[0], centred[1]


def warn_few(score: str, examples: int, features: int, instead: str) -> None:
    """Warn that a score is too high or too low because there are fewer examples than features."""
    warnings.warn(
        f"{score} of {examples} examples with {features} features is biased: {instead}",
        TlkitWarning,
        stacklevel=3,
    )
