"""Two devices learn what one does."""

import keras
import pytest

TRAIN = """
from tlkit import DomainAdapter, build_classifier, pair
from tlkit.techniques.domain_adaptation import DANN

x = np.random.default_rng(0).integers(0, 255, (64, 28, 28, 3)).astype("uint8")
keras.utils.set_random_seed(0)
with scope:
    adapter = DomainAdapter(build_classifier("LeNet", 4, weights=None, dropout=0.0), DANN())
    adapter.compile(keras.optimizers.SGD(0.05), loss="sparse_categorical_crossentropy")
    history = adapter.fit(pair((x, np.arange(64) % 4), 255 - x, batch_size=16), epochs=2, verbose=0).history
print([v for name in ("loss", "supervised_loss", "alignment_loss") for v in history[name]])
"""


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras distributes on TensorFlow and JAX")
def test_two_devices_learn_what_one_does(on_one_and_two_devices):
    one, two = on_one_and_two_devices(TRAIN)
    assert one == pytest.approx(two, rel=1e-3)
