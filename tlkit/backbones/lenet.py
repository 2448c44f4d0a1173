"""LeNet, a small network to train from scratch on small images."""

import keras
from keras import layers


def lenet(x: keras.KerasTensor, *, batch_norm: bool = False) -> keras.KerasTensor:
    """Apply LeNet to images, up to the features below its last layer.

    LeCun, Bottou, Bengio and Haffner (1998), "Gradient-Based Learning Applied to Document Recognition", with
    the widths of Ganin et al. (2016), "Domain-Adversarial Training of Neural Networks".

    Args:
        x: symbolic images `(n, s, s, 3)`, values 0 to 1.
        batch_norm: add batch normalisation after every layer with weights, as most later networks do.

    Returns:
        Features, `(n, 100)`.
    """
    for index, filters in enumerate((32, 48), start=1):
        x = layers.Conv2D(filters, 5, padding="same", name=f"conv{index}")(x)
        x = _activated(x, f"conv{index}", batch_norm)
        x = layers.MaxPooling2D(name=f"pool{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    for index in (1, 2):
        x = _activated(layers.Dense(100, name=f"dense{index}")(x), f"dense{index}", batch_norm)
    return x


def _activated(x: keras.KerasTensor, name: str, batch_norm: bool) -> keras.KerasTensor:
    if batch_norm:
        # A small network trains for hundreds of steps only; at 0.99 the moving averages adapt too slowly.
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
