"""Find groups of similar images in which the predictions are wrong more often than elsewhere."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from tlkit._internal.intervals import wilson

IMAGES = 50  # of a group on average: with fewer, no interval is narrow enough
MOST_GROUPS, COMPONENTS, STARTS = 50, 50, 3
LEVEL = 0.05  # the probability of naming any group where none is weak is at most this


@dataclass(frozen=True)
class WeakGroup:
    """A group of similar images with a low accuracy.

    Attributes:
        members: int `(m,)`, the rows of its images, the most typical first.
        accuracy: fraction of right predictions.
        low, high: the 95 % confidence interval of the accuracy.
    """

    members: np.ndarray
    accuracy: float
    low: float
    high: float


def weak_groups(features: np.ndarray, right: np.ndarray, *, seed: int = 0) -> list[WeakGroup]:
    """Return the groups of images in which the accuracy is lower than overall, the weakest first.

    k-means divides the images by their features alone into at most 50 groups, of 50 images or more on
    average. An exact binomial test compares the accuracy of each group with that of all images. A group is
    weak if its accuracy is significantly lower at 5 %, with a Bonferroni correction for the number of groups.
    Without the correction, some of many groups would seem weak by chance.

    Eyuboglu et al. 2022, "Domino: Discovering Systematic Errors with Cross-Modal Embeddings", find such
    groups with a mixture model.

    Args:
        features: `(n, d)`.
        right: bool `(n,)`, whether each out-of-sample prediction is right.
        seed: chooses the groups.

    Returns:
        The weak groups; none if there are fewer than 100 images.

    >>> x = np.eye(4)[np.repeat([0, 1, 2, 3], 50)] + np.random.default_rng(0).normal(0, 0.01, (200, 4))
    >>> [len(each.members) for each in weak_groups(x, np.arange(200) >= 40)]
    [50]
    """
    count = min(len(features) // IMAGES, MOST_GROUPS)
    if count < 2:
        return []
    with threadpool_limits(1):  # the same groups on any number of cores
        unit = normalize(np.asarray(features, "float32"))
        x = PCA(min(COMPONENTS, *unit.shape), random_state=seed).fit_transform(unit)
        model = KMeans(count, n_init=STARTS, random_state=seed).fit(x)
    overall = float(right.mean())
    distances = np.linalg.norm(x - model.cluster_centers_[model.labels_], axis=1)
    found = []
    for group in range(count):
        members = np.flatnonzero(model.labels_ == group)
        members = members[np.argsort(distances[members], kind="stable")]
        test = binomtest(int(right[members].sum()), len(members), overall, alternative="less")
        if test.pvalue * count <= LEVEL:
            found.append(WeakGroup(members, test.statistic, *wilson(test.k, test.n)))
    return sorted(found, key=lambda each: each.accuracy)
