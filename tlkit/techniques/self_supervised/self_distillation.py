"""Predict one view's embedding from the other's, without any wrong answers to tell apart."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tlkit.errors import TlkitError
from tlkit.techniques.self_supervised.losses import negative_cosine
from tlkit.techniques.self_supervised.objective import TwoViews, perceptron


@keras.saving.register_keras_serializable("tlkit")
class SimSiam(TwoViews):
    """Predict the embedding of one view from the other; the predicted side gets no gradient.

    Nothing pushes different images apart, so it learns slowly: its paper takes 100 to 800 epochs.

    Chen & He 2021, "Exploring Simple Siamese Representation Learning".

    Args:
        views, projector: see `TwoViews`.
        predictor: width of the predictor's hidden layer; a quarter of the embedding's in the paper.
        stop_gradient: without it all images soon have the same embedding; to be seen, not to be used.
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

    def compare(self, first: Any, second: Any, training: bool = False) -> Any:
        goals = ops.concatenate([second, first])
        goals = ops.stop_gradient(goals) if self.stop_gradient else goals
        return self.distance(first, second, goals, training)

    def distance(self, first: Any, second: Any, goals: Any, training: bool) -> Any:
        """Return how badly the embeddings of the views predict their goals `(2n, d)`, -1 to 1."""
        predicted = self.prediction_head(ops.concatenate([first, second]), training=training)
        return negative_cosine(ops.cast(predicted, "float32"), goals)


@keras.saving.register_keras_serializable("tlkit")
class BYOL(SimSiam):
    """Predict the embedding that a slowly moving copy of the network has of the other view.

    Grill et al. 2020, "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning".

    Args:
        views, projector: see `TwoViews`.
        predictor: width of the predictor's hidden layer; 16 times that of the embedding in the paper.
        momentum: share of its weights that the copy keeps in a step, 0 to 1.
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
            raise TlkitError(f"momentum={momentum} was given; expected a share from 0 to 1, such as 0.99.")
        self.momentum = momentum

    def prepare(self, backbone: keras.Model) -> None:
        super().prepare(backbone)
        self.network = keras.Model(self.encoder.inputs, self.projection_head(self.encoder.outputs[0]))
        self.slow = [
            self.add_weight(
                shape=variable.shape,
                dtype=variable.dtype,
                trainable=False,
                aggregation="only_first_replica",
                name="slow",
            )
            for variable in self.network.weights
        ]
        self.start()

    def start(self) -> None:
        for slow, variable in zip(self.slow, self.network.weights, strict=True):
            slow.assign(variable)

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        first, second = self.two_views(images)
        goals = ops.cast(self.slowly(ops.concatenate([second, first]), training), "float32")
        embeddings = self.embed_views(first, second, training)
        return {"loss": self.distance(*embeddings, ops.stop_gradient(goals), training)}

    def step(self) -> None:
        """Move the copy towards the network: `slow = momentum * slow + (1 - momentum) * fast`."""
        for slow, variable in zip(self.slow, self.network.weights, strict=True):
            fast = ops.convert_to_tensor(variable)
            slow.assign(self.momentum * ops.convert_to_tensor(slow) + (1 - self.momentum) * fast)

    def slowly(self, images: Any, training: bool) -> Any:
        """Return the copy's embeddings of images: the same network, called with the copy's weights."""
        copy = dict(zip(map(id, self.network.weights), self.slow, strict=True))
        seeds = [each for each in self.network.non_trainable_variables if id(each) not in copy]
        given = copy | {id(each): each for each in seeds}
        learned, rest = (
            [ops.convert_to_tensor(given[id(each)]) for each in variables]
            for variables in (self.network.trainable_variables, self.network.non_trainable_variables)
        )
        return self.network.stateless_call(learned, rest, images, training=training)[0]
