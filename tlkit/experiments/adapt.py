"""Adapt a classifier to a target domain without labels, and measure what it gained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit._internal.seeds import set_seed
from tlkit.callbacks import Interruptible
from tlkit.data import Dataset, Split
from tlkit.errors import DataError
from tlkit.experiments import phases
from tlkit.models import build_classifier, frozen_table, unfreeze
from tlkit.reports.adaptation import Adaptation
from tlkit.reports.classifier import accuracy
from tlkit.techniques.domain_adaptation import (
    METHODS,
    VALIDATORS,
    DomainAdapter,
    Pairs,
    pair,
    proxy_a_distance,
)
from tlkit.techniques.feature_extraction import extract, feature_precision
from tlkit.techniques.training import compile_state_kept, make_state

BOTTLENECK = 256
UNFROZEN = 0.3  # top fraction of a pretrained backbone that learns end to end
EPOCHS, FEATURE_EPOCHS = 10, 40
LEARNING_RATE, BATCH_SIZE = 1e-3, 32
SAMPLE = 500  # examples of a domain whose features are compared and drawn
COMPILE: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


def adapt(
    source: Dataset,
    target: Dataset | Split,
    *,
    method: str = "jan",
    backbone: str | keras.Model = "EfficientNetLite0",
    weights: str | None = "imagenet",
    on_features: bool | None = None,
    validator: str | None = "snd",
    epochs: int | None = None,
    evaluate: Dataset | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
) -> Adaptation:
    """Train a classifier on a labelled source for an unlabelled target, and measure what adaptation gained.

    The control is the same network, trained on the source alone for the same number of epochs.

    Args:
        source: the labelled data set.
        target: images of the target domain; of a data set, the train split. Their labels are not read.
        method: a name of `tlkit.techniques.domain_adaptation.METHODS`; `tlkit adapt --list` explains each.
        backbone: a name of `tlkit.list_backbones()`, or a model from raw images to features.
        weights: `"imagenet"`, `None` (random) or a weights file, for a name.
        on_features: train the head alone, on the features of the frozen backbone (seconds), or train end to
            end; of a pretrained backbone the upper part then learns. By default on features if the backbone
            is pretrained.
        validator: the score that chooses the epoch without target labels; `None` keeps the last epoch.
        epochs: by default 40 on features and 10 end to end; an epoch is one pass over the larger domain.
        evaluate: labelled images of the target, used for evaluation alone: its test split, or its train
            split if it has no other. With both, training on the train labels gives the ceiling.
        seed: of the weights and the order of the images.
        callbacks: further Keras callbacks for the adaptation.
        verbose: as for Keras's `fit`: 0 is silent, 1 shows progress bars, 2 prints a line for each epoch.

    Returns:
        The adapted model with its figures.

    Raises:
        DataError: the domains do not fit together; see also `tlkit.pair`.
        UnknownNameError: there is no such method, validator or backbone.
    """
    chosen = METHODS.find(method)  # what can fail early fails here
    validator = None if validator is None else VALIDATORS.find(validator).name
    check_classes(source, evaluate)
    clock = phases.Clock()
    set_seed(seed)
    network, pretrained = phases.loaded(backbone, weights, source.image_size)
    on_features = pretrained if on_features is None else on_features
    epochs = epochs or (FEATURE_EPOCHS if on_features else EPOCHS)
    arms = _Arms(network, len(source.class_names), pretrained, on_features, epochs, seed, verbose)
    images = (target.train if isinstance(target, Dataset) else target).unlabelled()
    evaluated = images if evaluate is None else evaluate.test or evaluate.train
    with clock.part("features"):
        inputs = {name: arms.inputs(each) for name, each in source.splits.items() if name != "test"}
        unlabelled = arms.inputs(images)
        inputs["target"] = unlabelled if evaluate is None else arms.inputs(evaluated)
    name = next((each.card.name for each in (evaluate, target) if isinstance(each, Dataset)), "target")
    found = Adaptation(keras.Model(), source, evaluated, name, chosen.name, validator, network.name, seed)
    found.precision = feature_precision(network, source.train) if on_features else None
    sizes = len(inputs["train"]), len(unlabelled)
    pairs = pair(
        (inputs["train"], source.train.labels), unlabelled, batch_size=min(BATCH_SIZE, *sizes), seed=seed
    )
    with clock.part("training"):
        watch = _train(found, arms, pairs, inputs, chosen.build(), callbacks)
    if evaluate is not None and evaluate.test is not None and not watch.interrupted:
        found.accuracies["ceiling"] = _ceiling(
            arms, evaluate.train, inputs["target"], evaluate.test, pairs, watch
        )
    found.interrupted, found.seconds = watch.interrupted, clock.stop()
    return found


def _train(
    found: Adaptation,
    arms: "_Arms",
    pairs: Pairs,
    inputs: Mapping[str, Any],
    method: Any,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Interruptible:
    """Train the control and the adapted network, and write what they reach into the result."""
    labels = found.target.labels if found.target.labelled else None
    source, watch = found.source, Interruptible()
    held_out = (inputs["validation"], source.validation.labels) if source.validation else None
    found.model, network = arms.build()
    fresh = network.get_weights()
    adapter = DomainAdapter(network, method)
    fit: dict[str, Any] = {"validation_data": held_out, "verbose": arms.verbose}
    control = arms.fit(
        network, (inputs["train"], source.train.labels), pairs.batch_size, callbacks=[watch], **fit
    )
    found.history["source only"] = control
    found.before = adapter.target_outputs(inputs["target"]).probabilities
    found.features["before"] = _sampled_features(adapter, pairs)
    if not method.starts_from_source:
        network.set_weights(fresh)
    oracle = TargetAccuracy(adapter, inputs["target"], labels)
    adapter.compile(arms.optimizer(len(pairs)), **COMPILE)
    found.history["adaptation"] = adapter.fit(
        pairs,
        epochs=arms.epochs,
        source_epochs=0,
        validator=found.validator,
        callbacks=[*callbacks, oracle, watch],
        **fit,
    ).history
    found.frozen = frozen_table(found.model)
    found.probabilities = {name: adapter.target_outputs(x).probabilities for name, x in inputs.items()}
    found.features["after"] = _sampled_features(adapter, pairs)
    found.a_distance = {when: proxy_a_distance(*each) for when, each in found.features.items()}
    found.source_labels = source.train.labels[_sample(pairs.source)]
    if labels is not None:
        by_epoch = oracle.accuracy or [accuracy(found.probabilities["target"], labels)]
        found.target_accuracy = oracle.accuracy
        found.accuracies |= {
            "source_only": accuracy(found.before, labels),
            "last": by_epoch[-1],
            "selected": found.accuracy if found.validator else None,
            "oracle": max(by_epoch),
        }
    return watch


def _ceiling(
    arms: "_Arms", train: Split, inputs: Any, test: Split, pairs: Pairs, watch: Interruptible
) -> float:
    """Return the accuracy of the same network, trained on target labels."""
    _, network = arms.build()
    examples = arms.inputs(train), train.labels
    arms.fit(network, examples, pairs.batch_size, callbacks=[watch], verbose=0)
    return accuracy(network.predict(inputs[:], verbose=0), test.labels)


def check_classes(source: Dataset, evaluate: Dataset | None) -> None:
    """Raise DataError if the labelled target has other classes than the source, or another order of them."""
    if evaluate is None or evaluate.class_names == source.class_names:
        return
    only = {
        "source": [name for name in source.class_names if name not in evaluate.class_names],
        "target": [name for name in evaluate.class_names if name not in source.class_names],
    }
    said = "; ".join(f"only the {domain} has {', '.join(names)}" for domain, names in only.items() if names)
    raise DataError(
        f"Source and labelled target must have the same classes: {said or 'their order differs'}. Rename or "
        "remove the class folders that are in only one of them."
    )


class TargetAccuracy(keras.callbacks.Callback):
    """Record the accuracy on the labelled target after each epoch, for the report; training never uses it."""

    def __init__(self, adapter: DomainAdapter, inputs: Any, labels: np.ndarray | None) -> None:
        super().__init__()
        self.adapter, self.inputs, self.labels = adapter, inputs, labels
        self.accuracy: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.labels is not None:
            found = self.adapter.target_outputs(self.inputs).probabilities
            self.accuracy.append(accuracy(found, self.labels))


@dataclass
class _Arms:
    """What the adapted network, its control and the ceiling share: architecture, start and budget."""

    backbone: keras.Model
    classes: int
    pretrained: bool
    on_features: bool
    epochs: int
    seed: int
    verbose: int | str

    def inputs(self, split: Split) -> Any:
        if not self.on_features:
            return split.images
        return extract(self.backbone, split, progress=phases.shows_progress(self.verbose))

    def build(self) -> tuple[keras.Model, keras.Model]:
        """Return the classifier, and the part of it that learns from `inputs`."""
        set_seed(self.seed)
        body = self.backbone
        if not self.on_features:
            body = keras.models.clone_model(self.backbone)
            if self.pretrained:
                body.set_weights(self.backbone.get_weights())
        model = build_classifier(body, self.classes, bottleneck=BOTTLENECK if self.pretrained else None)
        if self.pretrained:
            unfreeze(model, fraction=0.0 if self.on_features else UNFROZEN)
        return model, model.get_layer("head") if self.on_features else model

    def optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, self.epochs * steps)
        return keras.optimizers.Adam(schedule)

    def fit(
        self, network: keras.Model, examples: tuple[Any, np.ndarray], batch_size: int, **options: Any
    ) -> dict[str, list[float]]:
        inputs, labels = examples
        with compile_state_kept(network):
            network.compile(self.optimizer(-(-len(labels) // batch_size)), **COMPILE)
            make_state(network, labels, network.output_shape)
            options = {"batch_size": batch_size, "epochs": self.epochs} | options
            return network.fit(inputs[:], labels, **options).history


def _sample(inputs: Any) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(len(inputs))[:SAMPLE])


def _sampled_features(adapter: DomainAdapter, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    source = adapter.source_outputs(pairs.source[_sample(pairs.source)]).features
    return source, adapter.target_outputs(pairs.target[_sample(pairs.target)]).features
