"""One experiment from data to a trained model and what there is to say about it."""

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_class_weight

from tlkit.data import Dataset
from tlkit.errors import UnknownNameError
from tlkit.models import augmentation, backbone_of, build_classifier, frozen_table
from tlkit.techniques import TECHNIQUES
from tlkit.techniques.feature_extraction import extract, train_head
from tlkit.techniques.fine_tuning import fine_tune


@dataclass
class Run:
    """A trained model with its data, its learning curves and its predictions.

    Attributes:
        model: raw images to class probabilities.
        data: the data set with its splits.
        technique: one of `tlkit.techniques.TECHNIQUES`.
        backbone: its name.
        seed: of the weights, the order of the images and the augmentation.
        history: Keras's history (loss, accuracy, val_loss, val_accuracy by epoch) of each phase, by name.
        probabilities: float32 `(n, classes)` for each split of the data, by name.
        seconds: durations of the parts, by name: features, training, total.
        frozen: what was frozen in the last phase; see `frozen_table`.
        interrupted: training was stopped by Ctrl-C; the model is the best one until then.
    """

    model: keras.Model
    data: Dataset
    technique: str
    backbone: str
    seed: int
    history: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    frozen: pd.DataFrame = field(default_factory=pd.DataFrame)
    interrupted: bool = False

    def accuracy(self, split: str) -> float:
        """Return the share of right answers on one split, 0 to 1."""
        predicted = self.probabilities[split].argmax(axis=1)
        return float(np.mean(predicted == self.data.splits[split].labels))


def train(
    data: Dataset,
    *,
    technique: str = "fine-tuning",
    backbone: str | keras.Model = "EfficientNetLite0",
    weights: str | None = "imagenet",
    fraction: float = 0.7,
    epochs: int | None = None,
    head_epochs: int = 50,
    learning_rate: float = 1e-3,
    depth_decay: float = 0.7,
    augment: bool = True,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = False,
    verbose: int | str = 0,
) -> Run:
    """Train a classifier by one technique, choose its best epoch on the validation split, predict all splits.

    Args:
        data: a labelled data set.
        technique: `"feature-extraction"` (the backbone stays as it is), `"fine-tuning"` (then its upper
            part learns too) or `"scratch"` (the same network from random weights: the control).
        backbone: a name of `tlkit.backbones`; or, to transfer, a model made by `tlkit.get`.
        weights: `"imagenet"` or a weights file, for a name; not used from scratch.
        fraction: share of the backbone's layers that fine-tuning unfreezes, from the top, 0 to 1.
        epochs: passes over the images, at most; for feature extraction, of the head.
        head_epochs: passes of the head before fine-tuning, over kept features.
        learning_rate: largest step size of fine-tuning and of training from scratch.
        depth_decay: each stage learns with this share of the step size of the stage above it.
        augment: random flips, shifts, turns and zooms in training; no mirror images of digits.
        seed: of the weights, the order of the images and the augmentation.
        callbacks: Keras callbacks for every phase.
        progress: show progress bars of the feature extraction.
        verbose: Keras's progress of the epochs.

    >>> import tlkit
    >>> data = tlkit.load("digits/optical")
    >>> run = train(data, technique="scratch", backbone="LeNet", epochs=1)
    >>> run.probabilities["test"].shape
    (359, 10)
    """
    if technique not in TECHNIQUES:
        raise UnknownNameError("technique", technique, TECHNIQUES)
    start = time.perf_counter()
    keras.utils.set_random_seed(seed)
    flip = not data.card.name.startswith("digits/")
    scratch = technique == "scratch"
    model = build_classifier(
        backbone,
        len(data.class_names),
        weights=None if scratch else weights,
        image_size=data.image_size,
        augmentation=augmentation(flip=flip) if augment and technique != "feature-extraction" else None,
    )
    if scratch:
        for layer in backbone_of(model).layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.9  # 0.99 forgets its start in hundreds of steps; a small set has tens
    run = Run(model, data, technique, backbone_of(model).name, seed)
    watch = Interruptible()
    common: dict[str, Any] = {
        "class_weight": class_weights(data.train.labels),
        "callbacks": [*callbacks, watch],
        "verbose": verbose,
    }
    features_end = time.perf_counter()
    if not scratch:
        for split in data.splits.values():
            extract(backbone_of(model), split, progress=progress)  # kept: the head finds them in the cache
        features_end = time.perf_counter()
        passes = head_epochs if technique == "fine-tuning" else epochs or head_epochs
        run.history["head"] = train_head(model, data.train, data.validation, epochs=passes, **common).history
    if technique != "feature-extraction" and not watch.interrupted:
        run.history["scratch" if scratch else "fine-tuning"] = fine_tune(
            model,
            data.train,
            data.validation,
            fraction=1.0 if scratch else fraction,
            batch_norm=scratch,
            epochs=epochs or 8,
            learning_rate=learning_rate,
            depth_decay=1.0 if scratch else depth_decay,
            seed=seed,
            **common,
        ).history
    run.interrupted = watch.interrupted
    run.frozen = frozen_table(model)
    trained = time.perf_counter()
    for name, split in data.splits.items():
        if technique == "feature-extraction":
            head, features = model.get_layer("head"), extract(backbone_of(model), split)
            run.probabilities[name] = head.predict(features, verbose=0)
        else:
            pixels = split.images if isinstance(split.images, np.ndarray) else split.batches(labels=False)
            run.probabilities[name] = model.predict(pixels, verbose=0)
    run.seconds = {
        "features": features_end - start if not scratch else 0.0,
        "training": trained - features_end,
        "total": time.perf_counter() - start,
    }
    return run


def class_weights(labels: np.ndarray, *, from_ratio: float = 3.0) -> dict[int, float] | None:
    """Return weights by which every class counts alike, or None where the classes are about balanced.

    Args:
        labels: int `(n,)` class indices.
        from_ratio: the largest class over the smallest from which weights are used.

    >>> class_weights(np.array([0, 0, 0, 0, 1]))
    {0: 0.625, 1: 2.5}
    """
    classes, counts = np.unique(labels, return_counts=True)
    if max(counts) < from_ratio * min(counts):
        return None
    balanced = compute_class_weight("balanced", classes=classes, y=labels)
    return dict(zip(classes.tolist(), balanced.tolist(), strict=True))


class EpochLines(keras.callbacks.Callback):
    """Print one line an epoch, at most one a second, with a name in front: two runs can share a screen.

    Args:
        name: what stands in front.
        shown: what each value to print is called, by its name in Keras's logs; all by default.
    """

    def __init__(self, name: str, shown: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._name, self._shown, self._last = name, shown, 0.0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if time.monotonic() - self._last > 1:
            self._last = time.monotonic()
            logs = logs or {}
            chosen = self._shown or {name: name for name in logs}
            values = ", ".join(f"{said} {logs[name]:.2f}" for name, said in chosen.items())
            name = f"{self._name:<18} " if self._name else ""
            print(f"{name}epoch {epoch + 1:>2} of {self.params['epochs']}: {values}", flush=True)


class Interruptible(keras.callbacks.Callback):
    """Ctrl-C ends training after the running step, and the best epoch is kept; a second one aborts."""

    interrupted = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        try:
            self._before = signal.signal(signal.SIGINT, self._stop)
        except ValueError:  # not in the main thread: signals are not ours to take
            self._before = None

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, self._before)
        self.interrupted = self.model.stop_training = True
