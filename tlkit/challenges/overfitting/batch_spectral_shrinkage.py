"""Batch spectral shrinkage: suppress the directions in which the features of a batch vary least."""

from typing import Any

import keras
from keras import ops

from tlkit.challenges.overfitting.parts import learner_for, reassembled
from tlkit.errors import TlkitError
from tlkit.techniques.training import replica_fraction


def smallest_singular_values(features: Any, k: int = 1) -> Any:
    """Return the sum of the squared `k` smallest singular values of a batch of features, 0 or more.

    The value is `sum_i s_(-i)^2` for i from 1 to k, where `F = U diag(s) V'`. It is computed as `|U_k' F|^2`
    with constant singular vectors. This form has the same gradient, `2 U_k U_k' F`, which stays finite where
    singular values are equal.

    Chen et al. 2019, "Catastrophic Forgetting Meets Negative Transfer: Batch Spectral Shrinkage for Safe
    Transfer Learning".

    Args:
        features: `(n, d)`, with min(n, d) singular values.
        k: how many singular values to sum, at least 1.

    >>> float(smallest_singular_values(ops.convert_to_tensor([[3.0, 0.0], [0.0, 2.0]])))
    4.0
    """
    features = ops.cast(features, "float32")
    left, _, _ = ops.svd(ops.stop_gradient(features), full_matrices=False)
    return ops.sum(ops.square(ops.matmul(ops.transpose(left[:, -k:]), features)))


@keras.saving.register_keras_serializable("tlkit")
class SpectralShrinkage(keras.Layer):
    """Return the features unchanged, and add the penalty on their smallest singular values to the loss."""

    def __init__(self, strength: float, k: int, **options: Any) -> None:
        super().__init__(**options)
        self.strength, self.k = strength, k

    def call(self, features: Any, training: bool = False) -> Any:
        if training:
            penalty = smallest_singular_values(features, self.k)
            self.add_loss(replica_fraction() * self.strength * penalty)
        return features

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"strength": self.strength, "k": self.k}


class BSS(keras.Model):
    """A learner that fine-tunes a classifier and penalises the smallest singular values of its features.

    The training loss is the compiled loss plus `strength` times `smallest_singular_values`. The learner
    shares its layers with the classifier, so training the learner trains the classifier. Save the classifier.

    Chen et al. 2019, see `smallest_singular_values`. They found `strength=0.001, k=1` good on every task.

    Args:
        classifier: a model made by `build_classifier` or `attach_head`.
        strength: weight of the penalty, at least 0.
        k: how many singular values to penalise, at least 1.

    Raises:
        TlkitError: an argument is out of range.

    >>> from tlkit.models import build_classifier
    >>> learner = BSS(build_classifier("LeNet", classes=10, weights=None))
    >>> learner.output_shape
    (None, 10)
    """

    def __init__(self, classifier: keras.Model, strength: float = 1e-3, k: int = 1) -> None:
        if strength < 0 or k < 1:
            raise TlkitError(
                f"strength={strength}, k={k} was given; expected strength at least 0 and k at least 1, such "
                "as strength=0.001, k=1."
            )
        shrinkage = SpectralShrinkage(strength, k, name="spectral_shrinkage")
        inputs, outputs = reassembled(classifier, features=shrinkage)
        super().__init__(inputs=inputs, outputs=outputs, name=classifier.name)
        learner_for(classifier, self)
