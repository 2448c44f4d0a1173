"""The parts of an adaptation: networks, trainings, and what a method reached."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tlkit._internal.seeds import set_seed
from tlkit._internal.state import SavedState
from tlkit.callbacks import Backup, Interruptible
from tlkit.data import Dataset, Split
from tlkit.data.batches import Batches
from tlkit.data.images import joined
from tlkit.errors import DataError
from tlkit.experiments import phases
from tlkit.models import build_classifier, cut_last, unfreeze
from tlkit.reports.adaptation import Compared
from tlkit.techniques.domain_adaptation import METHODS, DomainAdapter, Pairs
from tlkit.techniques.domain_adaptation.validators import Outputs, soft_neighborhood_density, target_entropy
from tlkit.techniques.feature_extraction import extract
from tlkit.techniques.logistic_regression import SolvedHead, solve
from tlkit.techniques.resuming import trained_once
from tlkit.techniques.step_budget import Budget
from tlkit.techniques.training import compile_state_kept, make_state

BATCH_SIZE, LEARNING_RATE, BOTTLENECK = 32, 1e-3, 256
UNFROZEN = 0.3  # top fraction of a pretrained backbone that learns end to end
SAMPLE = 500  # examples of a domain whose features are compared and drawn
HEAD = Budget(epochs=40, least_steps=400, most_steps=4_000)
PRETRAINED = Budget(epochs=10, least_steps=200, most_steps=1_000)
FROM_SCRATCH = Budget(epochs=40, least_steps=1_000, most_steps=3_000)
COMPILE: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


def build_parts(
    backbone: keras.Model, classes: int, pretrained: bool, features: bool, seed: int
) -> tuple[keras.Model, keras.Model]:
    """Return a new classifier, and the part of it that learns: the head on features, or the whole."""
    set_seed(seed)
    body = backbone
    if not features:
        body = keras.models.clone_model(backbone)
        if pretrained:
            body.set_weights(backbone.get_weights())
        else:
            phases.prepare_from_scratch(body)
    model = build_classifier(body, classes, bottleneck=BOTTLENECK if pretrained else None)
    if pretrained:
        unfreeze(model, fraction=0.0 if features else UNFROZEN)
    return model, model.get_layer("head") if features else model


def learn_labels(
    name: str,
    inputs: Any,
    labels: np.ndarray,
    *,
    classes: int,
    build: Callable[[], tuple[keras.Model, keras.Model]] | None,
    size: int,
    steps: int,
    seed: int,
    state: SavedState | None,
    watch: Interruptible,
    verbose: int | str,
) -> SolvedHead | keras.Model:
    """Learn these labels alone: solve a head on features, or train a new network as long as the adaptation.

    Args:
        name: of the training within `state`.
        inputs, labels: features or images, and int `(n,)`.
        classes: number of classes.
        build: returns a new network; None if `inputs` are features.
        size: of a batch.
        steps: of the adaptation.
        seed, state, watch, verbose: see `tlkit.adapt`.
    """
    if build is None:
        return solve(inputs, labels, classes)
    _, network = build()
    batches = Batches(inputs, labels, size, True, seed)
    epochs = max(1, round(steps / len(batches)))

    def fit(backup: Backup | None) -> dict[str, list[float]]:
        network.compile(decaying_adam(epochs * len(batches)), **COMPILE)
        make_state(network, labels, network.output_shape)
        callbacks, start = ([watch], 0) if backup is None else ([watch, backup], backup.epoch)
        batches.start_epoch(start)
        return network.fit(
            batches, epochs=epochs, initial_epoch=start, callbacks=callbacks, shuffle=False, verbose=verbose
        ).history

    with compile_state_kept(network):
        trained_once(state, name, network, [watch], fit)
    return network


def fit_adapter(
    name: str,
    adapter: DomainAdapter,
    pairs: Pairs,
    steps: int,
    others: Sequence[keras.callbacks.Callback] = (),
    *,
    seed: int,
    state: SavedState | None,
    watch: Interruptible,
    verbose: int | str,
) -> dict[str, list[float]]:
    """Train by a method of domain adaptation, and return Keras's history."""
    set_seed(seed)
    epochs = max(1, steps // len(pairs))
    first = epochs if adapter.alignment.starts_from_source else 0
    adapter.compile(decaying_adam(epochs * len(pairs)), **COMPILE)

    def fit(backup: Backup | None) -> dict[str, list[float]]:
        callbacks, start = (
            [*others, watch, *([] if backup is None else [backup])],
            backup.epoch if backup else 0,
        )
        options = {"source_epochs": 0 if start else first, "verbose": verbose}
        return adapter.fit(
            pairs,
            epochs=epochs,
            callbacks=callbacks,
            **options,
            **({"initial_epoch": start} if start else {}),
        ).history

    return trained_once(state, f"adaptation-{name}", adapter, [watch], fit)


def decaying_adam(steps: int) -> keras.optimizers.Optimizer:
    """Return Adam with a learning rate that decays along a cosine."""
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps))


def run_method(
    name: str,
    model: keras.Model,
    trained: keras.Model,
    pairs: Pairs,
    steps: int,
    x_evaluated: Any,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **options: Any,
) -> tuple[tuple[keras.Model, DomainAdapter, dict[str, list[float]], np.ndarray], Compared]:
    """Adapt `trained`, a part of `model`, by one method.

    Returns:
        The model, its adapter, Keras's history and the probabilities for `x_evaluated`; and the row of the
        method for the report.
    """
    began = time.perf_counter()
    adapter = DomainAdapter(trained, METHODS.find(name).build())
    history = fit_adapter(name, adapter, pairs, steps, callbacks, **options)
    outputs = adapter.target_outputs(x_evaluated)
    compared = measured(name, outputs, time.perf_counter() - began)
    return (model, adapter, history, outputs.probabilities), compared


def measured(name: str, target: Outputs, seconds: float) -> Compared:
    """Return the row of one method: its predictions, and two scores that need no target labels."""
    rows = sample(target.features)
    part = Outputs(target.features[rows], target.probabilities[rows])
    scores = {"entropy": target_entropy(part, part), "snd": soft_neighborhood_density(part, part)}
    return Compared(name, target.probabilities.argmax(axis=1), scores, seconds)


def predicted(model: SolvedHead | keras.Model, inputs: Any) -> np.ndarray:
    """Return the probabilities of a head or a network, float32 `(n, classes)`."""
    if isinstance(model, SolvedHead):
        return model.predict(inputs)
    return model.predict(inputs[:], batch_size=256, verbose=0)


def domain_features(
    control: keras.Model | None, adapter: DomainAdapter, x: Any, aligned: Any, x_target: Any
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return features of some source and some target examples, before and after adaptation.

    Args:
        control: the network that learned the source alone; None if `x` and `x_target` are features.
        adapter: the adapted network.
        x, aligned: inputs of the source, without and with the moments of the target.
        x_target: inputs of the target.
    """
    rows, target_rows = sample(x), sample(x_target)
    parts = x[rows], x_target[target_rows]
    if control is not None:
        encoder = cut_last(control)[0]
        parts = tuple(encoder.predict(part, batch_size=256, verbose=0) for part in parts)
    after = (
        adapter.source_outputs(aligned[rows]).features,
        adapter.target_outputs(x_target[target_rows]).features,
    )
    return {"before": parts, "after": after}


def inputs_of(backbone: keras.Model | None, split: Split, *, verbose: int | str) -> Any:
    """Return the features of a split by a frozen backbone, float32 `(n, d)`; without one, its images."""
    if backbone is None:
        return split.images
    return extract(backbone, split, progress=phases.shows_progress(verbose))


def steps_for(per_epoch: int, epochs: int | None, pretrained: bool, features: bool) -> int:
    """Return how many steps a training takes."""
    budget = HEAD if features else PRETRAINED if pretrained else FROM_SCRATCH
    return per_epoch * (epochs or budget.epochs_for(per_epoch))


def sample(inputs: Any) -> np.ndarray:
    """Return the positions of some examples whose features are compared and drawn, int `(at most 500,)`."""
    return np.sort(np.random.default_rng(0).permutation(len(inputs))[:SAMPLE])


def with_all_labels(data: Dataset) -> Dataset:
    """Return a data set whose training split includes the validation split; files are not read."""
    if data.validation is None or not data.validation.labelled:
        return data
    parts = [data.train, data.validation]
    labels = np.concatenate([part.labels for part in parts])
    names = np.concatenate([part.names for part in parts])
    return replace(data, train=Split(joined([part.images for part in parts]), labels, names), validation=None)


def unlabelled(target: Dataset | Split) -> Split:
    """Return the images of the target; a data set lends its training split."""
    return (target.train if isinstance(target, Dataset) else target).unlabelled()


def name_of(*candidates: Any) -> str:
    """Return the name of the first data set among these."""
    return next((data.card.name for data in candidates if isinstance(data, Dataset)), "target")


def check_classes(source: Dataset, evaluate: Dataset | None) -> None:
    """Raise DataError if the labelled target has other classes than the source, or another order of them."""
    if evaluate is None or source.class_names == evaluate.class_names:
        return
    ours, others = source.class_names, evaluate.class_names
    only = {
        "the source": [name for name in ours if name not in others],
        "the target": [name for name in others if name not in ours],
    }
    difference = "; ".join(f"only {domain} has {', '.join(names)}" for domain, names in only.items() if names)
    raise DataError(
        f"Source and labelled target must have the same classes: {difference or 'their order differs'}. "
        "Rename or remove the class folders that are in only one of them."
    )
