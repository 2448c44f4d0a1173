"""The networks that an adaptation compares: the same architecture, the same start and the same steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tlkit._internal.seeds import set_seed
from tlkit._internal.state import SavedState
from tlkit.callbacks import Backup, Interruptible
from tlkit.data import Dataset, Split
from tlkit.data.batches import Batches
from tlkit.experiments import phases
from tlkit.experiments.domains import joined_splits
from tlkit.models import build_classifier, unfreeze
from tlkit.reports.sources import TOGETHER, SourceAlone
from tlkit.techniques.domain_adaptation import Pairs, pair
from tlkit.techniques.domain_adaptation.voting import BATCH_SIZE, BOTTLENECK, LEARNING_RATE
from tlkit.techniques.domain_adaptation.voting import BUDGET as ON_FEATURES
from tlkit.techniques.feature_extraction import extract
from tlkit.techniques.logistic_regression import solve
from tlkit.techniques.resuming import trained_once
from tlkit.techniques.step_budget import Budget
from tlkit.techniques.training import compile_state_kept, make_state
from tlkit.techniques.views import predicted

UNFROZEN = 0.3  # top fraction of a pretrained backbone that learns end to end
SAMPLE = 500  # examples of a domain whose features are compared and drawn
PRETRAINED = Budget(epochs=10, least_steps=200, most_steps=1_000)
FROM_SCRATCH = Budget(epochs=40, least_steps=1_000, most_steps=3_000)
COMPILE: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


@dataclass
class Arms:
    """What the adapted network, its control and the ceiling share.

    Attributes:
        backbone: from raw images to features; its weights do not change.
        classes: number of classes.
        pretrained: whether its weights were learned on other images.
        on_features: the head alone is trained.
        epochs: number of epochs of an adaptation; None for the budget in steps.
        seed, verbose: see `tlkit.adapt`.
        domains: int `(n,)`: which of several sources each training example comes from; None for one source.
        state: the trainings are saved here, and continue from there; None saves nothing.
    """

    backbone: keras.Model
    classes: int
    pretrained: bool
    on_features: bool
    epochs: int | None
    seed: int
    verbose: int | str
    domains: np.ndarray | None = None
    state: SavedState | None = None

    def inputs(self, split: Split) -> Any:
        """Return what the trained part of the network takes: features, or images."""
        return self.features(split) if self.on_features else split.images

    def features(self, split: Split) -> Any:
        """Return the features of the frozen backbone, float32 `(n, d)`."""
        return extract(self.backbone, split, progress=phases.shows_progress(self.verbose))

    def pairs(self, source: Any, labels: np.ndarray, target: Any) -> Pairs:
        """Return both domains as the input of an adaptation."""
        size = min(BATCH_SIZE, len(labels), len(target))
        return pair((source, labels), target, batch_size=size, seed=self.seed)

    def copy(self) -> keras.Model:
        """Return a copy of the backbone to train; if it is not pretrained, with new random weights."""
        copied = keras.models.clone_model(self.backbone)
        if self.pretrained:
            copied.set_weights(self.backbone.get_weights())
        else:
            phases.prepare_from_scratch(copied)
        return copied

    def build(self) -> tuple[keras.Model, keras.Model]:
        """Return the classifier, and the part of it that learns from `inputs`."""
        set_seed(self.seed)
        body = self.backbone if self.on_features else self.copy()
        model = build_classifier(body, self.classes, bottleneck=BOTTLENECK if self.pretrained else None)
        if self.pretrained:
            unfreeze(model, fraction=0.0 if self.on_features else UNFROZEN)
        return model, model.get_layer("head") if self.on_features else model

    def epochs_for(self, steps: int) -> int:
        """Return the number of epochs, if an epoch has so many steps."""
        budget = ON_FEATURES if self.on_features else PRETRAINED if self.pretrained else FROM_SCRATCH
        return self.epochs or budget.epochs_for(steps)

    def optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """Return Adam with a learning rate that decays along a cosine."""
        return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps))

    def fit(
        self,
        name: str,
        network: keras.Model,
        examples: tuple[Any, np.ndarray],
        pairs: Pairs,
        watch: Interruptible,
        **options: Any,
    ) -> dict[str, list[float]]:
        """Train on labelled examples alone, for as many steps as an adaptation on these pairs takes."""
        inputs, labels = examples
        each, steps = -(-len(labels) // pairs.batch_size), self.epochs_for(len(pairs)) * len(pairs)
        options = {"epochs": max(1, round(steps / each)), "verbose": self.verbose} | options

        def fit(backup: Backup | None) -> dict[str, list[float]]:
            with compile_state_kept(network):
                network.compile(self.optimizer(options["epochs"] * each), **COMPILE)
                make_state(network, labels, network.output_shape)
                if backup is None:
                    size = pairs.batch_size
                    return network.fit(
                        inputs[:], labels, batch_size=size, callbacks=[watch], **options
                    ).history
                # the order of these batches depends on the epoch, so it can continue
                batches = Batches(inputs, labels, pairs.batch_size, True, self.seed)
                batches.start_epoch(backup.epoch)
                again = {"initial_epoch": backup.epoch, "callbacks": [watch, backup], "shuffle": False}
                return network.fit(batches, **again, **options).history

        return trained_once(self.state, name, network, [watch], fit)


def with_all_labels(data: Dataset) -> Dataset:
    """Return a data set whose training split includes the validation split."""
    if data.validation is None or not data.validation.labelled:
        return data
    return replace(data, train=joined_splits([data.train, data.validation]), validation=None)


def alone_and_together(
    arms: Arms, names: Sequence[str], source: Split, evaluated: Split
) -> list[SourceAlone]:
    """Return what each source alone, and all of them together, reach by a head on frozen features.

    Without target labels or pretrained features, nothing is measured.
    """
    if arms.domains is None:
        return []
    parts = {name: np.flatnonzero(arms.domains == index) for index, name in enumerate(names)}
    parts[TOGETHER] = np.arange(len(source))
    if not (arms.pretrained and evaluated.labelled):
        return [SourceAlone(name, len(rows)) for name, rows in parts.items()]
    features, target = arms.features(source), arms.features(evaluated)
    heads = {name: solve(features[rows], source.labels[rows], arms.classes) for name, rows in parts.items()}
    return [
        SourceAlone(name, len(rows), heads[name].predict(target).argmax(axis=1))
        for name, rows in parts.items()
    ]


def sample(inputs: Any) -> np.ndarray:
    """Return the positions of some examples whose features are compared and drawn, int `(at most 500,)`."""
    return np.sort(np.random.default_rng(0).permutation(len(inputs))[:SAMPLE])


def predicted_by(model: keras.Model, split: Split) -> np.ndarray:
    """Return what a model predicts for the images of a split."""
    return predicted(model, split.images if isinstance(split.images, np.ndarray) else split.unlabelled())
