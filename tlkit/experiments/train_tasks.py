"""Train one network on several tasks, from a table of labels."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from tlkit._internal.seeds import set_seed
from tlkit.callbacks import Interruptible
from tlkit.data import Dataset
from tlkit.data.batches import Batches
from tlkit.experiments import phases
from tlkit.models import backbone_of, freeze, frozen_table, unfreeze
from tlkit.optimizers import depth_scales, scaled_learning_rates, warmup_cosine
from tlkit.reports import classifier
from tlkit.reports import tasks as sections
from tlkit.reports.data import SPLITS, cautions, data_metrics, data_section, problem_sections
from tlkit.reports.document import Document
from tlkit.reports.result import Result
from tlkit.techniques import TECHNIQUES
from tlkit.techniques.feature_extraction import MOST_STEPS, SMALLEST_BATCH, extract_splits
from tlkit.techniques.multi_task import BALANCINGS, HardSharing, MultiTask, Regression, Task, build_multi_task
from tlkit.techniques.multi_task.table import encoded, tasks_for
from tlkit.techniques.training import early_stopping

HEAD_RATE = 3e-3  # the first learning rate of the heads on features
BATCH_SIZE = 32
Labels = dict[str, np.ndarray]


@dataclass
class TaskTraining(Result):
    """A network trained on several tasks, with its data, its learning curves and its predictions.

    Attributes:
        model: raw images to `{task: predictions}`.
        data: the data set; the labels are the attributes of its splits.
        tasks: by name.
        technique: a name of `tlkit.techniques.TECHNIQUES`.
        backbone: its name.
        seed: of the weights, the order of the images and the augmentation.
        balancing: a name of `tlkit.techniques.multi_task.BALANCINGS`.
        history: Keras's history of each phase, by name; see `MultiTask`.
        predictions: float32 `(n, outputs)` for each split and task.
        labels: as `Task.encode` returns them, for each split and task.
        seconds: how long the parts took: features, training, total.
        frozen: what was frozen in the last phase; see `tlkit.frozen_table`.
        interrupted: Ctrl-C stopped the training; the model is the best one until then.
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
    def evaluated(self) -> str:
        """The split that the figures are reported for: test, else validation, else train."""
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
        """Return the same of the best constant answer, by default on the split that is reported."""
        split = split or self.evaluated
        return {
            name: task.baseline(self.labels["train"][name], self.labels[split][name])
            if self.known(split, name).any()
            else None
            for name, task in self.tasks.items()
        }

    def metrics(self) -> dict[str, Any]:
        """Return the measures of each task with its baseline, and the settings.

        Accuracies are fractions, 0 to 1, errors in the units of the labels. `baseline` is the best constant
        answer on the split that is reported, `interval` the 95 % interval of an accuracy there.
        """
        measures, baselines = {part: self.measures(part) for part in self.data.splits}, self.baselines()
        tasks = {}
        for name, task in self.tasks.items():
            labelled = {part: int(self.known(part, name).sum()) for part in self.data.splits}
            reached, images = measures[self.evaluated][name], labelled[self.evaluated]
            interval = None
            if task.kind == "classification" and reached is not None:
                interval = classifier.accuracy_interval(reached, self.evaluated, images)
            tasks[name] = {
                "kind": task.kind,
                "measure": task.measure,
                "classes": task.class_names,
                **({"mean": task.mean, "deviation": task.deviation} if isinstance(task, Regression) else {}),
                task.measure: {part: measures.get(part, {}).get(name) for part in SPLITS},
                "baseline": baselines[name],
                "labelled": {part: labelled.get(part) for part in SPLITS},
                "interval": interval,
            }
        return {
            "technique": self.technique,
            "backbone": self.backbone,
            "seed": self.seed,
            "balancing": self.balancing,
            **data_metrics(self.data),
            "evaluated": self.evaluated,
            "tasks": tasks,
            "interrupted": self.interrupted,
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: each task against its baseline, the data, the curves and the answers."""
        numbers, split = self.metrics()["tasks"], self.evaluated
        parts = [part for part in SPLITS if part in self.data.splits]
        rule = "equal weights" if self.balancing == "equal" else f"losses balanced by {self.balancing}"
        reached = self.measures(split)
        answers = [f"{name}: {sections.reached(task, reached[name])}" for name, task in self.tasks.items()]
        if len(answers) > 4:
            answers = [*answers[:4], f"and {len(answers) - 4} more tasks below"]
        known = {name: self.known("train", name) for name in self.tasks}
        train = self.labels["train"]
        samples = sections.samples(self.data.train, self.tasks, train, known)
        document = Document(
            f"{self.data.card.title}: {self.technique} with {self.backbone}",
            "; ".join(answers),
            f"On {len(self.data.splits[split]):,} {split} images, {len(self.tasks)} tasks by one network, "
            f"{rule}.",
            cautions(split, self.interrupted),
            [
                sections.overview_section(self.tasks, numbers, split, parts, train),
                data_section(self.data, sections.task_terms(self.tasks), samples),
            ],
        )
        if self.history:
            document.sections.append(
                sections.training_section(self.history, list(self.tasks), self.balancing)
            )
        for name, task in self.tasks.items():
            if self.known(split, name).any():
                found, labels = self.predictions[split][name], self.labels[split][name]
                document.sections.append(
                    sections.task_section(
                        name, task, self.data.splits[split], split, labels, found, self.scores(split, name)
                    )
                )
        if not self.frozen.empty:
            document.sections.append(classifier.frozen_section(self.frozen))
        document.sections += problem_sections(self.data, "file or row of the table")
        return document

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the model, which Keras opens without tlkit."""
        return {"model.keras": self.model.save}


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
            features = extract_splits(backbone_of(model), data.splits, progress=progress)
        with clock.part("training"):
            head_epochs = (epochs or plan.head_epochs) if frozen else plan.head_epochs
            found.history["head"] = _fit_heads(fitting, features, head_epochs, rule.build())
    if not frozen and not watch.interrupted:
        with clock.part("training"):
            found.history[technique] = _fit_network(
                fitting, plan, epochs or phases.EPOCHS, rule.build(), scratch
            )
    found.interrupted, found.frozen = watch.interrupted, frozen_table(model)
    head = model.get_layer("head")
    found.predictions = (
        {part: head.predict(each, verbose=0) for part, each in features.items()}
        if frozen
        else phases.predict_splits(model, data.splits)
    )
    found.seconds = clock.stop()
    return found


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


def _fit_network(
    fitting: "_Fitting", plan: _Plan, epochs: int, rule: Any, scratch: bool
) -> dict[str, list[float]]:
    found = fitting.found
    if scratch:
        phases.prepare_from_scratch(backbone_of(found.model))
    unfreeze(found.model, fraction=1.0 if scratch else plan.fraction, batch_norm=scratch)
    learner = MultiTask(found.model, found.tasks, rule)
    steps = epochs * math.ceil(len(found.data.train) / BATCH_SIZE)
    scales = depth_scales(found.model, 1.0 if scratch else plan.depth_decay)
    learner.compile(keras.optimizers.Adam(warmup_cosine(plan.learning_rate, steps)))
    images = {part: split.images for part, split in found.data.splits.items()}
    with scaled_learning_rates(learner.optimizer, scales):
        return fitting(learner, images, BATCH_SIZE, epochs, patience=5)


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
