"""One experiment of domain adaptation: source alone, adapted, and the cost of choosing blindly."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tlkit import backbones
from tlkit.callbacks import Interruptible
from tlkit.data import Dataset, Split
from tlkit.errors import DataError
from tlkit.models import build_classifier, frozen_table, unfreeze
from tlkit.run import Run
from tlkit.seeds import set_seed
from tlkit.techniques.domain_adaptation import DomainAdapter, find, pair, proxy_a_distance
from tlkit.techniques.domain_adaptation.selection import check
from tlkit.techniques.feature_extraction import extract
from tlkit.techniques.training import compile_state_kept, make_state

BOTTLENECK = 256
UNFROZEN = 0.3  # top share of a pretrained backbone that learns end to end
EPOCHS, FEATURE_EPOCHS = 10, 40
MOST = 500  # examples of a domain whose features are compared and drawn
LOSS: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


@dataclass
class Adaptation(Run):
    """A run of domain adaptation: train and validation are the source's splits, test is the target.

    Attributes:
        method: a name of `tlkit.techniques.domain_adaptation.METHODS`.
        select: the score by which the epoch was chosen, or None for the last one.
        target: what the target is called.
        accuracies: on the labelled target, 0 to 1, or None where there are no labels: `source_only`, `last`,
            `selected`, `oracle` (the best epoch, which nobody knows without labels), `ceiling` (trained on
            target labels).
        target_accuracy: of each epoch, where there are labels.
        a_distance: proxy A-distance of the features, 0 to 2, `before` and `after`.
        features: `before` and `after`: features of some source and some target examples, float32 `(n, d)`.
        source_labels: int `(n,)` of these examples of the source.
        before: probabilities of the network that learned the source alone, on the target `(n, classes)`.
    """

    method: str = ""
    select: str | None = None
    target: str = ""
    accuracies: dict[str, float | None] = field(default_factory=dict)
    target_accuracy: list[float] = field(default_factory=list)
    a_distance: dict[str, float] = field(default_factory=dict)
    features: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    source_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    before: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), "float32"))


def adapt(
    source: Dataset,
    target: Split,
    *,
    method: str = "jan",
    backbone: str | keras.Model = "EfficientNetLite0",
    weights: str | None = "imagenet",
    on_features: bool | None = None,
    select: str | None = "snd",
    epochs: int | None = None,
    learning_rate: float = 1e-3,
    batch_size: int = 32,
    evaluate: Dataset | None = None,
    target_name: str = "target",
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = False,
    verbose: int | str = 0,
) -> Adaptation:
    """Train a classifier for a target without labels from a source with labels, and measure what it gained.

    The control is the same network, trained on the source alone for as many epochs.

    Args:
        source: the labelled data set.
        target: images of the other kind. Labels, if it has some, are not looked at.
        method: see `tlkit adapt --list`.
        backbone: a name of `tlkit.backbones`, or to transfer a model made by `tlkit.get`.
        weights: `"imagenet"`, `None` or a weights file, for a name.
        on_features: train the head alone on the features of the frozen backbone (seconds), or from end to
            end; of a pretrained backbone then the upper part learns. By default on features where there are
            weights.
        select: score by which the best epoch is kept, without target labels; `None` keeps the last.
        epochs: passes over the larger domain; by default 40 on features and 10 from end to end.
        learning_rate: the first step size of Adam; it falls to zero along a cosine.
        batch_size: images of each domain in a step; fewer where a domain has fewer.
        evaluate: labelled images of the target, to judge by and for nothing else: its test split, or its
            train split where it has no other. With both, training on the train labels gives the ceiling.
        target_name: what reports call the target.
        seed: of the weights and the order of the images.
        callbacks: further Keras callbacks for the adaptation.
        progress: show progress bars of the feature extraction.
        verbose: Keras's progress of the epochs.

    Raises:
        DataError: the domains do not fit together; see also `pair`.
        UnknownNameError: there is no such method or score.
    """
    start = time.perf_counter()
    check_classes(source, evaluate)
    chosen = find(method)  # what can fail early does
    if select is not None:
        check(select)
    set_seed(seed)
    if not isinstance(backbone, keras.Model):
        pretrained, size = weights is not None, source.image_size
        backbone = backbones.get(backbone, weights=weights, image_size=size)
    else:
        pretrained = True
    on_features = pretrained if on_features is None else on_features
    epochs = epochs or (FEATURE_EPOCHS if on_features else EPOCHS)
    arms = _Arms(backbone, len(source.class_names), pretrained, on_features, epochs, learning_rate, seed)
    judge = None if evaluate is None else evaluate.test or evaluate.train

    xs, xt = (arms.inputs(split, progress) for split in (source.train, target.unlabelled()))
    xv = None if source.validation is None else arms.inputs(source.validation, progress)
    xj = xt if judge is None else arms.inputs(judge, progress)
    pairs = pair((xs, source.train.labels), xt, batch_size=min(batch_size, len(xs), len(xt)), seed=seed)
    held_out = None if source.validation is None else (xv, source.validation.labels)
    features_end = time.perf_counter()

    watch = Interruptible()
    fit: dict[str, Any] = {"validation_data": held_out, "callbacks": [watch], "verbose": verbose}
    model, network = arms.build()
    fresh = network.get_weights()
    adapter = DomainAdapter(network, chosen.build())
    history = {"source only": arms.fit(network, (xs, source.train.labels), pairs.batch_size, **fit)}
    features, alone = {"before": _features(adapter, xs, xt)}, adapter.look(xj)[1]
    if not adapter.alignment.starts_from_source:
        network.set_weights(fresh)
    oracle = Oracle(adapter, xj, None if judge is None else judge.labels)
    adapter.compile(arms.optimizer(len(pairs)), **LOSS)
    fit["callbacks"] = [*callbacks, oracle, watch]
    history["adaptation"] = adapter.fit(pairs, epochs=epochs, source_epochs=0, select=select, **fit).history
    trained = time.perf_counter()

    data = Dataset(
        source.train, source.validation, judge or target.unlabelled(), source.class_names, source.card
    )
    run = Adaptation(model, data, f"domain adaptation by {method}", backbone.name, seed, history)
    run.method, run.select, run.target = method, select, target_name
    run.frozen, run.interrupted, run.before = frozen_table(model), watch.interrupted, alone
    for name, x in (("train", xs), ("validation", xv), ("test", xj)):
        if x is not None:
            run.probabilities[name] = adapter.look(x)[1]
    run.features = features | {"after": _features(adapter, xs, xt)}
    run.a_distance = {name: proxy_a_distance(*features) for name, features in run.features.items()}
    run.source_labels = source.train.labels[_some(xs)]
    run.accuracies = dict.fromkeys(("source_only", "last", "selected", "oracle", "ceiling"))
    if judge is not None:
        run.target_accuracy = oracle.accuracy
        by_epoch = oracle.accuracy or [run.accuracy("test")]  # some methods have no epochs
        run.accuracies |= {
            "source_only": _accuracy(run.before, judge.labels),
            "last": by_epoch[-1],
            "selected": run.accuracy("test") if select else None,
            "oracle": max(by_epoch),
        }
    if evaluate is not None and evaluate.test is not None and not watch.interrupted:
        x = arms.inputs(evaluate.train, progress)
        _, ceiling = arms.build()
        arms.fit(ceiling, (x, evaluate.train.labels), pairs.batch_size, callbacks=[watch], verbose=0)
        run.accuracies["ceiling"] = _accuracy(ceiling.predict(xj, verbose=0), evaluate.test.labels)
    run.seconds = {
        "features": features_end - start,
        "training": trained - features_end,
        "total": time.perf_counter() - start,
    }
    return run


def check_classes(source: Dataset, evaluate: Dataset | None) -> None:
    """Raise DataError where the labelled target has other classes than the source, or an order of its own."""
    if evaluate is None or evaluate.class_names == source.class_names:
        return
    only = {
        "source": [name for name in source.class_names if name not in evaluate.class_names],
        "target": [name for name in evaluate.class_names if name not in source.class_names],
    }
    said = "; ".join(f"only the {domain} has {', '.join(names)}" for domain, names in only.items() if names)
    raise DataError(
        f"Source and labelled target must have the same classes: {said or 'their order differs'}. Rename or "
        "remove the class folders that are in one of them alone."
    )


class Oracle(keras.callbacks.Callback):
    """Record the accuracy on the labelled target after each epoch, for the report: training never sees it."""

    def __init__(self, adapter: DomainAdapter, inputs: Any, labels: np.ndarray | None) -> None:
        super().__init__()
        self.adapter, self.inputs, self.labels = adapter, inputs, labels
        self.accuracy: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.labels is not None:
            self.accuracy.append(_accuracy(self.adapter.look(self.inputs)[1], self.labels))


@dataclass
class _Arms:
    """What the adapted network, its control and the ceiling share: architecture, start and budget."""

    backbone: keras.Model
    classes: int
    pretrained: bool
    on_features: bool
    epochs: int
    learning_rate: float
    seed: int

    def inputs(self, split: Split, progress: bool) -> Any:
        return extract(self.backbone, split, progress=progress) if self.on_features else split.images

    def build(self) -> tuple[keras.Model, keras.Model]:
        """Return the classifier and the part of it that learns from `inputs`."""
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
        schedule = keras.optimizers.schedules.CosineDecay(self.learning_rate, self.epochs * steps)
        return keras.optimizers.Adam(schedule)

    def fit(
        self, network: keras.Model, examples: tuple[Any, np.ndarray], batch_size: int, **options: Any
    ) -> dict[str, list[float]]:
        shown = {"batch_size": batch_size, "epochs": self.epochs, **options}
        with compile_state_kept(network):
            network.compile(self.optimizer(-(-len(examples[1]) // batch_size)), **LOSS)
            make_state(network, examples[1], network.output_shape)
            return network.fit(examples[0][:], examples[1], **shown).history


def _some(inputs: Any) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(len(inputs))[:MOST])


def _features(adapter: DomainAdapter, source: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    return adapter.look_at_source(source[_some(source)])[0], adapter.look(target[_some(target)])[0]


def _accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == labels))
