"""Adapt a classifier to a target domain without labels, and measure what that changes."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from tlkit._internal.seeds import set_seed
from tlkit._internal.sizes import check_length
from tlkit.callbacks import Interruptible, interrupts_raise
from tlkit.data import Dataset, Split
from tlkit.experiments import phases
from tlkit.experiments.adapting import (
    BATCH_SIZE,
    build_parts,
    check_classes,
    domain_features,
    inputs_of,
    learn_labels,
    name_of,
    predicted,
    run_method,
    sample,
    steps_for,
    unlabelled,
    with_all_labels,
)
from tlkit.reports.adaptation import Adaptation
from tlkit.techniques.domain_adaptation import METHODS, matched_moments, pair
from tlkit.techniques.domain_adaptation.methods import END_TO_END, ON_FEATURES
from tlkit.techniques.feature_extraction import feature_precision

AUTO = "auto"


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
    learns by AdaMatch + MCC (Roelofs et al. 2022). `benchmarks/domain_adaptation.py` compares them
    with other methods.

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
    auto, clock, watch = method.lower() == AUTO, phases.Clock(), Interruptible()
    further = [METHODS.find(name).name for name in ([] if auto else [method]) + list(compare)]
    set_seed(seed)
    network, pretrained = phases.loaded(backbone, weights, source.image_size)
    features = pretrained if features is None else features
    default = [ON_FEATURES if features else END_TO_END] if auto else []
    names = list(dict.fromkeys(default + further))
    source, images = with_all_labels(source), unlabelled(target)
    evaluated = images if evaluate is None else evaluate.test or evaluate.train
    settings = {"methods": names, "backbone": network, "epochs": epochs, "features": features, "seed": seed}
    state = phases.saved_state(backup, settings, source=replace(source, test=images), target=evaluate)

    inputs = partial(inputs_of, network if features else None, verbose=verbose)
    x, x_target, labels = inputs(source.train), inputs(images), source.train.labels
    x_evaluated = x_target if evaluated is images else inputs(evaluated)
    aligned = matched_moments(x, x_target) if features else x
    pairs = pair((aligned, labels), x_target, batch_size=min(BATCH_SIZE, len(x), len(x_target)), seed=seed)
    steps = steps_for(len(pairs), epochs, pretrained, features)
    build = partial(build_parts, network, len(source.class_names), pretrained, features, seed)
    options: dict[str, Any] = {"seed": seed, "state": state, "watch": watch, "verbose": verbose}
    alone = options | {"build": None if features else build, "classes": len(source.class_names)}
    alone |= {"size": pairs.batch_size, "steps": steps}
    with clock.part("training"):
        with interrupts_raise():  # without an adaptation there is no result
            control = learn_labels("source only", x, labels, **alone)
        runs = [
            run_method(name, *build(), pairs, steps, x_evaluated, callbacks, **options)
            for name in names
            if not watch.interrupted
        ]
        ceiling = None
        if evaluate is not None and evaluate.test is not None and not watch.interrupted:
            best = learn_labels("ceiling", inputs(evaluate.train), evaluate.train.labels, **alone)
            ceiling = predicted(best, x_evaluated).argmax(axis=1)
    model, adapter, history, probabilities = runs[0][0]
    return Adaptation(
        *(model, source, evaluated, name_of(evaluate, target), names[0], network.name, seed),
        probabilities={"train": predicted(adapter.classifier, aligned), "target": probabilities},
        before=predicted(control, x_evaluated),
        history={"adaptation": history} if history else {},
        ceiling=ceiling,
        compared=[compared for _, compared in runs],
        features=domain_features(None if features else control, adapter, x, aligned, x_target),
        source_labels=labels[sample(x)],
        precision=feature_precision(network, source.train) if features else None,
        interrupted=watch.interrupted,
        seconds=clock.stop(),
    )
