"""Multiply-adds are those of the definition, and of the papers of the networks."""

import keras
import pytest

from tlkit.backbones import load_backbone
from tlkit.challenges.model_selection import multiply_adds


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (keras.layers.Conv2D(4, 3, padding="same"), 8 * 8 * 9 * 6 * 4),
        (keras.layers.Conv2D(4, 3, strides=2, padding="same"), 4 * 4 * 9 * 6 * 4),
        (keras.layers.Conv2D(4, 3, groups=2, padding="same"), 8 * 8 * 9 * 3 * 4),
        (keras.layers.DepthwiseConv2D(3, padding="same"), 8 * 8 * 9 * 6),
        (keras.layers.SeparableConv2D(4, 3, padding="same"), 8 * 8 * (9 * 6 + 6 * 4)),
        (keras.layers.Dense(5), 8 * 8 * 6 * 5),
        (keras.layers.BatchNormalization(), 0),
    ],
)
def test_each_kernel_is_applied_at_each_place_of_the_output(layer, expected):
    images = keras.Input((8, 8, 6))
    assert multiply_adds(keras.Model(images, layer(images))) == expected


def test_a_network_within_a_network_counts():
    images = keras.Input((8, 8, 6))
    inner = keras.Model(images, keras.layers.Conv2D(4, 1)(images))
    outer = keras.Input((8, 8, 6))
    assert multiply_adds(keras.Model(outer, inner(outer))) == multiply_adds(inner) == 8 * 8 * 6 * 4


@pytest.mark.parametrize(
    ("name", "published", "classifier"),  # in millions; of the whole network, and of its last layer
    [("EfficientNetLite0", 407, 1.28), ("MobileNet", 569, 1.02)],
)
def test_the_counts_of_known_networks_are_those_published(name, published, classifier):
    count = multiply_adds(load_backbone(name, weights=None, image_size=224)) / 1e6 + classifier
    assert count == pytest.approx(published, rel=0.06)  # some counts include normalisation
