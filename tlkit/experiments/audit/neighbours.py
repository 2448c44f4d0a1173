"""Find outliers and near duplicates by the distances between features."""

import numpy as np
import pandas as pd
from cleanlab.outlier import OutOfDistribution
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

NEIGHBOURS = 10
# cleanlab's Datalab: an outlier is this many interquartile ranges above the upper quartile of the distances
RANGES = 1 / 0.37037 - 1
NEAR = 0.2  # of the median distance to the nearest neighbour: tuned on mirrored and cropped emoji and clothes


def outliers(features: np.ndarray) -> pd.DataFrame:
    """Return the images whose features are far from those of all other images, the farthest first.

    The distance of an image is its mean distance (cosine) to its ten nearest neighbours, divided by the
    median of all images. An outlier lies above the upper quartile by more than 1.7 times the interquartile
    range, which is the rule of cleanlab's Datalab.

    Kuan & Mueller 2022, "Back to the Basics: Revisiting Out-of-Distribution Detection Baselines".

    Args:
        features: `(n, d)`.

    Returns:
        A table with one row per outlier: `row`, `distance` (relative) and `score`, which is `exp(-distance)`.

    >>> features = np.eye(64)[np.repeat([0, 1], 20)] + np.random.default_rng(0).normal(0, 0.01, (40, 64))
    >>> features[7] = np.eye(64)[5]
    >>> outliers(features)["row"].tolist()
    [7]
    """
    count = min(NEIGHBOURS, len(features) - 1)
    if count < 1:
        return pd.DataFrame({"row": [], "distance": [], "score": []})
    model = OutOfDistribution({"k": count})
    score = model.fit_score(features=np.asarray(features), verbose=False)
    distance = -np.log(np.maximum(score, np.finfo(float).tiny))
    lower, upper = np.percentile(distance, [25, 75])
    table = pd.DataFrame({"row": np.arange(len(score)), "distance": distance, "score": score})
    far = table[distance > upper + RANGES * (upper - lower)]
    return far.sort_values("score", kind="stable").reset_index(drop=True)


class Distances:
    """Cosine distances between features, relative to the median distance to the nearest neighbour.

    Args:
        features: `(n, d)`, at least two rows.
    """

    def __init__(self, features: np.ndarray) -> None:
        self.unit = normalize(np.asarray(features))
        count = min(NEIGHBOURS, len(self.unit) - 1)
        nearest = NearestNeighbors(n_neighbors=count, metric="cosine").fit(self.unit)
        distances, self.neighbours = nearest.kneighbors()
        self.median = max(float(np.median(distances[:, 0])), float(np.finfo("float32").eps))
        self.nearest = distances / self.median

    def near_duplicates(self) -> np.ndarray:
        """Return the pairs of rows with a distance below `NEAR`, int `(pairs, 2)`, the smaller row first.

        Only the ten nearest neighbours of each row are compared with it.
        """
        one, place = np.nonzero(self.nearest < NEAR)
        pairs = np.sort(np.stack([one, self.neighbours[one, place]], axis=1), axis=1)
        return np.unique(pairs, axis=0)

    def between(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the distance of each pair of rows, `(pairs,)`; 0 for equal features."""
        cosines = np.einsum("ij,ij->i", self.unit[one], self.unit[other])
        return np.maximum(1 - cosines, 0) / self.median


def grouped(links: np.ndarray, count: int) -> np.ndarray:
    """Return the number of the group of each of `count` rows, int `(count,)`.

    Two rows are in the same group if a link, or a chain of links, connects them. Links are int `(m, 2)`.

    >>> grouped(np.array([[0, 2], [2, 3]]), 4).tolist()
    [0, 1, 0, 0]
    """
    one, other = links.reshape(-1, 2).T
    graph = coo_array((np.ones(len(links)), (one, other)), shape=(count, count))
    return connected_components(graph, directed=False)[1]
