"""Feature extraction: run the frozen backbone once, and train the head on its features.

A frozen backbone gives the same features for the same image in every epoch. Computing them once and keeping
them turns the epochs of the head from minutes into seconds.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from tlkit._internal import cache
from tlkit.backbones import engines
from tlkit.backbones.structure import functional
from tlkit.callbacks import for_model, listed, watch_steps
from tlkit.data import ImageFiles, Split
from tlkit.data.labelled import Labelled, both, check_finite, check_labels, in_order, is_batches, sizes_of
from tlkit.errors import TlkitError
from tlkit.models import feature_network, freeze, head_of, pooled
from tlkit.techniques.training import (
    Settings,
    check_learns,
    check_shares,
    class_weights,
    compile_state_kept,
    divided,
    early_stopping,
    make_state,
    replica_share,
    rows_of_classes,
    shows_progress,
    steps_of,
)

SMALLEST_BATCH, MOST_STEPS = 32, 100  # images in a step, steps in an epoch of the head


def extract(
    backbone: keras.Model,
    images: Any,
    *,
    pooling: str = "avg",
    engine: str = "auto",
    keep: bool = True,
    progress: bool = False,
) -> np.ndarray:
    """Return the features of all images: the backbone's output, pooled to one vector per image.

    Args:
        backbone: raw images to a feature map `(n, h, w, c)`, tokens `(n, t, d)` or features `(n, d)`.
        images: a split; RGB images `(n, height, width, 3)`, values 0 to 255, in memory or in files; or
            batches of them (`tf.data.Dataset`, `PyDataset`, PyTorch `DataLoader`), whose labels are not used.
        pooling: `"avg"`, or the class token: see `tlkit.build_classifier`.
        engine: `"auto"`, `"openvino"` or `"predict"`; see `tlkit.backbones.engines.infer`. Batches take
            `"predict"`.
        keep: read the features from the disk cache if they are there, otherwise compute and store them. The
            key is made of the backbone's graph and weights and of the pixels. Features of batches are not
            stored.
        progress: show a progress bar.

    Returns:
        float32 `(n, d)`.

    >>> from tlkit import backbones
    >>> extract(backbones.load_backbone("LeNet", weights=None), np.zeros((2, 28, 28, 3)), keep=False).shape
    (2, 100)
    """
    network = pooled(backbone, pooling)
    if is_batches(images):
        check_finite(images, "images")
        batches = (batch[0] if isinstance(batch, tuple | list) else batch for batch in in_order(images))
        return np.concatenate([_run(network, each) for each in batches])
    return _features(network, images, engine=engine, keep=keep, progress=progress)


def extract_splits(
    backbone: keras.Model, splits: Mapping[str, Split], *, progress: bool = False
) -> dict[str, np.ndarray]:
    """Return the features of several splits, by their names; the weights are fingerprinted once.

    Args:
        backbone, progress: as for `extract`.
        splits: by name, such as `data.splits`.
    """
    network = pooled(backbone)
    key = _key(network)
    return {
        name: _features(network, split, key=key, engine="auto", progress=progress)
        for name, split in splits.items()
    }


def _run(network: keras.Model, images: Any) -> np.ndarray:
    found = network.predict_on_batch(keras.ops.convert_to_numpy(images))
    return np.asarray(found, "float32")


def _key(network: keras.Model) -> str | None:
    """Return the key of a network in the disk cache; None if a layer does not say what it computes."""
    try:
        return engines.fingerprint(network)
    except (NotImplementedError, OSError, TypeError, TlkitError):
        return None


def _features(
    network: keras.Model, images: Any, *, keep: bool = True, key: str | None = None, **options: Any
) -> np.ndarray:
    pixels = images.images if isinstance(images, Split) else images
    key = key or _key(network)

    def compute() -> dict[str, np.ndarray]:
        return {"features": engines.infer(network, pixels, key=key, **options)}

    if key is None or not keep:
        return compute()["features"]
    return cache.arrays("features", f"{key}-{_fingerprint(pixels)}", compute)["features"]


def train_head(
    model: keras.Model,
    train: Any,
    validation_data: Any = None,
    *,
    epochs: int = 50,
    learning_rate: float | None = None,
    optimizer: Any = None,
    loss: Any = None,
    callbacks: Any = (),
    engine: str = "auto",
    **options: Any,
) -> keras.callbacks.History:
    """Train the head of a classifier on the features of its frozen backbone.

    The head is a part of `model`, so `model` itself has learned when this returns. Augmentation has
    no effect here: there is one feature vector for each image. Optimizer, loss and metrics are those that
    the model was compiled with, unless others are given. Afterwards it is compiled as it was before.

    Args:
        model: a classifier of `build_classifier`, or any functional or `Sequential` one, that gives class
            probabilities or logits. Its backbone is frozen; its weights do not change.
        train: labelled images: a split, arrays `(images, labels)` or `(images, labels, sample_weights)`, or
            batches of these (`tf.data.Dataset`, `PyDataset`, PyTorch `DataLoader`).
        validation_data: labelled images of the same kinds; they decide when training stops and which epoch is
            kept.
        epochs: passes over the features, at most.
        learning_rate: of the default optimizer, Adam: it falls from this value to zero along a cosine.
            3e-3 by default.
        optimizer: as for `compile`.
        loss: as for `compile`; by default the cross-entropy that fits labels and activation.
        callbacks: as for `fit`; they see the whole model. With `validation_data` and no `EarlyStopping` among
            them, training stops after 10 epochs without a lower validation loss, and the best epoch is kept.
        engine: see `extract`.
        options: further arguments of `compile` and `fit`: `metrics`, `class_weight` (also `"balanced"`),
            `verbose` (0 by default). `batch_size` is 32 by default, and more where an epoch would have over
            100 steps.

    Returns:
        Keras's history: the loss and metrics of every epoch.

    Raises:
        DataError: images or labels do not fit the model, or are of a kind that Keras does not take.
        TlkitError: no backbone is found in the model, or a callback or option does not fit.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNet", classes=2, weights=None, activation=None)  # logits
    >>> history = train_head(model, (np.zeros((4, 28, 28, 3), "uint8"), np.array([0, 1, 0, 1])), epochs=1)
    >>> sorted(history.history)
    ['accuracy', 'loss']
    """
    data, held_out = both(model, train, validation_data)
    batch_size = options.get("batch_size") or SMALLEST_BATCH
    check_shares(batch_size, **sizes_of(data, held_out))
    freeze(model)
    running = {"engine": engine, "progress": shows_progress(divided(options)[1])}
    network = feature_network(model)
    return fit_head(
        model,
        _all_features(network, data, **running),
        None if held_out is None else _all_features(network, held_out, **running),
        epochs=epochs,
        learning_rate=learning_rate,
        optimizer=optimizer,
        loss=loss,
        callbacks=callbacks,
        **options,
    )


class Features(NamedTuple):
    """The features of labelled images.

    Attributes:
        values: float32 `(n, d)`, the input of the head.
        labels: class indices `(n,)`, or rows `(n, classes)`.
        weights: sample weights `(n,)`, or None.
    """

    values: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None


def fit_head(
    model: keras.Model,
    train: Features,
    validation_data: Features | None = None,
    *,
    epochs: int = 50,
    learning_rate: float | None = None,
    optimizer: Any = None,
    loss: Any = None,
    callbacks: Any = (),
    **options: Any,
) -> keras.callbacks.History:
    """Train the head of a classifier on features that were extracted before; see `train_head`.

    Args:
        model: the classifier; its backbone is frozen.
        train, validation_data: what `extract(feature_network(model), images)` returned, and the labels.
        epochs, learning_rate, optimizer, loss, callbacks, options: as for `train_head`.

    Returns:
        Keras's history: the loss and metrics of every epoch.
    """
    compiling, fitting = divided(options)
    freeze(model)
    head = functional(head_of(model))
    # around the head: within the model, a head that is compiled itself would be saved with its optimizer
    learner = keras.Model(head.inputs[0], head.output)
    classes = model.outputs[0].shape[-1]
    check_labels(train.labels, classes, "train")
    n = len(train.labels)
    batch_size = fitting.pop("batch_size", None) or max(SMALLEST_BATCH, math.ceil(n / MOST_STEPS))
    check_shares(batch_size, train=n, validation=0 if validation_data is None else len(validation_data[1]))
    steps = steps_of(fitting, epochs, n, batch_size)
    settings = Settings(
        model,
        train.labels,
        lambda rate: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        3e-3,
        learning_rate=learning_rate,
        optimizer=optimizer,
        loss=loss,
        callbacks=listed(callbacks),
        options=compiling,
    )
    labels, validation = train.labels, validation_data
    if settings.rows:
        labels = rows_of_classes(labels, classes)
        if validation is not None:
            validation = validation._replace(labels=rows_of_classes(validation.labels, classes))
    fitting |= {
        "sample_weight": fitting.get("sample_weight", train.weights),
        "validation_data": validation and tuple(validation),
    }
    check_learns(learner)
    with compile_state_kept(model):
        at_once = _steps_at_once(math.ceil(n / batch_size), callbacks)
        settings.compile(learner, **{"steps_per_execution": at_once, **compiling})
        settings.compile(model)  # so that a checkpoint is the whole model, compiled as it is trained
        for each in (learner, model):
            make_state(each, labels, model.outputs[0].shape)
        return learner.fit(
            train.values,
            labels,
            epochs=epochs,
            batch_size=batch_size,
            class_weight=class_weights(fitting.pop("class_weight", None), labels),
            callbacks=[*early_stopping(validation, 10, listed(callbacks)), *for_model(callbacks, model)],
            **fitting,
        )


def _steps_at_once(steps: int, callbacks: Any) -> int:
    """Return the steps in one call of the backend: one of a small layer takes less time than starting it."""
    # PyTorch starts each by itself, and TensorFlow cannot loop over the batches of several devices
    alone = keras.backend.backend() == "torch" or float(replica_share()) < 1 or watch_steps(callbacks)
    return 1 if alone else min(steps, MOST_STEPS)


def _all_features(network: keras.Model, data: Labelled, **running: Any) -> Features:
    """Return features, labels and sample weights (or None) in the same order."""
    if data.images is not None:
        return Features(_features(network, data.images, **running), data.labels, data.weights)
    parts = [(_run(network, x), y, w) for x, y, w in data.each_batch()]
    features, labels, weights = zip(*parts, strict=True)
    known = None if weights[0] is None else np.concatenate(weights)
    return Features(np.concatenate(features), np.concatenate(labels), known)


def _fingerprint(images: np.ndarray | ImageFiles) -> str:
    if images.dtype == np.uint8 and images.shape[-1] == 3:
        return Split(images).fingerprint()  # the same for files and for arrays
    digest = hashlib.blake2b(f"{images.shape} {images.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(images).data)  # no copy: images may fill the memory
    return digest.hexdigest()
