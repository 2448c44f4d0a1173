"""Variance between classes compared with all variance of the features: H-scores and TransRate."""

import warnings

import numpy as np
from scipy.linalg import eigh, solve
from sklearn.covariance import ledoit_wolf

from tlkit.challenges.model_selection.examples import Examples, check_examples
from tlkit.errors import TlkitWarning


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the H-score, `tr(cov(f)^-1 cov(E[f | y]))`: between-class variance relative to all variance.

    The value is the sum of the squared canonical correlations between features and labels. It is 0 if all
    class means are equal. Its maximum is the smaller of `classes - 1` and d, where the features separate the
    classes linearly without error. Invertible linear maps of the features do not change it. Classes with one
    example are allowed; their mean is that example.

    Limitations: with few examples it is too high. Random labels score `(classes - 1) d / (n - 1)` on average,
    and if n is below d any features score `classes - 1`. Then use `regularized_h_score`.

    Bao, Li, Huang, Zhang, Zheng, Zamir & Guibas 2019, "An Information-Theoretic Approach to Transferability
    in Task Transfer Learning".

    Args:
        features: `(n, d)`, n well above d. Constant columns have no effect.
        labels: integers `(n,)`.

    Warns:
        TlkitWarning: n is not above d.

    Raises:
        DataError: the features or labels are invalid; see `check_examples`.

    >>> labels = np.array([0, 0, 1, 1])
    >>> h_score(np.array([[0.0], [0.0], [1.0], [1.0]]), labels)
    1.0
    """
    examples = check_examples(features, labels, keep_float32=True)
    n, d = examples.features.shape
    if n <= d:
        warnings.warn(
            f"The H-score of {n} examples with {d} features is near {len(examples.counts) - 1} for any "
            f"features. Use shrinkage-h-score, or well over {d} examples.",
            TlkitWarning,
            stacklevel=2,
        )
    second, sums = examples.moments(centred=True)
    values, vectors = eigh(second, driver="evd")
    kept = values > d * np.finfo(float).eps * values[-1]
    # the class means in the space in which the covariance of the features is the identity
    white = sums @ vectors[:, kept] / np.sqrt(values[kept])
    return float(np.sum(np.square(white) / examples.counts[:, None]))


def regularized_h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the H-score with a covariance shrunk towards a multiple of the identity (Ledoit & Wolf).

    The value is `(1 - a) tr(cov_a(f)^-1 cov(E[f | y]))` with `cov_a = (1 - a) cov + a tr(cov) / d I`. The
    shrinkage `a`, 0 to 1, is estimated from the features alone; it is larger for fewer examples. The range is
    the same as for `h_score`: 0 to the smaller of `classes - 1` and d. The value is stable if n is below d.
    Rotations and a common scale of the features do not change it; other linear maps do.

    Limitations: it is misleading if `a` differs much between backbones, because `a` scales the score. With
    very few examples the value depends more on the spectrum of the features than on their classes.

    Ibrahim, Ponomareva & Mazumder 2022, "Newer is Not Always Better: Rethinking Transferability Metrics,
    Their Peculiarities, Stability and Performance".

    Args:
        features: `(n, d)`; n may be below d.
        labels: integers `(n,)`. Classes with one example are allowed; their mean is that example.

    Raises:
        DataError: the features or labels are invalid; see `check_examples`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 3
    >>> features = np.eye(3)[labels] + rng.normal(0, 0.1, (60, 3))
    >>> regularized_h_score(features, labels) > regularized_h_score(features, rng.permutation(labels)) >= 0
    True
    """
    examples = check_examples(features, labels)
    covariance, shrinkage = ledoit_wolf(examples.features)
    return float((1 - shrinkage) * np.trace(solve(covariance, _between(examples), assume_a="pos")))


def transrate(
    features: np.ndarray, labels: np.ndarray, *, epsilon: float = 1e-4, scaled: bool = True
) -> float:
    """Return TransRate, an estimate of the mutual information of features and labels, in nats, 0 or more.

    The value is `R(Z) - sum_c n_c / n R(Z_c)` with the coding rate
    `R(Z) = 1/2 log det(I + Z'Z / (n epsilon))`: the code length of all features minus the code length within
    the classes. It is high if the features fill the space while each class fills little of it. Classes with
    one example are allowed.

    Limitations: it grows with d, and with fewer examples per class than dimensions this effect dominates.
    Compare only backbones with the same d, on many examples. Classes with one example raise it.

    Huang, Huang, Rong, Yang & Wei 2022, "Frustratingly Easy Transferability Estimation".

    Args:
        features: `(n, d)`; they are centred first.
        labels: integers `(n,)`.
        epsilon: distortion that the code allows, above 0, in the squared units of the features.
        scaled: divide the features by a constant so that their variances sum to 1, which makes the value
            independent of their scale. False leaves the scale unchanged, as the code in the paper does.

    Raises:
        DataError: the features or labels are invalid; see `check_examples`.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.arange(60) % 3
    >>> features = np.eye(3)[labels] + rng.normal(0, 0.1, (60, 3))
    >>> transrate(features, labels) > transrate(features, rng.permutation(labels)) >= 0
    True
    """
    examples = check_examples(features, labels)
    z = examples.features - examples.features.mean(axis=0)
    if scaled:
        z /= np.sqrt(np.square(z).sum() / len(z))
    within = [_coding_rate(z[examples.classes == c], epsilon) for c in range(len(examples.counts))]
    # the log determinant is concave, so only rounding can give a negative value
    return max(0.0, float(_coding_rate(z, epsilon) - np.average(within, weights=examples.counts)))


def _coding_rate(z: np.ndarray, epsilon: float) -> float:
    n, d = z.shape
    gram = (z.T @ z if n > d else z @ z.T) / (n * epsilon)
    return 0.5 * np.linalg.slogdet(np.eye(len(gram)) + gram)[1]


def _between(examples: Examples) -> np.ndarray:
    """Return the covariance of the class means `(d, d)`, each weighted by the size of its class."""
    means = examples.class_means - examples.features.mean(axis=0)
    return (means.T * examples.counts) @ means / len(examples.features)
