"""L2-SP: weight decay towards the pretrained weights instead of towards zero."""

from typing import Any

import keras

from tlkit.models import backbone_of, head_of


class L2SP(keras.regularizers.Regularizer):
    """A weight regulariser that penalises the squared distance from the pretrained value.

    The penalty is `strength / 2 * ||w - w0||^2`.

    Li, Grandvalet & Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional
    Networks".

    Args:
        start: the pretrained value w0, any shape.
        strength: weight of the penalty, at least 0.

    >>> float(L2SP([1.0, 2.0], strength=0.5)([3.0, 2.0]))
    1.0
    """

    def __init__(self, start: Any, strength: float = 0.01) -> None:
        # a copy outside the graph: in PyTorch the gradient would otherwise flow through it to the variable
        self.start = keras.ops.stop_gradient(keras.ops.copy(keras.ops.convert_to_tensor(start)))
        self.strength = strength

    def __call__(self, x: Any) -> Any:
        return 0.5 * self.strength * keras.ops.sum(keras.ops.square(keras.ops.subtract(x, self.start)))


def keep_near_start(model: keras.Model, strength: float = 0.01, head_strength: float = 0.01) -> None:
    """Add L2-SP to the backbone, with its current weights as the start, and plain L2 to the head.

    Call this function on a pretrained classifier before training. Stock `compile` and `fit` then add the
    penalty to the loss.

    Args:
        model: a classifier made by `build_classifier` or `attach_head`; it is changed in place.
        strength: weight of the penalty on the backbone, at least 0.
        head_strength: weight of the penalty on the head, at least 0.
    """
    for variable in backbone_of(model).weights:
        if variable.trainable:
            variable.regularizer = L2SP(variable, strength)
    for variable in head_of(model).trainable_variables:
        variable.regularizer = L2SP(keras.ops.zeros(variable.shape), head_strength)
