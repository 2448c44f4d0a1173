"""What all ways to learn without labels share: what the network is asked, and what it is asked with."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tlkit.backbones.structure import check_backbone, functional
from tlkit.models import pooled
from tlkit.techniques.learners import Configured
from tlkit.techniques.self_supervised.views import random_views


class Objective(Configured, keras.Layer):
    """A question about images that the images themselves answer.

    A method overrides `call`, and `prepare` if it has layers of its own. To be saved, it keeps the arguments
    of its constructor as attributes of the same names.

    Attributes:
        encoder: raw images to features `(n, d)`: the backbone, and the mean over the places of a feature map
            or over tokens.
        fewest: images in a batch without which the question makes no sense.
        measures: names of what `call` returns beside the loss; Keras's history gets their means.
    """

    fewest = 1
    measures: tuple[str, ...] = ()

    def prepare(self, backbone: keras.Model) -> None:
        """Take the backbone that shall learn, and make the layers beside it."""
        network = functional(check_backbone(backbone))
        # one tensor in and one out, where the user's own may take and give lists
        self.backbone = keras.Model(network.inputs[0], network.outputs[0], name=backbone.name)
        self.encoder = pooled(self.backbone)

    def start(self) -> None:
        """Begin the first `fit` of an optimizer: what follows the network's weights takes them over."""

    def step(self) -> None:
        """Do what is to be done once in each step of a training, before the weights move."""

    def embed(self, features: Any, training: bool = False) -> Any:
        """Return what is compared: the embeddings of features `(n, d)`, or the features themselves."""
        return features

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        """Return the loss of a batch as `{"loss": scalar}`, and `measures` by their names.

        Args:
            images: `(n, height, width, 3)`, values 0 to 255.
            training: whether the network learns, or is only measured.
        """
        raise NotImplementedError


class TwoViews(Objective):
    """Two random views of each image shall have embeddings that fit together; a method says what fits.

    The embeddings are made by a projector, a small perceptron behind the features that is thrown away
    afterwards: what the loss takes from the embeddings, the features may keep (Chen et al. 2020, "A Simple
    Framework for Contrastive Learning of Visual Representations", section 4.2).

    Args:
        views: the layer that changes images at random; `random_views()` by default.
        projector: widths of the projector's layers.
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
        return {"loss": self.compare(*embeddings, training=training)}

    def two_views(self, images: Any) -> tuple[Any, Any]:
        """Draw two views of each image: float32, of the shape and range of the images."""
        pixels = ops.cast(images, "float32")
        return self.views(pixels, training=True), self.views(pixels, training=True)

    def embed_views(self, first: Any, second: Any, training: bool) -> tuple[Any, Any]:
        """Return the embeddings of two views of each image, float32 `(n, d)` each."""
        # one call for both: batch normalisation sees all views of the batch
        features = self.encoder(ops.concatenate([first, second]), training=training)
        embeddings, n = self.embed(features, training=training), ops.shape(first)[0]
        return embeddings[:n], embeddings[n:]

    def compare(self, first: Any, second: Any, training: bool = False) -> Any:
        """Return the loss of the embeddings of two views, float32 `(n, d)` each: a scalar."""
        raise NotImplementedError


def perceptron(inputs: int, widths: Sequence[int], name: str) -> keras.Sequential:
    """Build dense layers with batch normalisation and ReLU between them, and none behind the last."""
    layers: list[keras.Layer] = [keras.Input((inputs,))]
    for width in widths[:-1]:
        layers += [
            keras.layers.Dense(width, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        ]
    return keras.Sequential([*layers, keras.layers.Dense(widths[-1])], name=name)
