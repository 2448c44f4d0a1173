"""A small network to train from scratch on small images."""

import keras
from keras import layers


def lenet(x: keras.KerasTensor) -> keras.KerasTensor:
    """Map images `(n, s, s, 3)`, values 0 to 1, to features `(n, 100)`.

    After LeCun, Bottou, Bengio and Haffner (1998), "Gradient-Based Learning Applied to Document
    Recognition", with the widths of Ganin et al. (2016), "Domain-Adversarial Training of Neural Networks".
    """
    for index, filters in enumerate((32, 48), start=1):
        x = layers.Conv2D(filters, 5, padding="same", activation="relu", name=f"conv{index}")(x)
        x = layers.MaxPooling2D(name=f"pool{index}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(100, activation="relu", name="dense1")(x)
    return layers.Dense(100, activation="relu", name="dense2")(x)
