import keras
import numpy as np
import pytest
from keras import ops


@pytest.fixture(scope="session")
def gradient_of():
    """Return the gradient of a scalar function of one array, on any backend."""

    def gradient(function, at):
        backend = keras.backend.backend()
        if backend == "jax":
            import jax

            return np.asarray(jax.grad(function)(ops.convert_to_tensor(at)))
        if backend == "torch":
            import torch

            x = torch.tensor(at, requires_grad=True)
            function(x).backward()
            return x.grad.numpy()
        import tensorflow as tf

        x = tf.Variable(at)
        with tf.GradientTape() as tape:
            loss = function(x.value())
        return tape.gradient(loss, x, unconnected_gradients="zero").numpy()

    return gradient


@pytest.fixture
def small():
    """Build a small backbone, 16 pixels to 8 features, from the same random weights each time."""

    def build(size=16, seed=0, map_of_features=False):
        keras.utils.set_random_seed(seed)
        layers = keras.layers
        last = [] if map_of_features else [layers.Flatten(), layers.Dense(8, activation="relu")]
        return keras.Sequential(
            [
                keras.Input((size, size, 3)),
                layers.Rescaling(1 / 255),
                layers.Conv2D(8, 3, strides=2, activation="relu"),
                layers.BatchNormalization(momentum=0.9),
                *last,
            ],
            name="small",
        )

    return build


@pytest.fixture(scope="session")
def images():
    """Blobs with different positions and colours: uint8 (64, 16, 16, 3)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    positions, colours = rng.uniform(3, 13, (64, 2)), rng.uniform(80, 255, (64, 3))
    blobs = np.exp(-((y - positions[:, :1, None]) ** 2 + (x - positions[:, 1:, None]) ** 2) / 8)
    return (blobs[..., None] * colours[:, None, None]).astype("uint8")
