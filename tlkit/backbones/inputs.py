"""Rebuild a network for images of another size, or with another number of channels.

Keras and NumPy are imported where they are needed, as in `tlkit.backbones.building`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from tlkit.backbones.registry import BACKBONES
from tlkit.errors import TlkitError, TlkitWarning, UnknownNameError

if TYPE_CHECKING:
    import keras

PROBE_SIZE = 64  # height and width in pixels of the grey test image for a network that takes any size
TOLERANCE = 1e-2  # relative to the largest feature; allows for half precision, but not for a wrong kernel


def adapt_input(
    backbone: keras.Model, *, image_size: int | None = None, channels: int | None = None
) -> keras.Model:
    """Rebuild a pretrained backbone for another image size or number of channels, and keep its weights.

    Source and target may have different feature spaces (Pan & Yang 2010, "A Survey on Transfer Learning").
    Convolutions fit images of any size. The convolution that reads the pixels needs new kernels if the number
    of channels changes: the sum of the old kernels over the channels, divided evenly among the new channels.
    An image with equal channels then keeps its features. The kernels lose their differences between colours.

    Carreira & Zisserman 2017, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", divide
    kernels in this way among more frames. Wang et al. 2016, "Temporal Segment Networks: Towards Good
    Practices for Deep Action Recognition", average kernels over RGB for inputs with other channels.

    Args:
        backbone: a functional model of one batch of images `(n, height, width, channels)`, such as those of
            `tlkit.load_backbone` and `build_classifier`. It is not changed.
        image_size: the new height and width in pixels; `None` keeps the old ones.
        channels: the new number of channels, at least 1; `None` keeps the old number.

    Returns:
        A new model with the same name and layer names, of images `(n, image_size, image_size, channels)`,
        values 0 to 255. If only the channels are new, grey images keep their features up to rounding; the
        function checks this on a test image. The padding is not changed. MobileNetV2 and V3, EfficientNetB
        and NASNet choose their padding by the size; `tlkit.load_backbone(name, weights=file, image_size=...)`
        chooses it for the new size.

    Warns:
        TlkitWarning: the weights of some layers, dense layers behind a `Flatten`, do not fit the new size.
            These layers have random weights; the message names them.

    Raises:
        TlkitError: the model is not of this kind, `image_size` is too small, or `channels` is below 1. Or the
            model treats its channels differently before the first convolution, so that no kernel can keep
            the features of grey images. ResNet50 and VGG16 do: they subtract a different mean per channel.

    >>> from tlkit.backbones import load_backbone
    >>> adapt_input(load_backbone("LeNet", weights=None), channels=1).input_shape
    (None, 28, 28, 1)
    """
    height, width, old_channels = _image_shape(backbone)
    if channels is not None and channels < 1:
        raise TlkitError(f"channels={channels} was given; expected 1 for grey images, 3 for RGB, or more.")
    if image_size is not None:
        _check_size(backbone, image_size)
        height = width = image_size
    adapted, fresh = backbone, list[str]()
    if channels not in (None, old_channels):
        adapted = _with_channels(backbone, channels)
        old_channels = channels
    if adapted is backbone or image_size is not None:
        try:
            adapted, fresh = _rebuilt(adapted, (height, width, old_channels))
        except TlkitError:
            raise
        except Exception as error:  # a layer can raise any error
            raise TlkitError(
                f"{backbone.name} cannot be built again for images of {height} x {width} pixels: {error} Use "
                "another image_size, larger or a multiple of 32. If it is a backbone of tlkit, you can also "
                f"save its weights and use tlkit.load_backbone({backbone.name!r}, weights=file, "
                f"image_size={image_size})."
            ) from error
    if fresh:
        warnings.warn(
            f"{backbone.name} for images of {image_size} pixels: {', '.join(fresh)} "
            f"{'starts' if len(fresh) == 1 else 'start'} at random, since the weights do not fit this size. "
            "The layers above keep weights that were trained on other features. Train both before use.",
            TlkitWarning,
            stacklevel=2,
        )
    return adapted


def _image_shape(model: keras.Model) -> tuple[int | None, int | None, int]:
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] is None:
        shapes = ", ".join(str(each.shape) for each in inputs) or "inputs of unknown shape"
        raise TlkitError(
            f"{getattr(model, 'name', model)!r} takes {shapes}; expected a functional keras.Model of images "
            "(n, height, width, channels), such as tlkit.load_backbone(name)."
        )
    return inputs[0].shape[1:]


def _check_size(backbone: keras.Model, image_size: int) -> None:
    if image_size < 1:
        raise TlkitError(f"image_size={image_size} was given; expected a number of pixels, such as 64.")
    try:
        row = BACKBONES.find(backbone.name)
    except UnknownNameError:  # the user's own network; too small a size raises an error when it is built
        return
    row.check_size(image_size)


def _with_channels(model: keras.Model, channels: int) -> keras.Model:
    """Return the model for another number of channels; raise TlkitError if grey images change features."""
    height, width, old_channels = _image_shape(model)
    cause = None
    try:
        adapted, fresh = _rebuilt(model, (height, width, channels))
        if not fresh and _same_on_grey(model, adapted):
            return adapted
        weights = f"the weights of {', '.join(fresh)} would not fit"
        reason = weights if fresh else "the features of grey images would change"
    except TlkitError:
        raise
    except Exception as error:  # a layer can raise any error
        cause, reason = error, f"some of its layers need {old_channels} channels"
    raise TlkitError(
        f"{model.name} cannot keep its features with channels={channels}: {reason}, since an operation "
        f"before its first convolution does not treat all channels alike. Give it images of {old_channels} "
        f"channels, for grey images np.repeat(images, {old_channels}, axis=-1); or use a network that scales "
        "all channels alike: EfficientNetLite0, MobileNetV2, ResNet50V2."
    ) from cause


def _same_on_grey(old: keras.Model, new: keras.Model) -> bool:
    import keras
    import numpy as np

    height, width, _ = _image_shape(old)
    shape = (1, height or PROBE_SIZE, width or PROBE_SIZE, 1)
    grey = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    features = []
    for model in (old, new):
        pixels = np.repeat(grey, _image_shape(model)[-1], axis=-1)
        structure = getattr(model, "input", model.inputs[0])  # the images alone, or a list of them
        outputs = model(keras.tree.map_structure(lambda _, x=pixels: x, structure), training=False)
        features.append([keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(outputs)])
    return all(
        one.shape == other.shape and np.abs(one - other).max() <= TOLERANCE * np.abs(one).max()
        for one, other in zip(*features, strict=True)
    )


def _rebuilt(
    model: keras.Model, shape: tuple[int | None, int | None, int | None]
) -> tuple[keras.Model, list[str]]:
    """Return the model for images of this shape with all weights that fit, and the names of random layers."""
    adapted = _cloned(model, shape)
    return adapted, _copy_weights(model, adapted)


def _cloned(model: keras.Model, shape: tuple[int | None, ...]) -> keras.Model:
    """Return a copy of the model for inputs of this shape, with random weights and adapted inner models."""
    import keras

    entry = model.inputs[0]
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.InputLayer)]
    name = names[0] if names else None
    pixels = keras.Input(shape, batch_size=entry.shape[0], dtype=entry.dtype, name=name)
    if isinstance(model, keras.Sequential):
        return keras.models.clone_model(model, input_tensors=pixels)
    inner: dict[str, keras.Model] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if _holds_layers(layer) and len(layer.inputs) == 1:
            if layer.name not in inner:  # an inner model that is called twice is copied once
                inner[layer.name] = _cloned(layer, args[0].shape[1:])
            layer = inner[layer.name]
        return layer(*args, **kwargs)

    inputs = keras.tree.map_structure(lambda _: pixels, model.input)
    return keras.models.clone_model(model, input_tensors=inputs, call_function=call)


def _holds_layers(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.Model) and bool(getattr(layer, "inputs", None))


def _copy_weights(source: keras.Model, target: keras.Model) -> list[str]:
    """Copy weights between layers of the same name; return the names of layers whose weights do not fit."""
    import keras
    import numpy as np

    unfit = []
    for old in source.layers:
        new = target.get_layer(old.name)
        if _holds_layers(old):
            unfit += [f"{old.name}/{name}" for name in _copy_weights(old, new)]
            continue
        weights = old.get_weights()
        old_shapes, new_shapes = ([tuple(weight.shape) for weight in layer.weights] for layer in (old, new))
        if (
            old_shapes != new_shapes
            and isinstance(old, keras.layers.Conv2D)
            and old.groups == new.groups == 1
        ):
            channels = new_shapes[0][2]
            total = weights[0].sum(axis=2, keepdims=True)
            weights[0] = np.repeat(total / channels, channels, axis=2)
            old_shapes = [weight.shape for weight in weights]
        if old_shapes != new_shapes:
            unfit.append(old.name)
            continue
        new.set_weights(weights)
        if isinstance(new, keras.layers.Normalization):
            new.finalize_state()  # the layer computes with values derived from its weights
    return unfit
