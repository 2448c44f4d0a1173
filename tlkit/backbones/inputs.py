"""The same network for another kind of images: of another size, or with another number of channels.

Keras and numpy are imported where they are needed, as in `tlkit.backbones.building`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from tlkit.backbones.registry import BACKBONES
from tlkit.errors import TlkitError, TlkitWarning, UnknownNameError

if TYPE_CHECKING:
    import keras

PROBE_SIZE = 64  # height and width of the grey image for a network that takes any size
TOLERANCE = 1e-2  # of the largest feature: rounding, also in half precision, and far below a wrong kernel


def adapt_input(
    backbone: keras.Model, *, image_size: int | None = None, channels: int | None = None
) -> keras.Model:
    """Build a backbone again for images of another size or another number of channels, with its weights.

    Where source and target have different feature spaces, a network cannot be borrowed as it is (Pan & Yang
    2010, "A Survey on Transfer Learning"). Convolutions fit any size. A convolution that reads the pixels
    gets the sum of its old kernels over the channels, divided evenly among the new ones. So an image whose
    channels are all the same has the features that it had, but which colour was where in a kernel is lost.

    Carreira & Zisserman 2017, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", divide
    kernels so for more frames; Wang et al. 2016, "Temporal Segment Networks: Towards Good Practices for Deep
    Action Recognition", average them over RGB for inputs of other channels.

    Args:
        backbone: a functional model from one batch of images `(n, height, width, channels)`, such as
            `tlkit.load_backbone` or `build_classifier` makes. It stays as it is.
        image_size: new height and width in pixels; `None` leaves them.
        channels: new number of channels, at least 1; `None` leaves it.

    Returns:
        A new model with the old names of model and layers, from images `(n, image_size, image_size,
        channels)` in the old range, 0 to 255. With new channels and the old size, grey images have the old
        features, up to rounding; this is tried out on one.
        Padding stays as it was; MobileNetV2 and V3, EfficientNetB and NASNet choose it by the size, and
        `tlkit.load_backbone(name, weights=file, image_size=...)` chooses anew.

    Warns:
        TlkitWarning: names the layers that start at random, since their weights do not fit the new size:
            dense layers behind a `Flatten`.

    Raises:
        TlkitError: the model is not such a one, `image_size` is too small or `channels` below 1; or the
            model treats its channels differently before the first convolution (as ResNet50 and VGG16 do,
            which subtract a mean of each), so that no kernel would give grey images their features.

    >>> from tlkit.backbones import load_backbone
    >>> adapt_input(get("LeNet", weights=None), channels=1).input_shape
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
        except Exception as error:  # whatever a layer raises
            raise TlkitError(
                f"{backbone.name} cannot be built again for images of {height} x {width} pixels: {error} Use "
                "another image_size, larger or a multiple of 32; or save the weights of a network that "
                f"tlkit.load_backbone knows: tlkit.load_backbone({backbone.name!r}, weights=file, "
                f"image_size={image_size})."
            ) from error
    if fresh:
        warnings.warn(
            f"{backbone.name} for images of {image_size} pixels: {', '.join(fresh)} "
            f"{'starts' if len(fresh) == 1 else 'start'} at random, since the weights do not fit this size. "
            "Layers behind keep theirs, but learned them on other features. Train both before use.",
            TlkitWarning,
            stacklevel=2,
        )
    return adapted


def _image_shape(model: keras.Model) -> tuple[int | None, int | None, int]:
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] is None:
        takes = ", ".join(str(each.shape) for each in inputs) or "inputs that it does not tell"
        raise TlkitError(
            f"{getattr(model, 'name', model)!r} takes {takes}; expected a functional keras.Model of images "
            "(n, height, width, channels), such as tlkit.load_backbone(name) makes."
        )
    return inputs[0].shape[1:]


def _check_size(backbone: keras.Model, image_size: int) -> None:
    if image_size < 1:
        raise TlkitError(f"image_size={image_size} was given; expected a number of pixels, such as 64.")
    try:
        row = BACKBONES.find(backbone.name)
    except UnknownNameError:  # a network of the user's own: building it will tell
        return
    row.check_size(image_size)


def _with_channels(model: keras.Model, channels: int) -> keras.Model:
    """Return the model for other channels; raise TlkitError unless grey images keep their features."""
    height, width, old_channels = _image_shape(model)
    cause = None
    try:
        adapted, fresh = _rebuilt(model, (height, width, channels))
        if not fresh and _same_on_grey(model, adapted):
            return adapted
        reason = f"the weights of {', '.join(fresh)} would not fit" if fresh else "grey images would look new"
    except TlkitError:
        raise
    except Exception as error:  # whatever a layer raises
        cause, reason = error, f"some of its layers are made for {old_channels} channels"
    raise TlkitError(
        f"{model.name} cannot keep what it learned with channels={channels}: {reason}, since something "
        f"before its first convolution does not treat all channels alike. Give it images of {old_channels} "
        f"channels, grey ones as np.repeat(images, {old_channels}, axis=-1); or take a network that scales "
        "all alike: EfficientNetLite0, MobileNetV2, ResNet50V2."
    ) from cause


def _same_on_grey(old: keras.Model, new: keras.Model) -> bool:
    import keras
    import numpy as np

    height, width, _ = _image_shape(old)
    shape = (1, height or PROBE_SIZE, width or PROBE_SIZE, 1)
    grey = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    both = []
    for model in (old, new):
        pixels = np.repeat(grey, _image_shape(model)[-1], axis=-1)
        as_built = getattr(model, "input", model.inputs[0])  # a list of one, or the images alone
        outputs = model(keras.tree.map_structure(lambda _, x=pixels: x, as_built), training=False)
        both.append([keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(outputs)])
    return all(
        one.shape == other.shape and np.abs(one - other).max() <= TOLERANCE * np.abs(one).max()
        for one, other in zip(*both, strict=True)
    )


def _rebuilt(
    model: keras.Model, shape: tuple[int | None, int | None, int | None]
) -> tuple[keras.Model, list[str]]:
    """Return the model on images of this shape with all weights that fit, and the layers that start anew."""
    adapted = _on(model, shape)
    return adapted, _copy(model, adapted)


def _on(model: keras.Model, shape: tuple[int | None, ...]) -> keras.Model:
    """Return the model, random, on inputs of this shape; the models within it on what they then get."""
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
            if layer.name not in inner:  # one that is called twice stays one
                inner[layer.name] = _on(layer, args[0].shape[1:])
            layer = inner[layer.name]
        return layer(*args, **kwargs)

    inputs = keras.tree.map_structure(lambda _: pixels, model.input)
    return keras.models.clone_model(model, input_tensors=inputs, call_function=call)


def _holds_layers(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.Model) and bool(getattr(layer, "inputs", None))


def _copy(source: keras.Model, target: keras.Model) -> list[str]:
    """Give the layers of `target` the weights of those of the same name; return the names of those left."""
    import keras
    import numpy as np

    left = []
    for old in source.layers:
        new = target.get_layer(old.name)
        if _holds_layers(old):
            left += [f"{old.name}/{name}" for name in _copy(old, new)]
            continue
        weights = old.get_weights()
        had, has = ([tuple(weight.shape) for weight in layer.weights] for layer in (old, new))
        if had != has and isinstance(old, keras.layers.Conv2D) and old.groups == new.groups == 1:
            channels = has[0][2]
            total = weights[0].sum(axis=2, keepdims=True)
            weights[0] = np.repeat(total / channels, channels, axis=2)
            had = [weight.shape for weight in weights]
        if had != has:
            left.append(old.name)
            continue
        new.set_weights(weights)
        if isinstance(new, keras.layers.Normalization):
            new.finalize_state()  # it works with numbers that it derives from its weights
    return left
