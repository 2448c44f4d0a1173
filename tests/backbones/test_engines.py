import tracemalloc
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from PIL import Image

from tlkit import backbones
from tlkit.backbones import engines, load_backbone
from tlkit.data import ImageFiles
from tlkit.errors import TlkitError, TlkitWarning, UnknownNameError

IMAGES = np.random.default_rng(0).integers(0, 256, (37, 64, 64, 3), dtype="uint8")


needs_export = pytest.mark.skipif(
    keras.backend.backend() == "jax" and find_spec("tensorflow") is None,
    reason="on JAX, Keras exports through TensorFlow",
)


@pytest.fixture(scope="module")
def network():
    return backbones.load_backbone("EfficientNetLite0", image_size=64)


@needs_export
def test_openvino_agrees_with_predict(network):
    fast = engines.infer(network, IMAGES, engine="openvino")
    slow = engines.infer(network, IMAGES, engine="predict")
    assert fast.shape == slow.shape == (37, 2, 2, 1280)
    assert np.abs(fast - slow).max() <= 1e-4 * np.abs(slow).max()


@needs_export
def test_float_pixels_are_not_rounded_to_integers(network):
    images = IMAGES[:4] + np.float32(0.4)
    fast = engines.infer(network, images, engine="openvino")
    slow = engines.infer(network, images, engine="predict")
    assert np.abs(fast - slow).max() <= 1e-4 * np.abs(slow).max()


@needs_export
def test_importing_openvino_sends_nothing(network):
    import sys

    engines.infer(network, IMAGES[:2], engine="openvino")
    assert sys.modules["openvino_telemetry"] is None


@needs_export
def test_the_network_is_exported_once(network, monkeypatch):
    engines.infer(network, IMAGES[:2], engine="openvino")
    monkeypatch.setattr(keras.Model, "export", lambda *_, **__: pytest.fail("exported again"))
    engines.infer(network, IMAGES[:2], engine="openvino")


def test_a_failed_export_falls_back_to_predict_with_a_warning(lenet, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no such operation")

    monkeypatch.setattr(keras.Model, "export", fail)
    images = IMAGES[:4, :28, :28]
    with pytest.warns(TlkitWarning, match="runs with Keras predict, not OpenVINO: no such operation"):
        outputs = engines.infer(lenet, images)
    np.testing.assert_allclose(outputs, lenet.predict(images, verbose=0), atol=1e-6)
    with pytest.raises(TlkitError, match="Use engine='predict'"):
        engines.infer(lenet, images, engine="openvino")


@pytest.fixture
def averaging():
    layers = [
        keras.Input((64, 64, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.GlobalAveragePooling2D(),
    ]
    return keras.Sequential(layers)


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(len(IMAGES))]
    for path, pixels in zip(paths, IMAGES, strict=True):
        Image.fromarray(pixels).save(path)
    return ImageFiles(paths, 64)


@pytest.mark.parametrize("engine", ["predict", pytest.param("openvino", marks=needs_export)])
def test_files_and_arrays_of_the_same_pixels_have_equal_outputs(averaging, files, engine):
    from_files = engines.infer(averaging, files, engine=engine)
    np.testing.assert_array_equal(from_files, engines.infer(averaging, IMAGES, engine=engine))
    np.testing.assert_allclose(from_files, IMAGES.mean((1, 2)) / 255, atol=1e-5)


@needs_export
def test_only_a_few_files_are_in_memory_at_a_time(averaging, files):
    engines.infer(averaging, files)  # exports
    many = ImageFiles(20 * files.paths, 64)
    tracemalloc.start()
    engines.infer(averaging, many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.3 * np.prod(many.shape)


def test_outputs_are_written_to_the_passed_array(averaging):
    out = np.zeros((37, 3), "float16")
    assert engines.infer(averaging, IMAGES, engine="predict", out=out) is out
    np.testing.assert_allclose(out, IMAGES.mean((1, 2)) / 255, atol=1e-3)


def test_errors_name_the_next_step(network):
    with pytest.raises(TlkitError, match="no images"):
        engines.infer(network, IMAGES[:0])
    with pytest.raises(TlkitError, match=r"of shape \(64, 64, 3\), got \(32, 32, 3\).*image_size=64"):
        engines.infer(network, IMAGES[:, :32, :32])
    with pytest.raises(UnknownNameError, match="Did you mean 'openvino'"):
        engines.infer(network, IMAGES, engine="openvin")


def test_the_fingerprint_depends_on_settings_and_weights_not_on_names_or_frozen_layers():
    def build(name, scale=1 / 255):
        keras.utils.set_random_seed(0)
        layers = [keras.Input((8, 8, 3)), keras.layers.Rescaling(scale), keras.layers.Conv2D(2, 3)]
        return keras.Sequential(layers, name=name)

    first = engines.fingerprint(build("first"))
    second = build("second")
    second.trainable = False
    assert engines.fingerprint(second) == first
    assert engines.fingerprint(build("first", scale=1 / 127)) != first
    changed = build("first")
    changed.set_weights([value + 1e-3 for value in changed.get_weights()])
    assert engines.fingerprint(changed) != first


def test_networks_for_two_image_sizes_have_different_fingerprints():
    small, large = (load_backbone("EfficientNetLite0", weights=None, image_size=size) for size in (32, 64))
    large.set_weights(small.get_weights())
    assert engines.fingerprint(small) != engines.fingerprint(large)


@pytest.fixture
def conv():
    """A small network with an output of random features."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(24, 3, activation="relu")(x)
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x), name="conv")


@pytest.fixture
def random_images():
    return np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype="uint8")


needs_bfloat16 = pytest.mark.skipif(not engines.has_bfloat16(), reason="the processor has no bfloat16 units")


@needs_bfloat16
def test_auto_is_bfloat16_where_the_first_images_agree(conv, random_images, monkeypatch):
    monkeypatch.delenv("TLKIT_PRECISION")
    assert engines.choose_precision(conv, random_images) == "bfloat16"
    assert engines.choose_precision(conv, random_images, engine="predict") == "float32"
    monkeypatch.setattr(engines, "AGREEMENT", 1.1)
    assert engines.choose_precision(conv, random_images) == "float32"


@needs_bfloat16
def test_the_decision_is_made_once_for_a_network(conv, random_images, monkeypatch):
    monkeypatch.delenv("TLKIT_PRECISION")
    key = engines.fingerprint(conv)
    assert engines.choose_precision(conv, random_images, key=key) == "bfloat16"
    monkeypatch.setattr(engines, "_agree", None)  # must not be asked again
    assert engines.choose_precision(conv, random_images[:1], key=key) == "bfloat16"


@needs_bfloat16
def test_bfloat16_is_close_to_float32_and_not_equal(conv, random_images):
    exact, rough = (engines.infer(conv, random_images, precision=each) for each in ("float32", "bfloat16"))
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()


def test_without_bfloat16_units_auto_is_float32_and_bfloat16_is_refused(conv, random_images, monkeypatch):
    monkeypatch.delenv("TLKIT_PRECISION")
    monkeypatch.setattr(engines, "has_bfloat16", lambda: False)
    assert engines.choose_precision(conv, random_images) == "float32"
    with pytest.raises(TlkitError, match=r"needs OpenVINO and a processor with bfloat16.*Use float32"):
        engines.choose_precision(conv, random_images, precision="bfloat16")


def test_a_network_that_cannot_be_exported_is_computed_in_float32(conv, random_images, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such operation")

    monkeypatch.delenv("TLKIT_PRECISION")
    monkeypatch.setattr(engines, "has_bfloat16", lambda: True)
    monkeypatch.setattr(engines, "_compiled", fail)
    assert engines.choose_precision(conv, random_images) == "float32"


def test_an_unknown_precision_is_refused_wherever_it_was_given(conv, random_images, monkeypatch):
    with pytest.raises(UnknownNameError, match="no precision named 'float16'"):
        engines.choose_precision(conv, random_images, precision="float16")
    monkeypatch.setenv("TLKIT_PRECISION", "double")
    with pytest.raises(UnknownNameError, match="no precision named 'double'"):
        engines.choose_precision(conv, random_images)
