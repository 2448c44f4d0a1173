import keras
import numpy as np
import pytest

from tlkit.techniques.multi_task import Classification, MultiLabel, MultiTask, Regression, build_multi_task


@pytest.fixture(scope="session")
def tasks():
    """One task of each kind."""
    return {
        "kind": Classification(["cat", "dog", "cow"]),
        "marks": MultiLabel(["red", "round"]),
        "size": Regression(mean=10.0, deviation=2.0),
    }


@pytest.fixture(scope="session")
def examples():
    """Images of one pixel, (96, 1, 1, 8), and labels of all three tasks, which depend on the images."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 8)).astype("float32")
    labels = {
        "kind": x[:, :3].argmax(axis=1).astype("int32"),
        "marks": (x[:, 3:5] > 0).astype("float32"),
        "size": (10 + 2 * x[:, 5:6]).astype("float32"),
    }
    return x[:, None, None], labels


@pytest.fixture
def learner_of():
    """Build a learner with a shared layer and the heads; its weights are the same on every backend."""

    def build(tasks, balancing=None, *, optimizer=None, seed=0, **options):
        keras.utils.set_random_seed(seed)
        images = keras.Input((1, 1, 8))
        x = keras.layers.Dense(16, activation="tanh", name="shared")(keras.layers.Flatten()(images))
        backbone = keras.Model(images, x, name="body")
        network = build_multi_task(backbone, tasks, dropout=0.0)
        rng = np.random.default_rng(seed)
        for variable in network.trainable_variables:
            variable.assign(rng.normal(0, 0.3, variable.shape))
        learner = MultiTask(network, tasks, balancing, **options)
        learner.compile(optimizer or keras.optimizers.SGD(0.1))
        return learner

    return build
