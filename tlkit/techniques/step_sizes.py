"""How fast each layer learns, and when."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from tlkit import backbones
from tlkit.errors import TlkitError
from tlkit.models import backbone_of


def warmup_cosine(
    learning_rate: float, steps: int, warmup: float = 0.1
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a step size that rises linearly over the share `warmup` of the steps, then falls to zero.

    Loshchilov & Hutter 2017, "SGDR"; Goyal et al. 2017, "Accurate, Large Minibatch SGD" for the warm-up.
    """
    rising = int(warmup * steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if rising else learning_rate,
        decay_steps=max(1, steps - rising),
        warmup_target=learning_rate if rising else None,
        warmup_steps=rising,
    )


def depth_scales(model: keras.Model, decay: float) -> dict[str, float]:
    """Return for every trainable variable, by its path, the share of the full step size that it takes.

    The head takes 1, the top stage of the backbone `decay`, the one below `decay` squared, and so on.
    """
    if not 0 < decay <= 1:
        raise TlkitError(
            f"depth_decay is a share above 0 and up to 1; got {decay}. 1 treats all stages alike."
        )
    scales = {variable.path: 1.0 for variable in model.trainable_variables}
    stages = list(backbones.stages(backbone_of(model)).values())
    for depth, layers in enumerate(reversed(stages), start=1):
        scales |= {variable.path: decay**depth for layer in layers for variable in layer.trainable_variables}
    return scales


@keras.saving.register_keras_serializable("tlkit")
class DiscriminativeAdam(keras.optimizers.Adam):
    """Adam with a step size of its own for each variable ("discriminative fine-tuning").

    The step itself is scaled. Scaling the gradients instead would do nothing: Adam divides each by
    its own running size.

    Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification".

    Args:
        learning_rate: step size or schedule, as in Keras.
        scales: share of the step size for each variable, by its path; 1 where none is given.
    """

    def __init__(
        self, learning_rate: Any = 1e-3, *, scales: Mapping[str, float] | None = None, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.scales = dict(scales or {})

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        step = ops.cast(self.iterations + 1, "float32")
        # once a step; Keras's Adam computes it anew for each variable, which doubles the graph
        self._correction = ops.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        mean, square = self._momentums[index], self._velocities[index]
        mean.assign(self.beta_1 * mean + (1 - self.beta_1) * gradient)
        square.assign(self.beta_2 * square + (1 - self.beta_2) * ops.square(gradient))
        scale = self.scales.get(self._trainable_variables[index].path, 1.0)
        step = scale * learning_rate * self._correction
        variable.assign(variable - step * mean / (ops.sqrt(square) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"scales": self.scales}
