import keras
import numpy as np
import pytest

from tlkit.challenges.overfitting import L2SP, keep_near_start
from tlkit.models import backbone_of, freeze
from tlkit.techniques.fine_tuning import fine_tune


def test_l2sp_is_zero_at_the_start_and_half_the_squared_distance_elsewhere():
    start = np.arange(6, dtype="float32").reshape(2, 3)
    penalty = L2SP(start, strength=0.5)
    assert float(penalty(start)) == 0
    assert float(penalty(start + 2)) == pytest.approx(0.5 * 0.5 * 6 * 4)


def test_the_penalty_reaches_the_loss_of_stock_fit(lenet):
    keep_near_start(lenet, strength=0.1, head_strength=0.0)
    assert float(sum(lenet.losses)) == pytest.approx(0, abs=1e-7)
    kernel = backbone_of(lenet).trainable_variables[0]
    kernel.assign(kernel + 1.0)
    assert float(sum(lenet.losses)) == pytest.approx(0.05 * np.prod(kernel.shape), rel=1e-4)


def test_weights_stay_nearer_to_their_start(digits, lenet):
    start = [np.array(each) for each in backbone_of(lenet).trainable_variables]
    head = [np.array(each) for each in lenet.get_layer("head").weights]

    def distance(strength):
        keras.utils.set_random_seed(0)
        for variables, values in ((backbone_of(lenet).trainable_variables, start),):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        lenet.get_layer("head").set_weights(head)
        keep_near_start(lenet, strength=strength)
        fine_tune(lenet, digits.train, epochs=3)
        moved = zip(backbone_of(lenet).trainable_variables, start, strict=True)
        return sum(np.square(np.array(variable) - value).sum() for variable, value in moved)

    assert distance(1.0) < 0.5 * distance(0.0)


def test_a_frozen_backbone_gets_no_penalty(lenet):
    freeze(lenet)
    keep_near_start(lenet, strength=1.0, head_strength=0.0)
    assert float(sum(lenet.losses, keras.ops.zeros(()))) == 0
