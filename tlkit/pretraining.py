"""One experiment of self-supervised learning: a backbone before and after it learned from images alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit import backbones, engines
from tlkit.backup import Backup
from tlkit.callbacks import Interruptible
from tlkit.data import Card, Dataset, Split
from tlkit.errors import DataError
from tlkit.feature_quality import measured
from tlkit.models import normalizations
from tlkit.optimizers import warmup_cosine
from tlkit.seeds import set_seed
from tlkit.techniques.methods import Method
from tlkit.techniques.self_supervised import (
    CollapseWarning,
    Objective,
    Reconstruction,
    Rotation,
    SelfSupervised,
    TwoViews,
    find,
    quarter_turns,
    random_views,
)
from tlkit.techniques.self_supervised.pretext import TURNS

EPOCHS, TRANSFER_EPOCHS = 50, 20
LEARNING_RATE, TRANSFER_LEARNING_RATE = 1e-3, 1e-4
MOST = 500  # images that are looked at after each epoch
SHOWN = 6  # images whose views are shown


@dataclass
class Pretraining:
    """A backbone that learned without labels, what it was asked, and what became of its features.

    Attributes:
        model: the backbone: raw images to features. It learned; what stood beside it is gone.
        data: what it learned from is the train split.
        judge: labelled images by which its features are judged, or None.
        method: a name of `tlkit.techniques.self_supervised.METHODS`.
        backbone: its name.
        seed: of the weights, the order of the images and the random changes.
        batch_size: images in a step.
        history: Keras's history: the loss, `spread` and `effective_rank` by epoch, and what a method has.
        before, after: measures of the features. `effective_rank` and `spread` (of the embeddings); with two
            views `alignment` and `uniformity`; with a judge `knn_accuracy`, 0 to 1.
        looked_at: indices of the images of the train split that were looked at, at most 500.
        features: of these images, float32 `(n, d)`, `before` and `after`.
        shown: what the method made of some images, uint8 `(n, height, width, 3)` by name.
        seconds: durations, by name: training, total.
        interrupted: training was stopped by Ctrl-C.
    """

    model: keras.Model
    data: Dataset
    judge: Dataset | None
    method: str
    backbone: str
    seed: int
    batch_size: int
    history: dict[str, list[float]] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    looked_at: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    features: dict[str, np.ndarray] = field(default_factory=dict)
    shown: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def technique(self) -> str:
        return f"pretraining by {self.method}"


def pretrain(
    images: Split | Dataset,
    *,
    method: str = "simclr",
    backbone: str | keras.Model = "LeNet",
    weights: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    flip: bool | None = None,
    colour: bool | None = None,
    batch_norm: bool | None = None,
    judge: Dataset | None = None,
    backup: Path | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = False,
    verbose: int | str = 0,
) -> Pretraining:
    """Train a backbone on images without labels, and measure its features before and after.

    The control is the same network before: what pretraining is worth is the difference.

    Args:
        images: a split, or a data set, of which the train split is learned from. Labels are not looked at.
        method: see `tlkit pretrain --list`.
        backbone: a name of `tlkit.backbones`; or, to go on from its weights, a model made by `tlkit.get`,
            which learns in place.
        weights: `None` (random), `"imagenet"` or a weights file, for a name.
        epochs: passes over the images; by default 50 from random weights and 20 from others.
        batch_size: images in a step, at most all; by default 64, and 128 of images below 64 pixels, whose
            views take less memory.
        learning_rate: largest step size of Adam: it rises over the first tenth of the steps, then falls to
            zero along a cosine. By default 1e-3 from random weights and 1e-4 from others.
        flip: views may be mirrored; by default they are, except of digits.
        colour: views may change in colour; by default they do, except of digits.
        batch_norm: let BatchNormalization learn as well; by default only from random weights, since the
            statistics of a small batch of views are not those of images.
        judge: labelled images: the 5 nearest of its train split name those of its test split, or else of
            its validation split.
        backup: a folder for the state after each epoch. Called again with the same arguments, training
            goes on where it was stopped and ends with the same weights; see `tlkit.backup.Backup`.
        seed: of the weights, the order of the images and the random changes.
        callbacks: further Keras callbacks.
        progress: show progress bars of the feature extraction.
        verbose: Keras's progress of the epochs.

    Raises:
        UnknownNameError: there is no such method or backbone.
        DataError: too few images, or of another size than the backbone's.
        TlkitError: the backup has other settings; the loss became NaN.

    >>> import tlkit
    >>> run = pretrain(tlkit.load("digits/optical").train.subset(slice(64)), epochs=1)
    >>> run.model.output_shape, len(run.history["loss"])
    ((None, 100), 1)
    """
    start = time.perf_counter()
    chosen = find(method)
    data = images if isinstance(images, Dataset) else _unnamed(images)
    if len(data.train) < 2:
        raise DataError(f"{len(data.train)} images are too few to learn from. Give hundreds or more.")
    set_seed(seed)
    scratch = not isinstance(backbone, keras.Model) and weights is None
    if not isinstance(backbone, keras.Model):
        backbone = backbones.get(backbone, weights=weights, image_size=data.image_size)
    expected = tuple(backbone.input_shape[1:])
    if any(size not in (None, got) for size, got in zip(expected, data.train.images.shape[1:], strict=True)):
        raise DataError(f"{backbone.name} takes images {expected}: load them with image_size={expected[0]}.")
    if scratch:
        for layer in normalizations(backbone):
            layer.momentum = 0.9  # 0.99 forgets its start in hundreds of steps; a small set has tens
    epochs = epochs or (EPOCHS if scratch else TRANSFER_EPOCHS)
    learning_rate = learning_rate or (LEARNING_RATE if scratch else TRANSFER_LEARNING_RATE)
    batch_size = min(batch_size or (128 if data.image_size < 64 else 64), len(data.train))
    digits = data.card.name.startswith("digits/")
    flip, colour = (not digits if given is None else given for given in (flip, colour))
    objective = _build(chosen, flip, colour)
    kept = [] if (scratch if batch_norm is None else batch_norm) else normalizations(backbone)
    learned = [layer.trainable for layer in kept]
    for layer in kept:
        layer.trainable = False  # and so in inference mode
    learner = SelfSupervised(backbone, objective)
    steps = epochs * (len(data.train) // batch_size)
    learner.compile(keras.optimizers.Adam(warmup_cosine(learning_rate, steps)))
    state = None
    if backup is not None:
        settings = {
            "method": chosen.name,
            "backbone": backbone.name,
            "image size": data.image_size,
            "starting weights": engines.fingerprint(backbone),
            "seed": seed,
            "batch size": batch_size,
            "epochs": epochs,
            "learning rate": learning_rate,
            "mirrored views": flip,
            "colour changes": colour,
            "frozen normalisations": len(kept),
            "images": len(data.train),
            "content": data.train.fingerprint(),
        }
        state = Backup(backup, settings)
    looked_at = np.sort(np.random.default_rng(seed).permutation(len(data.train))[:MOST])
    sample = data.train.images[looked_at]
    run = Pretraining(backbone, data, judge, chosen.name, backbone.name, seed, batch_size)
    run.looked_at = looked_at
    views = _views(objective, sample)
    run.shown = {"image": sample[:SHOWN]} | {name: each[:SHOWN] for name, each in views.items()}
    run.features["before"], run.before = measured(learner, sample, views, judge, progress=progress)

    began, watch = time.perf_counter(), Interruptible()
    try:
        history = learner.fit(
            data.train.images,
            batch_size=batch_size,
            epochs=epochs,
            initial_epoch=0 if state is None else state.epoch,
            seed=seed,
            callbacks=[*callbacks, CollapseWarning(sample), watch, *([] if state is None else [state])],
            verbose=verbose,
        ).history
    finally:
        for layer, trainable in zip(kept, learned, strict=True):
            layer.trainable = trainable
    run.seconds["training"] = time.perf_counter() - began
    run.history = history if state is None else state.history()
    run.interrupted = watch.interrupted
    run.features["after"], run.after = measured(learner, sample, views, judge, progress=progress)
    if isinstance(objective, Reconstruction):
        run.shown["painted"] = _pixels(objective.paint(run.shown["spoiled"]))
    run.seconds["total"] = time.perf_counter() - start
    return run


def _build(chosen: Method, flip: bool, colour: bool) -> Objective:
    if issubclass(chosen.made, Reconstruction):  # spoils the images in its own way
        return chosen.build()
    changes: dict[str, Any] = {} if colour else {"colour": 0.0, "grey": 0.0}
    return chosen.build(random_views(flip=flip, **changes))


def _views(objective: Objective, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the method makes of images before the network sees them, by name."""
    if isinstance(objective, TwoViews):
        parts = [images[start : start + 64] for start in range(0, len(images), 64)]
        drawn = [[_pixels(view) for view in objective.two_views(part)] for part in parts]
        return {f"view {i + 1}": np.concatenate(each) for i, each in enumerate(zip(*drawn, strict=True))}
    images = images[:SHOWN]
    if isinstance(objective, Reconstruction):
        return {"spoiled": _pixels(objective.spoil(keras.ops.cast(images, "float32"))[0])}
    if isinstance(objective, Rotation):
        turned = np.split(_pixels(quarter_turns(images)[0]), TURNS)
        return {f"turned {90 * turns}°": each for turns, each in enumerate(turned) if turns}
    return {}


def _pixels(images: Any) -> np.ndarray:
    return np.clip(keras.ops.convert_to_numpy(images), 0, 255).astype("uint8")


def _unnamed(images: Split) -> Dataset:
    card = Card("images", "Images", "", "", "", "", [], {"train": len(images)}, images.images.shape[1])
    return Dataset(images, None, None, [], card)
