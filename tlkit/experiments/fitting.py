"""Train a classifier by a technique: what `train` and `label_counts` share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from tlkit._internal.allocator import keep_freed_memory
from tlkit._internal.seeds import set_seed
from tlkit._internal.state import SavedState
from tlkit.callbacks import Backup, Interruptible
from tlkit.data import Dataset
from tlkit.data.labelled import labelled
from tlkit.errors import TlkitError
from tlkit.experiments import phases
from tlkit.models import backbone_of, build_classifier, feature_network, freeze, frozen_table, head_of
from tlkit.techniques import training
from tlkit.techniques.feature_extraction import Features
from tlkit.techniques.fine_tuning import fine_tune
from tlkit.techniques.repeated_training import Recipe
from tlkit.techniques.resuming import trained_once
from tlkit.techniques.robust_fine_tuning import RobustFineTuning, Tuner, checked
from tlkit.techniques.solved_head import solve_on_features
from tlkit.techniques.step_budget import StepBudget

AUTO, FROZEN, TUNED, SCRATCH = "auto", "feature-extraction", "fine-tuning", "scratch"
TUNED_STRENGTH = 0.5  # of the augmentation in fine-tuning; from scratch it is 1
MINUTES = 5.0  # for fine-tuning, or for a training from random weights


@dataclass
class Fitted:
    """A trained classifier; see `tlkit.reports.training.Training`."""

    model: keras.Model
    backbone: str
    technique: str
    history: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    frozen: pd.DataFrame = field(default_factory=pd.DataFrame)
    precision: str | None = None
    head_losses: dict[float, float] = field(default_factory=dict)
    tuning: RobustFineTuning | None = None
    frozen_probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    mirrored_views: bool = False
    interrupted: bool = False


def fit_classifier(
    data: Dataset,
    technique: str,
    *,
    backbone: str | keras.Model,
    weights: str | None,
    epochs: int | None = None,
    minutes: float | None = MINUTES,
    augment: bool = True,
    mirrored_views: bool = False,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
    state: SavedState | None = None,
    **options: Any,
) -> Fitted:
    """Train a classifier and predict all splits; for the arguments see `tlkit.train`.

    Args:
        state: the trainings are saved here, and continue from there; None saves nothing.
    """
    if mirrored_views and not phases.mirrors(data):
        raise TlkitError(
            "mirrored_views=True was given, but mirrored digits do not keep their class. Omit mirrored_views."
        )
    if technique in (AUTO, TUNED):
        checked(**options)
    clock, watch, progress = phases.Clock(), Interruptible(), phases.shows_progress(verbose)
    set_seed(seed)
    scratch = technique == SCRATCH
    strength = 0.0 if not augment or technique == FROZEN else 1.0 if scratch else TUNED_STRENGTH
    if scratch and isinstance(backbone, keras.Model):
        backbone = keras.models.clone_model(backbone)  # the same network with new random weights
    model = build_classifier(
        backbone,
        len(data.class_names),
        weights=None if scratch else weights,
        image_size=data.image_size,
        augmentation=phases.augmentation_for(data, strength=strength) if strength else None,
    )
    fitted = Fitted(model, backbone_of(model).name, technique, mirrored_views=mirrored_views)
    shared = {"minutes": minutes, "epochs": epochs, "state": state, **options}
    if scratch:
        with clock.part("training"):
            shared |= {"callbacks": callbacks, "seed": seed, "verbose": verbose}
            history = _from_scratch(model, data, watch, **shared)
        fitted.history = {technique: history}
        fitted.probabilities = phases.predict_splits(
            model, data.splits, mirrored=mirrored_views, progress=progress
        )
    else:
        shared["callbacks"] = [*callbacks, watch]
        _transfer(fitted, data, clock, seed=seed, verbose=1 if progress else int(verbose), **shared)
    fitted.interrupted, fitted.frozen = watch.interrupted, frozen_table(model)
    fitted.seconds = clock.stop()
    return fitted


def _transfer(
    fitted: Fitted,
    data: Dataset,
    clock: phases.Clock,
    *,
    seed: int,
    verbose: int,
    minutes: float | None,
    epochs: int | None,
    callbacks: Sequence[keras.callbacks.Callback],
    state: SavedState | None,
    folds: int | None = None,
    **options: Any,
) -> None:
    """Solve the head on frozen features; then fine-tune, unless the technique is feature extraction."""
    model, splits, progress = fitted.model, data.splits, verbose == 1
    freeze(model)
    known = ["train", *(name for name in splits if name == "validation" and splits[name].labelled)]
    labels = np.concatenate([splits[name].labels for name in known])
    weights = imbalance_weights(labels)
    with clock.part("features"):
        features, fitted.precision = phases.split_features(feature_network(model), splits, progress=progress)
    rows = [Features(features[name], splits[name].labels) for name in known]
    with clock.part("head"):
        solved = solve_on_features(model, rows, class_weight=weights, progress=progress)
    fitted.head_losses = solved.log_losses
    if fitted.mirrored_views:
        found = phases.predict_splits(model, splits, mirrored=True, progress=progress)
    else:
        found = {name: head_of(model).predict(each, verbose=0) for name, each in features.items()}
    everything = np.arange(len(labels))
    fitted.probabilities = _with_held_out(found, solved.held_out, everything, data)
    one_each = np.bincount(labels).max() < 2  # no label can be held out
    if fitted.technique == AUTO and one_each:
        fitted.technique = FROZEN
    if fitted.technique == FROZEN:
        return
    fitted.frozen_probabilities = fitted.probabilities
    recipe = Recipe.of(**options)
    if epochs is not None:
        steps = epochs * math.ceil(len(labels) / recipe.batch_size)
        recipe = replace(recipe, least_steps=steps, most_steps=steps)
    with clock.part("training"):
        parts = [labelled(splits[name]) for name in known]
        tuner = Tuner(model, parts, rows, solved, recipe, weights, seed, callbacks, verbose, state)
        seconds = math.inf if minutes is None else 60 * minutes
        tuning = tuner.run(seconds, folds, forced=fitted.technique == TUNED)
    fitted.tuning = tuning
    if fitted.technique == AUTO:
        fitted.technique = TUNED if tuning.mix else FROZEN
    if tuning.mix:
        fitted.history = {TUNED: tuning.history}
        found = phases.predict_splits(model, splits, mirrored=fitted.mirrored_views, progress=progress)
        fitted.probabilities = _with_held_out(found, tuning.held_out[tuning.mix], tuning.rows, data)


def _with_held_out(
    found: dict[str, np.ndarray], held_out: np.ndarray | None, rows: np.ndarray, data: Dataset
) -> dict[str, np.ndarray]:
    """Replace the predictions of the validation images, which the model learned from, by held-out ones.

    If some of them were not held out, the split is left out.

    Args:
        found: probabilities by split.
        held_out: probabilities of images that were held out, or None.
        rows: int `(m,)`, their positions among the images of training and validation.
        data: the data set.
    """
    if data.validation is None or not data.validation.labelled:
        return found
    inside = rows >= len(data.train)
    if held_out is None or inside.sum() < len(data.validation):
        return {name: each for name, each in found.items() if name != "validation"}
    return found | {"validation": held_out[inside][np.argsort(rows[inside])]}


def _from_scratch(
    model: keras.Model,
    data: Dataset,
    watch: Interruptible,
    *,
    seed: int,
    minutes: float | None,
    epochs: int | None,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: int | str,
    state: SavedState | None,
    **options: Any,
) -> dict[str, list[float]]:
    """Train all layers from random weights, and keep the best epoch on the validation split."""
    keep_freed_memory()
    phases.prepare_from_scratch(backbone_of(model))
    size = options.pop("batch_size", phases.BATCH_SIZE)
    each_epoch = math.ceil(len(data.train) / size)
    wanted = phases.SCRATCH_EPOCHS * each_epoch
    steps = (
        min(max(wanted, phases.SCRATCH_LEAST), phases.SCRATCH_MOST) if epochs is None else epochs * each_epoch
    )
    rate = None if "optimizer" in options else options.pop("learning_rate", phases.LEARNING_RATE)
    if rate is not None:
        options["optimizer"] = keras.optimizers.Adam(rate)
    shown = phases.shows_progress(verbose)

    def fit(backup: Backup | None) -> dict[str, list[float]]:
        with tqdm(total=steps, desc="from scratch", unit="step", disable=not shown) as bar:
            limit = math.inf if minutes is None or epochs else 60 * minutes
            budget = StepBudget(rate, steps, seconds=limit, least=phases.SCRATCH_LEAST, bar=bar)
            usual = {
                "fraction": 1.0,
                "batch_norm": True,
                "class_weight": imbalance_weights(data.train.labels),
            }
            examples: Any = data.train
            if backup is not None:  # the order of the batches depends on the epoch, so it can continue
                backup.also.append(budget)
                examples = data.train.batches(size, shuffle=True, seed=seed)
                examples.start_epoch(backup.epoch)
                usual["initial_epoch"] = backup.epoch
            return fine_tune(
                model,
                examples,
                data.validation,
                epochs=math.ceil(steps / each_epoch),
                batch_size=size,
                callbacks=[budget, *callbacks, watch, *([] if backup is None else [backup])],
                verbose=0 if shown else verbose,
                **usual | options,
            ).history

    return trained_once(state, SCRATCH, model, [watch], fit)


def imbalance_weights(labels: np.ndarray, *, from_ratio: float = 3.0) -> dict[int, float] | None:
    """Return weights that give every class the same total weight, or None if the classes are about balanced.

    Args:
        labels: int `(n,)` class indices.
        from_ratio: the ratio of the largest class to the smallest from which weights are used.

    >>> imbalance_weights(np.array([0, 0, 0, 0, 1]))
    {0: 0.625, 1: 2.5}
    """
    counts = np.unique(labels, return_counts=True)[1]
    if max(counts) < from_ratio * min(counts):
        return None
    return training.class_weights("balanced", labels)
