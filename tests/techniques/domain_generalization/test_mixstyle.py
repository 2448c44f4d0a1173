"""MixStyle: what it does to feature maps, and where it is inserted."""

import keras
import numpy as np
import pytest
from keras import layers

import tlkit
from tlkit.models import unfreeze
from tlkit.techniques.domain_generalization import MixStyle, MixStyleTraining, with_mixstyle
from tlkit.techniques.frozen_trunk import cut

RNG = np.random.default_rng(0)
MAPS = (
    RNG.normal(size=(6, 5, 5, 3)) * RNG.uniform(1, 4, (6, 1, 1, 3)) + RNG.normal(size=(6, 1, 1, 3))
).astype("float32")


def statistics(x):
    return np.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=-1)


def styles(model):
    """The names of the MixStyle layers in a model and in the models within it."""
    return [
        name
        for each in model.layers
        for name in (
            [each.name] if isinstance(each, MixStyle) else styles(each) if hasattr(each, "layers") else []
        )
    ]


def test_it_is_the_identity_in_prediction():
    np.testing.assert_array_equal(MixStyle(probability=1.0)(MAPS), MAPS)
    np.testing.assert_array_equal(MixStyle(probability=0.0)(MAPS, training=True), MAPS)


def test_images_with_the_same_statistics_do_not_change():
    shuffled = np.stack([RNG.permutation(MAPS[0].reshape(25, 3)).reshape(5, 5, 3) for _ in range(6)])
    mixed = MixStyle(probability=1.0, seed=0)(shuffled, training=True)
    np.testing.assert_allclose(mixed, shuffled, atol=1e-4)


def test_in_training_statistics_move_towards_those_of_another_image_and_the_content_stays():
    mixed = np.asarray(MixStyle(alpha=5.0, probability=1.0, seed=1)(MAPS, training=True))
    before, after = statistics(MAPS), statistics(mixed)
    assert np.abs(after - before).max() > 0.1
    lines = []
    for i in range(6):
        parts = [
            np.linalg.lstsq((before[j] - before[i])[:, None], after[i] - before[i], rcond=None)
            for j in range(6)
        ]
        lines.append(any(0 <= part[0][0] <= 1 and (not len(part[1]) or part[1][0] < 1e-4) for part in parts))
    assert all(lines)  # each lies between its own statistics and those of one other image
    normal = [
        (x - x.mean(axis=(1, 2), keepdims=True)) / x.std(axis=(1, 2), keepdims=True) for x in (MAPS, mixed)
    ]
    np.testing.assert_allclose(*normal, atol=1e-3)


def test_tokens_are_mixed_over_their_positions():
    tokens = RNG.normal(size=(4, 7, 3)).astype("float32")
    assert MixStyle(probability=1.0, seed=0)(tokens, training=True).shape == tokens.shape


def test_the_layer_is_saved_with_its_settings():
    layer = MixStyle(0.2, 0.7, seed=3)
    again = MixStyle.from_config(layer.get_config())
    assert (again.alpha, again.probability, again.seed) == (0.2, 0.7, 3)


def own_network():
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(4, 3, strides=2, padding="same"),
            layers.Conv2D(6, 3, strides=2, padding="same"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("network", ["LeNet", "LeNetBN", "EfficientNetLite0", "own"])
def test_it_is_inserted_behind_the_first_stages_and_shares_all_weights(network):
    size = {"EfficientNetLite0": 32, "own": 16}.get(network, 28)
    model = (
        own_network()
        if network == "own"
        else tlkit.build_classifier(
            network, 3, weights=None, image_size=size, augmentation=tlkit.augmentation(strength=0.1)
        )
    )
    mixed = with_mixstyle(model)
    assert styles(mixed) == ["mixstyle_1", "mixstyle_2"]
    assert styles(model) == []
    assert [id(each) for each in mixed.trainable_variables] == [
        id(each) for each in model.trainable_variables
    ]
    images = RNG.integers(0, 256, (2, size, size, 3), dtype="uint8")
    found = [each(images, training=False) for each in (mixed, model)]
    np.testing.assert_allclose(*found, atol=1e-6)


def test_activations_of_frozen_stages_are_the_first_place():
    model = tlkit.build_classifier("EfficientNetLite0", 3, weights=None, image_size=32)
    unfreeze(model, fraction=0.5)
    _, rest = cut(model)
    mixed = MixStyleTraining(places=2).learner(rest, domains=2)
    assert styles(mixed) == ["mixstyle_1", "mixstyle_2"]
    assert isinstance(mixed.layers[1], MixStyle)
    assert styles(MixStyleTraining(places=1).learner(rest, domains=2)) == ["mixstyle_1"]
