"""One experiment with several tasks: from a table of labels to a trained model and its answers."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from tlkit.callbacks import Interruptible
from tlkit.data import Dataset
from tlkit.data.batches import Batches
from tlkit.errors import UnknownNameError
from tlkit.models import augmentation, backbone_of, freeze, frozen_table, normalizations, unfreeze
from tlkit.optimizers import depth_scales, scaled_learning_rates, warmup_cosine
from tlkit.seeds import set_seed
from tlkit.techniques import TECHNIQUES
from tlkit.techniques.feature_extraction import MOST_STEPS, SMALLEST_BATCH, extract
from tlkit.techniques.multi_task import (
    HardSharing,
    MultiTask,
    Task,
    build_multi_task,
    find,
)
from tlkit.techniques.multi_task.table import encoded, tasks_for
from tlkit.techniques.training import early_stopping

HEAD_RATE = 3e-3  # the first step size of the heads on kept features
BATCH_SIZE = 32
Labels = dict[str, np.ndarray]


@dataclass
class MultiTaskRun:
    """A network trained on several tasks, with its data, its learning curves and its predictions.

    Attributes:
        model: raw images to `{task: predictions}`.
        data: the data set; the labels are its splits' attributes.
        tasks: by name.
        technique: one of `tlkit.techniques.TECHNIQUES`.
        backbone: its name.
        seed: of the weights, the order of the images and the augmentation.
        balancing: a name of `tlkit.techniques.multi_task.BALANCINGS`.
        history: Keras's history of each phase, by name; see `MultiTask`.
        predictions: float32 `(n, outputs)` for each split and task.
        labels: as `Task.encode` writes them, for each split and task.
        seconds: durations of the parts, by name: features, training, total.
        frozen: what was frozen in the last phase; see `frozen_table`.
        interrupted: training was stopped by Ctrl-C; the model is the best one until then.
    """

    model: keras.Model
    data: Dataset
    tasks: dict[str, Task]
    technique: str
    backbone: str
    seed: int
    balancing: str
    history: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    predictions: dict[str, Labels] = field(default_factory=dict)
    labels: dict[str, Labels] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    frozen: pd.DataFrame = field(default_factory=pd.DataFrame)
    interrupted: bool = False

    @property
    def judged(self) -> str:
        """The split that says how good it is: test, else validation, else train."""
        return list(self.data.splits)[-1]

    def known(self, split: str, task: str) -> np.ndarray:
        """Return which images of a split have a label of the task, bool `(n,)`."""
        known = ops.convert_to_numpy(self.tasks[task].known(self.labels[split][task])) > 0
        return known if known.ndim == 1 else known.any(axis=1)

    def scores(self, split: str, task: str) -> np.ndarray:
        """Return the task's measure of each image, float `(n,)`; NaN where there is no label."""
        of, labels = self.tasks[task], self.labels[split][task]
        scores = of.score(of.filled(labels), self.predictions[split][task])
        known = ops.convert_to_numpy(of.known(labels)) > 0
        scores = np.where(known, ops.convert_to_numpy(scores).astype(float), np.nan)
        if scores.ndim == 1:
            return scores
        some = ~np.isnan(scores)
        return np.where(some, scores, 0).sum(axis=1) / np.where(some.any(axis=1), some.sum(axis=1), np.nan)

    def measures(self, split: str) -> dict[str, float | None]:
        """Return accuracy (0 to 1) or mean absolute error of each task; None where it has no label."""
        scores = {name: self.scores(split, name) for name in self.tasks}
        return {
            name: None if np.isnan(each).all() else float(np.nanmean(each)) for name, each in scores.items()
        }

    def baselines(self, split: str | None = None) -> dict[str, float | None]:
        """Return the same of the best constant answer, on the judged split by default."""
        split = split or self.judged
        return {
            name: task.baseline(self.labels["train"][name], self.labels[split][name])
            if self.known(split, name).any()
            else None
            for name, task in self.tasks.items()
        }


def train_tasks(
    data: Dataset,
    *,
    tasks: Mapping[str, Task] | None = None,
    kinds: Mapping[str, str] | None = None,
    technique: str = "feature-extraction",
    backbone: str | keras.Model = "EfficientNetLite0",
    weights: str | None = "imagenet",
    balancing: str = "equal",
    shared_width: int | None = 256,
    fraction: float = 0.7,
    epochs: int | None = None,
    head_epochs: int = 50,
    learning_rate: float = 1e-3,
    depth_decay: float = 0.7,
    augment: bool = True,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = False,
    verbose: int | str = 0,
) -> MultiTaskRun:
    """Train one network on several tasks, choose its best epoch on the validation split, predict all splits.

    Args:
        data: a data set with attributes, such as `tlkit.data.load_table` reads.
        tasks: by the name of their attribute; by default every attribute is one, see `tasks_for`.
        kinds: kind of a task by name, where the guess is wrong; see `infer_tasks`.
        technique: `"feature-extraction"` (the backbone stays as it is), `"fine-tuning"` (then its upper
            part learns too) or `"scratch"` (the same network from random weights: the control).
        backbone: a name of `tlkit.backbones`; or, to transfer, a model made by `tlkit.get`.
        weights: `"imagenet"` or a weights file, for a name; not used from scratch.
        balancing: a name of `tlkit.techniques.multi_task.BALANCINGS`.
        shared_width: of a layer between the backbone and the heads; `None` for none.
        fraction: share of the backbone's layers that fine-tuning unfreezes, from the top, 0 to 1.
        epochs: passes over the images, at most; for feature extraction, of the heads.
        head_epochs: passes of the heads before fine-tuning, over kept features.
        learning_rate: largest step size of fine-tuning and of training from scratch.
        depth_decay: each stage learns with this share of the step size of the stage above it.
        augment: random flips, shifts, turns and zooms in training; no mirror images of digits.
        seed: of the weights, the order of the images and the augmentation.
        callbacks: Keras callbacks for every phase.
        progress: show progress bars of the feature extraction.
        verbose: Keras's progress of the epochs.

    Raises:
        UnknownNameError: there is no such technique, balancing, kind or column.
        DataError: labels do not make a task; see `infer_tasks`.
        TlkitError: a loss became NaN, or the balancing needs layers that learn; see `MultiTask.fit`.
    """
    if technique not in TECHNIQUES:
        raise UnknownNameError("technique", technique, TECHNIQUES)
    rule = find(balancing)
    start = time.perf_counter()
    tasks = dict(tasks or tasks_for(data, kinds))
    labels = encoded(data, tasks)
    set_seed(seed)
    scratch, flip = technique == "scratch", not data.card.name.startswith("digits/")
    model = build_multi_task(
        backbone,
        tasks,
        sharing=HardSharing(shared_width),
        weights=None if scratch else weights,
        image_size=data.image_size,
        augmentation=augmentation(flip=flip) if augment and technique != "feature-extraction" else None,
    )
    run = MultiTaskRun(model, data, tasks, technique, backbone_of(model).name, seed, balancing, labels=labels)
    watch = Interruptible()
    fitting = _Fitting(run, [*callbacks, watch], verbose)
    features_end, features = start, {}
    if not scratch:
        features = {
            part: extract(backbone_of(model), split, progress=progress) for part, split in data.splits.items()
        }
        features_end = time.perf_counter()
        passes = head_epochs if technique == "fine-tuning" else epochs or head_epochs
        freeze(model)
        learner = MultiTask(model.get_layer("head"), tasks, rule())
        size = max(SMALLEST_BATCH, math.ceil(len(data.train) / MOST_STEPS))
        steps = math.ceil(len(data.train) / size)
        schedule = keras.optimizers.schedules.CosineDecay(HEAD_RATE, passes * steps)
        at_once = 1 if keras.backend.backend() == "torch" else steps
        learner.compile(keras.optimizers.Adam(schedule), steps_per_execution=at_once)
        run.history["head"] = fitting(learner, features, size, passes, patience=10)
    if technique != "feature-extraction" and not watch.interrupted:
        for layer in normalizations(backbone_of(model)) if scratch else ():
            layer.momentum = 0.9  # 0.99 forgets its start in hundreds of steps; a small set has tens
        unfreeze(model, fraction=1.0 if scratch else fraction, batch_norm=scratch)
        learner = MultiTask(model, tasks, rule())
        passes = epochs or 8
        schedule = warmup_cosine(learning_rate, passes * math.ceil(len(data.train) / BATCH_SIZE))
        scales = depth_scales(model, 1.0 if scratch else depth_decay)
        learner.compile(keras.optimizers.Adam(schedule))
        pixels = {part: split.images for part, split in data.splits.items()}
        with scaled_learning_rates(learner.optimizer, scales):
            run.history[technique] = fitting(learner, pixels, BATCH_SIZE, passes, patience=5)
    run.interrupted, run.frozen = watch.interrupted, frozen_table(model)
    trained = time.perf_counter()
    for part, split in data.splits.items():
        if technique == "feature-extraction":
            run.predictions[part] = model.get_layer("head").predict(features[part], verbose=0)
        else:
            run.predictions[part] = model.predict(split.batches(labels=False), verbose=0)
    run.seconds = {
        "features": features_end - start if not scratch else 0.0,
        "training": trained - features_end,
        "total": time.perf_counter() - start,
    }
    return run


@dataclass
class _Fitting:
    """What the phases of a run share: labels, callbacks, early stopping."""

    run: MultiTaskRun
    callbacks: list[keras.callbacks.Callback]
    verbose: int | str

    def __call__(
        self, learner: MultiTask, inputs: Mapping[str, Any], batch_size: int, epochs: int, patience: int
    ) -> dict[str, list[float]]:
        labels, held_out = self.run.labels, None
        if "validation" in inputs:
            # in batches: there a task may have no labels, and files are not read all at once
            size = len(inputs["validation"]) if inputs["validation"].ndim == 2 else batch_size
            held_out = Batches(inputs["validation"], labels["validation"], size, False, 0)
        given: tuple[Any, ...] = (inputs["train"], labels["train"])
        if not isinstance(inputs["train"], np.ndarray):
            given = (Batches(inputs["train"], labels["train"], batch_size, True, self.run.seed),)
        history = learner.fit(
            *given,
            batch_size=batch_size if len(given) == 2 else None,
            validation_data=held_out,
            epochs=epochs,
            callbacks=[*early_stopping(self.run.data.validation, patience), *self.callbacks],
            verbose=self.verbose,
        ).history
        silent = [
            name for name in self.run.tasks if held_out and not self.run.known("validation", name).any()
        ]
        unjudged = tuple(f"val_{name}_" for name in silent)
        return {name: values for name, values in history.items() if not name.startswith(unjudged)}
