"""Self-distillation: predict the embedding of one view from the other, without negative examples."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tlkit.errors import TlkitError
from tlkit.techniques.self_supervised.losses import negative_cosine
from tlkit.techniques.self_supervised.objective import TwoViews, perceptron


@keras.saving.register_keras_serializable("tlkit")
class SimSiam(TwoViews):
    """SimSiam: predict the embedding of one view from the other; the predicted view gets no gradient.

    The loss does not push different images apart, so training is slow: the paper uses 100 to 800 epochs.

    Chen & He 2021, "Exploring Simple Siamese Representation Learning".

    Args:
        views, projector: see `TwoViews`.
        predictor: width of the hidden layer of the predictor; in the paper, a quarter of the embedding width.
        stop_gradient: set it to `False` only to demonstrate collapse: all images soon get the same embedding.
    """

    def __init__(
        self,
        views: keras.Layer | None = None,
        projector: Sequence[int] = (512, 512),
        predictor: int = 128,
        stop_gradient: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(views, projector, **options)
        self.predictor, self.stop_gradient = predictor, stop_gradient

    def prepare(self, backbone: keras.Model) -> None:
        super().prepare(backbone)
        width = self.projector[-1]
        self.prediction_head = perceptron(width, (self.predictor, width), "predictor")

    def view_loss(self, first: Any, second: Any, training: bool = False) -> Any:
        targets = ops.concatenate([second, first])
        targets = ops.stop_gradient(targets) if self.stop_gradient else targets
        return self.distance(first, second, targets, training)

    def distance(self, first: Any, second: Any, targets: Any, training: bool) -> Any:
        """Return the error of predicting targets `(2n, d)` from the embeddings of both views, -1 to 1."""
        predicted = self.prediction_head(ops.concatenate([first, second]), training=training)
        return negative_cosine(ops.cast(predicted, "float32"), targets)


@keras.saving.register_keras_serializable("tlkit")
class BYOL(SimSiam):
    """BYOL: predict the embedding of the other view by a moving average of the network.

    Grill et al. 2020, "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning".

    Args:
        views, projector: see `TwoViews`.
        predictor: width of the hidden layer of the predictor; in the paper, 16 times the embedding width.
        momentum: momentum of the moving average, 0 to 1.

    Raises:
        TlkitError: `momentum` is not from 0 to 1.
    """

    def __init__(
        self,
        views: keras.Layer | None = None,
        projector: Sequence[int] = (512, 256),
        predictor: int = 512,
        momentum: float = 0.99,
        **options: Any,
    ) -> None:
        super().__init__(views, projector, predictor, **options)
        if not 0 <= momentum <= 1:
            raise TlkitError(f"momentum={momentum} was given; expected a number from 0 to 1, such as 0.99.")
        self.momentum = momentum

    def prepare(self, backbone: keras.Model) -> None:
        super().prepare(backbone)
        self.network = keras.Model(self.encoder.inputs, self.projection_head(self.encoder.outputs[0]))
        self.ema_weights = [
            self.add_weight(
                shape=variable.shape,
                dtype=variable.dtype,
                trainable=False,
                aggregation="only_first_replica",
                name="ema",
            )
            for variable in self.network.weights
        ]
        self.start()

    def start(self) -> None:
        for ema, variable in zip(self.ema_weights, self.network.weights, strict=True):
            ema.assign(variable)

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        first, second = self.two_views(images)
        targets = ops.cast(self.ema_embeddings(ops.concatenate([second, first]), training), "float32")
        embeddings = self.embed_views(first, second, training)
        return {"loss": self.distance(*embeddings, ops.stop_gradient(targets), training)}

    def step(self) -> None:
        """Update the moving average: `ema = momentum * ema + (1 - momentum) * weight`."""
        for ema, variable in zip(self.ema_weights, self.network.weights, strict=True):
            weight = ops.convert_to_tensor(variable)
            ema.assign(self.momentum * ops.convert_to_tensor(ema) + (1 - self.momentum) * weight)

    def ema_embeddings(self, images: Any, training: bool) -> Any:
        """Return the embeddings of images by the network with averaged weights."""
        averaged = dict(zip(map(id, self.network.weights), self.ema_weights, strict=True))
        seeds = [each for each in self.network.non_trainable_variables if id(each) not in averaged]
        values = averaged | {id(each): each for each in seeds}
        trainable, non_trainable = (
            [ops.convert_to_tensor(values[id(each)]) for each in variables]
            for variables in (self.network.trainable_variables, self.network.non_trainable_variables)
        )
        return self.network.stateless_call(trainable, non_trainable, images, training=training)[0]
