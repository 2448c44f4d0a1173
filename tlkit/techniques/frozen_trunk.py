"""Fine-tuning on stored activations: the frozen trunk runs once, the layers above it in each epoch.

Frozen layers compute the same activations for the same image in every epoch. The network is therefore cut
above them. The trunk runs once, on a few random views of each image and with the fastest inference engine
available. Its activations are stored in a file, and the rest of the network is trained on them. Trunk and
rest share their layers with the whole model, so training the rest also trains the whole model.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkit._internal import cache
from tlkit.backbones import engines
from tlkit.backbones.structure import (
    call_on,
    calls,
    chain,
    functional,
    has_weights,
    only_model,
    parts_of,
    passages,
)
from tlkit.data import Split
from tlkit.data.batches import Batches
from tlkit.data.labelled import Labelled
from tlkit.errors import TlkitError
from tlkit.techniques.views import ViewBatches, Views, training_augmentation


def cut(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a classifier into its frozen trunk and the rest; both models share its layers.

    The cut is the highest point below all trainable layers at which a single tensor carries the whole
    computation.

    Args:
        model: a classifier made by `build_classifier`; `freeze` and `unfreeze` set which layers are
            trainable.

    Returns:
        The trunk, from RGB images `(n, height, width, 3)` to activations `(n, h, w, c)`, and the rest, from
        these activations to predictions `(n, classes)`. Neither contains the augmentation.

    Raises:
        TlkitError: the lowest layer is trainable, so there is no frozen trunk.

    >>> from tlkit.models import build_classifier, unfreeze
    >>> model = build_classifier("LeNet", classes=10, weights=None)
    >>> unfreeze(model, from_stage="dense")
    >>> trunk, rest = cut(model)
    >>> trunk.output_shape, rest.output_shape
    ((None, 2352), (None, 10))
    """
    parts = parts_of(model)
    body = functional(parts.backbone)
    below = [] if parts.entry is parts.images else [keras.Model(parts.images, parts.entry)]
    above: list[Any] = chain(parts, parts.output, parts.network.output)
    while inner := only_model(body):  # for example a pretrained network behind a Rescaling layer
        below.append(keras.Model(body.inputs[0], inner.input_tensors[0]))
        if inner.output_tensors[0] is not body.outputs[0]:
            above.insert(0, keras.Model(inner.output_tensors[0], body.outputs[0]))
        body = functional(inner.operation)
    nodes = calls(body)
    trainable = [bool(getattr(each.operation, "trainable_variables", None)) for each in nodes]
    first = trainable.index(True) if True in trainable else len(trainable)
    index, cut_tensor = [(index, tensor) for index, tensor in passages(body) if index < first][-1]
    if not any(has_weights(each.operation) for each in nodes[: index + 1]):
        raise TlkitError(
            f"{body.name} has no frozen layer below its trainable layers, so no trunk can run once. Set "
            "from_stage= to a stage above the lowest (frozen_table(model) lists the stages), or omit views=."
        )
    trunk = keras.Model(body.inputs[0], cut_tensor, name=body.name)
    if below:
        images = x = keras.Input(model.inputs[0].shape[1:], name="images")
        for layer in [*below, trunk]:
            x = call_on(layer, x)
        trunk = keras.Model(images, x, name=body.name)
    x = body.outputs[0]
    for layer in above:
        x = layer(x)
    return trunk, keras.Model(cut_tensor, x, name=f"{body.name}_rest")


@contextmanager
def kept_activations(
    trunk: keras.Model,
    images: Any,
    *,
    views: int = 1,
    augment: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: bool = False,
) -> Iterator[np.ndarray]:
    """Run the trunk on all views of the images, and keep its activations in a temporary file.

    Args:
        trunk: a model from images to activations; see `cut`.
        images: RGB `(n, height, width, 3)`, in memory or in files, or a split.
        views: number of random views of each image. With 1 and no `augment`, the only view is the image
            itself.
        augment: see `training_augmentation`.
        progress: show a progress bar.

    Yields:
        float16 `(n, views, ...)`, memory-mapped: 2 bytes per value on disk, in the cache folder of tlkit. The
        file is deleted when the block ends.

    Raises:
        TlkitError: `views` is below 1, or above 1 without augmentation; the disk has too little space; or an
            activation exceeds the largest float16, 65,504.
    """
    if views < 1:
        raise TlkitError(f"views={views} was given; expected at least 1, such as 8.")
    if views > 1 and augment is None:
        raise TlkitError(
            f"views={views} was given, but there is no augmentation, so all views are the same. Build the "
            "model with augmentation=tlkit.augmentation(), set augment= of Split.batches, or set views=1."
        )
    original = images.images if isinstance(images, Split) else images
    n, pixels = len(original), original if augment is None else Views(original, views, augment)
    shape = (len(pixels), *trunk.output_shape[1:])
    folder = cache.directory("activations")
    needed, free = 2 * int(np.prod(shape)), shutil.disk_usage(folder).free
    if needed > 0.9 * free:
        raise TlkitError(
            f"The activations of {n} images in {views} views need {needed / 1e9:.1f} GB on the "
            f"disk, but only {free / 1e9:.1f} GB are free. Use fewer views or a higher from_stage, or set "
            "TLKIT_CACHE to a folder on a larger disk."
        )
    with cache.writing_folder(folder) as temporary:
        path = temporary / "activations.npy"
        kept = np.lib.format.open_memmap(path, "w+", "float16", shape)
        try:
            with np.errstate(over="raise"):
                engines.infer(trunk, pixels, progress=progress, out=kept)
        except FloatingPointError as error:
            raise TlkitError(
                f"An activation of {trunk.name} at the freeze line exceeds 65,504, the largest float16. "
                "Omit views=, or choose another from_stage."
            ) from error
        yield kept.reshape(n, views, *shape[1:])


@contextmanager
def on_activations(
    model: keras.Model,
    train: Labelled,
    validation: Labelled | None,
    *,
    views: int,
    batch_size: int,
    classes: int | None = None,
    progress: bool = False,
) -> Iterator[tuple[keras.Model, tuple[Any, ...], tuple[Any, ...] | None]]:
    """Replace a model and its images by the rest of the model and stored activations, during training.

    Args:
        model: see `cut`.
        train, validation: labelled images. A validation image has one view, the image itself. `augment=` of
            `Split.batches` acts before the augmentation of the model.
        views: number of random views of each training image.
        batch_size: examples per step, unless `train` consists of batches.
        classes: number of classes, to convert class indices to one-hot labels.
        progress: show a progress bar.

    Yields:
        The rest of the model, the data for its `fit`, and its validation data or None.

    Raises:
        TlkitError: the batches have another type or mix images; see also `cut` and `kept_activations`.
    """
    trunk, rest = cut(model)
    kept = partial(kept_activations, trunk, progress=progress)
    images, labels = _arrays(train)
    held_out = None if validation is None else _arrays(validation)
    seed = getattr(train.batches, "seed", 0)
    batch_size = getattr(train.batches, "batch_size", batch_size)

    def batches(activations: np.ndarray, labels: np.ndarray, shuffle: bool) -> ViewBatches:
        to_one_hot = None if labels.ndim > 1 else classes
        return ViewBatches(activations, labels, batch_size, shuffle, seed, classes=to_one_hot)

    with ExitStack() as files:
        augment = training_augmentation(model, getattr(train.batches, "augment", None))
        activations = files.enter_context(kept(images, views=views, augment=augment))
        inputs = (batches(activations, labels, True),)
        if held_out is None:
            yield rest, inputs, None
            return
        activations = files.enter_context(kept(held_out[0]))
        yield rest, inputs, (batches(activations, held_out[1], False),)


def _arrays(data: Labelled) -> tuple[Any, Any]:
    """Return the images and labels of data whose images can be read one by one."""
    if isinstance(data.batches, Batches):
        if data.batches.mix is not None:
            raise TlkitError(
                "Both views= and mix= were given, but activations cannot be mixed as images can. Omit one of "
                "them."
            )
        return data.batches.images, data.batches.labels
    if data.images is None or data.weights is not None:
        what = "sample weights" if data.images is not None else type(data.batches).__name__
        raise TlkitError(
            f"views= was given, but {data.name} has {what}; expected images that can be read one by one, "
            "without sample weights. Pass a Split, or arrays (images, labels)."
        )
    return data.images, data.labels
