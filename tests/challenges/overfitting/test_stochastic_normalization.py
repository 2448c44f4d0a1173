import keras
import numpy as np
import pytest

from tlkit.challenges.overfitting import StochNorm, stoch_norm
from tlkit.errors import TlkitError
from tlkit.models import backbone_of
from tlkit.techniques.fine_tuning import fine_tune

RNG = np.random.default_rng(0)
BATCHES = [RNG.normal(3, 2, size=(5, 4, 4, 6)).astype("float32") for _ in range(3)]


def normalization():
    layer = keras.layers.BatchNormalization(momentum=0.8)
    layer.build((None, 4, 4, 6))
    layer.set_weights([RNG.uniform(0.5, 2, 6) for _ in range(4)])
    return layer


def pair(p):
    plain = normalization()
    other = keras.layers.BatchNormalization(momentum=0.8)
    other.build((None, 4, 4, 6))
    other.set_weights(plain.get_weights())
    return plain, StochNorm(other, p)


def test_p_0_equals_batch_normalization_exactly():
    plain, noisy = pair(0.0)
    for training in (True, True, False, True):
        for batch in BATCHES:
            one, other = (np.array(layer(batch, training=training)) for layer in (plain, noisy))
            np.testing.assert_array_equal(one, other)
        for one, other in zip(plain.weights, noisy.normalization.weights, strict=True):
            np.testing.assert_array_equal(np.array(one), np.array(other))


def test_p_1_uses_the_moving_statistics_and_updates_them():
    plain, noisy = pair(1.0)
    for batch in BATCHES:
        expected = np.array(plain(batch, training=False))
        np.testing.assert_array_equal(np.array(noisy(batch, training=True)), expected)
        plain(batch, training=True)
    for one, other in zip(plain.weights, noisy.normalization.weights, strict=True):
        np.testing.assert_array_equal(np.array(one), np.array(other))


def test_prediction_equals_batch_normalization():
    plain, noisy = pair(0.5)
    np.testing.assert_array_equal(
        np.array(plain(BATCHES[0], training=False)), np.array(noisy(BATCHES[0], training=False))
    )


def test_each_channel_is_chosen_independently_in_each_step():
    plain, noisy = pair(0.3)
    start, chosen = plain.get_weights(), []
    moving = np.array(plain(BATCHES[0], training=False))
    batch = np.array(plain(BATCHES[0], training=True))
    for _ in range(60):
        noisy.normalization.set_weights(start)
        found = np.array(noisy(BATCHES[0], training=True))
        from_moving = (found == moving).all(axis=(0, 1, 2))
        assert (from_moving | (found == batch).all(axis=(0, 1, 2))).all()
        chosen.append(from_moving)
    assert 0.2 < np.mean(chosen) < 0.4  # 360 draws: three standard deviations are 0.07
    assert np.std(chosen, axis=0).min() > 0


def test_it_shares_its_weights_with_the_model(tiny, split):
    learner = stoch_norm(tiny, 0.5)
    assert {id(each) for each in learner.weights} == {id(each) for each in tiny.weights}
    norm = backbone_of(tiny).get_layer("conv1_bn")
    before = norm.get_weights()
    fine_tune(learner, split, epochs=2)
    for one, other in zip(before, norm.get_weights(), strict=True):
        assert not np.array_equal(one, other)
    np.testing.assert_array_equal(np.array(tiny(split.images)), np.array(learner(split.images)))


def test_frozen_stages_keep_their_statistics(tiny, split):
    norm = backbone_of(tiny).get_layer("conv1_bn")
    before = norm.get_weights()
    fine_tune(stoch_norm(tiny), split, from_stage="conv2", epochs=1)
    for one, other in zip(before, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_layer_saves_and_loads(tmp_path):
    model = keras.Sequential([keras.Input((6,)), StochNorm(keras.layers.BatchNormalization(), 0.2)])
    model.layers[0].normalization.moving_mean.assign(np.arange(6.0))
    model.save(tmp_path / "noisy.keras")
    again = keras.models.load_model(tmp_path / "noisy.keras")
    assert again.layers[0].p == 0.2
    x = RNG.normal(size=(3, 6))
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


def test_invalid_uses_are_refused(tiny, lenet):
    with pytest.raises(TlkitError, match=r"p=1.5 was given; expected a probability"):
        stoch_norm(tiny, 1.5)
    with pytest.raises(TlkitError, match="LeNet has no BatchNormalization"):
        stoch_norm(lenet)
