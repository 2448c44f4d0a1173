"""One experiment from data to a trained model and what there is to say about it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_class_weight

from tlkit.callbacks import Interruptible
from tlkit.data import Dataset
from tlkit.errors import UnknownNameError
from tlkit.models import augmentation, backbone_of, build_classifier, feature_network, frozen_table, head_of
from tlkit.seeds import set_seed
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
        backbone: a name of `tlkit.backbones`; or a model from raw images to features, such as `tlkit.get`
            makes, of KerasHub, or your own. From scratch, a copy with new random weights is trained.
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
    set_seed(seed)
    flip = not data.card.name.startswith("digits/")
    scratch = technique == "scratch"
    if scratch and isinstance(backbone, keras.Model):
        backbone = keras.models.clone_model(backbone)  # the same network with new random weights
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
            extract(
                feature_network(model), split, progress=progress
            )  # kept: the head finds them in the cache
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
            **common,
        ).history
    run.interrupted = watch.interrupted
    run.frozen = frozen_table(model)
    trained = time.perf_counter()
    for name, split in data.splits.items():
        if technique == "feature-extraction":
            head, features = head_of(model), extract(feature_network(model), split)
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
