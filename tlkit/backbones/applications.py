"""The networks of `keras.applications`, on raw pixels and flat."""

import warnings
from typing import Any

import keras

from tlkit.backbones.preprocessing import preprocess
from tlkit.backbones.registry import Backbone, keras_models
from tlkit.errors import WeightsError


def application(pixels: keras.KerasTensor, row: Backbone, weights: str | None) -> keras.KerasTensor:
    """Map raw images `(n, s, s, 3)` to the last feature map `(n, h, w, c)` of one network.

    Args:
        pixels: symbolic raw images.
        row: which network.
        weights: `"imagenet"` (downloaded by Keras where missing) or `None` (random).

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
            # The MobileNets have one weights file an image size. Without a shape they take the one of
            # 224 pixels and warn; we want it, so that an experiment over sizes changes only the size.
            warnings.filterwarnings("ignore", message="`input_shape` is undefined")
            return constructor(include_top=False, weights=weights, input_tensor=x)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise WeightsError(
            f"The ImageNet weights of {row.name} could not be loaded: {error}. They are expected as "
            f"{row.weights_file} in {keras_models()}. Go online once, or put the file there; offline, "
            f'"EfficientNetLite0" has its weights installed, weights=None starts at random, and weights '
            f"also takes the path of a .keras or .weights.h5 file."
        ) from error


def _copied(pixels: keras.KerasTensor, network: keras.Model, call: Any) -> keras.KerasTensor:
    """Build the network again on `pixels`, with its weights, calling each layer by `call`."""
    inputs = keras.tree.map_structure(lambda _: pixels, network.input)
    copy = keras.models.clone_model(network, input_tensors=inputs, call_function=call)
    copy.set_weights(network.get_weights())
    return copy.output


def _unpacked(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
    """Call the layers of a Sequential one by one: ConvNeXt nests some, and a backbone is flat."""
    if not isinstance(layer, keras.Sequential):
        return layer(*args, **kwargs)
    (x,) = args
    for inner in layer.layers:
        x = type(inner).from_config(inner.get_config())(x)
    return x


def _rescaled(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
    """Add the scaling that Keras gives EfficientNet with ImageNet weights only.

    Without it the network from scratch would not be the same as the pretrained one, and weights
    saved from one would be wrong in the other.
    """
    x = layer(*args, **kwargs)
    if isinstance(layer, keras.layers.Normalization):
        x = keras.layers.Rescaling([deviation**-0.5 for deviation in (0.229, 0.224, 0.225)])(x)
    return x
