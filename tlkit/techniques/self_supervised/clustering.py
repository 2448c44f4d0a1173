"""Clusters of features, and their agreement with classes."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import normalize

from tlkit.errors import DataError


def clusters(features: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Cluster features by k-means, after scaling each feature vector to length 1.

    k-means runs from ten random initializations; the best result is returned.

    Args:
        features: `(n, d)`.
        count: number of clusters, 1 to n.
        seed: seed of the initializations.

    Returns:
        int32 `(n,)`: the cluster of each image, 0 to `count` - 1.

    Raises:
        DataError: there are fewer images than clusters, or the features are not a matrix of finite numbers.
    """
    features = np.asarray(features, "float64")
    if features.ndim != 2 or not np.isfinite(features).all():
        raise DataError(
            f"Features of shape {features.shape} were given; expected finite numbers of shape (n, d), as "
            "tlkit.extract(backbone, split) returns them."
        )
    if not 1 <= count <= len(features):
        raise DataError(
            f"count={count} was given for {len(features)} images; expected 1 to {len(features)} clusters."
        )
    return KMeans(count, n_init=10, random_state=seed).fit_predict(normalize(features))


def hungarian_accuracy(labels: np.ndarray, found: np.ndarray) -> float:
    """Return the accuracy of clusters as class predictions, under the best one-to-one assignment.

    Kuhn 1955, "The Hungarian Method for the Assignment Problem"; Xie, Girshick & Farhadi 2016, "Unsupervised
    Deep Embedding for Clustering Analysis", use it to evaluate clusters.

    Args:
        labels: classes, int `(n,)`.
        found: clusters, int `(n,)`, in any numbering. If there are more clusters than classes, images in
            clusters without a class count as wrong.

    Returns:
        The accuracy, 0 to 1.

    Raises:
        DataError: there are no labels, or labels and clusters are not both `(n,)`.

    >>> hungarian_accuracy(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2]))
    1.0
    """
    labels, found = np.asarray(labels), np.asarray(found)
    if labels.ndim != 1 or labels.shape != found.shape or not len(labels):
        raise DataError(
            f"Labels of shape {labels.shape} and clusters of shape {found.shape} were given; expected (n,) "
            "for both, one per image."
        )
    counts = contingency_matrix(labels, found)
    return float(counts[linear_sum_assignment(-counts)].sum() / len(labels))


def agreement(labels: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Return three measures of the agreement of clusters with classes; each is 1 for perfect agreement.

    - `accuracy`: see `hungarian_accuracy`.
    - `nmi`: the mutual information, divided by the mean of the two entropies. It is near 0 for unrelated
      clusters of many images. Strehl & Ghosh 2002 introduced it, with the geometric mean as divisor.
    - `ari`: the adjusted Rand index, 0 on average for random clusters (Hubert & Arabie 1985).

    Args:
        labels: classes, int `(n,)`.
        found: clusters, int `(n,)`, in any numbering.

    Raises:
        DataError: there are no labels, or labels and clusters are not both `(n,)`.

    >>> agreement(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    {'accuracy': 1.0, 'nmi': 1.0, 'ari': 1.0}
    """
    return {
        "accuracy": hungarian_accuracy(labels, found),
        "nmi": float(normalized_mutual_info_score(labels, found)),
        "ari": float(adjusted_rand_score(labels, found)),
    }
