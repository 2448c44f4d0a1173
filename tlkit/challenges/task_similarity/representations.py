"""Similarity of two representations of the same images.

The measures differ in the transformations that they ignore. All of them ignore rotations and a common scale;
SVCCA also ignores a different scale for each direction.
"""

from collections.abc import Iterable

import numpy as np

from tlkit.challenges.task_similarity.checks import centred_pair, feature_matrix, warn_few_examples
from tlkit.errors import DataError


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Return the linear centred kernel alignment (CKA) of two representations, 0 (unrelated) to 1 (equal).

    CKA is `|Y'X|_F^2 / (|X'X|_F |Y'Y|_F)` with centred columns. Rotations, reflections and a common scale of
    the features do not change it. Other linear maps change it, because directions with a large variance have
    the largest weight; a few such directions can determine the value. With fewer examples than features CKA
    is too high: even unrelated noise has a value near 1.

    Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited"; Murphy et al. 2024,
    "Correcting Biased Centered Kernel Alignment Measures in Biological and Artificial Neural Networks".

    Args:
        x, y: `(n, p)` and `(n, q)`, row i of both from the same image; n at least 3.

    Raises:
        DataError: the numbers of rows differ, or features are NaN, infinite or constant.

    Warns:
        TlkitWarning: there are fewer examples than features.

    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> linear_cka(x, 3 * x[:, ::-1] + 1)
    1.0
    """
    x, y = centred_pair(x, y)
    n, width = len(x), max(x.shape[1], y.shape[1])
    if n < width:
        warn_few_examples(
            "CKA", n, width, "it is too high. Use more images, or minibatch_cka([(x, y)]), which is unbiased."
        )
    if n < x.shape[1] + y.shape[1]:
        one, other = x @ x.T, y @ y.T  # the same norms from smaller matrices
        return float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other)))
    crossed = np.square(y.T @ x).sum()
    return float(crossed / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def minibatch_cka(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return linear CKA from batches, corrected for their size: about 0 (unrelated) to 1 (equal).

    Each batch gives unbiased estimates of the Hilbert-Schmidt independence criterion; CKA is the ratio of
    their means over the batches. It can therefore be slightly negative. With a single batch, it is the
    unbiased CKA of the examples in that batch.

    Nguyen, Raghu & Kornblith 2021, "Do Wide and Deep Networks Learn the Same Things?", equations 2 and 3;
    Song et al. 2012, "Feature Selection via Dependence Maximization".

    Args:
        batches: pairs of arrays `(n, p)` and `(n, q)`, row i of both from the same image; n at least 4. All
            batches have the same weight, so n should be the same for all.

    Raises:
        DataError: there is no batch, a batch is too small, its numbers of rows differ, features are NaN or
            infinite, or a network has nearly the same features for all examples.

    >>> x = np.random.default_rng(0).normal(size=(64, 4))
    >>> minibatch_cka((x[i : i + 16], 2 * x[i : i + 16]) for i in range(0, 64, 16))
    1.0
    """
    found = []
    for x, y in batches:
        first, second = feature_matrix(x, "the first network", 4), feature_matrix(y, "the second network", 4)
        if len(first) != len(second):
            raise DataError(
                f"A batch has {len(first)} and {len(second)} rows; expected equal numbers, row i of both "
                "from the same image."
            )
        # centring only reduces rounding errors
        one, other = (each @ each.T for each in (first - first.mean(axis=0), second - second.mean(axis=0)))
        found.append((_hsic(one, other), _hsic(one, one), _hsic(other, other)))
    if not found:
        raise DataError(
            "There are no batches; expected at least one pair of representations, (n, p) and (n, q)."
        )
    crossed, own, others = np.mean(found, axis=0)
    if min(own, others) <= 0:
        raise DataError(
            "In these batches, the features of a network vary no more than by chance, so there is nothing to "
            "compare. The layer is dead or collapsed, or the batches are too small; use 32 images or more."
        )
    return float(crossed / np.sqrt(own * others))


def svcca(x: np.ndarray, y: np.ndarray, variance: float = 0.99) -> float:
    """Return SVCCA, the mean canonical correlation of two representations after PCA, 0 to 1.

    Each representation is reduced to the fewest principal directions that hold the fraction `variance` of its
    variance. The value is the mean correlation of the best matching linear combinations of these directions.
    All kept directions have the same weight, whatever their variance. With `variance=1` no direction is
    removed, and invertible linear maps do not change the value. With a smaller fraction this holds for maps
    that keep the removed directions small. SVCCA is too high unless the examples far outnumber the directions
    of both representations together.

    Raghu et al. 2017, "SVCCA: Singular Vector Canonical Correlation Analysis for Deep Learning Dynamics and
    Interpretability".

    Args:
        x, y: `(n, p)` and `(n, q)`, row i of both from the same image; n at least 3.
        variance: fraction of the variance to keep, above 0 and at most 1.

    Raises:
        DataError: the numbers of rows differ, features are NaN, infinite or constant, or `variance` is out of
            range.

    Warns:
        TlkitWarning: there are so many directions that some of them correlate by chance.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> svcca(x, x @ np.diag([1, 2, 3]), variance=1)
    1.0
    """
    if not 0 < variance <= 1:
        raise DataError(
            f"variance={variance} was given; expected a fraction above 0 and at most 1, such as 0.99."
        )
    one, other = (_leading(each, variance) for each in centred_pair(x, y))
    directions = one.shape[1] + other.shape[1]
    if directions >= len(one):
        warn_few_examples(
            "SVCCA",
            len(one),
            directions,
            "some directions correlate by chance. Use more images, or keep less of the variance.",
        )
    correlations = np.linalg.svd(one.T @ other, compute_uv=False)
    return float(np.clip(correlations, 0, 1).mean())


def procrustes(x: np.ndarray, y: np.ndarray) -> float:
    """Return how closely two representations match after the best rotation and scaling, 0 to 1 (exact).

    The value is `|X'Y|_* / (|X|_F |Y|_F)` with centred columns, where `|.|_*` is the sum of the singular
    values. It equals one minus half the squared distance that remains if both representations are scaled to
    norm 1. Rotations, reflections and a common scale do not change it. Directions with a small variance have
    more weight than in CKA. With fewer examples than features the value is too high.

    Williams et al. 2021, "Generalized Shape Metrics on Neural Representations"; Ding, Denain & Steinhardt
    2021, "Grounding Representation Similarity with Statistical Testing".

    Args:
        x, y: `(n, p)` and `(n, q)`, row i of both from the same image; n at least 3.

    Raises:
        DataError: the numbers of rows differ, or features are NaN, infinite or constant.

    Warns:
        TlkitWarning: there are fewer examples than features.

    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(procrustes(x, 3 * x[:, ::-1] + 1), 6)
    1.0
    """
    x, y = centred_pair(x, y)
    n, width = len(x), max(x.shape[1], y.shape[1])
    if n < width:
        warn_few_examples("The Procrustes similarity", n, width, "it is too high. Use more images.")
    size = np.linalg.norm(x) * np.linalg.norm(y)
    return float(np.linalg.norm(x.T @ y, ord="nuc") / size)


def _hsic(one: np.ndarray, other: np.ndarray) -> float:
    """Return the unbiased estimate of the independence criterion from two kernel matrices `(n, n)`."""
    n = len(one)
    one, other = (each - np.diag(np.diag(each)) for each in (one, other))
    rows, columns = one.sum(axis=0), other.sum(axis=0)
    chance = rows.sum() * columns.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows @ columns)
    return float(((one * other).sum() + chance) / (n * (n - 3)))


def _leading(centred: np.ndarray, variance: float) -> np.ndarray:
    """Return unit vectors `(n, k)` along the principal directions that hold this fraction of the variance."""
    vectors, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    rank = int(np.sum(sizes > sizes[0] * np.finfo("float32").eps))  # smaller values are float32 rounding
    held = np.cumsum(sizes**2) / np.sum(sizes**2)
    kept = rank if variance == 1 else min(rank, int(np.searchsorted(held, variance)) + 1)
    return vectors[:, :kept]
