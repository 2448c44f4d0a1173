"""The base classes of self-supervised methods."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tlkit.backbones.structure import check_backbone, functional
from tlkit.models import pooled
from tlkit.techniques.learners import Configured
from tlkit.techniques.self_supervised.views import random_views


class Objective(Configured, keras.Layer):
    """Base class of self-supervised methods: a loss that needs images but no labels.

    A method overrides `call`, and `prepare` if it has layers of its own. So that Keras can save it, it stores
    each constructor argument as an attribute of the same name.

    Attributes:
        encoder: a model from raw images to features `(n, d)`: the backbone, followed by the mean over the
            positions of a feature map or over tokens.
        fewest: minimum number of images per batch.
        measures: names of the metrics that `call` returns in addition to the loss; Keras's history gets their
            means.
    """

    fewest = 1
    measures: tuple[str, ...] = ()

    def prepare(self, backbone: keras.Model) -> None:
        """Set the backbone to train, and create the other layers of the method."""
        network = functional(check_backbone(backbone))
        # one input and one output tensor, although the model of the user may have lists
        self.backbone = keras.Model(network.inputs[0], network.outputs[0], name=backbone.name)
        self.encoder = pooled(self.backbone)

    def start(self) -> None:
        """Initialize the state of the method from the network, before the first training step."""

    def step(self) -> None:
        """Update the state of the method, once per training step and before the weights change."""

    def embed(self, features: Any, training: bool = False) -> Any:
        """Return the embeddings of features `(n, d)`; by default the features themselves."""
        return features

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        """Return the loss of a batch as `{"loss": scalar}`, together with the metrics named in `measures`.

        Args:
            images: `(n, height, width, 3)`, values 0 to 255.
            training: whether the network is being trained, or evaluated.
        """
        raise NotImplementedError


class TwoViews(Objective):
    """Base class of methods that compare the embeddings of two random views of each image.

    A method overrides `view_loss`. A projector, a small perceptron, maps features to embeddings. It is not
    needed after training: information that the loss removes from the embeddings may remain in the features
    (Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", section 4.2).

    Args:
        views: a layer that augments images at random; `random_views()` by default.
        projector: widths of the layers of the projector.
    """

    fewest = 2

    def __init__(
        self, views: keras.Layer | None = None, projector: Sequence[int] = (256, 128), **options: Any
    ) -> None:
        super().__init__(**options)
        self.views = random_views() if views is None else views
        self.projector = tuple(projector)

    def prepare(self, backbone: keras.Model) -> None:
        super().prepare(backbone)
        self.projection_head = perceptron(self.encoder.output_shape[-1], self.projector, "projector")

    def embed(self, features: Any, training: bool = False) -> Any:
        return ops.cast(self.projection_head(features, training=training), "float32")

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        embeddings = self.embed_views(*self.two_views(images), training)
        return {"loss": self.view_loss(*embeddings, training=training)}

    def two_views(self, images: Any) -> tuple[Any, Any]:
        """Return two random views of each image: float32, with the shape and range of the images."""
        pixels = ops.cast(images, "float32")
        return self.views(pixels, training=True), self.views(pixels, training=True)

    def embed_views(self, first: Any, second: Any, training: bool) -> tuple[Any, Any]:
        """Return the embeddings of two views of each image, float32 `(n, d)` each."""
        # one call for both, so that batch normalisation uses the statistics of all views
        features = self.encoder(ops.concatenate([first, second]), training=training)
        embeddings, n = self.embed(features, training=training), ops.shape(first)[0]
        return embeddings[:n], embeddings[n:]

    def view_loss(self, first: Any, second: Any, training: bool = False) -> Any:
        """Return the loss between the embeddings of two views, float32 `(n, d)` each: a scalar."""
        raise NotImplementedError


def perceptron(inputs: int, widths: Sequence[int], name: str) -> keras.Sequential:
    """Build dense layers, with batch normalisation and ReLU after each layer except the last."""
    layers: list[keras.Layer] = [keras.Input((inputs,))]
    for width in widths[:-1]:
        layers += [
            keras.layers.Dense(width, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        ]
    return keras.Sequential([*layers, keras.layers.Dense(widths[-1])], name=name)
