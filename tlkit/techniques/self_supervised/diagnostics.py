"""Signs by which to know features that say nothing: collapse, few directions, colour alone."""

import warnings
from typing import Any

import keras
import numpy as np
from scipy.spatial.distance import pdist
from sklearn.preprocessing import normalize

from tlkit.errors import DataError, TlkitError, TlkitWarning
from tlkit.techniques.self_supervised.learner import SelfSupervised

COLLAPSED = 0.1  # spread of embeddings below which they count as one point
START = 50  # steps in which a new projector may still put all embeddings close together
FEW_DIRECTIONS = 2.0  # effective rank below which the features are little more than a line


def spread(embeddings: np.ndarray) -> float:
    """Return how much the directions of embeddings vary: 1 if they fill all dimensions evenly, 0 if none.

    The mean over the dimensions of the standard deviation of unit vectors, times the square root of d.

    Chen & He 2021, "Exploring Simple Siamese Representation Learning", figure 2.

    Args:
        embeddings: `(n, d)`.

    >>> spread(np.ones((10, 4))), round(spread(np.random.default_rng(0).normal(size=(5000, 8))), 2)
    (0.0, 1.0)
    """
    unit = normalize(_matrix(embeddings))
    return float(unit.std(axis=0).mean() * np.sqrt(unit.shape[1]))


def effective_rank(features: np.ndarray) -> float:
    """Return in how many directions the features vary, each counted by its share: from 1 to min(n - 1, d).

    The exponential of the entropy of the singular values of the centred features; 0 where all are the same.

    Roy & Vetterli 2007, "The Effective Rank: A Measure of Effective Dimensionality"; Garrido, Balestriero,
    Najman & LeCun 2023, "RankMe", use it to judge self-supervised features without labels.

    Args:
        features: `(n, d)`.

    >>> round(effective_rank(np.repeat(np.eye(3), 2, axis=0)), 2), effective_rank(np.ones((6, 3)))
    (2.0, 0.0)
    """
    x = _matrix(features)
    sizes = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    # what float32 cannot tell from rounding is no direction
    shares = sizes[sizes > np.finfo("float32").eps * np.linalg.norm(x)]
    if not len(shares):
        return 0.0
    shares = shares / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean squared distance of the unit embeddings of two views, 0 (the same) to 4 (opposite).

    Wang & Isola 2020, "Understanding Contrastive Representation Learning through Alignment and Uniformity on
    the Hypersphere".

    Args:
        first, second: `(n, d)`, row by row of the same image.

    >>> alignment(np.eye(2), np.eye(2)), alignment(np.eye(2), -np.eye(2))
    (0.0, 4.0)
    """
    first, second = _row_by_row(first, second)
    apart = normalize(first) - normalize(second)
    return float(np.square(apart).sum(axis=1).mean())


def uniformity(embeddings: np.ndarray) -> float:
    """Return how evenly unit embeddings lie on the sphere: 0 if all are one point, lower is more even.

    The logarithm of the mean of `exp(-2 |z_i - z_j|^2)` over all pairs; above -4 in many dimensions, where
    random vectors have `|z_i - z_j|^2` near 2. Wang & Isola 2020, see `alignment`.

    Args:
        embeddings: `(n, d)`; n at least 2.

    >>> uniformity(np.ones((3, 2)))
    0.0
    """
    return float(np.log(np.exp(-2 * pdist(normalize(_matrix(embeddings)), "sqeuclidean")).mean()))


def retrieval(changed: np.ndarray, features: np.ndarray) -> float:
    """Return the share of changed images whose nearest neighbour is their own original, 0 to 1.

    With grey copies it tells features that know colour alone: their neighbours are others of that grey.

    Args:
        changed, features: `(n, d)`, row by row of the same image before and after the change.

    >>> retrieval(np.eye(3) + 0.1, np.eye(3))
    1.0
    """
    changed, features = _row_by_row(changed, features)
    cosines = normalize(changed) @ normalize(features).T
    return float(np.mean(cosines.argmax(axis=1) == np.arange(len(cosines))))


class CollapseWarning(keras.callbacks.Callback):
    """Look at the network after each epoch, and warn where it no longer tells images apart.

    The history gets `spread` of the embeddings and `effective_rank` of the features. Both are taken in
    inference mode, from the same images. Where the method has no embeddings but the features themselves (as
    `Rotation`), the rank alone decides: features behind a ReLU are close together by their large mean. So are
    embeddings of a new projector; the spread counts after 50 steps of the optimizer.

    Args:
        images: some hundred images `(n, height, width, 3)`, values 0 to 255.
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
                f"CollapseWarning was given to the fit of {type(learner).__name__}; give it to that of "
                "SelfSupervised: learner.fit(images, callbacks=[CollapseWarning(images[:500])])."
            )
        features, embeddings = learner.features_and_embeddings(self.images)
        if not np.isfinite(features).all() or not np.isfinite(embeddings).all():
            return  # fit itself stops at a loss that is no number, and says so
        found = {"spread": spread(embeddings), "effective_rank": effective_rank(features)}
        if logs is not None:
            logs |= found
        started = learner.steps >= START and not np.array_equal(features, embeddings)
        one_point = started and found["spread"] < COLLAPSED
        if not self.warned and (one_point or found["effective_rank"] < FEW_DIRECTIONS):
            self.warned = True
            warnings.warn(
                f"Collapse in epoch {epoch + 1}: the embeddings spread by {found['spread']:.2g} of 1, the "
                f"features have an effective rank of {found['effective_rank']:.1f}. The network answers "
                "nearly the same for every image. Use a smaller learning rate, a larger batch, or a method "
                "that forbids it: SimCLR, Barlow Twins, VICReg.",
                TlkitWarning,
                stacklevel=2,
            )


def _matrix(given: np.ndarray) -> np.ndarray:
    matrix = np.asarray(given, "float64")
    if matrix.ndim != 2 or len(matrix) < 2:
        raise DataError(f"Features of shape {matrix.shape} were given; expected (n, d) with n at least 2.")
    if not np.isfinite(matrix).all():
        raise DataError(
            "Some of the features are NaN or infinite: the network is broken. Train it again with a smaller "
            "learning rate."
        )
    return matrix


def _row_by_row(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one, other = _matrix(first), _matrix(second)
    if one.shape != other.shape:
        raise DataError(
            f"Features of shapes {one.shape} and {other.shape} were given; expected two of the same, row by "
            "row of the same image."
        )
    return one, other
