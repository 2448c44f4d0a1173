"""Diagnostics of embeddings without labels: collapse, effective rank, alignment and uniformity."""

import warnings
from typing import Any

import keras
import numpy as np
from scipy.spatial.distance import pdist
from sklearn.preprocessing import normalize

from tlkit.errors import DataError, TlkitError, TlkitWarning
from tlkit.techniques.self_supervised.learner import SelfSupervised

COLLAPSED = 0.1  # a smaller spread of the embeddings counts as collapse
START = 50  # number of steps in which a new projector may still map all images close together
FEW_DIRECTIONS = 2.0  # features of a smaller effective rank vary along little more than a line


def spread(embeddings: np.ndarray) -> float:
    """Return how much the directions of embeddings vary: 0 if all are equal, near 1 if they vary evenly.

    The embeddings are scaled to length 1. The spread is the mean of their standard deviations over the
    dimensions, times the square root of d.

    Chen & He 2021, "Exploring Simple Siamese Representation Learning", figure 2.

    Args:
        embeddings: `(n, d)`; n at least 2.

    Raises:
        DataError: the embeddings are not a matrix of finite numbers.

    >>> spread(np.ones((10, 4))), round(spread(np.random.default_rng(0).normal(size=(5000, 8))), 2)
    (0.0, 1.0)
    """
    unit = normalize(_matrix(embeddings))
    return float(unit.std(axis=0).mean() * np.sqrt(unit.shape[1]))


def effective_rank(features: np.ndarray) -> float:
    """Return the effective number of directions in which features vary: 1 to min(n - 1, d), or 0 if none.

    It is the exponential of the entropy of the normalised singular values of the centred features.

    Roy & Vetterli 2007, "The Effective Rank: A Measure of Effective Dimensionality"; Garrido, Balestriero,
    Najman & LeCun 2023, "RankMe", use it to evaluate self-supervised features without labels.

    Args:
        features: `(n, d)`; n at least 2.

    Raises:
        DataError: the features are not a matrix of finite numbers.

    >>> round(effective_rank(np.repeat(np.eye(3), 2, axis=0)), 2), effective_rank(np.ones((6, 3)))
    (2.0, 0.0)
    """
    x = _matrix(features)
    values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    # smaller singular values are rounding errors of float32
    values = values[values > np.finfo("float32").eps * np.linalg.norm(x)]
    if not len(values):
        return 0.0
    p = values / values.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean squared distance between the unit embeddings of two views: 0 (equal) to 4 (opposite).

    Wang & Isola 2020, "Understanding Contrastive Representation Learning through Alignment and Uniformity on
    the Hypersphere".

    Args:
        first, second: `(n, d)`; row i of both belongs to the same image.

    Raises:
        DataError: the shapes differ, or an embedding is not finite.

    >>> alignment(np.eye(2), np.eye(2)), alignment(np.eye(2), -np.eye(2))
    (0.0, 4.0)
    """
    first, second = _pairs(first, second)
    apart = normalize(first) - normalize(second)
    return float(np.square(apart).sum(axis=1).mean())


def uniformity(embeddings: np.ndarray) -> float:
    """Return how evenly unit embeddings lie on the sphere: 0 if all are equal; lower is more even.

    It is the logarithm of the mean of `exp(-2 |z_i - z_j|^2)` over all pairs. In many dimensions, random unit
    vectors have `|z_i - z_j|^2` near 2, hence a uniformity near -4. Wang & Isola 2020, see `alignment`.

    Args:
        embeddings: `(n, d)`; n at least 2.

    Raises:
        DataError: the embeddings are not a matrix of finite numbers.

    >>> uniformity(np.ones((3, 2)))
    0.0
    """
    return float(np.log(np.exp(-2 * pdist(normalize(_matrix(embeddings)), "sqeuclidean")).mean()))


def retrieval(changed: np.ndarray, features: np.ndarray) -> float:
    """Return the fraction of modified images whose nearest original is their own original, 0 to 1.

    With grey copies of the images, a low value reveals features that describe little but colour.

    Args:
        changed: features of the modified images, `(n, d)`.
        features: features of the originals, `(n, d)`, in the same order.

    Raises:
        DataError: the shapes differ, or a feature is not finite.

    >>> retrieval(np.eye(3) + 0.1, np.eye(3))
    1.0
    """
    changed, features = _pairs(changed, features)
    cosines = normalize(changed) @ normalize(features).T
    return float(np.mean(cosines.argmax(axis=1) == np.arange(len(cosines))))


class CollapseWarning(keras.callbacks.Callback):
    """Warn when a network under self-supervised training maps all images to nearly the same embedding.

    After each epoch, the callback adds the `spread` of the embeddings and the `effective_rank` of the
    features to the history. It computes both in inference mode, on the same images, and warns if either is
    too small. Two exceptions avoid false warnings. For a method without separate embeddings (such as
    `Rotation`), only the rank counts: features after a ReLU have a small spread, since their mean is large.
    The embeddings of a new projector also have a small spread, so it counts only after 50 steps.

    Args:
        images: some hundred images `(n, height, width, 3)`, values 0 to 255.

    Raises:
        TlkitError: the callback was passed to the `fit` of a model that is not `SelfSupervised`.

    Warns:
        TlkitWarning: the network collapsed; at most one warning per training.
    """

    def __init__(self, images: np.ndarray) -> None:
        super().__init__()
        self.images = images
        self.warned = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self.warned = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        learner: Any = self.model
        if not isinstance(learner, SelfSupervised):
            raise TlkitError(
                f"CollapseWarning was passed to the fit of {type(learner).__name__}; expected the fit of "
                "SelfSupervised: learner.fit(images, callbacks=[CollapseWarning(images[:500])])."
            )
        features, embeddings = learner.features_and_embeddings(self.images)
        if not np.isfinite(features).all() or not np.isfinite(embeddings).all():
            return  # fit itself stops with an error when the loss is NaN
        measures = {"spread": spread(embeddings), "effective_rank": effective_rank(features)}
        if logs is not None:
            logs |= measures
        spread_counts = learner.steps >= START and not np.array_equal(features, embeddings)
        one_point = spread_counts and measures["spread"] < COLLAPSED
        if not self.warned and (one_point or measures["effective_rank"] < FEW_DIRECTIONS):
            self.warned = True
            warnings.warn(
                f"Collapse in epoch {epoch + 1}: the embeddings have a spread of {measures['spread']:.2g} "
                f"(at most 1), and the features an effective rank of {measures['effective_rank']:.1f}. The "
                "network maps all images to nearly the same output. Use a smaller learning rate, a larger "
                "batch, or a method that prevents collapse: SimCLR, Barlow Twins, VICReg.",
                TlkitWarning,
                stacklevel=2,
            )


def _matrix(features: np.ndarray) -> np.ndarray:
    matrix = np.asarray(features, "float64")
    if matrix.ndim != 2 or len(matrix) < 2:
        raise DataError(f"Features of shape {matrix.shape} were given; expected (n, d) with n at least 2.")
    if not np.isfinite(matrix).all():
        raise DataError(
            "Some features are NaN or infinite, so the network has diverged. Train it again with a smaller "
            "learning rate."
        )
    return matrix


def _pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one, other = _matrix(first), _matrix(second)
    if one.shape != other.shape:
        raise DataError(
            f"Features of shapes {one.shape} and {other.shape} were given; expected equal shapes, with row i "
            "of both for the same image."
        )
    return one, other
