"""L2-SP: weights are pulled towards their pretrained values instead of towards zero."""

from typing import Any

import keras

from tlkit.models import backbone_of, head_of


class L2SP(keras.regularizers.Regularizer):
    """Pull a variable towards its starting point instead of towards zero.

    strength / 2 * ||w - w0||^2

    Li, Grandvalet & Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional
    Networks".

    Args:
        start: the pretrained value w0, any shape.
        strength: weight of the penalty, at least 0.
    """

    def __init__(self, start: Any, strength: float = 0.01) -> None:
        # a copy outside of every graph: PyTorch would send the gradient through it, back to the variable
        self.start = keras.ops.stop_gradient(keras.ops.copy(keras.ops.convert_to_tensor(start)))
        self.strength = strength

    def __call__(self, x: Any) -> Any:
        return 0.5 * self.strength * keras.ops.sum(keras.ops.square(keras.ops.subtract(x, self.start)))


def keep_near_start(model: keras.Model, strength: float = 0.01, head_strength: float = 0.01) -> None:
    """Attach L2-SP to the backbone's weights as they are now, and plain L2 to the head's.

    Call it on a pretrained classifier before training; stock `compile` and `fit` then add the penalty.

    Args:
        strength: of the pull towards the pretrained weights.
        head_strength: of the pull of the new weights towards zero.
    """
    for variable in backbone_of(model).weights:
        if variable.trainable:
            variable.regularizer = L2SP(variable, strength)
    for variable in head_of(model).trainable_variables:
        variable.regularizer = L2SP(keras.ops.zeros(variable.shape), head_strength)
