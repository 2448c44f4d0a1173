"""Pretrain a backbone on images without labels, and measure its features before and after."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit._internal.seeds import set_seed
from tlkit._internal.sizes import check_length
from tlkit.backbones.engines import fingerprint
from tlkit.callbacks import Backup, Interruptible
from tlkit.data import Card, Dataset, Split
from tlkit.errors import DataError
from tlkit.experiments import phases
from tlkit.models import normalizations
from tlkit.optimizers import check_rate, warmup_cosine
from tlkit.reports.pretraining import Pretraining
from tlkit.techniques.self_supervised import (
    METHODS,
    CollapseWarning,
    Objective,
    Reconstruction,
    Rotation,
    SelfSupervised,
    TwoViews,
    quarter_turns,
    random_views,
)
from tlkit.techniques.self_supervised.pretext import TURNS
from tlkit.techniques.self_supervised.quality import feature_quality, knn_predictions

EPOCHS, TRANSFER_EPOCHS = 50, 20
LEARNING_RATE, TRANSFER_LEARNING_RATE = 1e-3, 1e-4
SAMPLE = 500  # images whose features are measured
VIEWED = 6  # images whose views are shown


def pretrain(
    images: Split | Dataset,
    *,
    method: str | Objective = "simclr",
    backbone: str | keras.Model = "LeNet",
    weights: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    batch_norm: bool | None = None,
    evaluate: Dataset | None = None,
    backup: Path | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
) -> Pretraining:
    """Train a backbone on images without labels, and measure its features before and after.

    The control is the same network before training: what pretraining is worth is the difference.

    Args:
        images: a split, or a data set, whose train split is used. Labels are not read.
        method: a name (`tlkit pretrain --list` explains each), or an objective such as
            `SimCLR(random_views(flip=False))`. By name, the views are those of `objective_for`.
        backbone: a name of `tlkit.list_backbones()`; or, to continue from its weights, a model from raw
            images to features, which learns in place.
        weights: `None` (random), `"imagenet"` or a weights file, for a name.
        epochs: by default 50 from random weights and 20 from pretrained ones.
        batch_size: images in a step, at most all; by default 64, and 128 of images below 64 pixels, whose
            views take less memory.
        learning_rate: the largest learning rate of Adam: it rises over the first tenth of the steps, then
            falls to zero along a cosine. By default 1e-3 from random weights and 1e-4 from pretrained ones.
        batch_norm: train batch normalisation as well. By default only from random weights: the statistics of
            a small batch of views are not those of images.
        evaluate: labelled images, used for evaluation alone: the 5 nearest images of its train split classify
            those of its test split, or of its validation split if it has no test split.
        backup: a folder for the state after each epoch. Called again with the same arguments, training
            continues where it stopped and ends with the same weights; see `tlkit.callbacks.Backup`.
        seed: of the weights, the order of the images and the random views.
        callbacks: further Keras callbacks.
        verbose: as for Keras's `fit`: 0 is silent, 1 shows progress bars, 2 prints a line for each epoch.

    Returns:
        The backbone with its figures.

    Raises:
        UnknownNameError: there is no such method or backbone.
        DataError: too few images, or images of another size than the backbone's.
        TlkitError: the backup has other settings; the loss became NaN.

    >>> import tlkit
    >>> result = pretrain(tlkit.load("digits/optical").train.subset(slice(64)), epochs=1)
    >>> result.model.output_shape, len(result.history["loss"])
    ((None, 100), 1)
    """
    data = images if isinstance(images, Dataset) else _unnamed(images)
    if len(data.train) < 2:
        raise DataError(f"{len(data.train)} images are too few to learn from. Give hundreds or more.")
    if isinstance(method, str):
        METHODS.find(method)  # an unknown name fails before anything is loaded
    check_length(epochs)
    if learning_rate is not None:
        check_rate(learning_rate)
    clock, watch = phases.Clock(), Interruptible()
    set_seed(seed)
    network, pretrained = phases.loaded(backbone, weights, data.image_size)
    objective = objective_for(data, method) if isinstance(method, str) else method
    if not pretrained:
        phases.prepare_from_scratch(network)
    epochs = epochs or (TRANSFER_EPOCHS if pretrained else EPOCHS)
    learning_rate = learning_rate or (TRANSFER_LEARNING_RATE if pretrained else LEARNING_RATE)
    batch_size = min(batch_size or (128 if data.image_size < 64 else 64), len(data.train))
    frozen = normalizations(network) if (pretrained if batch_norm is None else not batch_norm) else []
    with _frozen(frozen):
        learner = SelfSupervised(network, objective)
        steps = epochs * (len(data.train) // batch_size)
        learner.compile(keras.optimizers.Adam(warmup_cosine(learning_rate, steps)))
        settings = {"seed": seed, "batch size": batch_size, "epochs": epochs, "learning rate": learning_rate}
        settings["frozen normalisations"] = len(frozen)
        state = None if backup is None else Backup(backup, _settings(learner, data) | settings)
        found = Pretraining(network, data, evaluate, _name(objective), network.name, seed, batch_size)
        measure = _measure_before(found, learner, phases.shows_progress(verbose))
        with clock.part("training"):
            history = learner.fit(
                data.train.images,
                batch_size=batch_size,
                epochs=epochs,
                initial_epoch=0 if state is None else state.epoch,
                seed=seed,
                callbacks=[*callbacks, CollapseWarning(measure.images), watch, *([state] if state else [])],
                verbose=verbose,
            ).history
    found.history = history if state is None else state.history()
    found.after = measure(found, "after")
    if isinstance(objective, Reconstruction):
        found.shown["reconstructed"] = _pixels(objective.reconstruct(found.shown["corrupted"]))
    found.interrupted, found.seconds = watch.interrupted, clock.stop()
    return found


def objective_for(
    data: Dataset, method: str, *, flip: bool | None = None, colour: bool | None = None
) -> Objective:
    """Return a method with views that suit a data set.

    Args:
        data: digits are neither mirrored nor changed in colour.
        method: a name of `tlkit.techniques.self_supervised.METHODS`.
        flip: views may be mirrored; None decides by the data.
        colour: views may change in colour; None decides by the data.

    Raises:
        UnknownNameError: there is no such method.
    """
    row = METHODS.find(method)
    if issubclass(row.target, Reconstruction):  # corrupts the images in its own way
        return row.build()
    flip, colour = (phases.mirrors(data) if each is None else each for each in (flip, colour))
    return row.build(random_views(flip=flip, **({} if colour else {"colour": 0.0, "grey": 0.0})))


def _name(objective: Objective) -> str:
    """Return the name of a method, or of its class if it has no row in the table."""
    return next((row.name for row in METHODS if row.target is type(objective)), type(objective).__name__)


@contextmanager
def _frozen(layers: Sequence[keras.Layer]) -> Iterator[None]:
    """Freeze layers within the block; batch normalisation is then in inference mode."""
    before = [layer.trainable for layer in layers]
    try:
        for layer in layers:
            layer.trainable = False
        yield
    finally:
        for layer, trainable in zip(layers, before, strict=True):
            layer.trainable = trainable


def _settings(learner: SelfSupervised, data: Dataset) -> dict[str, Any]:
    """Return what must be the same to continue a training, by name."""
    views = getattr(learner.objective, "views", None)
    return {
        "method": _name(learner.objective),
        "backbone": learner.backbone.name,
        "image size": data.image_size,
        "starting weights": fingerprint(learner.backbone),
        "views": None
        if views is None
        else [_description(each) for each in getattr(views, "layers", [views])],
        "images": len(data.train),
        "content": data.train.fingerprint(),
    }


def _description(layer: keras.Layer) -> str:
    """Return a layer's class and settings, without what differs between two equal layers."""
    config = {name: each for name, each in layer.get_config().items() if name not in ("name", "seed")}
    return f"{type(layer).__name__} {config}"


@dataclass
class _Measure:
    """Measures the features of the same images and views again and again."""

    learner: SelfSupervised
    images: np.ndarray
    views: dict[str, np.ndarray]
    evaluation: Dataset | None
    progress: bool

    def __call__(self, found: Pretraining, when: str) -> dict[str, float]:
        """Write the features and the neighbours' predictions into the result, and return the measures."""
        found.features[when], measures = feature_quality(self.learner, self.images, self.views)
        predicted = knn_predictions(self.learner.backbone, self.evaluation, progress=self.progress)
        if predicted is None:
            return measures
        found.predicted[when] = predicted
        return measures | {"knn_accuracy": float(np.mean(predicted == found.evaluated.labels))}


def _measure_before(found: Pretraining, learner: SelfSupervised, progress: bool) -> _Measure:
    """Choose images to measure, write their features and views into the result, and return the measure."""
    rows = np.random.default_rng(found.seed).permutation(len(found.data.train))[:SAMPLE]
    found.sampled = np.sort(rows)
    sample = found.data.train.images[found.sampled]
    _seed_layers(learner, found.seed)
    views = _views(learner.objective, sample)
    found.shown = {"image": sample[:VIEWED]} | {name: each[:VIEWED] for name, each in views.items()}
    measure = _Measure(learner, sample, views, found.evaluation, progress)
    found.before = measure(found, "before")
    return measure


def _seed_layers(learner: SelfSupervised, seed: int) -> None:
    """Seed the random layers of a learner, whose objective may have been built before the seed was set."""
    states = [each for each in learner.variables if each.name == "seed_generator_state"]
    drawn = np.random.SeedSequence(seed).generate_state(len(states))
    for state, value in zip(states, drawn, strict=True):
        state.assign(np.array([value, 0], "uint32"))


def _views(objective: Objective, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the method makes of images before the network takes them, by name."""
    if isinstance(objective, TwoViews):
        parts = [images[start : start + 64] for start in range(0, len(images), 64)]
        drawn = [[_pixels(view) for view in objective.two_views(part)] for part in parts]
        return {f"view {i + 1}": np.concatenate(each) for i, each in enumerate(zip(*drawn, strict=True))}
    images = images[:VIEWED]
    if isinstance(objective, Reconstruction):
        return {"corrupted": _pixels(objective.corrupt(keras.ops.cast(images, "float32"))[0])}
    if isinstance(objective, Rotation):
        turned = np.split(_pixels(quarter_turns(images)[0]), TURNS)
        return {f"rotated {90 * turns}°": each for turns, each in enumerate(turned) if turns}
    return {}


def _pixels(images: Any) -> np.ndarray:
    return np.clip(keras.ops.convert_to_numpy(images), 0, 255).astype("uint8")


def _unnamed(images: Split) -> Dataset:
    card = Card("images", "Images", "", "", "", "", [], {"train": len(images)}, images.images.shape[1])
    return Dataset(images, None, None, [], card)
