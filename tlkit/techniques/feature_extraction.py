"""Feature extraction: run the frozen backbone once, and train the head on its features.

A frozen backbone computes the same features for an image in every epoch. Computing the features once and
storing them shortens the epochs of the head from minutes to seconds.
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
    check_divisible,
    check_trainable,
    class_weights,
    compile_and_fit_options,
    compile_state_kept,
    early_stopping,
    make_state,
    one_hot,
    replica_fraction,
    shows_progress,
    steps_of,
)

SMALLEST_BATCH, MOST_STEPS = 32, 100  # images per step, steps per epoch of the head


def extract(
    backbone: keras.Model,
    images: Any,
    *,
    pooling: str = "avg",
    engine: str = "auto",
    precision: str = "auto",
    keep: bool = True,
    progress: bool = False,
) -> np.ndarray:
    """Compute the features of images: the output of a backbone, pooled to one vector per image.

    Args:
        backbone: a model from raw images to a feature map `(n, h, w, c)`, tokens `(n, t, d)` or features
            `(n, d)`.
        images: a split; RGB images `(n, height, width, 3)`, values 0 to 255, in memory or in files; or
            batches of images (`tf.data.Dataset`, `PyDataset`, PyTorch `DataLoader`), whose labels are
            ignored.
        pooling: `"avg"` for the mean over the positions, or `"token"` for the class token; see
            `tlkit.build_classifier`.
        engine: `"auto"`, `"openvino"` or `"predict"`; see `tlkit.backbones.engines.infer`. Batches always use
            `"predict"` in float32.
        precision: `"auto"`, `"bfloat16"` or `"float32"`. `"auto"` is bfloat16 on a processor that has units
            for it, if the features of the first images agree with those in float32; see
            `tlkit.backbones.engines.choose_precision`.
        keep: read the features from the disk cache, or compute and store them if they are missing. The cache
            key depends on the graph and weights of the backbone, on the pixels and on the precision. Features
            of batches are never stored.
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
    return _features(network, images, engine=engine, precision=precision, keep=keep, progress=progress)


def feature_precision(backbone: keras.Model, images: Any, *, precision: str = "auto") -> str:
    """Return the precision in which `extract` computes the features of these images here.

    Args:
        backbone, images, precision: as for `extract`.

    Returns:
        `"bfloat16"` or `"float32"`.

    >>> from tlkit import backbones
    >>> network = backbones.load_backbone("LeNet", weights=None)
    >>> feature_precision(network, np.zeros((2, 28, 28, 3)), precision="float32")
    'float32'
    """
    network = pooled(backbone)
    return engines.choose_precision(network, _pixels(images), precision=precision, key=_key(network))


def extract_splits(
    backbone: keras.Model,
    splits: Mapping[str, Split],
    *,
    precision: str | Mapping[str, str] = "auto",
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """Compute the features of several splits; the weights of the backbone are hashed only once.

    Args:
        backbone, progress: as for `extract`.
        splits: the splits by name, such as `data.splits`.
        precision: as for `extract`; or one for each split, by its name.

    Returns:
        float32 `(n, d)` per split, by the names of `splits`.
    """
    network = pooled(backbone)
    precisions = dict.fromkeys(splits, precision) if isinstance(precision, str) else precision
    key = _key(network)
    return {
        name: _features(network, each, key=key, engine="auto", precision=precisions[name], progress=progress)
        for name, each in splits.items()
    }


def _run(network: keras.Model, images: Any) -> np.ndarray:
    features = network.predict_on_batch(keras.ops.convert_to_numpy(images))
    return np.asarray(features, "float32")


def _key(network: keras.Model) -> str | None:
    """Return the disk cache key of a network; None if the configuration of a layer cannot be hashed."""
    try:
        return engines.fingerprint(network)
    except (NotImplementedError, OSError, TypeError, TlkitError):
        return None


def _pixels(images: Any) -> Any:
    return images.images if isinstance(images, Split) else images


def _features(
    network: keras.Model,
    images: Any,
    *,
    engine: str,
    precision: str,
    keep: bool = True,
    key: str | None = None,
    progress: bool = False,
) -> np.ndarray:
    pixels, key = _pixels(images), key or _key(network)
    chosen = engines.choose_precision(network, pixels, precision=precision, engine=engine, key=key)

    def compute() -> dict[str, np.ndarray]:
        features = engines.infer(network, pixels, engine=engine, precision=chosen, progress=progress, key=key)
        return {"features": features}

    if key is None or not keep:
        return compute()["features"]
    apart = "" if chosen == "float32" else f"-{chosen}"
    return cache.arrays("features", f"{key}-{_fingerprint(pixels)}{apart}", compute)["features"]


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
    precision: str = "auto",
    **options: Any,
) -> keras.callbacks.History:
    """Train the head of a classifier on the features of its frozen backbone.

    The head belongs to `model`, so this trains `model` in place. Augmentation has no effect: each image has
    a single feature vector. Optimizer, loss and metrics default to those that the model was compiled with.
    Afterwards, the model has the compile state that it had before.

    Args:
        model: a classifier of `build_classifier`, or any functional or `Sequential` classifier that outputs
            class probabilities or logits. Its backbone is frozen, so the weights of the backbone do not
            change.
        train: labelled images: a split, arrays `(images, labels)` or `(images, labels, sample_weights)`, or
            batches of these (`tf.data.Dataset`, `PyDataset`, PyTorch `DataLoader`).
        validation_data: labelled images of the same kinds, for early stopping.
        epochs: maximum number of epochs.
        learning_rate: initial learning rate of the default optimizer, Adam, which decays to zero along a
            cosine. 3e-3 by default.
        optimizer: as for `compile`.
        loss: as for `compile`; by default the cross-entropy that fits the labels and the output activation.
        callbacks: as for `fit`; they receive the whole model. With `validation_data` and no `EarlyStopping`
            callback, training stops after 10 epochs without a lower validation loss, and the weights of the
            best epoch are restored.
        engine, precision: see `extract`.
        options: further arguments of `compile` and `fit`: `metrics`, `class_weight` (also `"balanced"`),
            `verbose` (0 by default). `batch_size` is 32 by default, or larger so that an epoch has at most
            100 steps.

    Returns:
        Keras's history: the loss and metrics of each epoch.

    Raises:
        DataError: the images or labels do not fit the model, or Keras does not accept data of their type.
        TlkitError: the model contains no backbone, or a callback or option does not fit.

    >>> from tlkit.models import build_classifier
    >>> model = build_classifier("LeNet", classes=2, weights=None, activation=None)  # logits
    >>> history = train_head(model, (np.zeros((4, 28, 28, 3), "uint8"), np.array([0, 1, 0, 1])), epochs=1)
    >>> sorted(history.history)
    ['accuracy', 'loss']
    """
    data, held_out = both(model, train, validation_data)
    batch_size = options.get("batch_size") or SMALLEST_BATCH
    check_divisible(batch_size, **sizes_of(data, held_out))
    freeze(model)
    _, fitting = compile_and_fit_options(options)
    inference = {"engine": engine, "precision": precision, "progress": shows_progress(fitting)}
    network = feature_network(model)
    return fit_head(
        model,
        labelled_features(network, data, **inference),
        None if held_out is None else labelled_features(network, held_out, **inference),
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
        labels: class indices `(n,)`, or one-hot or soft labels `(n, classes)`.
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
    """Train the head of a classifier on features that are already extracted; see `train_head`.

    Args:
        model: the classifier; its backbone is frozen.
        train, validation_data: the features, as `extract(feature_network(model), images)` returns them, with
            their labels.
        epochs, learning_rate, optimizer, loss, callbacks, options: as for `train_head`.

    Returns:
        Keras's history: the loss and metrics of each epoch.
    """
    compiling, fitting = compile_and_fit_options(options)
    freeze(model)
    head = functional(head_of(model))
    # a new model around the head: if the head itself were compiled, it would be saved with its optimizer
    learner = keras.Model(head.inputs[0], head.output)
    classes = model.outputs[0].shape[-1]
    check_labels(train.labels, classes, "train")
    n = len(train.labels)
    batch_size = fitting.pop("batch_size", None) or max(SMALLEST_BATCH, math.ceil(n / MOST_STEPS))
    held_out = 0 if validation_data is None else len(validation_data.labels)
    check_divisible(batch_size, train=n, validation=held_out)
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
    if settings.one_hot:
        labels = one_hot(labels, classes)
        if validation is not None:
            validation = validation._replace(labels=one_hot(validation.labels, classes))
    fitting |= {
        "sample_weight": fitting.get("sample_weight", train.weights),
        "validation_data": validation and tuple(validation),
    }
    check_trainable(learner)
    with compile_state_kept(model):
        steps_per_execution = _steps_per_execution(math.ceil(n / batch_size), callbacks)
        settings.compile(learner, **{"steps_per_execution": steps_per_execution, **compiling})
        settings.compile(model)  # a checkpoint saves the whole model, with the compile state of the training
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


def _steps_per_execution(steps: int, callbacks: Any) -> int:
    """Return the number of steps per call of the backend; a step of a head is shorter than the call."""
    # PyTorch runs each step separately, and TensorFlow cannot loop over the batches of several devices
    single = keras.backend.backend() == "torch" or float(replica_fraction()) < 1 or watch_steps(callbacks)
    return 1 if single else min(steps, MOST_STEPS)


def labelled_features(network: keras.Model, data: Labelled, **inference: Any) -> Features:
    """Return features, labels and sample weights (or None) in the same order."""
    if data.images is not None:
        return Features(_features(network, data.images, **inference), data.labels, data.weights)
    parts = [(_run(network, x), y, w) for x, y, w in data.each_batch()]
    features, labels, weights = zip(*parts, strict=True)
    all_weights = None if weights[0] is None else np.concatenate(weights)
    return Features(np.concatenate(features), np.concatenate(labels), all_weights)


def _fingerprint(images: np.ndarray | ImageFiles) -> str:
    if images.dtype == np.uint8 and images.shape[-1] == 3:
        return Split(images).fingerprint()  # equal for files and for arrays of the same pixels
    digest = hashlib.blake2b(f"{images.shape} {images.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(images).data)  # without a copy, since the images may fill the memory
    return digest.hexdigest()
