"""Grad-CAM shows where in an image there is evidence for a class."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tlkit.errors import TlkitError
from tlkit.models import attach_head, build_classifier
from tlkit.plots.saliency import grad_cam, gradient


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype("uint8")


@pytest.fixture(scope="module")
def convolutional():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    return keras.Model(inputs, layers.Conv2D(6, 3, strides=2, activation="relu", name="last")(x))


def closed_form(model, backbone, images, classes):
    """Return the CAM of Zhou et al. 2016, "Learning Deep Features for Discriminative Localization"."""
    kernel = ops.convert_to_numpy(model.get_layer("head").layers[-1].kernel)
    maps = np.einsum("nhwk,kn->nhw", backbone.predict(images, verbose=0), kernel[:, classes])
    heat = ops.image.resize(np.maximum(maps, 0)[..., None], images.shape[1:3], data_format="channels_last")
    heat = ops.convert_to_numpy(heat)[..., 0]
    with np.errstate(invalid="ignore"):  # without evidence for the class, the value is 0 / 0
        return heat / heat.max(axis=(1, 2), keepdims=True)


@pytest.mark.parametrize("activation", ["softmax", None])
def test_grad_cam_equals_cam_for_average_pooling_and_a_linear_head(convolutional, photos, activation):
    model = build_classifier(convolutional, classes=3, activation=activation)
    classes = np.array([0, 1, 2, 0, 1])
    found, expected = grad_cam(model, photos, classes), closed_form(model, convolutional, photos, classes)
    has_evidence = np.isfinite(expected).all(axis=(1, 2))
    assert has_evidence.any()
    np.testing.assert_allclose(found[has_evidence], expected[has_evidence], atol=1e-5)


def test_the_predicted_class_is_explained_by_default(convolutional, photos):
    model = build_classifier(convolutional, classes=3)
    predicted = model.predict(photos, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(grad_cam(model, photos), grad_cam(model, photos, predicted))


def test_a_prediction_with_probability_1_has_an_explanation(convolutional, photos):
    model = build_classifier(convolutional, classes=2)
    dense = model.get_layer("head").layers[-1]
    dense.set_weights([np.tile([[1e4, -1e4]], (6, 1)), np.zeros(2)])
    assert np.all(grad_cam(model, photos, np.zeros(5, int)).max(axis=(1, 2)) == 1)


def test_maps_have_the_size_of_the_images_and_values_from_0_to_1():
    model = build_classifier("LeNet", classes=10, weights=None)
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 3)).astype("uint8")
    heat = grad_cam(model, images)
    assert heat.shape == (20, 28, 28)
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert heat.max() == 1


def test_a_separate_softmax_layer_is_ignored(convolutional, photos):
    dense = keras.Sequential([keras.Input((6,)), layers.Dense(3)], name="head")
    softmax = keras.Sequential([keras.Input((6,)), dense.layers[0], layers.Softmax()], name="head")
    classes = [0, 1, 2, 0, 1]
    np.testing.assert_allclose(
        grad_cam(attach_head(convolutional, softmax), photos, classes),
        grad_cam(attach_head(convolutional, dense), photos, classes),
        atol=1e-5,
    )


def test_the_network_is_not_changed(convolutional, photos):
    model = build_classifier(convolutional, classes=3)
    before = [np.array(weight) for weight in model.weights]
    grad_cam(model, photos)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_the_map_shows_where_the_evidence_is():
    inputs = keras.Input((16, 16, 3))
    backbone = keras.Model(inputs, layers.AveragePooling2D(2)(layers.Rescaling(1 / 255)(inputs)))
    model = build_classifier(backbone, classes=2)
    model.get_layer("head").layers[-1].set_weights([np.array([[1.0, 0], [0, 1], [0, 0]]), np.zeros(2)])
    image = np.zeros((1, 16, 16, 3), "uint8")
    image[0, :4, :4, 0] = 255  # red in one corner, green in the other
    image[0, 12:, 12:, 1] = 255
    red, green = grad_cam(model, np.repeat(image, 2, axis=0), [0, 1])
    assert red[1, 1] == 1
    assert red[14, 14] == 0
    assert green[14, 14] == 1
    assert green[1, 1] == 0


def test_a_backbone_without_a_feature_map_is_refused():
    inputs = keras.Input((4, 4, 3), name="pixels")
    backbone = keras.Model(inputs, layers.Dense(5)(layers.Flatten()(inputs)), name="flat")
    head = keras.Sequential([keras.Input((5,)), layers.Dense(2)], name="head")
    with pytest.raises(TlkitError, match="'flat' has no feature map"):
        grad_cam(attach_head(backbone, head), np.zeros((1, 4, 4, 3), "uint8"))


def test_the_gradient_of_a_sum_of_squares_is_twice_the_input():
    inputs = ops.convert_to_tensor([1.0, -2.0])
    slope = gradient(lambda x: ops.sum(x * x), inputs)
    np.testing.assert_allclose(ops.convert_to_numpy(slope), [2.0, -4.0])
