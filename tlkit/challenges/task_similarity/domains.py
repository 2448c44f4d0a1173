"""How far apart two domains are: distances between two sets of features of one network.

The images are different ones and need no labels; the classes may differ too. Each number depends on the
network that sees the images: domains are apart only in what it looks at.
"""

import itertools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist, pdist
from sklearn.model_selection import cross_val_score
from threadpoolctl import threadpool_limits

from tlkit.challenges.task_similarity.checks import matrix, same_width, two_domains, warn_few
from tlkit.challenges.task_similarity.measures import MEASURES, Measure
from tlkit.errors import DataError
from tlkit.techniques.domain_adaptation import validators as selection
from tlkit.techniques.domain_adaptation.divergence import BANDWIDTHS
from tlkit.techniques.domain_adaptation.weighting import both_domains, domain_classifier

FOLDS = 5  # of the domain classifier's cross-validation


def proxy_a_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return how surely a linear classifier tells domains apart: `2 (1 - 2 error)`, 0 (not) to 2 (always).

    The error is of held-out examples. It saturates: of domains that are all told apart without an error,
    it does not say which are farther. Small samples of one domain get a little above 0, as a classifier
    below chance counts as 0.

    Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation".

    Args:
        one, other: features `(n, d)` and `(m, d)`, at least five examples each.

    Raises:
        DataError: fewer examples, NaN or infinite features, or widths that differ.

    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> round(proxy_a_distance(x, x + 9), 2)
    2.0
    """
    return selection.proxy_a_distance(*two_domains(one, other, FOLDS))


def domain_auc(one: np.ndarray, other: np.ndarray) -> float:
    """Return the area under the ROC curve of a held-out domain classifier: 0.5 (the same) to 1 (disjoint).

    The chance that it ranks an example of the second domain above one of the first. Finer than the
    A-distance, whose error it counts by a threshold. Small samples of one domain may get a little below 0.5.

    Args:
        one, other: features `(n, d)` and `(m, d)`, at least five examples each.

    Raises:
        DataError: fewer examples, NaN or infinite features, or widths that differ.

    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> domain_auc(x, x + 9)
    1.0
    """
    x, domain = both_domains(*two_domains(one, other, FOLDS))
    with threadpool_limits(1):  # on so few examples threads only wait for each other
        return float(cross_val_score(domain_classifier(), x, domain, cv=FOLDS, scoring="roc_auc").mean())


def mmd(one: np.ndarray, other: np.ndarray, bandwidths: Sequence[float] = BANDWIDTHS) -> float:
    """Return the squared maximum mean discrepancy, unbiased: 0 on average for one domain, at most 2.

    `mean k(a, a') + mean k(b, b') - 2 mean k(a, b)` over pairs of different examples, so that samples of one
    domain get numbers around 0, below it too. `k` is the mean over the bandwidths `w` of
    `exp(-|x - y|^2 / (w m))`, `m` the median squared distance of all pairs of the two samples (the mean,
    where the median is 0). As a loss to train with there is `tlkit.techniques.domain_adaptation.mmd`.

    Gretton et al. 2012, "A Kernel Two-Sample Test", equation 3.

    Args:
        one, other: features `(n, d)` and `(m, d)`, at least two examples each.
        bandwidths: widths of the kernels, as multiples of `m`.

    Raises:
        DataError: fewer examples, NaN or infinite features, or widths that differ.

    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> abs(mmd(x[:100], x[100:])) < 0.01, round(mmd(x[:100], x[100:] + 9), 1)
    (True, 1.3)
    """
    first, second = two_domains(one, other)
    within = [pdist(each, "sqeuclidean") for each in (first, second)]
    between = cdist(first, second, "sqeuclidean")
    pairs = np.concatenate([*within, between.ravel()])
    unit = np.median(pairs) or pairs.mean()
    if unit == 0:
        return 0.0  # all examples are one point

    def kernel(squares: np.ndarray) -> float:
        return float(np.mean([np.exp(-squares / (width * unit)).mean() for width in bandwidths]))

    return kernel(within[0]) + kernel(within[1]) - 2 * kernel(between)


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the squared Frechet distance of two Gaussians fitted to the domains, from 0 without a bound.

    `|m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2))`, in squared units of the features. With the features
    of an Inception network it is the FID. Few examples make it too large: samples of one domain are far from
    0 where there are not many times as many examples as features. Compare numbers of equally many examples
    only, and with the number of one domain's two halves, as `distances` does.

    The eigenvalues of `C_1 C_2` are squared singular values of `A B'`, where `A` and `B` are the centred
    features over `sqrt(n - 1)`. So no root of a matrix is needed, which fails where covariances are singular.

    Dowson & Landau 1982, "The Frechet Distance between Multivariate Normal Distributions"; Heusel et al.
    2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"; Chong & Forsyth
    2020, "Effectively Unbiased FID and Inception Score", for the bias.

    Args:
        one, other: features `(n, d)` and `(m, d)`, at least two examples each.

    Raises:
        DataError: fewer examples, NaN or infinite features, or widths that differ.

    Warns:
        TlkitWarning: fewer examples than features.

    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> round(frechet_distance(x, x + [3, 4]), 6)
    25.0
    """
    first, second = two_domains(one, other)
    fewest, width = min(len(first), len(second)), first.shape[1]
    if fewest < width:
        warn_few(
            "The Frechet distance",
            fewest,
            width,
            "it is too large, most of all between domains that are near. "
            "Take more images, or compare with two halves of one domain.",
        )
    shift = first.mean(axis=0) - second.mean(axis=0)
    roots = [(each - each.mean(axis=0)) / np.sqrt(len(each) - 1) for each in (first, second)]
    spread = sum(float(np.square(root).sum()) for root in roots)
    # the triangle of a QR has the same covariance in at most d rows
    small = [np.linalg.qr(root)[1] if len(root) > width else root for root in roots]
    overlap = np.linalg.norm(small[0] @ small[1].T, ord="nuc")
    return max(0.0, float(shift @ shift + spread - 2 * overlap))


def distances(
    features: Mapping[str, np.ndarray], measure: str | Measure = "a-distance", *, seed: int = 0
) -> pd.DataFrame:
    """Return the distances of all pairs of data sets, square and symmetric, with the names on both sides.

    The diagonal is measured, not assumed: it compares two random halves of one data set, and is what "no
    distance" looks like with so many examples. All cells are of equally many examples: half the smallest data
    set on each side. Off the diagonal a cell is the mean of two such comparisons.

    Args:
        features: data set's name to `(n_i, d)`, all of one backbone.
        measure: a name of `MEASURES`.
        seed: chooses the halves.

    Returns:
        float64; `attrs` has `measure` (its name), `examples` (on each side), and the measure's `same` and
        `squared`, which `tlkit.plots.similarity_embedding` reads.

    Raises:
        UnknownNameError: there is no such measure.
        DataError: fewer than two data sets, or features that cannot be compared.

    Warns:
        TlkitWarning: once, where the measure says that it is biased.

    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> distances({"near": x, "far": x + 9}, "auc").round(1).to_numpy().tolist()
    [[0.5, 1.0], [1.0, 0.5]]
    """
    chosen = MEASURES.find(measure) if isinstance(measure, str) else measure
    if len(features) < 2:
        raise DataError(
            f"{len(features)} data set{'s' * (len(features) != 1)} given: {', '.join(features) or 'none'}; "
            "expected at least two to compare."
        )
    given = {name: matrix(each, repr(name), 2 * FOLDS) for name, each in features.items()}
    same_width(given)
    count = min(map(len, given.values())) // 2
    halves = {}
    for name, each in given.items():
        order = np.random.default_rng(seed).permutation(len(each))
        halves[name] = each[order[:count]], each[order[count : 2 * count]]
    table = pd.DataFrame(np.nan, index=list(given), columns=list(given))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for one, other in itertools.combinations_with_replacement(given, 2):
            (a, a_rest), (b, b_rest) = halves[one], halves[other]
            pairs = [(a, a_rest)] if one == other else [(a, b_rest), (a_rest, b)]
            value = float(np.mean([chosen.build(*pair) for pair in pairs]))
            table.loc[one, other] = table.loc[other, one] = value
    for message, category in {str(each.message): each.category for each in caught}.items():
        warnings.warn(message, category, stacklevel=2)
    told = {"same": chosen.same, "squared": chosen.squared}
    table.attrs = {"measure": chosen.name, "examples": count} | told
    return table
