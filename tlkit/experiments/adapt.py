"""Adapt a classifier to a target domain without labels, and measure what it gained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit._internal.seeds import set_seed
from tlkit.callbacks import Interruptible
from tlkit.data import Dataset, Split
from tlkit.errors import DataError
from tlkit.experiments import phases
from tlkit.models import build_classifier, frozen_table, unfreeze
from tlkit.reports import adaptation, classifier
from tlkit.reports.data import INTERRUPTED, class_terms, data_metrics, data_section, problem_sections
from tlkit.reports.document import Document
from tlkit.reports.result import Result
from tlkit.reports.words import interval, percent
from tlkit.techniques.domain_adaptation import (
    METHODS,
    VALIDATORS,
    DomainAdapter,
    Pairs,
    pair,
    proxy_a_distance,
)
from tlkit.techniques.feature_extraction import extract
from tlkit.techniques.training import compile_state_kept, make_state

BOTTLENECK = 256
UNFROZEN = 0.3  # top fraction of a pretrained backbone that learns end to end
EPOCHS, FEATURE_EPOCHS = 10, 40
LEARNING_RATE, BATCH_SIZE = 1e-3, 32
SAMPLE = 500  # examples of a domain whose features are compared and drawn
COMPILE: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


@dataclass
class Adaptation(Result):
    """An adapted classifier, and what adaptation changed.

    Attributes:
        model: raw images to class probabilities.
        source: the labelled data set.
        target: the target images that are evaluated, with labels where they are known.
        target_name: what the target is called.
        method: a name of `tlkit.techniques.domain_adaptation.METHODS`.
        validator: the score that chose the epoch, or None for the last epoch.
        backbone: its name.
        seed: of the weights and the order of the images.
        history: Keras's history of each phase, by name.
        probabilities: float32 `(n, classes)` of the source's `train` and `validation`, and of the `target`.
        before: probabilities of the network that learned the source alone, on the target `(n, classes)`.
        accuracies: on the labelled target, 0 to 1, or None where there are no labels: `source_only`, `last`,
            `selected`, `oracle` (the best epoch, which needs target labels), `ceiling` (trained on target
            labels).
        target_accuracy: the accuracy after each epoch, where there are labels.
        a_distance: proxy A-distance of the features, 0 to 2, `before` and `after`.
        features: `before` and `after`: features of some source and some target examples, float32 `(n, d)`.
        source_labels: int `(n,)` of these source examples.
        seconds: how long the parts took: features, training, total.
        frozen: what was frozen; see `tlkit.frozen_table`.
        interrupted: Ctrl-C stopped the training.
    """

    model: keras.Model
    source: Dataset
    target: Split
    target_name: str
    method: str
    validator: str | None
    backbone: str
    seed: int
    history: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    before: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), "float32"))
    accuracies: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(adaptation.ARMS))
    target_accuracy: list[float] = field(default_factory=list)
    a_distance: dict[str, float] = field(default_factory=dict)
    features: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    source_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    seconds: dict[str, float] = field(default_factory=dict)
    frozen: pd.DataFrame = field(default_factory=pd.DataFrame)
    interrupted: bool = False

    @property
    def accuracy(self) -> float | None:
        """The fraction of right answers on the labelled target, 0 to 1; None without labels."""
        if not self.target.labelled:
            return None
        return phases.accuracy_of(self.probabilities["target"], self.target.labels)

    def metrics(self) -> dict[str, Any]:
        """Return the accuracies on the target with the 95 % interval, and the settings."""
        names, accuracy = self.source.class_names, self.accuracy
        splits = {name: len(each) for name, each in self.source.splits.items() if name != "test"}
        by_split = {
            name: phases.accuracy_of(self.probabilities[name], self.source.splits[name].labels)
            for name in splits
        }
        return {
            "technique": f"domain adaptation by {self.method}",
            "method": self.method,
            "validator": self.validator,
            "backbone": self.backbone,
            "seed": self.seed,
            **data_metrics(self.source),
            "target": self.target_name,
            "splits": {"train": None, "validation": None} | splits | {"test": len(self.target)},
            "classes": len(names),
            "class_names": list(names),
            "accuracy": self.accuracies,
            "accuracy_by_split": {"train": None, "validation": None} | by_split | {"test": accuracy},
            "interval": self._interval(),
            "target_accuracy": self.target_accuracy,
            "a_distance": self.a_distance,
            "per_class": []
            if accuracy is None
            else classifier.class_metrics(self.target.labels, self.probabilities["target"], names),
            "interrupted": self.interrupted,
        }

    def _interval(self) -> dict[str, Any] | None:
        if self.accuracy is None:
            return None
        return classifier.accuracy_interval(self.accuracy, "test", len(self.target))

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: what adaptation gained, the features, the data, and the target answers."""
        names, labels = self.source.class_names, self.target.labels if self.target.labelled else None
        found = self.probabilities["target"]
        bounds = self._interval()
        answer = "Trained; there are no labelled target images to evaluate it on."
        if self.accuracy is not None:
            answer = (
                f"{percent(self.accuracy)} % of {len(self.target):,} target images right, 95 % interval "
                f"{interval(bounds)}"
            )
        gains = adaptation.gain_section(
            self.source.card.name,
            self.target_name,
            self.validator,
            self.accuracies,
            labels,
            self.before,
            found,
            names,
        )
        features = adaptation.feature_section(
            self.features, self.source_labels, self.a_distance, self.history.get("adaptation", {})
        )
        document = Document(
            f"{self.source.card.title}: domain adaptation by {self.method} with {self.backbone}",
            answer,
            f"{len(names)} classes; chance is about {percent(1 / len(names))} %.",
            [INTERRUPTED] if self.interrupted else [],
        )
        samples = classifier.samples(self.source.train, names)
        document.sections = [gains, features, data_section(self.source, class_terms(names), samples)]
        if self.history:
            document.sections.append(classifier.training_section(self.history))
        if labels is not None:
            document.sections += classifier.answer_sections(self.target, "target", found, names, self.model)
        if not self.frozen.empty:
            document.sections.append(classifier.frozen_section(self.frozen))
        document.sections += problem_sections(self.source)
        return document

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the model, which Keras opens without tlkit."""
        return {"model.keras": self.model.save}


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
        by_epoch = oracle.accuracy or [phases.accuracy_of(found.probabilities["target"], labels)]
        found.target_accuracy = oracle.accuracy
        found.accuracies |= {
            "source_only": phases.accuracy_of(found.before, labels),
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
    return phases.accuracy_of(network.predict(inputs[:], verbose=0), test.labels)


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
            self.accuracy.append(phases.accuracy_of(found, self.labels))


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
