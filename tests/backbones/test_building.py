"""A name builds a network of raw pixels with the features of Keras, divided into stages."""

import sys

import keras
import numpy as np
import pytest

from tlkit import backbones
from tlkit.backbones.preprocessing import preprocess
from tlkit.backbones.registry import BACKBONES
from tlkit.errors import TlkitError


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_preprocessing_equals_that_of_keras_and_is_saved(mode, pixels, tmp_path):
    images = keras.Input((32, 32, 3))
    model = keras.Model(images, preprocess(images, mode))
    expected = keras.applications.imagenet_utils.preprocess_input(pixels.astype("float32"), mode=mode)
    np.testing.assert_allclose(model(pixels), expected, rtol=1e-5, atol=1e-4)
    model.save(tmp_path / "saved.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "saved.keras")(pixels), model(pixels))


@pytest.mark.parametrize("name", ["MobileNet", "VGG16"])
def test_features_of_raw_pixels_equal_those_of_keras_for_preprocessed_pixels(name, pixels):
    backbone = backbones.load_backbone(name, weights=None, image_size=32)
    reference = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(32, 32, 3))
    reference.set_weights(backbone.get_weights())
    module = sys.modules[getattr(keras.applications, name).__module__]
    expected = reference.predict_on_batch(module.preprocess_input(pixels.astype("float32")))
    np.testing.assert_allclose(backbone.predict_on_batch(pixels), expected, rtol=1e-4, atol=1e-4)


def test_the_preprocessing_of_every_row_equals_that_of_keras(pixels):
    for row in backbones.list_backbones():
        if row.weights_source == "keras.applications download":
            module = sys.modules[getattr(keras.applications, row.name).__module__]
            images = keras.Input((32, 32, 3))
            ours = keras.Model(images, preprocess(images, row.preprocessing))(pixels)
            theirs = module.preprocess_input(pixels.astype("float32"))
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4, err_msg=row.name)


@pytest.mark.parametrize("name", ["LeNet", "VGG16"])
def test_a_saved_backbone_gives_the_same_output(name, pixels, tmp_path):
    backbone = backbones.load_backbone(name, weights=None, image_size=32)
    backbone.save(tmp_path / "saved.keras")
    loaded = keras.models.load_model(tmp_path / "saved.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(pixels), backbone.predict_on_batch(pixels))


def test_uint8_and_float_pixels_have_the_same_features(pixels):
    backbone = backbones.load_backbone("EfficientNetLite0", weights=None, image_size=32)
    integer, floating = (backbone.predict_on_batch(each) for each in (pixels, pixels.astype("float32")))
    np.testing.assert_array_equal(integer, floating)


def test_convnext_is_flat_and_has_the_features_of_keras(pixels):
    backbone = backbones.load_backbone("ConvNeXtTiny", weights=None, image_size=32)
    assert not any(isinstance(layer, keras.Model) for layer in backbone.layers)
    assert list(backbones.stages(backbone)) == ["stem", "stage_0", "stage_1", "stage_2", "stage_3"]
    reference = keras.applications.ConvNeXtTiny(include_top=False, weights=None, input_shape=(32, 32, 3))
    reference.set_weights(backbone.get_weights())
    expected = reference.predict_on_batch(pixels.astype("float32"))
    np.testing.assert_allclose(backbone.predict_on_batch(pixels), expected, atol=1e-5)


def test_lenet_maps_small_images_to_vectors():
    assert backbones.load_backbone("lenet", weights=None, image_size=12).output_shape == (None, 100)
    with pytest.raises(TlkitError, match="images of 11 pixels: the smallest size is 12"):
        backbones.load_backbone("LeNet", weights=None, image_size=11)


SMALL = [
    ("EfficientNetLite0", "stem", "top", 9),
    ("DenseNet121", "conv1", "conv5", 5),
    ("InceptionV3", "mixed0", "mixed10", 11),
    ("MobileNet", "conv1", "block13", 14),
    ("MobileNetV2", "Conv1", "Conv_1", 19),
    ("MobileNetV3Small", "conv", "conv_1", 13),
    ("ResNet50V2", "conv1", "conv5", 5),
    ("VGG16", "block1", "block5", 5),
    ("Xception", "block1", "block14", 14),
]


@pytest.mark.parametrize(("name", "first", "last", "count"), SMALL)
def test_stages_are_consecutive_layers_and_contain_every_layer_once(name, first, last, count):
    backbone = backbones.load_backbone(name, weights=None, image_size=BACKBONES.find(name).smallest_size)
    stages = backbones.stages(backbone)
    assert [layer for layers in stages.values() for layer in layers] == backbone.layers
    assert (next(iter(stages)), list(stages)[-1], len(stages)) == (first, last, count)
    assert all(any(layer.weights for layer in layers) for layers in stages.values())
    assert backbone.count_params() == BACKBONES.find(name).parameters


def test_stages_do_not_depend_on_how_many_networks_were_built_before():
    counts = []
    for _ in range(2):
        stages = backbones.stages(backbones.load_backbone("MobileNetV3Small", weights=None, image_size=32))
        counts.append({name: len(layers) for name, layers in stages.items()})
    assert counts[0] == counts[1]
