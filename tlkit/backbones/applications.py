"""The networks of `keras.applications`, as flat models of raw pixels."""

import warnings
from typing import Any

import keras

from tlkit.backbones.preprocessing import preprocess
from tlkit.backbones.registry import Backbone, keras_models
from tlkit.errors import WeightsError


def application(pixels: keras.KerasTensor, row: Backbone, weights: str | None) -> keras.KerasTensor:
    """Apply a network of `keras.applications` to raw images, without its classifier.

    Args:
        pixels: symbolic raw images `(n, s, s, 3)`, values 0 to 255.
        row: the network.
        weights: `"imagenet"` (downloaded by Keras if missing) or `None` (random).

    Returns:
        The last feature map, `(n, h, w, c)`.

    Raises:
        WeightsError: the weights are missing and cannot be downloaded.
    """
    if row.name.startswith("ConvNeXt"):
        return _copied(pixels, _built(keras.Input(pixels.shape[1:]), row, weights), _unpacked)
    if row.name.startswith("EfficientNetB") and weights is None:
        return _copied(pixels, _built(keras.Input(pixels.shape[1:]), row, weights), _rescaled)
    return _built(preprocess(pixels, row.preprocessing), row, weights).output


def _built(x: keras.KerasTensor, row: Backbone, weights: str | None) -> keras.Model:
    constructor = getattr(keras.applications, row.name)
    if weights is None:
        return constructor(include_top=False, weights=None, input_tensor=x)
    try:
        with warnings.catch_warnings():
            # The MobileNets have one weights file per image size. Without a shape they take the file for
            # 224 pixels and warn. We want that file, so that an experiment on sizes changes only the size.
            warnings.filterwarnings("ignore", message="`input_shape` is undefined")
            return constructor(include_top=False, weights=weights, input_tensor=x)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise WeightsError(
            f"The ImageNet weights of {row.name} could not be loaded: {error}. They are expected as "
            f"{row.weights_file} in {keras_models()}. Go online once, or put the file there. Offline, "
            f'"EfficientNetLite0" has its weights installed, weights=None starts at random, and weights '
            f"also takes the path of a .keras or .weights.h5 file."
        ) from error


def _copied(pixels: keras.KerasTensor, network: keras.Model, call: Any) -> keras.KerasTensor:
    """Return the output of a copy of the network on `pixels`, with its weights; `call` calls each layer."""
    inputs = keras.tree.map_structure(lambda _: pixels, network.input)
    copy = keras.models.clone_model(network, input_tensors=inputs, call_function=call)
    copy.set_weights(network.get_weights())
    return copy.output


def _unpacked(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
    """Call the layers of a nested Sequential model, as in ConvNeXt, one by one, since a backbone is flat."""
    if not isinstance(layer, keras.Sequential):
        return layer(*args, **kwargs)
    (x,) = args
    for inner in layer.layers:
        x = type(inner).from_config(inner.get_config())(x)
    return x


def _rescaled(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
    """Add the rescaling that Keras gives EfficientNet with ImageNet weights only.

    With it, the network from scratch equals the pretrained one, and each can load the weights of the other.
    """
    x = layer(*args, **kwargs)
    if isinstance(layer, keras.layers.Normalization):
        x = keras.layers.Rescaling([deviation**-0.5 for deviation in (0.229, 0.224, 0.225)])(x)
    return x
