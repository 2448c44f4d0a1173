"""Optimizers for test-time adaptation, written on Keras alone so that they work on any backend."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.techniques.domain_adaptation.predictions import EPSILON


class SharpnessAware(keras.optimizers.Optimizer):
    """Gradient descent by the gradient at the worst point nearby.

    Steps come in pairs. The first moves the weights by `radius` along the gradient. The second returns to the
    original weights and descends along the gradient that was measured at the moved point.

    Foret et al. 2021, "Sharpness-Aware Minimization for Efficiently Improving Generalization".
    """

    def __init__(self, learning_rate: float, radius: float, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.radius = radius

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self.before = [self.add_variable_from_reference(each, "before") for each in variables]

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        norm = ops.sqrt(sum(ops.sum(ops.square(each)) for each in grads))
        self._up = self.radius / (norm + 1e-12)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        before = self.before[self._get_variable_index(variable)]
        first = ops.equal(self.iterations % 2, 0)
        here = ops.convert_to_tensor(variable)
        up, down = here + self._up * gradient, ops.convert_to_tensor(before) - learning_rate * gradient
        self.assign(before, here)
        self.assign(variable, ops.where(first, up, down))


class _SquaredGradients(keras.optimizers.Optimizer):
    """Add up the squares of all gradients, and change no weight."""

    def __init__(self) -> None:
        super().__init__(0.0, name="squared_gradients")

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self.squares = [self.add_variable_from_reference(each, "squares") for each in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.assign_add(self.squares[self._get_variable_index(variable)], ops.square(gradient))


class _LogLikelihood(keras.Model):
    """The log likelihood of a classifier's own predictions, as a loss."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="log_likelihood")
        self.network = network

    def call(self, images: Any) -> Any:
        return self.network(images, training=False)

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **options: Any) -> Any:
        return ops.sum(ops.log(ops.max(y_pred, axis=-1) + EPSILON))


def fisher_information(network: keras.Model, images: Any) -> list[np.ndarray]:
    """Return the diagonal Fisher information of each trainable variable, by the predicted classes.

    It is the mean square of the gradient of the log likelihood of the predicted class.

    Args:
        network: images to class probabilities.
        images: `(n, height, width, 3)`.
    """
    of_each = _LogLikelihood(network)
    of_each.compile(squares := _SquaredGradients())
    for image in images:
        of_each.train_on_batch(np.asarray(image, "float32")[None])
    return [ops.convert_to_numpy(each) / len(images) for each in squares.squares]
