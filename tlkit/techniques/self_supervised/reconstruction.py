"""Show a corrupted image, ask for the whole one."""

import math
from typing import Any

import keras
from keras import ops

from tlkit.errors import TlkitError
from tlkit.techniques.self_supervised.objective import Objective

GREY = 127.5  # what stands in place of a hidden patch


class Reconstruction(Objective):
    """An autoencoder: the backbone looks at a corrupted image, a decoder paints the image from the features.

    The loss is the mean squared error in units of the image's range: 0 to 1.

    Args:
        width: channels of the decoder, which is thrown away afterwards.
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
                f"{backbone.name} maps images {image} to {features}; {type(self).__name__} needs images of "
                "one size, and paints them from a feature map (h, w, c) or from features (d,), not from "
                "tokens (t, d). Build the backbone with image_size=, or take another method: SimCLR()."
            )
        self.decoder = decoder(features, image, self.width)

    def corrupt(self, pixels: Any) -> tuple[Any, Any]:
        """Return corrupted images, and how much each pixel counts: `(n, height, width, 1)`, or 1."""
        raise NotImplementedError

    def reconstruct(self, images: Any, training: bool = False) -> Any:
        """Return what the decoder makes of images, float32 of their shape, values 0 to 255."""
        return 255.0 * self.decoder(self.backbone(images, training=training), training=training)

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        pixels = ops.cast(images, "float32")
        corrupted, counts = self.corrupt(pixels)
        errors = ops.square((self.reconstruct(corrupted, training=training) - pixels) / 255.0)
        weights = counts * ops.ones_like(errors)
        return {"loss": ops.sum(weights * errors) / ops.maximum(ops.sum(weights), 1.0)}


@keras.saving.register_keras_serializable("tlkit")
class Denoising(Reconstruction):
    """Paint the image without the noise that was added to it.

    Vincent, Larochelle, Bengio & Manzagol 2008, "Extracting and Composing Robust Features with Denoising
    Autoencoders".

    Args:
        noise: standard deviation of the noise, in grey levels of 0 to 255.
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
    """Paint the patches that were hidden; only they count.

    He, Chen, Xie, Li, Dollar & Girshick 2022, "Masked Autoencoders Are Scalable Vision Learners", whose
    transformer leaves hidden patches out; a convolutional network sees them in grey, as in Pathak et al.
    2016, "Context Encoders: Feature Learning by Inpainting".

    Args:
        hidden: share of the patches that is hidden, above 0 and below 1.
        patch: height and width of a patch in pixels; by default a seventh of the image.
        width: see `Reconstruction`.
    """

    def __init__(
        self, hidden: float = 0.5, patch: int | None = None, width: int = 32, **options: Any
    ) -> None:
        super().__init__(width, **options)
        if not 0 < hidden < 1:
            raise TlkitError(f"hidden={hidden} was given; expected a share above 0 and below 1, such as 0.5.")
        self.hidden, self.patch = hidden, patch

    def prepare(self, backbone: keras.Model) -> None:
        super().prepare(backbone)
        self.side = self.patch or max(1, round(backbone.inputs[0].shape[1] / 7))

    def corrupt(self, pixels: Any) -> tuple[Any, Any]:
        n, height, width, _ = ops.shape(pixels)
        grid = n, -(-height // self.side), -(-width // self.side), 1
        drawn = keras.random.uniform(grid, seed=self.seeds) < self.hidden
        large = ops.repeat(ops.repeat(ops.cast(drawn, "float32"), self.side, axis=1), self.side, axis=2)
        mask = large[:, :height, :width]
        return mask * GREY + (1 - mask) * pixels, mask


def decoder(features: tuple[int, ...], image: tuple[int, ...], width: int = 32) -> keras.Sequential:
    """Build a network from features to images by transposed convolutions, each of which doubles the size.

    Without the batch normalisation between them it paints the mean image for hundreds of steps, whatever the
    features say, and they learn nothing.

    Args:
        features: shape of one example's features: `(h, w, c)`; or `(d,)`, painted from a quarter of the size.
        image: shape of an image.
        width: channels of the layers between.

    Returns:
        A network to float32 images, values 0 to 1.

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
