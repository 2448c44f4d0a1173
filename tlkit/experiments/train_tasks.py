"""Train one network on several tasks, from a table of labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkit._internal.seeds import set_seed
from tlkit.callbacks import Interruptible
from tlkit.data import Dataset
from tlkit.data.batches import Batches
from tlkit.errors import TlkitError
from tlkit.experiments import phases
from tlkit.models import backbone_of, freeze, frozen_table, unfreeze
from tlkit.optimizers import depth_scales, scaled_learning_rates, warmup_cosine
from tlkit.reports.tasks import TaskTraining
from tlkit.techniques import TECHNIQUES
from tlkit.techniques.feature_extraction import (
    MOST_STEPS,
    SMALLEST_BATCH,
)
from tlkit.techniques.multi_task import BALANCINGS, HardSharing, MultiTask, Task, build_multi_task
from tlkit.techniques.multi_task.table import encoded, tasks_for
from tlkit.techniques.training import early_stopping

HEAD_RATE = 3e-3  # the first learning rate of the heads on features
BATCH_SIZE = 32
FINE_TUNING = {"fraction", "learning_rate", "depth_decay"}  # options that a frozen backbone does not have


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
    epochs: int | None = None,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
    **options: Any,
) -> TaskTraining:
    """Train one network on several tasks, keep its best epoch, and predict all splits.

    Args:
        data: a data set with attributes, such as `tlkit.load_table` returns.
        tasks: by the name of their attribute; by default every attribute is a task, see `tasks_for`.
        kinds: the kind of a task by its name, where the guess is wrong; see `infer_tasks`.
        technique: `"feature-extraction"` (freeze the backbone and train the heads), `"fine-tuning"` (then
            train its upper layers as well) or `"scratch"` (train the same network from random weights: the
            control).
        backbone: a name of `tlkit.list_backbones()`; or, to transfer, a model from raw images to features.
        weights: `"imagenet"` or a weights file, for a name; ignored from scratch.
        balancing: a name of `tlkit.techniques.multi_task.BALANCINGS`.
        shared_width: width of a layer between the backbone and the heads; `None` for none.
        epochs: at most; of the heads for feature extraction (50 by default), else of the network (8).
        seed: of the weights, the order of the images and the augmentation.
        callbacks: Keras callbacks for every phase.
        verbose: as for Keras's `fit`: 0 is silent, 1 shows progress bars, 2 prints a line for each epoch.
        options: of the training: `head_epochs=50`, `augment=True`, and of fine-tuning `fraction=0.7`,
            `learning_rate=1e-3` and `depth_decay=0.7`; see `tlkit.fine_tune`.

    Returns:
        The trained model with its figures.

    Raises:
        UnknownNameError: there is no such technique, balancing rule, kind or column.
        DataError: labels do not make a task; see `infer_tasks`.
        TlkitError: a loss became NaN, or the balancing rule needs layers that learn; see `MultiTask.fit`.
    """
    technique, rule = TECHNIQUES.find(technique).name, BALANCINGS.find(balancing)
    if technique == "feature-extraction" and (unused := set(options) & FINE_TUNING):
        raise TlkitError(
            f"technique='feature-extraction' trains the heads alone and has no option {', '.join(unused)}. "
            "Leave it out, or choose technique='fine-tuning'."
        )
    plan = _Plan(**options)
    clock, watch = phases.Clock(), Interruptible()
    tasks = dict(tasks or tasks_for(data, kinds))
    labels = encoded(data, tasks)
    set_seed(seed)
    scratch, frozen = technique == "scratch", technique == "feature-extraction"
    model = build_multi_task(
        backbone,
        tasks,
        sharing=HardSharing(shared_width),
        weights=None if scratch else weights,
        image_size=data.image_size,
        augmentation=phases.augmentation_for(data) if plan.augment and not frozen else None,
    )
    found = TaskTraining(
        model, data, tasks, technique, backbone_of(model).name, seed, rule.name, labels=labels
    )
    fitting = _Fitting(found, [*callbacks, watch], verbose)
    features: dict[str, np.ndarray] = {}
    if not scratch:
        with clock.part("features"):
            progress = phases.shows_progress(verbose)
            features, found.precision = phases.split_features(
                backbone_of(model), data.splits, progress=progress
            )
        with clock.part("training"):
            head_epochs = (epochs or plan.head_epochs) if frozen else plan.head_epochs
            found.history["head"] = _fit_heads(fitting, features, head_epochs, rule.build())
    if not frozen and not watch.interrupted:
        with clock.part("training"):
            _fit_network(fitting, plan, epochs or phases.EPOCHS, rule.build(), watch)
    found.interrupted, found.frozen = watch.interrupted, frozen_table(model)
    head = model.get_layer("head")
    found.predictions = (
        {part: head.predict(each, verbose=0) for part, each in features.items()}
        if frozen
        else phases.predict_splits(model, data.splits)
    )
    found.seconds = clock.stop()
    return found


def _improved(before: dict[str, list[float]], after: dict[str, list[float]]) -> bool:
    """Whether the second training reached a lower validation loss than the first."""
    return min(after.get("val_loss", [math.inf])) < min(before.get("val_loss", [-math.inf]))


@dataclass(frozen=True)
class _Plan:
    """The options of a training that most users leave as they are."""

    head_epochs: int = phases.HEAD_EPOCHS
    augment: bool = True
    fraction: float = phases.FRACTION
    learning_rate: float = phases.LEARNING_RATE
    depth_decay: float = phases.DEPTH_DECAY


def _fit_heads(
    fitting: "_Fitting", features: Mapping[str, np.ndarray], epochs: int, rule: Any
) -> dict[str, list[float]]:
    found = fitting.found
    freeze(found.model)
    learner = MultiTask(found.model.get_layer("head"), found.tasks, rule)
    size = max(SMALLEST_BATCH, math.ceil(len(found.data.train) / MOST_STEPS))
    steps = math.ceil(len(found.data.train) / size)
    schedule = keras.optimizers.schedules.CosineDecay(HEAD_RATE, epochs * steps)
    at_once = 1 if keras.backend.backend() == "torch" else steps
    learner.compile(keras.optimizers.Adam(schedule), steps_per_execution=at_once)
    return fitting(learner, features, size, epochs, patience=10)


def _fit_network(fitting: "_Fitting", plan: _Plan, epochs: int, rule: Any, watch: Interruptible) -> None:
    """Train the network, and write the history into the result.

    If Ctrl-C stops a fine-tuning before it has a lower validation loss than the heads alone, it is undone.
    """
    found = fitting.found
    scratch = found.technique == "scratch"
    if scratch:
        phases.prepare_from_scratch(backbone_of(found.model))
    unfreeze(found.model, fraction=1.0 if scratch else plan.fraction, batch_norm=scratch)
    learner = MultiTask(found.model, found.tasks, rule)
    steps = epochs * math.ceil(len(found.data.train) / BATCH_SIZE)
    scales = depth_scales(found.model, 1.0 if scratch else plan.depth_decay)
    learner.compile(keras.optimizers.Adam(warmup_cosine(plan.learning_rate, steps)))
    images = {part: split.images for part, split in found.data.splits.items()}
    start = found.model.get_weights()
    with scaled_learning_rates(learner.optimizer, scales):
        found.history[found.technique] = fitting(learner, images, BATCH_SIZE, epochs, patience=5)
    if watch.interrupted and not scratch and not _improved(*list(found.history.values())[-2:]):
        found.model.set_weights(start)


@dataclass
class _Fitting:
    """What the phases share: labels, callbacks, early stopping."""

    found: TaskTraining
    callbacks: list[keras.callbacks.Callback]
    verbose: int | str

    def __call__(
        self, learner: MultiTask, inputs: Mapping[str, Any], batch_size: int, epochs: int, patience: int
    ) -> dict[str, list[float]]:
        labels, held_out = self.found.labels, None
        if "validation" in inputs:
            # in batches: there a task may have no labels, and files are not read all at once
            size = len(inputs["validation"]) if inputs["validation"].ndim == 2 else batch_size
            held_out = Batches(inputs["validation"], labels["validation"], size, False, 0)
        examples: tuple[Any, ...] = (inputs["train"], labels["train"])
        if not isinstance(inputs["train"], np.ndarray):
            examples = (Batches(inputs["train"], labels["train"], batch_size, True, self.found.seed),)
        history = learner.fit(
            *examples,
            batch_size=batch_size if len(examples) == 2 else None,
            validation_data=held_out,
            epochs=epochs,
            callbacks=[*early_stopping(self.found.data.validation, patience), *self.callbacks],
            verbose=self.verbose,
        ).history
        unlabelled = [
            name for name in self.found.tasks if held_out and not self.found.known("validation", name).any()
        ]
        without = tuple(f"val_{name}_" for name in unlabelled)
        return {name: values for name, values in history.items() if not name.startswith(without)}
