import keras
import numpy as np
import pytest

from tlkit.techniques.domain_adaptation import DomainAdapter, pair

LOSS = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


def blobs(shift, seed, n=400):
    """Two classes, 70 and 30 %, told apart by both coordinates; the first one is moved in the target."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(n) < 0.3 * n
    signs = 2.0 * labels - 1
    means = np.stack([signs + shift, 0.5 * signs], axis=1)
    return (means + rng.normal(0, 0.25, (n, 2))).astype("float32"), labels.astype("int32")


@pytest.fixture(scope="session")
def draw_kernels():
    """Start the kernels of a layer or network from NumPy's numbers: the same ones on every backend."""

    def draw(layer, seed):
        rng = np.random.default_rng(seed)
        for variable in layer.trainable_variables:
            if len(variable.shape) == 2:
                limit = np.sqrt(6 / sum(variable.shape))
                variable.assign(rng.uniform(-limit, limit, variable.shape))

    return draw


@pytest.fixture(scope="session")
def small(draw_kernels):
    """Build a perceptron with one hidden layer."""

    def build(batch_norm=False, seed=3):
        keras.utils.set_random_seed(seed)
        layers = keras.layers
        norm = [layers.BatchNormalization(momentum=0.9)] if batch_norm else []
        last = layers.Dense(2, activation="softmax")
        network = keras.Sequential([keras.Input((2,)), layers.Dense(32), *norm, layers.ReLU(), last])
        draw_kernels(network, seed)
        return network

    return build


@pytest.fixture(scope="session")
def shifted():
    """Labelled source, and target with the labels that only the test knows: source-only is wrong on many."""
    return blobs(0.0, seed=1), blobs(1.2, seed=11)


@pytest.fixture
def adapted(shifted, small, draw_kernels):
    """Adapt a small network by a method from the source to the target; return the adapter and its history."""

    def train(method, *, network=None, epochs=20, learning_rate=1e-2, **options):
        (x, y), (target, _) = shifted
        adapter = DomainAdapter(network or small(), method)
        draw_kernels(method, seed=103)
        adapter.compile(keras.optimizers.Adam(learning_rate), **LOSS)
        history = adapter.fit(pair((x, y), target, batch_size=50), epochs=epochs, verbose=0, **options)
        return adapter, history

    return train


@pytest.fixture(scope="session")
def accuracy(shifted):
    """The accuracy of a network on the target."""

    def measure(network):
        _, (target, labels) = shifted
        return float(np.mean(network.predict(target, verbose=0).argmax(axis=1) == labels))

    return measure
