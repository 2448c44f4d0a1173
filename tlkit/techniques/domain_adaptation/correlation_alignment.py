"""CORAL: give the features of both domains the same covariance, by training or in closed form.

Sun, Feng & Saenko 2016, "Return of Frustratingly Easy Domain Adaptation" (closed form);
Sun & Saenko 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation".
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.techniques.domain_adaptation.alignment import LAST_LAYER, Alignment, Domain
from tlkit.techniques.domain_adaptation.pairs import Pairs


class DeepCORAL(Alignment):
    """Correlation alignment of the features while they are learned. See `coral`."""

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * coral(source.features, target.features)


def coral(source: Any, target: Any) -> Any:
    """Return the distance of the covariances, `|C_s - C_t|_F^2 / (4 d^2)`.

    Args:
        source, target: `(n, d)` and `(m, d)`, at least two examples each.
    """
    difference = covariance(source) - covariance(target)
    return ops.sum(ops.square(difference)) / (4.0 * source.shape[-1] ** 2)


def covariance(x: Any) -> Any:
    """Return the covariance `(d, d)` of the rows `(n, d)`, divided by n - 1."""
    x = ops.convert_to_tensor(x)
    centred = x - ops.mean(x, axis=0)
    return ops.matmul(ops.transpose(centred), centred) / ops.cast(ops.shape(x)[0] - 1, x.dtype)


class ClosedFormCORAL(Alignment):
    """Classical correlation alignment: recolour the fixed source features, then train the last layer on them.

    See `coral_map`. The encoder does not learn, so it has to know the source already.
    """

    starts_from_source = True
    trains = LAST_LAYER
    moves_features = False

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        d = encoder.output_shape[-1]
        self.matrix = self.add_weight(shape=(d, d), name="matrix", trainable=False, initializer="zeros")
        self.offset = self.add_weight(shape=(d,), name="offset", trainable=False, initializer="zeros")

    def begin(self, encoder: keras.Model, pairs: Pairs) -> Pairs:
        features = [encoder.predict(inputs[:], verbose=0) for inputs in (pairs.source, pairs.target)]
        matrix, offset = coral_map(*features)
        self.matrix.assign(matrix)
        self.offset.assign(offset)
        return pairs

    def encode(self, encoder: keras.Model, source: Any, target: Any, training: bool) -> tuple[Any, Any]:
        source, target = super().encode(encoder, source, target, training)
        return ops.matmul(source, ops.cast(self.matrix, source.dtype)) + self.offset, target


def matched_moments(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the source features, shifted and scaled to the mean and standard deviation of the target.

    This is CORAL without the correlations: each feature changes by itself.

    Args:
        source, target: `(n, d)` and `(m, d)`.

    >>> source, target = np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([[5.0, 0.0], [7.0, 4.0]])
    >>> matched_moments(source, target).tolist()
    [[5.0, 2.0], [7.0, 2.0]]
    """
    scale = target.std(axis=0) / np.maximum(source.std(axis=0), 1e-6)
    return ((source - source.mean(axis=0)) * scale + target.mean(axis=0)).astype(source.dtype)


def coral_map(
    source: np.ndarray, target: np.ndarray, regularization: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and offset of the map that gives source features the target's mean and covariance.

    `(s - mean_s) C_s^(-1/2) C_t^(1/2) + mean_t`. The paper leaves the means to a standardisation before.

    Args:
        source, target: `(n, d)` and `(m, d)`.
        regularization: this multiple of the mean variance is added to the diagonal of each covariance; with
            few examples, the covariance would be singular without it.

    Returns:
        float32 `(d, d)` and `(d,)`.
    """
    roots = []
    for features, power in ((source, -0.5), (target, 0.5)):
        c = np.cov(features, rowvar=False)
        values, vectors = np.linalg.eigh(c + regularization * np.trace(c) / len(c) * np.eye(len(c)))
        roots.append((vectors * np.maximum(values, 1e-12) ** power) @ vectors.T)
    matrix = roots[0] @ roots[1]
    offset = target.mean(axis=0) - source.mean(axis=0) @ matrix
    return matrix.astype("float32"), offset.astype("float32")
