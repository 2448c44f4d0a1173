"""GroupDRO: the weights of the domains follow their losses."""

import keras
import numpy as np
import pytest
from keras import ops

from tlkit.techniques.domain_generalization.group_dro import GroupDRO

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
LABELS = np.eye(2, dtype="float32")[[0, 1, 0, 1, 0, 1, 0, 1]]


@pytest.fixture
def learner():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    learner = GroupDRO(network, domains=2, step_size=0.5)
    learner.compile("adam", "categorical_crossentropy")
    return learner


def loss(learner, predicted, training=True):
    return float(
        learner.compute_loss(X, ops.array(LABELS), ops.array(predicted, "float32"), training=training)
    )


def test_the_domain_with_the_higher_loss_gets_the_larger_weight(learner):
    good, bad = np.abs(LABELS - 0.1), np.abs(LABELS - 0.7)
    predicted = np.concatenate([good[:4], bad[4:]])
    losses = -np.log([0.9, 0.3])
    raised = np.exp(0.5 * losses)
    expected = raised / raised.sum()
    assert loss(learner, predicted) == pytest.approx(expected @ losses, rel=1e-4)
    np.testing.assert_allclose(learner.q, expected, rtol=1e-4)
    for _ in range(20):
        loss(learner, predicted)
    assert np.asarray(learner.q)[1] > 0.99


def test_with_equal_losses_it_is_the_mean_loss(learner):
    predicted = np.abs(LABELS - 0.2)
    assert loss(learner, predicted) == pytest.approx(-np.log(0.8), rel=1e-4)
    np.testing.assert_allclose(learner.q, 0.5, atol=1e-6)


def test_evaluation_does_not_move_the_weights(learner):
    loss(learner, np.concatenate([np.abs(LABELS - 0.1)[:4], np.abs(LABELS - 0.7)[4:]]), training=False)
    np.testing.assert_allclose(learner.q, 0.5)


def test_each_fit_starts_with_equal_weights_and_trains_the_network(learner):
    learner.q.assign([0.0, 1.0])
    before = np.array(learner.network.layers[0].kernel)
    learner.fit(X, LABELS, batch_size=8, epochs=1, shuffle=False, verbose=0)
    assert 0.3 < np.asarray(learner.q)[1] < 0.7
    assert not np.array_equal(before, learner.network.layers[0].kernel)
