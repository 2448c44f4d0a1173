import keras
import numpy as np
import pytest

from tlkit.data import Split
from tlkit.models import build_classifier


@pytest.fixture
def tiny():
    """A small classifier of 8-pixel images with every kind of layer that a regulariser needs."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((8, 8, 3), name="pixels")
    x = keras.layers.Rescaling(1 / 255, name="scale")(pixels)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv1")(x)
    x = keras.layers.BatchNormalization(momentum=0.9, name="conv1_bn")(x)
    x = shortcut = keras.layers.ReLU(name="conv1_relu")(x)
    x = keras.layers.Conv2D(4, 1, name="conv2")(x)
    x = keras.layers.BatchNormalization(momentum=0.9, name="conv2_bn")(x)
    x = keras.layers.Add(name="conv2_add")([x, shortcut])
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(6, activation="tanh", name="dense1")(x)
    return build_classifier(keras.Model(pixels, x, name="LeNetBN"), classes=3, dropout=0.0)


@pytest.fixture
def split():
    """Twelve noise images, four of each of three classes."""
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype("uint8")
    return Split(images, np.arange(12) % 3)


@pytest.fixture
def one_step():
    """A function that trains one step of gradient descent on all images with stock `compile` and `fit`."""

    def train(learner, split, learning_rate=0.1):
        learner.compile(keras.optimizers.SGD(learning_rate), loss="sparse_categorical_crossentropy")
        return learner.fit(split.images, split.labels, batch_size=len(split), epochs=1, verbose=0)

    return train


@pytest.fixture
def features_of():
    """A function that returns the features before the head."""
    from tlkit.models import backbone_of, pooled

    return lambda model, images: keras.ops.convert_to_numpy(pooled(backbone_of(model))(images))
