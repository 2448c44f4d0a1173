import keras
import numpy as np
import pytest

from tlkit.challenges.overfitting import L2SP, keep_near_start
from tlkit.models import backbone_of, freeze
from tlkit.techniques.fine_tuning import fine_tune


def test_the_penalty_is_half_the_squared_distance_from_the_start():
    start = np.arange(6, dtype="float32").reshape(2, 3)
    penalty = L2SP(start, strength=0.5)
    assert float(penalty(start)) == 0
    assert float(penalty(start + 2)) == pytest.approx(0.5 * 0.5 * 6 * 4)


def test_the_penalty_is_part_of_the_loss_of_stock_fit(lenet):
    keep_near_start(lenet, strength=0.1, head_strength=0.0)
    assert float(sum(lenet.losses)) == pytest.approx(0, abs=1e-7)
    kernel = backbone_of(lenet).trainable_variables[0]
    kernel.assign(kernel + 1.0)
    assert float(sum(lenet.losses)) == pytest.approx(0.05 * np.prod(kernel.shape), rel=1e-4)


def test_the_penalty_keeps_weights_nearer_to_the_start(tiny, split):
    start, body = tiny.get_weights(), backbone_of(tiny)
    before = body.get_weights()

    def distance(strength):
        tiny.set_weights(start)
        keep_near_start(tiny, strength=strength)
        fine_tune(tiny, split, epochs=4, learning_rate=0.04)
        moved = zip(body.get_weights(), before, strict=True)
        return sum(np.square(now - then).sum() for now, then in moved)

    assert 0 < distance(10.0) < 0.5 * distance(0.0)


def test_a_frozen_backbone_has_no_penalty(lenet):
    freeze(lenet)
    keep_near_start(lenet, strength=1.0, head_strength=0.0)
    assert float(sum(lenet.losses, keras.ops.zeros(()))) == 0
