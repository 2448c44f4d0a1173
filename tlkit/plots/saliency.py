"""Saliency maps: the regions of an image that increase the score of a class."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkit.errors import TlkitError
from tlkit.models import backbone_of, head_of

_BATCH_SIZE = 16


def grad_cam(
    model: keras.Model, images: np.ndarray, classes: np.ndarray | Sequence[int] | None = None
) -> np.ndarray:
    """Return Grad-CAM heat maps: the regions of each image that increase the score of a class.

    The map is ReLU(sum_k a_k A_k). A_k are the channels of the last feature map, and their weights are the
    gradients of the class's logit, a_k = mean over positions of d logit / d A_k. The ReLU keeps only positive
    evidence for the class. The map has the resolution of the feature map and is enlarged to the size of the
    image. It shows where there is evidence, but not how the network uses it.

    Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization".

    Args:
        model: a classifier made by `build_classifier` or `attach_head`.
        images: RGB `(n, height, width, 3)`, values 0 to 255.
        classes: int `(n,)`, the class to explain for each image; the predicted class by default.

    Returns:
        float32 `(n, height, width)`, values 0 to 1. The largest value of each map is 1, except that a map
        without evidence for the class is all 0.

    Raises:
        TlkitError: no layer of the backbone has an output of shape `(n, height, width, channels)`.

    >>> from tlkit import build_classifier
    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> grad_cam(model, np.zeros((2, 28, 28, 3), "uint8")).shape
    (2, 28, 28)
    """
    feature_map, logits = _halves(model)
    maps = []
    for start in range(0, len(images), _BATCH_SIZE):
        batch = slice(start, start + _BATCH_SIZE)
        channels = ops.cast(feature_map(images[batch], training=False), "float32")
        chosen = ops.argmax(logits(channels), axis=-1) if classes is None else np.asarray(classes)[batch]
        maps.append(_class_map(logits, channels, chosen))
    coarse = np.concatenate(maps)[..., None]
    resized = ops.image.resize(
        coarse, images.shape[1:3], interpolation="bilinear", data_format="channels_last"
    )
    heat = np.maximum(ops.convert_to_numpy(resized)[..., 0], 0)
    largest = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, largest, out=np.zeros_like(heat), where=largest > 0)


def gradient(function: Callable[[Any], Any], inputs: Any) -> Any:
    """Return the gradient of a scalar function of one tensor, on any Keras backend.

    Args:
        function: takes a tensor and returns a scalar tensor.
        inputs: the tensor at which the gradient is computed.

    Raises:
        TlkitError: the Keras backend has no gradients.

    >>> float(gradient(lambda x: x * x, ops.convert_to_tensor(3.0)))
    6.0
    """
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(inputs)
                value = function(inputs)
            return tape.gradient(value, inputs)
        case "jax":
            import jax

            return jax.grad(function)(inputs)
        case "torch":
            import torch

            tensor = inputs.detach().requires_grad_()
            return torch.autograd.grad(function(tensor), tensor)[0]
        case other:
            raise TlkitError(f"The Keras backend {other!r} has no gradients. Use tensorflow, jax or torch.")


def _class_map(logits: Callable[[Any], Any], channels: Any, classes: Any) -> np.ndarray:
    def score(maps: Any) -> Any:
        return ops.sum(ops.take_along_axis(logits(maps), ops.reshape(classes, (-1, 1)), axis=-1))

    weights = ops.mean(gradient(score, channels), axis=(1, 2), keepdims=True)
    return ops.convert_to_numpy(ops.relu(ops.sum(weights * channels, axis=-1)))


def _halves(model: keras.Model) -> tuple[keras.Model, Callable[[Any], Any]]:
    """Split a classifier at its last feature map: a model up to the map, and a function to the logits."""
    backbone = backbone_of(model)
    head = head_of(model)
    spatial = _last_feature_map(backbone)
    last = head.layers[-1]
    before_last = keras.Model(head.inputs[0], last.input)
    features = backbone.outputs[0]
    rest = None if spatial is features else keras.Model(spatial, features)

    def logits(channels: Any) -> Any:
        features = channels if rest is None else rest(channels, training=False)
        if len(features.shape) == 4:
            features = ops.mean(features, axis=(1, 2))
        features = before_last(features, training=False)
        # no softmax: the probability of a class also depends on the logits of the other classes
        if isinstance(last, keras.layers.Softmax | keras.layers.Activation):
            return features
        if not isinstance(last, keras.layers.Dense):
            return last(features, training=False)
        return ops.matmul(features, last.kernel) + (last.bias if last.use_bias else 0.0)

    return keras.Model(backbone.inputs[0], spatial), logits


def _last_feature_map(backbone: keras.Model) -> keras.KerasTensor:
    layers = [layer for layer in backbone.layers if not isinstance(layer, keras.layers.InputLayer)]
    for tensor in (backbone.outputs[0], *(layer.output for layer in reversed(layers))):
        if isinstance(tensor, keras.KerasTensor) and len(tensor.shape) == 4:
            return tensor
    raise TlkitError(
        f"Backbone {backbone.name!r} has no feature map, an output of shape (n, height, width, channels). "
        "Use Grad-CAM with a convolutional backbone."
    )
