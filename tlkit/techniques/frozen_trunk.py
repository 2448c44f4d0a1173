"""The frozen trunk runs once: only what learns above it runs in every epoch.

Below the freeze line the same picture gives the same activations for ever. So the network is cut there: the
trunk runs over a few random views of each image by the fastest engine here, its activations stay in a file,
and the rest is trained on them. Both parts share their layers with the whole, which so has learned as well.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
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
from tlkit.techniques.views import ViewBatches, Views, random_views


def cut(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a classifier at its freeze line into two models that share its layers.

    The cut lies at the highest place below everything that learns through which all goes as one tensor.

    Args:
        model: a classifier made by `build_classifier`; `freeze` and `unfreeze` say what learns.

    Returns:
        The trunk, from RGB images `(n, height, width, 3)` to activations `(n, h, w, c)`, and the rest, from
        there to predictions `(n, classes)`. Augmentation is in neither.

    Raises:
        TlkitError: the lowest layer learns, so that there is nothing to run once.

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
    while inner := only_model(body):  # such as a pretrained one behind a Rescaling
        below.append(keras.Model(body.inputs[0], inner.input_tensors[0]))
        if inner.output_tensors[0] is not body.outputs[0]:
            above.insert(0, keras.Model(inner.output_tensors[0], body.outputs[0]))
        body = functional(inner.operation)
    nodes = calls(body)
    learns = [bool(getattr(each.operation, "trainable_variables", None)) for each in nodes]
    first = learns.index(True) if True in learns else len(learns)
    turn, place = [(turn, tensor) for turn, tensor in passages(body) if turn < first][-1]
    if not any(has_weights(each.operation) for each in nodes[: turn + 1]):
        raise TlkitError(
            f"{body.name} has no frozen layer below those that learn, so there is no trunk to run once. Give "
            "from_stage=, a stage above the lowest (frozen_table(model) lists them), or leave views= out."
        )
    trunk = keras.Model(body.inputs[0], place, name=body.name)
    if below:
        images = x = keras.Input(model.inputs[0].shape[1:], name="images")
        for layer in [*below, trunk]:
            x = call_on(layer, x)
        trunk = keras.Model(images, x, name=body.name)
    x = body.outputs[0]
    for layer in above:
        x = layer(x)
    return trunk, keras.Model(place, x, name=f"{body.name}_rest")


@contextmanager
def kept_activations(
    trunk: keras.Model,
    images: Any,
    *,
    views: int = 1,
    augment: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: bool = False,
) -> Iterator[np.ndarray]:
    """Run the trunk over all views, and yield its activations in a file that is deleted in the end.

    Args:
        trunk: images to activations, see `cut`.
        images: RGB `(n, height, width, 3)`, in memory or in files, or a split of such.
        views: number of random views of each image; of 1 without `augment`, the image itself.
        augment: see `random_views`.
        progress: show a progress bar.

    Yields:
        float16 `(n, views, ...)`, memory-mapped: 2 bytes a value on the disk, in the cache folder of tlkit.

    Raises:
        TlkitError: `views` is below 1, or above it without augmentation; the disk has no room; or an
            activation is too large for float16 (65,504).
    """
    if views < 1:
        raise TlkitError(f"views={views} was given; expected at least 1, such as 8.")
    if views > 1 and augment is None:
        raise TlkitError(
            f"views={views} was given, but nothing changes the images, so that all views are the same. Build "
            "the model with augmentation=tlkit.augmentation(), give augment=, or views=1."
        )
    plain = images.images if isinstance(images, Split) else images
    n, pixels = len(plain), plain if augment is None else Views(plain, views, augment)
    shape = (len(pixels), *trunk.output_shape[1:])
    folder = cache.directory("activations")
    wanted, free = 2 * int(np.prod(shape)), shutil.disk_usage(folder).free
    if wanted > 0.9 * free:
        raise TlkitError(
            f"The activations of {n} images in {views} views need {wanted / 1e9:.1f} GB on the "
            f"disk, and {free / 1e9:.1f} GB are free. Give fewer views, a higher from_stage, or set "
            "TLKIT_CACHE to a folder with room."
        )
    with TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as temporary:
        path = Path(temporary) / "activations.npy"
        kept = np.lib.format.open_memmap(path, "w+", "float16", shape)
        try:
            with np.errstate(over="raise"):
                engines.infer(trunk, pixels, progress=progress, out=kept)
        except FloatingPointError as error:
            raise TlkitError(
                f"An activation of {trunk.name} at the freeze line is above 65,504, the largest float16. "
                "Leave views= out, or give another from_stage."
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
    """Yield what takes the place of a model and its images while it is trained.

    Args:
        model: see `cut`.
        train, validation: labelled images; of the second each image itself is the one view. What `augment` of
            `Split.batches` does comes before the model's own augmentation.
        views: number of random views of each training image.
        batch_size: examples in a step, where `train` is no batches already.
        classes: gives labels as rows of so many classes.
        progress: show a progress bar.

    Yields:
        The rest of the model, the arguments of its `fit`, and its validation data, None where there are none.

    Raises:
        TlkitError: batches of another kind were given, or mixed ones; see `cut` and `kept_activations`, too.
    """
    trunk, rest = cut(model)
    kept = partial(kept_activations, trunk, progress=progress)
    shown, held_out = _arrays(train), None if validation is None else _arrays(validation)
    seed = getattr(train.batches, "seed", 0)
    size = getattr(train.batches, "batch_size", batch_size)
    with ExitStack() as files:
        augment = random_views(model, getattr(train.batches, "augment", None))
        seen = files.enter_context(kept(shown[0], views=views, augment=augment))
        rows = None if shown[1].ndim > 1 else classes
        batches = ViewBatches(seen, shown[1], size, True, seed, classes=rows)
        if held_out is None:
            yield rest, (batches,), None
            return
        seen = files.enter_context(kept(held_out[0]))
        rows = None if held_out[1].ndim > 1 else classes
        yield rest, (batches,), (ViewBatches(seen, held_out[1], size, False, seed, classes=rows),)


def _arrays(data: Labelled) -> tuple[Any, Any]:
    """Return the images and labels that views are made of."""
    if isinstance(data.batches, Batches):
        if data.batches.mix is not None:
            raise TlkitError(
                "views= and mix= were given; activations cannot be mixed like images. Leave one out."
            )
        return data.batches.images, data.batches.labels
    if data.images is None or data.weights is not None:
        what = "sample weights" if data.images is not None else type(data.batches).__name__
        raise TlkitError(
            f"views= was given, and {data.name} has {what}. The frozen stages run over images that can be "
            "asked for one by one: give a Split, or arrays (images, labels)."
        )
    return data.images, data.labels
