"""Adapt a classifier to a target domain without labels, and measure what it gained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal.seeds import set_seed
from tlkit._internal.sizes import check_length
from tlkit.callbacks import Backup, Interruptible, interrupts_raise
from tlkit.data import Dataset, Split
from tlkit.errors import DataError, TlkitError
from tlkit.experiments import phases
from tlkit.experiments.adapt_by_vote import adapt_fine_tuned, adapt_head, adapt_network
from tlkit.experiments.adaptation_arms import COMPILE, Arms, alone_and_together, sample, with_all_labels
from tlkit.experiments.domains import check_domains, class_difference, domain_names, joined_domains
from tlkit.experiments.fitting import MINUTES
from tlkit.models import frozen_table
from tlkit.reports.adaptation import AUTO, Adaptation
from tlkit.reports.classifier import accuracy
from tlkit.techniques.domain_adaptation import METHODS, VALIDATORS, DomainAdapter, Pairs, proxy_a_distance
from tlkit.techniques.feature_extraction import feature_precision
from tlkit.techniques.resuming import trained_once


def adapt(
    source: Dataset | Sequence[Dataset],
    target: Dataset | Split,
    *,
    method: str = AUTO,
    backbone: str | keras.Model = "EfficientNetLite0",
    weights: str | None = "imagenet",
    on_features: bool | None = None,
    validator: str | None = None,
    epochs: int | None = None,
    minutes: float | None = MINUTES,
    evaluate: Dataset | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
    backup: str | Path | None = None,
) -> Adaptation:
    """Train a classifier on a labelled source for an unlabelled target, and measure what adaptation gained.

    By default, several methods vote on the class of each target image. With pretrained features, the
    classifier learns from the source with its labels and from the target with the classes of the vote. On
    features, it is a single linear layer (see `tlkit.techniques.domain_adaptation.voting`). End to end, a
    pretrained network is first fine-tuned on the source, as by `tlkit.train`. The methods then train heads on
    its features, joined with those of the pretrained backbone. These heads vote, and the head of the network
    learns from the source and from the vote. If the weights are random, each of three methods trains a
    network. The networks vote, and the one that agrees most with the vote is the result.

    With pretrained features there are two exceptions. If the target shows hardly any structure along the
    features that tell the classes apart, or little structure and a vote that differs much from the head on
    matched features, the result is the classifier of the source alone. Otherwise, if the vote hardly agrees
    with this head, the classes are those of this head instead of the vote.

    If there are several sources, all networks learn from all of them. For the vote on features, each source
    is matched to the target separately. The report compares the sources with each other.

    The control is the same network and learns from the source alone. For a single method, it takes the same
    number of steps. If the methods vote, it is the solved head (`tlkit.solve_head`) on features, or a
    network that is trained as by `tlkit.train` end to end.

    Args:
        source: the labelled data set, or several with the same classes in the same order. The validation
            split is trained on, too, unless there is a validator.
        target: images of the target domain; of a data set, the train split. Their labels are not read.
        method: `"auto"`, as above; or a name of `tlkit.techniques.domain_adaptation.METHODS`, or several
            joined by `+`, such as `"cdan-e+mcc"`, to train by this method alone. `tlkit adapt --list`
            explains each.
        backbone: a name of `tlkit.list_backbones()`, or a model from raw images to features.
        weights: `"imagenet"`, `None` (random) or a weights file; only if `backbone` is a name.
        on_features: train only the head, on features of the frozen backbone, or train end to end. End to
            end, only the upper part of a pretrained backbone is trained, or none if `tlkit.train` keeps it
            frozen. By default on features if the backbone is pretrained.
        validator: for a single method, the score that chooses the epoch without target labels; `None` keeps
            the last epoch.
        epochs: of the training by each method. By default 40, but at least 400 and at most 4,000 steps on
            features, and 1,000 to 3,000 from random weights; or 10, with 200 to 1,000 steps, for a pretrained
            backbone end to end by a single method.
        minutes: time limit for each training as by `tlkit.train`, which is made only if the methods vote and
            training is end to end. The training of the voters has no limit. None for no limit. From random
            weights, the result is a voter, so the limit concerns only the control and the ceiling.
        evaluate: labelled images of the target, used for evaluation alone: its test split, or its train
            split if it has no test split. If it has both, training on its train labels gives the ceiling.
        seed: of the weights and the order of the images.
        callbacks: further Keras callbacks for the adaptation by a single method.
        verbose: as for Keras's `fit`: 0 is silent, 1 shows progress bars, 2 prints a line for each epoch.
        backup: a folder for the state of all trainings. Called again with the same arguments, `adapt`
            continues where it stopped: with the next head on features, with the next epoch end to end. With
            a backup, some trainings shuffle their images in another order than without one.

    Returns:
        The adapted model with its figures.

    Raises:
        DataError: the domains do not fit together, such as sources with different classes; see also
            `tlkit.pair`.
        TlkitError: a validator was given, but no single method, or no held-out source labels that it needs;
            or the network lacks a kind of layer that the method needs.
        UnknownNameError: there is no such method, validator or backbone.
    """
    auto = method.lower() == AUTO  # what can fail early fails here
    chosen = None if auto else METHODS.find(method)
    validator = None if validator is None else VALIDATORS.find(validator).name
    if auto and validator:
        raise TlkitError(
            f"validator={validator!r} chooses the epoch of a single method, and method='auto' lets several "
            "vote. Leave it out, or give a method such as 'mcc'."
        )
    check_length(epochs, minutes)
    sources = [source] if isinstance(source, Dataset) else list(source)
    check_domains(sources)
    check_classes(sources[0], evaluate)
    clock, watch = phases.Clock(), Interruptible()
    set_seed(seed)
    network, pretrained = phases.loaded(backbone, weights, sources[0].image_size)
    on_features = pretrained if on_features is None else on_features
    source, domains = joined_domains(sources if validator else [with_all_labels(each) for each in sources])
    arms = Arms(network, len(source.class_names), pretrained, on_features, epochs, seed, verbose)
    arms.domains = domains if len(sources) > 1 else None
    images = (target.train if isinstance(target, Dataset) else target).unlabelled()
    settings = {"method": method.lower(), "validator": validator, "backbone": network, "epochs": epochs}
    settings |= {"minutes": minutes, "on features": on_features, "seed": seed}
    settings["images by source"] = np.bincount(domains).tolist()
    arms.state = phases.saved_state(backup, settings, source=replace(source, test=images), target=evaluate)
    evaluated = images if evaluate is None else evaluate.test or evaluate.train
    ceiling = evaluate if evaluate is not None and evaluate.test is not None else None
    name = next((each.card.name for each in (evaluate, target) if isinstance(each, Dataset)), "target")
    found = Adaptation(keras.Model(), source, evaluated, name, method.lower(), validator, network.name, seed)
    found.precision = feature_precision(network, source.train) if on_features else None
    with clock.part("training"):
        if chosen is not None:
            found.method = chosen.name
            _adapt_by(found, arms, chosen.build(), source, images, ceiling, callbacks, watch)
        elif on_features:
            adapt_head(found, arms, source, images, ceiling, watch)
        else:
            end_to_end = adapt_fine_tuned if pretrained else adapt_network
            end_to_end(found, arms, source, images, ceiling, minutes, watch)
    found.sources = alone_and_together(arms, domain_names(sources), source.train, evaluated)
    found.frozen = frozen_table(found.model)
    found.a_distance = {when: proxy_a_distance(*each) for when, each in found.features.items()}
    found.source_labels = source.train.labels[sample(source.train)]
    found.measure()
    found.interrupted, found.seconds = watch.interrupted, clock.stop()
    return found


def _adapt_by(
    found: Adaptation,
    arms: Arms,
    method: Any,
    source: Dataset,
    images: Split,
    ceiling: Dataset | None,
    callbacks: Sequence[keras.callbacks.Callback],
    watch: Interruptible,
) -> None:
    """Train the control and the adapted network by one method; write what they predict into the result."""
    evaluated = found.target
    inputs = {name: arms.inputs(each) for name, each in source.splits.items() if name != "test"}
    unlabelled = arms.inputs(images)
    inputs["target"] = unlabelled if evaluated is images else arms.inputs(evaluated)
    pairs = arms.pairs(inputs["train"], source.train.labels, unlabelled)
    held_out = (inputs["validation"], source.validation.labels) if source.validation else None
    found.model, network = arms.build()
    fresh = network.get_weights()
    adapter = DomainAdapter(network, method)
    generators = [each for each in adapter.variables if each.name == "seed_generator_state"]
    drawn = [np.array(each) for each in generators]
    known = inputs["train"], source.train.labels
    with interrupts_raise():  # without an adaptation there is no result
        control = arms.fit("control", network, known, pairs, watch, validation_data=held_out)
    found.history["source only"] = control
    found.before = adapter.target_outputs(inputs["target"]).probabilities
    found.features["before"] = _sampled_features(adapter, pairs)
    if not method.starts_from_source:
        network.set_weights(fresh)
    labels = evaluated.labels if evaluated.labelled else None
    by_epoch = TargetAccuracy(adapter, inputs["target"], labels)
    epochs = arms.epochs_for(len(pairs))
    adapter.compile(arms.optimizer(epochs * len(pairs)), **COMPILE)
    for generator, value in zip(generators, drawn, strict=True):  # as if the control had drawn nothing
        generator.assign(value)

    def fit(backup: Backup | None) -> dict[str, list[float]]:
        return adapter.fit(
            pairs,
            epochs=epochs,
            source_epochs=0,
            validator=found.validator,
            validation_data=held_out,
            callbacks=[*callbacks, by_epoch, watch, *([] if backup is None else [backup])],
            verbose=arms.verbose,
            **({} if backup is None else {"initial_epoch": backup.epoch}),
        ).history

    history = trained_once(arms.state, "adaptation", adapter, [watch], fit)
    found.target_accuracy = history.pop(by_epoch.name, [])
    found.history["adaptation"] = history
    found.probabilities = {name: adapter.target_outputs(x).probabilities for name, x in inputs.items()}
    found.features["after"] = _sampled_features(adapter, pairs)
    if ceiling is not None and not watch.interrupted:
        _, network = arms.build()
        examples = arms.inputs(ceiling.train), ceiling.train.labels
        arms.fit("ceiling", network, examples, pairs, watch, verbose=0)
        predicted = network.predict(inputs["target"][:], verbose=0)
        found.ceiling = predicted.argmax(axis=1)


def check_classes(source: Dataset, evaluate: Dataset | None) -> None:
    """Raise DataError if the labelled target has other classes than the source, or another order of them."""
    if evaluate is None:
        return
    names = "the source", "the target"
    if difference := class_difference(source.class_names, evaluate.class_names, names):
        raise DataError(
            f"Source and labelled target must have the same classes: {difference}. Rename or remove the "
            "class folders that are in only one of them."
        )


class TargetAccuracy(keras.callbacks.Callback):
    """Record the accuracy on the labelled target after each epoch, for the report; training never uses it.

    It is in Keras's history under `name`, a fraction from 0 to 1.
    """

    name = "target_accuracy"

    def __init__(self, adapter: DomainAdapter, inputs: Any, labels: np.ndarray | None) -> None:
        super().__init__()
        self.adapter, self.inputs, self.labels = adapter, inputs, labels

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.labels is not None and logs is not None:
            found = self.adapter.target_outputs(self.inputs).probabilities
            logs[self.name] = accuracy(found, self.labels)


def _sampled_features(adapter: DomainAdapter, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    source = adapter.source_outputs(pairs.source[sample(pairs.source)]).features
    return source, adapter.target_outputs(pairs.target[sample(pairs.target)]).features
