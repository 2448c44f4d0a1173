import keras
import numpy as np
import pytest

from tlkit.challenges.overfitting import stochastic_depth
from tlkit.challenges.overfitting.parts import with_outputs
from tlkit.errors import TlkitError
from tlkit.models import backbone_of


def block(tiny):
    """Return a model from images to the shortcut, the branch and the output of the residual block."""
    return with_outputs(backbone_of(tiny), ["conv1_relu", "conv2_bn", "conv2_add"])


def test_predictions_do_not_change(tiny, split):
    expected = np.array(tiny(split.images))
    thinned = stochastic_depth(tiny, 0.9)
    np.testing.assert_array_equal(np.array(thinned(split.images)), expected)
    np.testing.assert_array_equal(np.array(thinned(split.images)), expected)


def test_during_training_the_branch_is_skipped_or_scaled_for_each_image(tiny, split):
    freeze_statistics(tiny)
    shortcut, branch, _ = (np.array(each) for each in block(tiny)(split.images)[:3])
    thinned = block(stochastic_depth(tiny, 0.4))
    outputs = np.array([np.array(thinned(split.images, training=True)[2]) for _ in range(40)])
    without = np.isclose(outputs, shortcut, atol=1e-5).all(axis=(2, 3, 4))
    scaled = np.isclose(outputs, shortcut + branch / 0.6, atol=1e-4).all(axis=(2, 3, 4))
    assert (without | scaled).all()
    assert 0.3 < without.mean() < 0.5  # 480 draws: three standard deviations are 0.07
    assert without.mean(axis=1).std() > 0  # the images of a batch are independent
    expectation = shortcut + branch
    np.testing.assert_allclose(outputs.mean(axis=0), expectation, atol=4 * np.abs(branch).max() / 40**0.5)


def test_rate_0_is_the_original_network_also_during_training(tiny, split):
    freeze_statistics(tiny)
    expected = np.array(block(tiny)(split.images, training=True)[2])
    found = np.array(block(stochastic_depth(tiny, 0.0))(split.images, training=True)[2])
    np.testing.assert_array_equal(found, expected)


def freeze_statistics(model):
    for layer in backbone_of(model).layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)


def test_deeper_blocks_have_higher_rates_and_existing_rates_are_replaced(lite):
    thinned = stochastic_depth(lite, 0.3)
    body = backbone_of(thinned)
    drops = [layer for layer in body.layers if isinstance(layer, keras.layers.Dropout)]
    adds = [layer for layer in body.layers if isinstance(layer, keras.layers.Add)]
    rates = [layer.rate for layer in drops]
    assert len(rates) == len(adds) == 9
    np.testing.assert_allclose(rates, 0.3 * np.arange(1, 10) / 9)
    assert [layer.name for layer in drops] == [f"{layer.name}_drop" for layer in adds]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    np.testing.assert_allclose(np.array(thinned(pixels)), np.array(lite(pixels)), atol=1e-6)


def test_a_projected_shortcut_is_never_skipped(split):
    """In a ResNet the shortcut is the first input of Add, and may be a convolution."""
    from tlkit.models import build_classifier

    pixels = keras.Input((8, 8, 3), name="pixels")
    x = keras.layers.Conv2D(4, 1, name="conv1")(pixels)
    shortcut = keras.layers.Conv2D(5, 1, name="conv2_0")(x)
    x = keras.layers.Conv2D(5, 1, name="conv2_1")(x)
    x = keras.layers.Conv2D(5, 1, name="conv2_2")(x)
    x = keras.layers.Add(name="conv2_add")([shortcut, x])
    model = build_classifier(keras.Model(pixels, x, name="LeNet"), classes=3)
    body = with_outputs(backbone_of(stochastic_depth(model, 0.999999)), ["conv2_0", "conv2_add"])
    shortcut, out, _ = body(split.images, training=True)
    np.testing.assert_allclose(np.array(out), np.array(shortcut), atol=1e-5)


def test_the_result_saves_as_plain_keras(tiny, split, tmp_path):
    thinned = stochastic_depth(tiny, 0.4)
    thinned.save(tmp_path / "thinned.keras")
    again = keras.models.load_model(tmp_path / "thinned.keras")
    assert not any("tlkit" in type(layer).__module__ for layer in again._flatten_layers())
    np.testing.assert_array_equal(np.array(again(split.images)), np.array(tiny(split.images)))


def test_invalid_uses_are_refused(tiny, lenet):
    with pytest.raises(TlkitError, match="rate=1 was given; expected a fraction"):
        stochastic_depth(tiny, 1)
    with pytest.raises(TlkitError, match="LeNet has no residual block"):
        stochastic_depth(lenet)
