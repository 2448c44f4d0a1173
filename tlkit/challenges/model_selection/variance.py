"""How much of the features' variance lies between the classes: H-scores and TransRate."""

import warnings

import numpy as np
from scipy.linalg import eigh, solve
from sklearn.covariance import ledoit_wolf

from tlkit.challenges.model_selection.given import Examples, examples
from tlkit.errors import TlkitWarning


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the H-score, `tr(cov(f)^-1 cov(E[f | y]))`: variance between classes, in units of all variance.

    It is the sum of the squared canonical correlations of features and labels: 0 where all class means are
    the same, at most the smaller of `classes - 1` and d, where the features tell the classes apart linearly
    and without error. No invertible linear map of the features changes it.

    It fails with few examples: labels without any meaning have `(classes - 1) d / (n - 1)` on average, and
    with n below d all features have `classes - 1`. Then take `regularized_h_score`. A class with one example
    is no problem, but its mean is that example.

    Bao, Li, Huang, Zhang, Zheng, Zamir & Guibas 2019, "An Information-Theoretic Approach to Transferability
    in Task Transfer Learning".

    Args:
        features: `(n, d)`, n well above d. Constant columns do not matter.
        labels: integers `(n,)`.

    Warns:
        TlkitWarning: n is not above d.

    Raises:
        DataError: features or labels that no score can use; see `examples`.

    >>> labels = np.array([0, 0, 1, 1])
    >>> h_score(np.array([[0.0], [0.0], [1.0], [1.0]]), labels)
    1.0
    """
    given = examples(features, labels, single=True)
    n, d = given.features.shape
    if n <= d:
        warnings.warn(
            f"The H-score of {n} examples with {d} features is near {len(given.counts) - 1} whatever they "
            f"are. Take shrinkage-h-score, or give well over {d} examples.",
            TlkitWarning,
            stacklevel=2,
        )
    second, sums = given.moments(centred=True)
    values, vectors = eigh(second, driver="evd")
    kept = values > d * np.finfo(float).eps * values[-1]
    # the class means in the space where the features have the identity for covariance
    white = sums @ vectors[:, kept] / np.sqrt(values[kept])
    return float(np.sum(np.square(white) / given.counts[:, None]))


def regularized_h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the H-score with the covariance shrunk towards a multiple of the identity (Ledoit & Wolf).

    `(1 - a) tr(cov_a(f)^-1 cov(E[f | y]))` with `cov_a = (1 - a) cov + a tr(cov) / d I`. The strength `a`, 0
    to 1, is estimated from the features alone: the fewer examples, the larger. From 0 to the smaller of
    `classes - 1` and d, as `h_score`; stable where n is below d. Rotations of the features and their common
    scale do not change it, other linear maps do.

    It fails where `a` differs much between backbones, as it scales the score: with very few examples it tells
    the spectrum of the features more than their classes.

    Ibrahim, Ponomareva & Mazumder 2022, "Newer is Not Always Better: Rethinking Transferability Metrics,
    Their Peculiarities, Stability and Performance".

    Args:
        features: `(n, d)`; n may be below d.
        labels: integers `(n,)`. A class with one example is no problem, but its mean is that example.

    Raises:
        DataError: features or labels that no score can use; see `examples`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 3
    >>> features = np.eye(3)[labels] + rng.normal(0, 0.1, (60, 3))
    >>> regularized_h_score(features, labels) > regularized_h_score(features, rng.permutation(labels)) >= 0
    True
    """
    given = examples(features, labels)
    covariance, shrinkage = ledoit_wolf(given.features)
    return float((1 - shrinkage) * np.trace(solve(covariance, _between(given), assume_a="pos")))


def transrate(
    features: np.ndarray, labels: np.ndarray, *, epsilon: float = 1e-4, scaled: bool = True
) -> float:
    """Return TransRate, an estimate of the mutual information of features and labels, in nats: 0 or more.

    `R(Z) - sum_c n_c / n R(Z_c)` with the coding rate `R(Z) = 1/2 log det(I + Z'Z / (n epsilon))`: the length
    of a code for all features, less that of a code for each class. High where the features fill the space,
    and those of one class little of it.

    It fails where dimensions differ: it grows with d, and with fewer examples a class than dimensions it
    tells that more than anything else. So compare backbones of one d, with many examples. A class with one
    example is no problem, but flatters it.

    Huang, Huang, Rong, Yang & Wei 2022, "Frustratingly Easy Transferability Estimation".

    Args:
        features: `(n, d)`; they are centred first.
        labels: integers `(n,)`.
        epsilon: the distortion that the code allows, above 0; it matters against the scale of the features.
        scaled: divide the features by one number, so that their variances sum to 1, and their scale does not
            matter. False takes them as they are, as the code printed in the paper does.

    Raises:
        DataError: features or labels that no score can use; see `examples`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 3
    >>> features = np.eye(3)[labels] + rng.normal(0, 0.1, (60, 3))
    >>> transrate(features, labels) > transrate(features, rng.permutation(labels)) >= 0
    True
    """
    given = examples(features, labels)
    z = given.features - given.features.mean(axis=0)
    if scaled:
        z /= np.sqrt(np.square(z).sum() / len(z))
    within = [_coding_rate(z[given.classes == c], epsilon) for c in range(len(given.counts))]
    # the logarithm of determinants is concave, so only rounding goes below 0
    return max(0.0, float(_coding_rate(z, epsilon) - np.average(within, weights=given.counts)))


def _coding_rate(z: np.ndarray, epsilon: float) -> float:
    n, d = z.shape
    gram = (z.T @ z if n > d else z @ z.T) / (n * epsilon)
    return 0.5 * np.linalg.slogdet(np.eye(len(gram)) + gram)[1]


def _between(given: Examples) -> np.ndarray:
    """Return the covariance of the class means `(d, d)`, each as often as the class; divided by n."""
    means = given.class_means - given.features.mean(axis=0)
    return (means.T * given.counts) @ means / len(given.features)
