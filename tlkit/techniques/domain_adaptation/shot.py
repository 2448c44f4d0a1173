"""SHOT: a trained classifier adapts to the target without any source example.

Liang et al. 2020, "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised
Domain Adaptation".
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.techniques.domain_adaptation.alignment import ENCODER, Alignment, Domain
from tlkit.techniques.domain_adaptation.entropy import EPSILON, entropy


class SHOT(Alignment):
    """Source hypothesis transfer: the encoder adapts to the target, and the last layer is frozen.

    The loss is the entropy of each target prediction, minus the entropy of their mean, plus `pseudo_labels`
    times the cross-entropy with pseudo-labels. So each prediction should be certain, and all together should
    use all classes equally often. Each class has a centroid, the mean direction of its target features. The
    pseudo-label of an example is the class whose centroid is nearest by cosine. The centroids are computed
    before each epoch.

    Args:
        weight, rise: see `Alignment`.
        pseudo_labels: weight of the pseudo-labels, beta in the paper.
        learning_rate_factor: the fraction of the learning rate that the encoder takes, 0 to 1.
    """

    starts_from_source = True
    trains = ENCODER
    supervised = False
    needs_source = False
    watches_target = True

    def __init__(
        self,
        weight: float = 1.0,
        rise: float | None = None,
        pseudo_labels: float = 0.3,
        learning_rate_factor: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(weight, rise, **options)
        self.pseudo_labels = pseudo_labels
        self.learning_rate_factor = learning_rate_factor

    def prepare(self, encoder: keras.Model, last: Any) -> None:
        shape = (last.units, encoder.output_shape[-1])
        self.centroids = self.add_weight(shape=shape, name="centroids", initializer="zeros", trainable=False)

    def update(self, features: np.ndarray, probabilities: np.ndarray) -> None:
        self.centroids.assign(class_centroids(features, probabilities))

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        certain = ops.mean(entropy(target.probabilities))
        diverse = entropy(ops.mean(target.probabilities, axis=0))
        similarities = ops.matmul(ops.stop_gradient(target.features), ops.transpose(self.centroids))
        labels = ops.argmax(similarities, axis=-1)
        errors = ops.sparse_categorical_crossentropy(labels, target.probabilities)
        return strength * (certain - diverse + self.pseudo_labels * ops.mean(errors))


def class_centroids(features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the mean direction of the features of each class, by weighted k-means of a single step.

    First, each example counts for each class with its predicted probability, which gives soft centroids. Then
    each example belongs to the class whose soft centroid is nearest by cosine. A class without examples gets
    a vector of zeros.

    Args:
        features: `(n, d)`.
        probabilities: `(n, classes)`.

    Returns:
        float32 `(classes, d)`, rows of length 1 or 0.

    >>> features = np.array([[2.0, 0.1], [3.0, 0.0], [0.1, 1.0]])
    >>> class_centroids(features, np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])).round(1).tolist()
    [[1.0, 0.0], [0.1, 1.0]]
    """
    directions = _unit(features)
    soft = _unit(probabilities.T @ directions)
    nearest = np.argmax(directions @ soft.T, axis=1)
    return _unit(np.eye(probabilities.shape[1])[nearest].T @ directions).astype("float32")


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + EPSILON)
