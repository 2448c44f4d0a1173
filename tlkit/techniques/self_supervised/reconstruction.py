"""Reconstruction methods: corrupt an image, and reconstruct the original from its features."""

import math
from typing import Any

import keras
from keras import ops

from tlkit.errors import TlkitError
from tlkit.techniques.self_supervised.objective import Objective

GREY = 127.5  # replaces the pixels of a hidden patch


class Reconstruction(Objective):
    """Base class of autoencoders: a decoder reconstructs images from the features of corrupted copies.

    The loss is the mean squared error, with pixel values scaled to 0 to 1. A method overrides `corrupt`.

    Args:
        width: number of channels of the decoder, which is not needed after training.
    """

    def __init__(self, width: int = 32, **options: Any) -> None:
        super().__init__(**options)
        self.width = width
        self.seeds = keras.random.SeedGenerator()

    def prepare(self, backbone: keras.Model) -> None:
        super().prepare(backbone)
        features, image = (tuple(each.shape[1:]) for each in (backbone.outputs[0], backbone.inputs[0]))
        if len(features) == 2 or None in (*features, *image):
            raise TlkitError(
                f"{backbone.name} maps images {image} to {features}, but {type(self).__name__} needs images "
                "of a fixed size, and a feature map (h, w, c) or features (d,) instead of tokens (t, d). "
                "Build the backbone with image_size=, or use another method, such as SimCLR()."
            )
        self.decoder = decoder(features, image, self.width)

    def corrupt(self, pixels: Any) -> tuple[Any, Any]:
        """Return corrupted images, and the weight of each pixel in the loss: `(n, height, width, 1)` or 1."""
        raise NotImplementedError

    def reconstruct(self, images: Any, training: bool = False) -> Any:
        """Reconstruct images from their features: float32, with the shape of the images, values 0 to 255."""
        return 255.0 * self.decoder(self.backbone(images, training=training), training=training)

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        pixels = ops.cast(images, "float32")
        corrupted, pixel_weights = self.corrupt(pixels)
        errors = ops.square((self.reconstruct(corrupted, training=training) - pixels) / 255.0)
        weights = pixel_weights * ops.ones_like(errors)
        return {"loss": ops.sum(weights * errors) / ops.maximum(ops.sum(weights), 1.0)}


@keras.saving.register_keras_serializable("tlkit")
class Denoising(Reconstruction):
    """Reconstruct an image from a copy with added noise.

    Vincent, Larochelle, Bengio & Manzagol 2008, "Extracting and Composing Robust Features with Denoising
    Autoencoders".

    Args:
        noise: standard deviation of the noise, in pixel values of 0 to 255.
        width: see `Reconstruction`.
    """

    def __init__(self, noise: float = 64.0, width: int = 32, **options: Any) -> None:
        super().__init__(width, **options)
        self.noise = noise

    def corrupt(self, pixels: Any) -> tuple[Any, Any]:
        noise = keras.random.normal(ops.shape(pixels), stddev=self.noise, seed=self.seeds)
        return ops.clip(pixels + noise, 0.0, 255.0), 1.0


@keras.saving.register_keras_serializable("tlkit")
class Masked(Reconstruction):
    """Reconstruct the hidden patches of an image; the loss covers only the hidden patches.

    He, Chen, Xie, Li, Dollar & Girshick 2022, "Masked Autoencoders Are Scalable Vision Learners", use a
    transformer that omits hidden patches. Here, hidden patches are grey, which suits convolutional networks
    (Pathak et al. 2016, "Context Encoders: Feature Learning by Inpainting").

    Args:
        hidden: fraction of the patches to hide, above 0 and below 1.
        patch: height and width of a patch in pixels; by default a seventh of the image height.
        width: see `Reconstruction`.

    Raises:
        TlkitError: `hidden` is not between 0 and 1.
    """

    def __init__(
        self, hidden: float = 0.5, patch: int | None = None, width: int = 32, **options: Any
    ) -> None:
        super().__init__(width, **options)
        if not 0 < hidden < 1:
            raise TlkitError(
                f"hidden={hidden} was given; expected a fraction above 0 and below 1, such as 0.5."
            )
        self.hidden, self.patch = hidden, patch

    def prepare(self, backbone: keras.Model) -> None:
        super().prepare(backbone)
        self.side = self.patch or max(1, round(backbone.inputs[0].shape[1] / 7))

    def corrupt(self, pixels: Any) -> tuple[Any, Any]:
        n, height, width, _ = ops.shape(pixels)
        grid = n, -(-height // self.side), -(-width // self.side), 1
        hidden = keras.random.uniform(grid, seed=self.seeds) < self.hidden
        large = ops.repeat(ops.repeat(ops.cast(hidden, "float32"), self.side, axis=1), self.side, axis=2)
        mask = large[:, :height, :width]
        return mask * GREY + (1 - mask) * pixels, mask


def decoder(features: tuple[int, ...], image: tuple[int, ...], width: int = 32) -> keras.Sequential:
    """Build a network from features to images: transposed convolutions, each of which doubles the size.

    Batch normalisation follows each of them. Without it, the decoder outputs the mean image for hundreds of
    steps, whatever the features are, and the backbone does not learn.

    Args:
        features: shape of the features of one image: `(h, w, c)`; or `(d,)`, which a dense layer first maps
            to a quarter of the image size.
        image: shape of an image, `(height, width, channels)`.
        width: number of channels of the hidden layers.

    Returns:
        A network from features to float32 images `(n, height, width, channels)`, values 0 to 1.

    >>> decoder((100,), (28, 28, 3)).output_shape
    (None, 28, 28, 3)
    """
    layers: list[keras.Layer] = [keras.Input(features)]
    if len(features) == 1:
        features = (*(-(-side // 4) for side in image[:2]), width)
        layers += [keras.layers.Dense(math.prod(features), use_bias=False), *_activated()]
        layers += [keras.layers.Reshape(features)]
    for _ in range(math.ceil(math.log2(max(image[0] / features[0], image[1] / features[1])))):
        layers.append(keras.layers.Conv2DTranspose(width, 3, 2, padding="same", use_bias=False))
        layers += _activated()
    layers += [
        keras.layers.CenterCrop(*image[:2]),
        keras.layers.Conv2D(image[2], 3, padding="same", activation="sigmoid", dtype="float32"),
    ]
    return keras.Sequential(layers, name="decoder")


def _activated() -> list[keras.layers.Layer]:
    return [keras.layers.BatchNormalization(momentum=0.9), keras.layers.ReLU()]
