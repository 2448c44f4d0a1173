"""Train a classifier by a technique: what `train` and `label_counts` share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_class_weight

from tlkit._internal.seeds import set_seed
from tlkit.callbacks import Interruptible
from tlkit.data import Dataset
from tlkit.experiments import phases
from tlkit.models import backbone_of, build_classifier, feature_network, frozen_table, head_of
from tlkit.techniques.feature_extraction import Features, fit_head
from tlkit.techniques.fine_tuning import fine_tune


@dataclass
class Fitted:
    """A trained classifier; see `tlkit.experiments.train.Training`."""

    model: keras.Model
    backbone: str
    history: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    frozen: pd.DataFrame = field(default_factory=pd.DataFrame)
    precision: str | None = None
    interrupted: bool = False


def fit_classifier(
    data: Dataset,
    technique: str,
    *,
    backbone: str | keras.Model,
    weights: str | None,
    epochs: int | None,
    head_epochs: int,
    augment: bool = True,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
    **options: Any,
) -> Fitted:
    """Train a classifier and predict all splits; for the arguments see `tlkit.train`."""
    clock, watch = phases.Clock(), Interruptible()
    set_seed(seed)
    scratch, frozen = technique == "scratch", technique == "feature-extraction"
    if scratch and isinstance(backbone, keras.Model):
        backbone = keras.models.clone_model(backbone)  # the same network with new random weights
    model = build_classifier(
        backbone,
        len(data.class_names),
        weights=None if scratch else weights,
        image_size=data.image_size,
        augmentation=phases.augmentation_for(data) if augment and not frozen else None,
    )
    fitted = Fitted(model, backbone_of(model).name)
    shared: dict[str, Any] = {
        "class_weight": class_weights(data.train.labels),
        "callbacks": [*callbacks, watch],
        "verbose": verbose,
    }
    features: dict[str, np.ndarray] = {}
    if not scratch:
        with clock.part("features"):
            progress = phases.shows_progress(verbose)
            features, fitted.precision = phases.split_features(
                feature_network(model), data.splits, progress=progress
            )
        with clock.part("training"):
            shared["epochs"] = (epochs or head_epochs) if frozen else head_epochs
            fitted.history["head"] = _fit_head(model, data, features, shared)
    if not frozen and not watch.interrupted:
        with clock.part("training"):
            shared["epochs"] = epochs or phases.EPOCHS
            phase = "scratch" if scratch else "fine-tuning"
            fitted.history[phase] = _fit_network(model, data, scratch, {**shared, **options})
    fitted.interrupted, fitted.frozen = watch.interrupted, frozen_table(model)
    fitted.probabilities = (
        {name: head_of(model).predict(each, verbose=0) for name, each in features.items()}
        if frozen
        else phases.predict_splits(model, data.splits)
    )
    fitted.seconds = clock.stop()
    return fitted


def _fit_head(
    model: keras.Model, data: Dataset, features: Mapping[str, np.ndarray], options: Mapping[str, Any]
) -> dict[str, list[float]]:
    validation = None
    if data.validation is not None:
        validation = Features(features["validation"], data.validation.labels)
    train = Features(features["train"], data.train.labels)
    return fit_head(model, train, validation, **options).history


def _fit_network(
    model: keras.Model, data: Dataset, scratch: bool, options: Mapping[str, Any]
) -> dict[str, list[float]]:
    usual: dict[str, Any] = {"fraction": phases.FRACTION, "depth_decay": phases.DEPTH_DECAY}
    if scratch:
        phases.prepare_from_scratch(backbone_of(model))
        usual = {"fraction": 1.0, "batch_norm": True}
    usual["learning_rate"] = phases.LEARNING_RATE
    return fine_tune(model, data.train, data.validation, **{**usual, **options}).history


def class_weights(labels: np.ndarray, *, from_ratio: float = 3.0) -> dict[int, float] | None:
    """Return weights by which every class counts alike, or None where the classes are about balanced.

    Args:
        labels: int `(n,)` class indices.
        from_ratio: the ratio of the largest class to the smallest from which weights are used.

    >>> class_weights(np.array([0, 0, 0, 0, 1]))
    {0: 0.625, 1: 2.5}
    """
    classes, counts = np.unique(labels, return_counts=True)
    if max(counts) < from_ratio * min(counts):
        return None
    balanced = compute_class_weight("balanced", classes=classes, y=labels)
    return dict(zip(classes.tolist(), balanced.tolist(), strict=True))
