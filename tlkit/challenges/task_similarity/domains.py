"""Distances between two domains, computed from the features of one network.

The two domains have different images and need no labels; their classes may differ. Every distance depends on
the network, because it only measures differences that the features represent.
"""

import itertools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist, pdist
from sklearn.model_selection import cross_val_score
from threadpoolctl import threadpool_limits

from tlkit.challenges.task_similarity.checks import (
    check_widths,
    domain_pair,
    feature_matrix,
    warn_few_examples,
)
from tlkit.challenges.task_similarity.measures import MEASURES, Measure
from tlkit.errors import DataError
from tlkit.techniques.domain_adaptation import validators
from tlkit.techniques.domain_adaptation.dan import BANDWIDTHS
from tlkit.techniques.domain_adaptation.validators import both_domains, domain_classifier

FOLDS = 5  # of the domain classifier's cross-validation


def proxy_a_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the proxy A-distance, `2 (1 - 2 error)` of a linear domain classifier: 0 (same) to 2 (disjoint).

    The error is measured on held-out examples. The distance saturates: it cannot rank domains that are all
    separated without error. Two small samples of one domain have a distance slightly above 0 on average,
    because negative values are clipped to 0.

    Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation".

    Args:
        one, other: features `(n, d)` and `(m, d)`, at least five examples each.

    Raises:
        DataError: there are too few examples, NaN or infinite features, or different numbers of features.

    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> round(proxy_a_distance(x, x + 9), 2)
    2.0
    """
    return validators.proxy_a_distance(*domain_pair(one, other, FOLDS))


def domain_auc(one: np.ndarray, other: np.ndarray) -> float:
    """Return the area under the ROC curve of a linear domain classifier: 0.5 (same) to 1 (disjoint).

    The area is the probability that the classifier ranks a held-out example of the second domain above one of
    the first. It is more sensitive than the A-distance, which only counts errors at one threshold. Two small
    samples of one domain may have an area slightly below 0.5.

    Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation", for the domain classifier.

    Args:
        one, other: features `(n, d)` and `(m, d)`, at least five examples each.

    Raises:
        DataError: there are too few examples, NaN or infinite features, or different numbers of features.

    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> domain_auc(x, x + 9)
    1.0
    """
    x, domain = both_domains(*domain_pair(one, other, FOLDS))
    with threadpool_limits(1):  # with few examples, threads only add overhead
        return float(cross_val_score(domain_classifier(), x, domain, cv=FOLDS, scoring="roc_auc").mean())


def mmd(one: np.ndarray, other: np.ndarray, bandwidths: Sequence[float] = BANDWIDTHS) -> float:
    """Return an unbiased estimate of the squared maximum mean discrepancy: 0 (same) to 2 (disjoint).

    The estimate is `mean k(a, a') + mean k(b, b') - 2 mean k(a, b)` over pairs of different examples. Two
    samples of one domain have a value near 0, which may be negative. The kernel `k` is the mean of
    `exp(-|x - y|^2 / (w m))` over the bandwidths `w`, where `m` is the median squared distance over all pairs
    of the two samples (or the mean, if the median is 0). `tlkit.techniques.domain_adaptation.mmd` is the
    version for use as a training loss.

    Gretton et al. 2012, "A Kernel Two-Sample Test", equation 3.

    Args:
        one, other: features `(n, d)` and `(m, d)`, at least two examples each.
        bandwidths: widths of the kernels, as multiples of `m`.

    Raises:
        DataError: there are too few examples, NaN or infinite features, or different numbers of features.

    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> abs(mmd(x[:100], x[100:])) < 0.01, round(mmd(x[:100], x[100:] + 9), 1)
    (True, 1.3)
    """
    first, second = domain_pair(one, other)
    within = [pdist(each, "sqeuclidean") for each in (first, second)]
    between = cdist(first, second, "sqeuclidean")
    pairs = np.concatenate([*within, between.ravel()])
    unit = np.median(pairs) or pairs.mean()
    if unit == 0:
        return 0.0  # all examples are identical

    def kernel(squares: np.ndarray) -> float:
        return float(np.mean([np.exp(-squares / (width * unit)).mean() for width in bandwidths]))

    return kernel(within[0]) + kernel(within[1]) - 2 * kernel(between)


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the squared Fréchet distance between Gaussians fitted to the two domains, 0 or more.

    The distance is `|m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2))`, in squared units of the features.
    With the features of an Inception network it is the FID. It is biased upwards: unless there are many times
    more examples than features, two samples of one domain have a distance well above 0. Compare distances
    only for equal numbers of examples, and with the distance between two halves of one domain, as `distances`
    does.

    The eigenvalues of `C_1 C_2` are the squared singular values of `A B'`, where `A` and `B` are the centred
    features divided by `sqrt(n - 1)`. This avoids a matrix square root, which fails for singular covariances.

    Dowson & Landau 1982, "The Frechet Distance between Multivariate Normal Distributions"; Heusel et al.
    2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"; Chong & Forsyth
    2020, "Effectively Unbiased FID and Inception Score", for the bias.

    Args:
        one, other: features `(n, d)` and `(m, d)`, at least two examples each.

    Raises:
        DataError: there are too few examples, NaN or infinite features, or different numbers of features.

    Warns:
        TlkitWarning: there are fewer examples than features.

    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> round(frechet_distance(x, x + [3, 4]), 6)
    25.0
    """
    first, second = domain_pair(one, other)
    fewest, width = min(len(first), len(second)), first.shape[1]
    if fewest < width:
        warn_few_examples(
            "The Fréchet distance",
            fewest,
            width,
            "it is too large, above all between similar domains. Use more images, or compare with the "
            "distance between two halves of one domain.",
        )
    shift = first.mean(axis=0) - second.mean(axis=0)
    roots = [(each - each.mean(axis=0)) / np.sqrt(len(each) - 1) for each in (first, second)]
    spread = sum(float(np.square(root).sum()) for root in roots)
    # the triangular factor of a QR decomposition has the same covariance, in at most d rows
    small = [np.linalg.qr(root)[1] if len(root) > width else root for root in roots]
    overlap = np.linalg.norm(small[0] @ small[1].T, ord="nuc")
    return max(0.0, float(shift @ shift + spread - 2 * overlap))


def distances(
    features: Mapping[str, np.ndarray], measure: str | Measure = "a-distance", *, seed: int = 0
) -> pd.DataFrame:
    """Return the table of distances between all pairs of data sets.

    Each diagonal cell is the distance between two random halves of one data set. It shows what no difference
    looks like with this number of examples. Every comparison has the same number of examples on each side:
    half of the smallest data set. Each other cell is the mean of two such comparisons.

    Args:
        features: features `(n_i, d)` by name of the data set, all from one backbone.
        measure: a name in `MEASURES`, or a `Measure`.
        seed: random seed for the random halves.

    Returns:
        A square, symmetric float64 table with the names in rows and columns. Its `attrs` are `measure` (the
        name), `examples` (on each side), and `same` and `squared` of the measure, which
        `tlkit.plots.similarity_embedding` uses.

    Raises:
        UnknownNameError: there is no such measure.
        DataError: there are fewer than two data sets, or their features cannot be compared.

    Warns:
        TlkitWarning: the measure is biased for these numbers of examples and features; issued once.

    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> distances({"near": x, "far": x + 9}, "auc").round(1).to_numpy().tolist()
    [[0.5, 1.0], [1.0, 0.5]]
    """
    chosen = MEASURES.find(measure) if isinstance(measure, str) else measure
    if len(features) < 2:
        counted = "1 data set was" if features else "0 data sets were"
        raise DataError(
            f"{counted} given: {', '.join(features) or 'none'}; expected at least two data sets to compare."
        )
    checked = {name: feature_matrix(each, repr(name), 2 * FOLDS) for name, each in features.items()}
    check_widths(checked)
    count = min(map(len, checked.values())) // 2
    halves = {}
    for name, each in checked.items():
        order = np.random.default_rng(seed).permutation(len(each))
        halves[name] = each[order[:count]], each[order[count : 2 * count]]
    table = pd.DataFrame(np.nan, index=list(checked), columns=list(checked))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for one, other in itertools.combinations_with_replacement(checked, 2):
            (a, a_rest), (b, b_rest) = halves[one], halves[other]
            pairs = [(a, a_rest)] if one == other else [(a, b_rest), (a_rest, b)]
            value = float(np.mean([chosen.build(*pair) for pair in pairs]))
            table.loc[one, other] = table.loc[other, one] = value
    for message, category in {str(each.message): each.category for each in caught}.items():
        warnings.warn(message, category, stacklevel=2)
    table.attrs = {
        "measure": chosen.name,
        "examples": count,
        "same": chosen.same,
        "squared": chosen.squared,
    }
    return table
