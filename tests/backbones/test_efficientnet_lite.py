"""EfficientNet-Lite equals KerasCV's network, and its weights classify real photos."""

import keras
import numpy as np
import pytest
import skimage.data
from sklearn.datasets import load_sample_images

from tlkit import backbones
from tlkit.backbones.checkpoint import read_checkpoint
from tlkit.backbones.registry import BACKBONES

CAT, MUG, ESPRESSO, DAISY = range(281, 287), 504, 967, 985


def keras_cv_backbone(width: float, depth: float) -> keras.Model:
    module = pytest.importorskip("keras_cv.src.models.backbones.efficientnet_lite.efficientnet_lite_backbone")
    return module.EfficientNetLiteBackbone(
        include_rescaling=False,
        width_coefficient=width,
        depth_coefficient=depth,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        input_shape=(64, 64, 3),
    )


@pytest.mark.parametrize(
    ("name", "width", "depth"),
    [("EfficientNetLite0", 1.0, 1.0), ("EfficientNetLite2", 1.1, 1.2)],
)
def test_the_network_is_that_of_keras_cv(name, width, depth):
    ours = backbones.load_backbone(
        name, weights="imagenet" if name == "EfficientNetLite0" else None, image_size=64
    )
    theirs = keras_cv_backbone(width, depth)
    mine = [weight for layer in ours.layers for weight in layer.weights]
    assert [weight.shape for weight in mine] == [w.shape for layer in theirs.layers for w in layer.weights]
    if name == "EfficientNetLite0":
        theirs.set_weights(ours.get_weights())
        images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
        np.testing.assert_allclose(ours(images), theirs((images - 127) / 128), atol=1e-4)
        assert [drop.rate for drop in _drops(ours)] == pytest.approx([drop.rate for drop in _drops(theirs)])


def _drops(model: keras.Model) -> list[keras.layers.Dropout]:
    """Return the layers of stochastic depth; KerasCV scales their rate by the blocks of Lite0 everywhere."""
    drops = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert {drop.noise_shape for drop in drops} == {(None, 1, 1, 1)}
    return drops


def test_the_imagenet_weights_classify_real_photos():
    backbone = backbones.load_backbone("EfficientNetLite0")
    tensors = read_checkpoint(BACKBONES.find("EfficientNetLite0").weights_path)
    photos = [skimage.data.chelsea(), skimage.data.coffee(), load_sample_images().images[1]]
    images = np.stack([keras.utils.img_to_array(_square(photo)) for photo in photos])
    features = keras.ops.convert_to_numpy(backbone(images)).mean(axis=(1, 2))
    logits = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    best = logits.argsort(axis=1)[:, ::-1]
    assert best[0, 0] in CAT
    assert best[1, 0] in (MUG, ESPRESSO)
    assert DAISY in best[2, :5]


def _square(photo: np.ndarray) -> np.ndarray:
    """Crop the central square and resize it to 224 pixels."""
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    middle = photo[top : top + side, left : left + side].astype("float32")
    return keras.ops.convert_to_numpy(keras.ops.image.resize(middle, (224, 224), antialias=True))
