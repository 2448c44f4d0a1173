"""Feature extraction: run the frozen backbone once, train the head on what it saw.

A frozen backbone gives the same features for the same image in every epoch. Computed once and kept,
they turn the epochs of the head from minutes into seconds.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tlkit import cache, engines
from tlkit.data import ImageFiles, Split
from tlkit.models import backbone_of, freeze, pooled
from tlkit.techniques.training import check_shares, make_state, replica_share

SMALLEST_BATCH, MOST_STEPS = 32, 100  # images in a step, steps in an epoch of the head


def extract(
    backbone: keras.Model,
    images: Split | np.ndarray | ImageFiles,
    *,
    engine: str = "auto",
    keep: bool = True,
    progress: bool = False,
) -> np.ndarray:
    """Return the features of all images: the backbone's output, averaged over its positions.

    Args:
        backbone: raw images to a feature map `(n, h, w, c)` or features `(n, d)`.
        images: a split, or RGB images `(n, height, width, 3)`, values 0 to 255, in memory or in files.
        engine: `"auto"`, `"openvino"` or `"predict"`; see `tlkit.engines.infer`.
        keep: look the features up in the cache on disk, and keep them there. The key is made of the
            backbone's weights, its preprocessing and the pixels.
        progress: show a progress bar.

    Returns:
        float32 `(n, d)`.
    """
    if isinstance(images, ImageFiles):
        images = Split(images)
    pixels = images.images if isinstance(images, Split) else images
    network = pooled(backbone)

    def compute() -> dict[str, np.ndarray]:
        return {"features": engines.infer(network, pixels, engine=engine, progress=progress)}

    if not keep:
        return compute()["features"]
    seen = images.fingerprint() if isinstance(images, Split) else _fingerprint(images)
    return cache.arrays("features", f"{engines.fingerprint(network)}-{seen}", compute)["features"]


def train_head(
    model: keras.Model,
    train: Split,
    validation: Split | None = None,
    *,
    epochs: int = 50,
    learning_rate: float = 3e-3,
    batch_size: int | None = None,
    patience: int = 10,
    class_weight: dict[int, float] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    engine: str = "auto",
    progress: bool = False,
    verbose: int | str = 0,
) -> keras.callbacks.History:
    """Train the head of a classifier on the features of its frozen backbone.

    The head is a part of `model`, so `model` itself has learned when this returns. Augmentation has
    no effect here: there is one feature vector for each image.

    Args:
        model: a classifier made by `build_classifier`; its backbone is frozen and stays as it is.
        train: labelled images.
        validation: labelled images on which training stops early and the best epoch is chosen.
        epochs: passes over the features, at most.
        learning_rate: the first step size of Adam; it falls to zero along a cosine.
        batch_size: images in a step; by default 32, and more where an epoch would have over 100 steps.
        patience: epochs without a better validation loss before training stops.
        class_weight: weight of each class in the loss, by index.
        callbacks: further Keras callbacks.
        engine: see `extract`.
        progress: show the progress of the extraction.
        verbose: Keras's progress of the epochs: 0, 1, 2 or `"auto"`.

    Returns:
        Keras's history: loss and accuracy of every epoch.
    """
    freeze(model)
    backbone, head = backbone_of(model), model.get_layer("head")
    options: dict[str, Any] = {"engine": engine, "progress": progress}
    batch_size = batch_size or max(SMALLEST_BATCH, math.ceil(len(train) / MOST_STEPS))
    check_shares(batch_size, train=len(train), validation=0 if validation is None else len(validation))
    features = extract(backbone, train, **options)
    held_out = None if validation is None else (extract(backbone, validation, **options), validation.labels)
    steps = math.ceil(len(features) / batch_size)
    # a step of one small layer takes less time than starting it; but PyTorch starts each by itself, and
    # TensorFlow cannot loop over the batches of several devices
    alone = keras.backend.backend() == "torch" or float(replica_share()) < 1
    at_once = 1 if alone else min(steps, MOST_STEPS)
    head.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=at_once,
    )
    make_state(head, train.labels, head.output_shape)
    return head.fit(
        features,
        train.labels,
        validation_data=held_out,
        epochs=epochs,
        batch_size=batch_size,
        class_weight=class_weight,
        callbacks=[*early_stopping(validation, patience), *callbacks],
        verbose=verbose,
    )


def early_stopping(validation: Split | None, patience: int) -> list[keras.callbacks.Callback]:
    """Stop when the validation loss no longer falls, and take the best epoch's weights back."""
    if validation is None:
        return []
    return [keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True)]


def _fingerprint(images: np.ndarray) -> str:
    digest = hashlib.blake2b(f"{images.shape} {images.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(images).data)  # no copy: images may fill the memory
    return digest.hexdigest()
