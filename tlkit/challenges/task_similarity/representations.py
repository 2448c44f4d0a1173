"""How alike two networks see the same images: similarities of two representations, row by row.

What differs is what each of them takes for the same: all are blind to rotations and to scale, SVCCA also to
stretching one direction more than another.
"""

from collections.abc import Iterable

import numpy as np

from tlkit.challenges.task_similarity.checks import matrix, same_examples, warn_few
from tlkit.errors import DataError


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Return the linear centred kernel alignment of two representations, 0 (unlike) to 1 (alike).

    `|Y'X|_F^2 / (|X'X|_F |Y'Y|_F)` with centred columns. Rotations, reflections and one scale for all
    features change nothing; other linear maps do, since directions of large variance count most. A few of
    these may decide the number alone. With fewer examples than features it is too high: noise gets near 1.

    Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited"; Murphy et al. 2024,
    "Correcting Biased Centered Kernel Alignment Measures in Biological and Artificial Neural Networks".

    Args:
        x, y: `(n, p)` and `(n, q)`, row i of both from the same image; n at least 3.

    Raises:
        DataError: numbers of rows that differ, NaN or infinite or constant features.

    Warns:
        TlkitWarning: fewer examples than features.

    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> linear_cka(x, 3 * x[:, ::-1] + 1)
    1.0
    """
    x, y = same_examples(x, y)
    n, width = len(x), max(x.shape[1], y.shape[1])
    if n < width:
        warn_few(
            "CKA", n, width, "it is too high. Take more images, or minibatch_cka([(x, y)]), which is not."
        )
    if n < x.shape[1] + y.shape[1]:
        one, other = x @ x.T, y @ y.T  # the same norms, from the smaller matrices
        return float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)))
    crossed = np.square(y.T @ x).sum()
    return float(crossed / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def minibatch_cka(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the linear CKA from batches, without a bias by their size: about 0 (unlike) to 1 (alike).

    The unbiased estimates of the Hilbert-Schmidt independence criterion of all batches are averaged, then
    divided. So it may be a little below 0, and a single batch gives the unbiased CKA of all its examples.

    Nguyen, Raghu & Kornblith 2021, "Do Wide and Deep Networks Learn the Same Things?", equations 2 and 3;
    Song et al. 2012, "Feature Selection via Dependence Maximization".

    Args:
        batches: pairs `(n, p)` and `(n, q)`, row i of both from the same image; n at least 4, best the same
            in all batches, as each counts alike.

    Raises:
        DataError: no batch, a small one, numbers of rows that differ, NaN or infinite features, or a network
            that gives about the same features for all examples.

    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> minibatch_cka((x[i : i + 16], 2 * x[i : i + 16]) for i in range(0, 64, 16))
    1.0
    """
    found = []
    for x, y in batches:
        first, second = matrix(x, "the first network", 4), matrix(y, "the second network", 4)
        if len(first) != len(second):
            raise DataError(
                f"A batch has {len(first)} and {len(second)} rows; expected as many, row i of both from the "
                "same image."
            )
        # centring changes nothing but the rounding
        one, other = (each @ each.T for each in (first - first.mean(axis=0), second - second.mean(axis=0)))
        found.append((_hsic(one, other), _hsic(one, one), _hsic(other, other)))
    if not found:
        raise DataError(
            "There are no batches; expected at least one pair of representations (n, p) and (n, q)."
        )
    crossed, own, others = np.mean(found, axis=0)
    if min(own, others) <= 0:
        raise DataError(
            "A network's features do not vary by more than chance in these batches, so there is nothing to "
            "compare. Its layer is dead or collapsed, or the batches are too small; use 32 images or more."
        )
    return float(crossed / np.sqrt(own * others))


def svcca(x: np.ndarray, y: np.ndarray, variance: float = 0.99) -> float:
    """Return the mean canonical correlation of the leading directions of two representations, 0 to 1.

    Each is cut to the fewest principal directions that hold this share of its variance; then come the
    correlations of their best matching linear combinations. With `variance=1` nothing is cut, and any
    invertible linear map changes nothing; below 1 that holds for maps which leave the cut directions small.
    Every direction that stays counts alike, large or small. It is too high where the directions together are
    not far fewer than the examples.

    Raghu et al. 2017, "SVCCA: Singular Vector Canonical Correlation Analysis for Deep Learning Dynamics and
    Interpretability".

    Args:
        x, y: `(n, p)` and `(n, q)`, row i of both from the same image; n at least 3.
        variance: share that is kept, above 0 and up to 1.

    Raises:
        DataError: numbers of rows that differ, NaN or infinite or constant features, or a wrong share.

    Warns:
        TlkitWarning: so many directions that some correlate whatever they mean.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> svcca(x, x @ np.diag([1, 2, 3]), variance=1)
    1.0
    """
    if not 0 < variance <= 1:
        raise DataError(f"variance={variance} was given; expected a share above 0 and up to 1, such as 0.99.")
    one, other = (_leading(each, variance) for each in same_examples(x, y))
    directions = one.shape[1] + other.shape[1]
    if directions >= len(one):
        warn_few(
            "SVCCA",
            len(one),
            directions,
            "some directions correlate by chance alone. Take more images, or keep less of the variance.",
        )
    correlations = np.linalg.svd(one.T @ other, compute_uv=False)
    return float(np.clip(correlations, 0, 1).mean())


def procrustes(x: np.ndarray, y: np.ndarray) -> float:
    """Return how well one representation, turned and scaled at best, lies on the other: 0 to 1 (exactly).

    `|X'Y|_* / (|X|_F |Y|_F)`, the sum of the singular values, with centred columns. One minus half the
    squared distance that is left when both have size 1. Rotations, reflections and one scale change nothing.
    Directions of small variance count more than under CKA. With fewer examples than features it is too high.

    Williams et al. 2021, "Generalized Shape Metrics on Neural Representations"; Ding, Denain & Steinhardt
    2021, "Grounding Representation Similarity with Statistical Testing".

    Args:
        x, y: `(n, p)` and `(n, q)`, row i of both from the same image; n at least 3.

    Raises:
        DataError: numbers of rows that differ, NaN or infinite or constant features.

    Warns:
        TlkitWarning: fewer examples than features.

    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(procrustes(x, 3 * x[:, ::-1] + 1), 6)
    1.0
    """
    x, y = same_examples(x, y)
    n, width = len(x), max(x.shape[1], y.shape[1])
    if n < width:
        warn_few("The Procrustes similarity", n, width, "it is too high. Take more images.")
    size = np.linalg.norm(x) * np.linalg.norm(y)
    return float(np.linalg.norm(x.T @ y, ord="nuc") / size)


def _hsic(one: np.ndarray, other: np.ndarray) -> float:
    """Return the unbiased estimate from two kernel matrices `(n, n)`."""
    n = len(one)
    one, other = (each - np.diag(np.diag(each)) for each in (one, other))
    rows, columns = one.sum(axis=0), other.sum(axis=0)
    chance = rows.sum() * columns.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows @ columns)
    return float(((one * other).sum() + chance) / (n * (n - 3)))


def _leading(centred: np.ndarray, variance: float) -> np.ndarray:
    """Return unit vectors `(n, k)` along the principal directions that hold this share of the variance."""
    vectors, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    real = int(np.sum(sizes > sizes[0] * np.finfo("float32").eps))  # features are float32; below is rounding
    held = np.cumsum(sizes**2) / np.sum(sizes**2)
    kept = real if variance == 1 else min(real, int(np.searchsorted(held, variance)) + 1)
    return vectors[:, :kept]
