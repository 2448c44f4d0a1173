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

from tlkit import cache, engines
from tlkit.data import Split
from tlkit.errors import TlkitError
from tlkit.models import backbone_of
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
    body = backbone_of(model)
    calls: list[tuple[keras.Layer, list[Any], list[Any]]] = []

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        calls.append((layer, keras.tree.flatten((args, kwargs)), keras.tree.flatten(outputs)))
        return outputs

    again = keras.models.clone_model(body, clone_function=lambda layer: layer, call_function=call)
    last_use = {id(each): turn for turn, (_, given, _) in enumerate(calls) for each in given}
    last_use[id(again.outputs[0])] = len(calls)
    place, waiting = None, [again.inputs[0]]  # tensors that are still to be read
    for turn, (layer, _, made) in enumerate(calls):
        if getattr(layer, "trainable_variables", None):
            break
        waiting = [each for each in [*waiting, *made] if last_use.get(id(each), -1) > turn]
        if len(waiting) == 1:
            place = waiting[0]
    trunk = None if place is None else keras.Model(again.inputs[0], place, name=body.name)
    if trunk is None or not trunk.weights:
        raise TlkitError(
            f"{body.name} has no frozen layer below those that learn, so there is no trunk to run once. Give "
            "from_stage=, a stage above the lowest (frozen_table(model) lists them), or leave views= out."
        )
    x = again.outputs[0]
    for layer in model.layers[model.layers.index(body) + 1 :]:
        x = layer(x)
    return trunk, keras.Model(place, x, name=f"{body.name}_rest")


@contextmanager
def kept_activations(
    trunk: keras.Model,
    split: Split,
    *,
    views: int = 1,
    augment: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: bool = False,
) -> Iterator[np.ndarray]:
    """Run the trunk over all views, and yield its activations in a file that is deleted in the end.

    Args:
        trunk: images to activations, see `cut`.
        split: the images.
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
    images = Views(split.images, views, augment) if augment is not None else split.images
    shape = (len(images), *trunk.output_shape[1:])
    folder = cache.directory("activations")
    wanted, free = 2 * int(np.prod(shape)), shutil.disk_usage(folder).free
    if wanted > 0.9 * free:
        raise TlkitError(
            f"The activations of {len(split)} images in {views} views need {wanted / 1e9:.1f} GB on the "
            f"disk, and {free / 1e9:.1f} GB are free. Give fewer views, a higher from_stage, or set "
            "TLKIT_CACHE to a folder with room."
        )
    with TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as temporary:
        path = Path(temporary) / "activations.npy"
        kept = np.lib.format.open_memmap(path, "w+", "float16", shape)
        try:
            with np.errstate(over="raise"):
                engines.infer(trunk, images, progress=progress, out=kept)
        except FloatingPointError as error:
            raise TlkitError(
                f"An activation of {trunk.name} at the freeze line is above 65,504, the largest float16. "
                "Leave views= out, or give another from_stage."
            ) from error
        yield kept.reshape(len(split), views, *shape[1:])


@contextmanager
def on_activations(
    model: keras.Model,
    train: Split,
    validation: Split | None,
    *,
    views: int,
    augment: Callable[[np.ndarray], Any] | None = None,
    progress: bool = False,
    **batches: Any,
) -> Iterator[tuple[keras.Model, tuple[Any, ...], tuple[Any, ...]]]:
    """Yield what takes the place of a model and its images while it is trained.

    Args:
        model: see `cut`.
        train, validation: labelled images; of the second each image itself is the one view.
        views: number of random views of each training image.
        augment: changes training images before the model's own augmentation does.
        progress: show a progress bar.
        batches: `batch_size`, `seed` and `classes`, as for `Split.batches`.

    Yields:
        The rest of the model, the arguments of its `fit`, and those of its `evaluate`, none without a
        validation split.

    Raises:
        TlkitError: see `cut` and `kept_activations`.
    """
    trunk, rest = cut(model)
    kept = partial(kept_activations, trunk, progress=progress)
    with ExitStack() as files:
        seen = files.enter_context(kept(train, views=views, augment=random_views(model, augment)))
        shown = (ViewBatches(seen, train.labels, shuffle=True, **batches),)
        held_out: tuple[Any, ...] = ()
        if validation is not None:
            seen = files.enter_context(kept(validation))
            held_out = (ViewBatches(seen, validation.labels, shuffle=False, **batches),)
        yield rest, shown, held_out
