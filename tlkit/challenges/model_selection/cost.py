"""The cost of a backbone: how many multiplications and additions it computes for one image."""

import math

import keras

from tlkit.backbones.structure import flat_layers

LAYERS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.layers.Dense)


def multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of the convolutions and Dense layers for one image.

    One multiply-add is one multiplication with the addition that follows it. Papers on efficient networks
    call this number FLOPs; others count both operations and report twice as many. Unlike a measured speed,
    the count does not depend on what else the machine computes. Normalisation, activations and attention are
    not counted.

    Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    for the count.

    Args:
        model: a functional network that takes images of a fixed size, in the format `channels_last`.

    >>> images = keras.Input((8, 8, 3))
    >>> multiply_adds(keras.Model(images, keras.layers.Conv2D(4, 3, padding="same")(images)))
    6912
    """
    total = 0
    for layer in flat_layers(model):
        if isinstance(layer, LAYERS):
            kernels = [weight for weight in layer.weights if len(weight.shape) > 1]  # without biases
            places = math.prod(layer.output.shape[1:-1])
            total += places * sum(math.prod(kernel.shape) for kernel in kernels)
    return total
