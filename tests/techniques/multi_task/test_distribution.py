"""Two devices learn what one does."""

import keras
import pytest

TRAIN = """
from tlkit.techniques import multi_task as mt

x = np.random.default_rng(0).integers(0, 255, (64, 28, 28, 3)).astype("uint8")
labels = {"kind": np.arange(64) % 4, "size": np.arange(64.0)[:, None] / 64}
keras.utils.set_random_seed(0)
with scope:
    tasks = {"kind": mt.Classification(4), "size": mt.Regression()}
    network = mt.build_multi_task("LeNet", tasks, weights=None, dropout=0.0)
    learner = mt.MultiTask(network, tasks, mt.UncertaintyWeights())
    learner.compile(keras.optimizers.SGD(0.05))
    history = learner.fit(x, labels, batch_size=16, epochs=2, shuffle=False, verbose=0).history
print([v for name in ("loss", "kind_loss", "size_loss", "kind_weight") for v in history[name]])
"""


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras distributes on TensorFlow and JAX")
def test_two_devices_learn_what_one_does(on_one_and_two_devices):
    one, two = on_one_and_two_devices(TRAIN)
    assert one == pytest.approx(two, rel=1e-3)
