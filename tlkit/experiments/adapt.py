"""Adapt a classifier to a target domain without labels, and measure what that changes."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal.seeds import set_seed
from tlkit._internal.sizes import check_length
from tlkit._internal.state import SavedState
from tlkit.callbacks import Backup, Interruptible, interrupts_raise
from tlkit.data import Dataset, Split
from tlkit.data.batches import Batches
from tlkit.data.images import joined
from tlkit.errors import DataError
from tlkit.experiments import phases
from tlkit.models import build_classifier, cut_last, frozen_table, unfreeze
from tlkit.reports.adaptation import Adaptation, Compared
from tlkit.techniques.domain_adaptation import (
    METHODS,
    DomainAdapter,
    Pairs,
    matched_moments,
    pair,
    proxy_a_distance,
)
from tlkit.techniques.domain_adaptation.methods import END_TO_END, ON_FEATURES
from tlkit.techniques.domain_adaptation.validators import Outputs, soft_neighborhood_density, target_entropy
from tlkit.techniques.feature_extraction import extract, feature_precision
from tlkit.techniques.logistic_regression import SolvedHead, solve
from tlkit.techniques.resuming import trained_once
from tlkit.techniques.step_budget import Budget
from tlkit.techniques.training import compile_state_kept, make_state

AUTO = "auto"
BATCH_SIZE, LEARNING_RATE, BOTTLENECK = 32, 1e-3, 256
UNFROZEN = 0.3  # top fraction of a pretrained backbone that learns end to end
SAMPLE = 500  # examples of a domain whose features are compared and drawn
HEAD = Budget(epochs=40, least_steps=400, most_steps=4_000)
PRETRAINED = Budget(epochs=10, least_steps=200, most_steps=1_000)
FROM_SCRATCH = Budget(epochs=40, least_steps=1_000, most_steps=3_000)
COMPILE: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


def adapt(
    source: Dataset,
    target: Dataset | Split,
    *,
    method: str = AUTO,
    features: bool | None = None,
    backbone: str | keras.Model = "EfficientNetLite0",
    weights: str | None = "imagenet",
    epochs: int | None = None,
    compare: Sequence[str] = (),
    evaluate: Dataset | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
    backup: str | Path | None = None,
) -> Adaptation:
    """Train a classifier on a labelled source for an unlabelled target, and measure what adaptation changed.

    On features, a head with a hidden layer learns from source features that have the target's mean and
    standard deviation (`matched_moments`), and by default from MCC (Jin et al. 2020). End to end, the network
    learns by AdaMatch + MCC (Roelofs et al. 2022). `benchmarks/domain_adaptation.py` chose both.

    The control learns from the source alone: on features the solved head (`tlkit.solve_head`), end to end the
    same network with the same number of steps.

    Args:
        source: the labelled data set. The validation split is trained on, too.
        target: images of the target domain; of a data set, the train split. Their labels are not read.
        method: `"auto"`, as above; or a name of `tlkit.techniques.domain_adaptation.METHODS`, or several
            joined by `+`, such as `"cdan-e+mcc"`. `tlkit adapt --list` explains each.
        features: train only the head, on features of the frozen backbone, or train end to end. End to end,
            only the upper part of a pretrained backbone is trained. By default on features if the backbone is
            pretrained.
        backbone: a name of `tlkit.list_backbones()`, or a model from raw images to features.
        weights: `"imagenet"`, `None` (random) or a weights file; only if `backbone` is a name.
        epochs: by default 40, but at least 400 and at most 4,000 steps on features, and 1,000 to 3,000 from
            random weights; or 10, with 200 to 1,000 steps, for a pretrained backbone end to end.
        compare: names of further methods. Each is trained like `method`, and the report shows them side by
            side. Nothing is chosen among them: no score that needs no target labels reliably finds the best.
        evaluate: labelled images of the target, used for evaluation alone: its test split, or its train
            split if it has no test split. If it has both, training on its train labels gives the ceiling.
        seed: of the weights and the order of the images.
        callbacks: further Keras callbacks for the adaptation.
        verbose: as for Keras's `fit`: 0 is silent, 1 shows progress bars, 2 prints a line for each epoch.
        backup: a folder for the state of all trainings. Called again with the same arguments, `adapt`
            continues where it stopped.

    Returns:
        The adapted model with its figures.

    Raises:
        DataError: the domains do not fit together; see also `tlkit.pair`.
        TlkitError: the network lacks a kind of layer that the method needs.
        UnknownNameError: there is no such method or backbone.
    """
    check_length(epochs, None)
    check_classes(source, evaluate)
    known = [METHODS.find(name).name for name in ([] if method.lower() == AUTO else [method]) + list(compare)]
    clock, watch = phases.Clock(), Interruptible()
    set_seed(seed)
    network, pretrained = phases.loaded(backbone, weights, source.image_size)
    features = pretrained if features is None else features
    default = [] if method.lower() != AUTO else [ON_FEATURES if features else END_TO_END]
    names = list(dict.fromkeys(default + known))
    source, images = with_all_labels(source), unlabelled(target)
    evaluated = images if evaluate is None else evaluate.test or evaluate.train
    settings = {"methods": names, "backbone": network, "epochs": epochs, "features": features, "seed": seed}
    state = phases.saved_state(backup, settings, source=replace(source, test=images), target=evaluate)

    def inputs(split: Split) -> Any:
        progress = phases.shows_progress(verbose)
        return extract(network, split, progress=progress) if features else split.images

    x, x_target, labels = inputs(source.train), inputs(images), source.train.labels
    x_evaluated = x_target if evaluated is images else inputs(evaluated)
    size = min(BATCH_SIZE, len(labels), len(x_target))
    aligned = matched_moments(x, x_target) if features else x
    pairs = pair((aligned, labels), x_target, batch_size=size, seed=seed)
    budget = HEAD if features else PRETRAINED if pretrained else FROM_SCRATCH
    steps = len(pairs) * (epochs or budget.epochs_for(len(pairs)))
    options: dict[str, Any] = {"seed": seed, "state": state, "watch": watch, "verbose": verbose}

    def build() -> tuple[keras.Model, keras.Model]:
        return build_parts(network, len(source.class_names), pretrained, features, seed)

    def from_labels(name: str, inputs: Any, labels: np.ndarray) -> SolvedHead | keras.Model:
        if features:
            return solve(inputs, labels, len(source.class_names))
        return fit_labelled(name, build()[1], (inputs, labels), size, steps, **options)

    with clock.part("training"):
        with interrupts_raise():  # without an adaptation there is no result
            control = from_labels("source only", x, labels)
        models, compared = [], []
        for name in names:
            began, (model, trained) = time.perf_counter(), build()
            adapter = DomainAdapter(trained, METHODS.find(name).build())
            history = fit_adapter(name, adapter, pairs, steps, callbacks, **options)
            outputs = adapter.target_outputs(x_evaluated)
            compared.append(measured(name, outputs, time.perf_counter() - began))
            models.append((model, adapter, outputs.probabilities, history))
            if watch.interrupted:
                break
        ceiling = None
        if evaluate is not None and evaluate.test is not None and not watch.interrupted:
            best = from_labels("ceiling", inputs(evaluate.train), evaluate.train.labels)
            ceiling = predicted(best, x_evaluated).argmax(axis=1)
    model, adapter, probabilities, history = models[0]
    rows, target_rows = sample(x), sample(x_target)
    encoder = None if features else cut_last(control)[0]
    seen = {
        "before": (encoded(encoder, x[rows]), encoded(encoder, x_target[target_rows])),
        "after": (
            adapter.source_outputs(aligned[rows]).features,
            adapter.target_outputs(x_target[target_rows]).features,
        ),
    }
    return Adaptation(
        model=model,
        source=source,
        target=evaluated,
        target_name=name_of(evaluate, target),
        method=names[0],
        backbone=network.name,
        seed=seed,
        history={"adaptation": history} if history else {},
        probabilities={"train": predicted(adapter.classifier, aligned), "target": probabilities},
        before=predicted(control, x_evaluated),
        ceiling=ceiling,
        compared=compared,
        features=seen,
        source_labels=labels[rows],
        a_distance={when: proxy_a_distance(*domains) for when, domains in seen.items()},
        frozen=frozen_table(model),
        precision=feature_precision(network, source.train) if features else None,
        interrupted=watch.interrupted,
        seconds=clock.stop(),
    )


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


def fit_labelled(
    name: str,
    network: keras.Model,
    examples: tuple[Any, np.ndarray],
    batch_size: int,
    steps: int,
    *,
    seed: int,
    state: SavedState | None,
    watch: Interruptible,
    verbose: int | str,
) -> keras.Model:
    """Train on labelled examples alone, for as many steps as the adaptation takes."""
    batches = Batches(*examples, batch_size, True, seed)
    epochs = max(1, round(steps / len(batches)))

    def fit(backup: Backup | None) -> dict[str, list[float]]:
        network.compile(decaying_adam(epochs * len(batches)), **COMPILE)
        make_state(network, examples[1], network.output_shape)
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


def encoded(encoder: keras.Model | None, inputs: np.ndarray) -> np.ndarray:
    """Return the features of inputs, float32 `(n, d)`; without an encoder, the inputs are features."""
    return inputs if encoder is None else encoder.predict(inputs, batch_size=256, verbose=0)


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
