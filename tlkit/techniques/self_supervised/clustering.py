"""Groups that nobody named: k-means on features, and how well they agree with classes."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import normalize

from tlkit.errors import DataError


def clusters(features: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Group features by direction: k-means on vectors of length 1, the best of ten starts.

    Args:
        features: `(n, d)`.
        count: number of clusters.
        seed: of the starts.

    Returns:
        int32 `(n,)`: the cluster of each image, 0 to `count` - 1.

    Raises:
        DataError: fewer images than clusters, or features that are no matrix of finite numbers.
    """
    features = np.asarray(features, "float64")
    if features.ndim != 2 or not np.isfinite(features).all():
        raise DataError(
            f"Features of shape {features.shape}, finite or not, were given; expected finite ones of shape "
            "(n, d), as tlkit.extract(backbone, split) returns them."
        )
    if not 1 <= count <= len(features):
        raise DataError(
            f"{count} clusters of {len(features)} images were asked for; ask for 1 to {len(features)}."
        )
    return KMeans(count, n_init=10, random_state=seed).fit_predict(normalize(features))


def hungarian_accuracy(labels: np.ndarray, found: np.ndarray) -> float:
    """Return the accuracy of clusters as classes, each named by the best one-to-one assignment.

    Kuhn 1955, "The Hungarian Method for the Assignment Problem"; Xie, Girshick & Farhadi 2016,
    "Unsupervised Deep Embedding for Clustering Analysis", for its use here.

    Args:
        labels: int `(n,)` classes.
        found: int `(n,)` clusters; their numbers mean nothing. Where there are more of them than classes, the
            images of those that get no class count as wrong.

    Raises:
        DataError: no labels, or not one label and one cluster an image.

    >>> hungarian_accuracy(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2]))
    1.0
    """
    labels, found = np.asarray(labels), np.asarray(found)
    if labels.ndim != 1 or labels.shape != found.shape or not len(labels):
        raise DataError(
            f"Labels of shape {labels.shape} and clusters of shape {found.shape} were given; expected (n,) "
            "of both, one an image."
        )
    counts = contingency_matrix(labels, found)
    return float(counts[linear_sum_assignment(-counts)].sum() / len(labels))


def agreement(labels: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Return how well clusters agree with classes: `accuracy`, `nmi`, `ari`, each 1 where they are the same.

    `accuracy` is that of `hungarian_accuracy`; `nmi` the mutual information divided by the mean of the two
    entropies, near 0 for unrelated ones where images are many (Strehl & Ghosh 2002, who divide by the
    geometric mean); `ari` the adjusted Rand index, 0 on average for random ones (Hubert & Arabie 1985).

    >>> agreement(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    {'accuracy': 1.0, 'nmi': 1.0, 'ari': 1.0}
    """
    return {
        "accuracy": hungarian_accuracy(labels, found),
        "nmi": float(normalized_mutual_info_score(labels, found)),
        "ari": float(adjusted_rand_score(labels, found)),
    }
