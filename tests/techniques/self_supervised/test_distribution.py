"""Two devices learn what one does."""

import keras
import pytest

TRAIN = """
from tlkit.techniques.self_supervised import BYOL, Rotation, SelfSupervised
import tlkit

x = tlkit.load("digits/optical").train.images[:64]  # of noise, all four answers are nearly as probable
keras.utils.set_random_seed(0)
with scope:
    learner = SelfSupervised(tlkit.get("LeNet", weights=None), Rotation(keras.layers.Identity()))
    learner.compile(keras.optimizers.SGD(0.05))
    history = learner.fit(x, batch_size=16, epochs=2, verbose=0).history
    # the statistics of a batch differ between one device and two: what follows is measured within each
    learner = SelfSupervised(tlkit.get("LeNet", weights=None), BYOL(momentum=0.5))
    learner.compile(keras.optimizers.SGD(0.05))
    learner.fit(x, batch_size=32, epochs=1, verbose=0)
    slow = [np.array(each) for each in learner.objective.slow]
    fast = learner.objective.network.get_weights()
    apart = [np.abs(a - b).max() for a, b in zip(slow, fast)]
print([*history["loss"], *history["rotation_accuracy"], float(0 < max(apart) < 1)])
"""


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras distributes on TensorFlow and JAX")
def test_two_devices_learn_what_one_does(on_one_and_two_devices):
    one, two = on_one_and_two_devices(TRAIN)
    assert one == pytest.approx(two, rel=1e-3)
    assert one[-1] == 1.0
