"""Stochastic normalisation: normalise a random part of the channels with the moving statistics."""

from typing import Any

import keras
from keras import ops

from tlkit.challenges.overfitting.parts import learner_for, reassembled
from tlkit.errors import TlkitError
from tlkit.models import backbone_of


@keras.saving.register_keras_serializable("tlkit")
class StochNorm(keras.Layer):
    """Batch normalisation that uses the moving statistics for a random part of the channels during training.

    Each training step chooses for each channel: the moving statistics with probability `p`, else the mean and
    variance of the batch. With `p=0` the layer equals BatchNormalization. With `p=1` it uses only the moving
    statistics, which the batches still update. During prediction, and if the BatchNormalization is frozen, it
    equals BatchNormalization for every `p`.

    Kou et al. 2020, "Stochastic Normalization". In the authors' code p is the probability of the batch
    statistics instead.

    Args:
        normalization: the layer whose scale, offset and statistics are used; they are shared, not copied.
        p: probability of the moving statistics, 0 to 1.

    Raises:
        TlkitError: `p` is out of range.

    >>> layer = StochNorm(keras.layers.BatchNormalization(), p=0.5)
    >>> tuple(layer(ops.ones((4, 3)), training=True).shape)
    (4, 3)
    """

    def __init__(
        self, normalization: keras.layers.BatchNormalization, p: float = 0.5, **options: Any
    ) -> None:
        super().__init__(**options)
        if not 0 <= p <= 1:
            raise TlkitError(f"p={p} was given; expected a probability from 0 to 1, such as 0.5.")
        self.normalization, self.p = normalization, p
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape: Any) -> None:
        if not self.normalization.built:
            self.normalization.build(input_shape)
        axis = self.normalization.axis % len(input_shape)
        self._mask = [size if each == axis else 1 for each, size in enumerate(input_shape)]

    learns_statistics = True  # `unfreeze` therefore leaves the inner normalisation trainable

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        # this call comes first, because the call with training=True updates the statistics
        moving = self.normalization(inputs, training=False, mask=mask)
        if not training:
            return moving
        batch = self.normalization(inputs, training=True, mask=mask)
        return ops.where(keras.random.uniform(self._mask, seed=self.seed_generator) < self.p, moving, batch)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.normalization)
        return super().get_config() | {"normalization": inner, "p": self.p}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "StochNorm":
        inner = keras.saving.deserialize_keras_object(config["normalization"])
        return cls(**{**config, "normalization": inner})


def stoch_norm(model: keras.Model, p: float = 0.5) -> keras.Model:
    """Wrap each BatchNormalization of a classifier in `StochNorm`; all weights stay shared with `model`.

    Train the result with stock `fit` or with `fine_tune`, which keeps these layers trainable. Then save
    `model`, which has learned as well and is plain Keras.

    Args:
        model: a classifier made by `build_classifier` or `attach_head`.
        p: probability of the moving statistics, 0 to 1.

    Raises:
        TlkitError: the backbone has no BatchNormalization, or `p` is out of range.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNetBN", classes=10, weights=None)
    >>> type(backbone_of(stoch_norm(model)).get_layer("conv1_bn_stochastic")).__name__
    'StochNorm'
    """
    body = backbone_of(model)

    def wrapped(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.BatchNormalization):
            return StochNorm(layer, p, name=f"{layer.name}_stochastic")
        return layer

    if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in body.layers):
        raise TlkitError(
            f"{body.name} has no BatchNormalization. Use a backbone that has one, such as EfficientNetLite0 "
            "or LeNetBN, or another regulariser."
        )
    noisy = keras.models.clone_model(body, clone_function=wrapped)
    return learner_for(model, keras.Model(*reassembled(model, backbone=noisy), name=model.name))
