import keras
import numpy as np
import pytest
from pushes import full

from tlkit import backbones
from tlkit.challenges.task_similarity import layer_features, linear_cka, procrustes, similarities
from tlkit.errors import DataError, UnknownNameError
from tlkit.models import backbone_of, unfreeze


def test_the_features_of_a_stage_are_its_last_feature_map_averaged_over_positions(lenet, digits):
    backbone, images = backbone_of(lenet), digits.train.images[:6]
    found = layer_features(backbone, images)
    assert list(found) == list(backbones.stages(backbone))
    for stage, layer in (("conv1", "pool1"), ("conv2", "pool2"), ("dense", "dense2_relu")):
        expected = keras.Model(backbone.inputs, backbone.get_layer(layer).output).predict(images, verbose=0)
        if expected.ndim == 4:
            expected = expected.mean(axis=(1, 2))
        np.testing.assert_allclose(found[stage], expected, rtol=1e-4, atol=1e-5)


def test_the_last_stage_of_a_deep_network_has_its_features(lite, digits):
    from tlkit.data import load
    from tlkit.techniques.feature_extraction import extract

    images = load("digits/optical", image_size=32).test.images[:5]
    backbone = backbone_of(lite)
    found = layer_features(backbone, images, ["top", "block3"])
    assert list(found) == ["block3", "top"]  # from input to output
    expected = extract(backbone, images, engine="predict", keep=False)
    np.testing.assert_allclose(found["top"], expected, rtol=1e-3, atol=1e-4)


def test_an_unknown_stage_is_refused(lenet, digits):
    with pytest.raises(UnknownNameError, match="conv1"):
        layer_features(backbone_of(lenet), digits.train.images[:2], ["conv3"])


@full
def test_training_the_upper_stage_changes_only_that_stage(lenet, digits):
    backbone = backbone_of(lenet)
    before = layer_features(backbone, digits.validation.images)
    unfreeze(lenet, from_stage="dense")
    lenet.compile(keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
    lenet.fit(digits.train.images, digits.train.labels, epochs=8, verbose=0)
    moved = similarities(before, layer_features(backbone, digits.validation.images))
    assert moved.loc["conv1", "conv1"] == pytest.approx(1, abs=1e-6)
    assert moved.loc["conv2", "conv2"] == pytest.approx(1, abs=1e-6)
    assert moved.loc["dense", "dense"] < 0.95


def test_every_layer_is_compared_with_every_layer():
    rng = np.random.default_rng(0)
    one = {"low": rng.normal(size=(40, 3)), "high": rng.normal(size=(40, 2))}
    other = {"a": rng.normal(size=(40, 5)), "b": one["high"] * 2, "c": rng.normal(size=(40, 1))}
    for measure in (linear_cka, procrustes):
        table = similarities(one, other, measure)
        assert (list(table.index), list(table.columns)) == (["low", "high"], ["a", "b", "c"])
        assert table.loc["high", "b"] == pytest.approx(1)
        assert table.loc["low", "c"] == pytest.approx(measure(one["low"], other["c"]))
        assert table.attrs["measure"] == measure.__name__


def test_networks_that_cannot_be_compared_are_refused():
    x = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(DataError, match="without layers"):
        similarities({}, {"a": x})
    with pytest.raises(DataError, match="9 and 8 rows"):
        similarities({"a": x}, {"a": x[1:]})
