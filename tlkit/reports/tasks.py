"""The result of training one network on several tasks: each task against its baseline, and its mistakes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import ops

from tlkit import plots
from tlkit.data import Dataset
from tlkit.reports.classifier import accuracy_interval, confusion_figure, frozen_section
from tlkit.reports.data import SHOWN, SPLITS, cautions, data_metrics, data_section, problem_sections, tiles
from tlkit.reports.document import Block, Document, Figure, Images, Section, Table, Text, Tile
from tlkit.reports.figures import figure
from tlkit.reports.measures import MEASURE_NAMES, headline, measures
from tlkit.reports.result import Result
from tlkit.reports.words import interval, percent, shortened
from tlkit.techniques.multi_task import Regression, Task

MAX_CLASSES = 25  # of which a confusion matrix can be read
MISTAKES = 6  # images of each task
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
        precision: in which the features of the frozen backbone were computed, "bfloat16" or "float32"; None
            if they were not.
        interrupted: Ctrl-C stopped the training. The model is the best one until then on the validation
            split. Without such a split, a fine-tuning that was stopped is undone.
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
    precision: str | None = None
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
        scores = self._label_scores(split, task)
        if scores.ndim == 1:
            return scores
        some = ~np.isnan(scores)
        return np.where(some, scores, 0).sum(axis=1) / np.where(some.any(axis=1), some.sum(axis=1), np.nan)

    def measures(self, split: str) -> dict[str, float | None]:
        """Return accuracy (0 to 1) or mean absolute error over all labels of a task; None without labels."""
        scores = {name: self._label_scores(split, name) for name in self.tasks}
        return {
            name: None if np.isnan(each).all() else float(np.nanmean(each)) for name, each in scores.items()
        }

    def baselines(self, split: str | None = None) -> dict[str, float | None]:
        """Return the same of a constant answer, by default on the split that is reported.

        The constant is the best answer on the training images: the most frequent class, whether most images
        have a label, or the median of the numbers.
        """
        split = split or self.evaluated
        return {
            name: task.baseline(self.labels["train"][name], self.labels[split][name])
            if self.known(split, name).any()
            else None
            for name, task in self.tasks.items()
        }

    def metrics(self) -> dict[str, Any]:
        """Return the measures of each task with its baseline, and the settings.

        Accuracies are fractions, 0 to 1, errors in the units of the labels. `baseline` is the measure of the
        constant answer on the split that is reported, `interval` the 95 % interval of an accuracy there.
        """
        measures, baselines = {part: self.measures(part) for part in self.data.splits}, self.baselines()
        tasks = {}
        for name, task in self.tasks.items():
            labelled = {part: int(self.known(part, name).sum()) for part in self.data.splits}
            value, bounds = measures[self.evaluated][name], None
            if task.kind == "classification" and value is not None:
                bounds = accuracy_interval(value, self.evaluated, labelled[self.evaluated])
            tasks[name] = {
                "kind": task.kind,
                "measure": task.measure,
                "classes": task.class_names,
                **({"mean": task.mean, "deviation": task.deviation} if isinstance(task, Regression) else {}),
                task.measure: {part: measures.get(part, {}).get(name) for part in SPLITS},
                "baseline": baselines[name],
                "labelled": {part: labelled.get(part) for part in SPLITS},
                "interval": bounds,
                **self._class_measures(name),
            }
        return {
            "technique": self.technique,
            "backbone": self.backbone,
            "seed": self.seed,
            "feature_precision": self.precision,
            "balancing": self.balancing,
            **data_metrics(self.data),
            "evaluated": self.evaluated,
            "tasks": tasks,
            "interrupted": self.interrupted,
        }

    def _class_measures(self, name: str) -> dict[str, Any]:
        """Return all measures of a task of classification with intervals, and which comes first."""
        split, task = self.evaluated, self.tasks[name]
        known = self.known(split, name)
        if task.kind != "classification" or not known.any():
            return {"headline": None, "measures": None}
        labels = np.asarray(self.labels[split][name])[known]
        predicted = np.asarray(self.predictions[split][name])[known].argmax(axis=1)
        return {"headline": headline(labels), "measures": measures(labels, predicted)}

    def _outcome(self, name: str, value: float | None) -> str:
        """Write the measure of a task for the answer of the report."""
        found = self._class_measures(name)
        said = outcome(self.tasks[name], value, self.evaluated)
        if found["headline"] in (None, "accuracy"):
            return said
        first = found["measures"][found["headline"]]["value"]
        return f"{percent(first)} % {MEASURE_NAMES[found['headline']]} ({said})"

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: each task against its baseline, the data, the curves and the answers."""
        split, values = self.evaluated, self.measures(self.evaluated)
        rule = "equal weights" if self.balancing == "equal" else f"losses balanced by {self.balancing}"
        answers = [f"{name}: {self._outcome(name, values[name])}" for name in self.tasks]
        if len(answers) > 4:
            answers = [*answers[:4], f"and {len(answers) - 4} more tasks below"]
        terms = {f"task {name}": f"{task.kind}: {_contents(task)}" for name, task in self.tasks.items()}
        found = [self._overview(), data_section(self.data, terms, self._samples())]
        if self.history:
            found.append(self._training())
        found += [self._task(name) for name in self.tasks if self.known(split, name).any()]
        if not self.frozen.empty:
            found.append(frozen_section(self.frozen))
        return Document(
            f"{self.data.card.title}: {self.technique} with {self.backbone}",
            "; ".join(answers),
            f"On {len(self.data.splits[split]):,} {split} images, {len(self.tasks)} tasks by one network, "
            f"{rule}.",
            cautions(split, self.interrupted),
            found + problem_sections(self.data, "file or row of the table"),
        )

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the model, which Keras opens without tlkit."""
        return {"model.keras": self.model.save}

    def _label_scores(self, split: str, task: str) -> np.ndarray:
        """Return the task's measure of each label, `(n,)` or `(n, outputs)`; NaN where it is missing."""
        of, labels = self.tasks[task], self.labels[split][task]
        scores = of.score(of.filled(labels), self.predictions[split][task])
        known = ops.convert_to_numpy(of.known(labels)) > 0
        return np.where(known, ops.convert_to_numpy(scores).astype(float), np.nan)

    def _overview(self) -> Section:
        """Compare each task with its best constant answer."""
        numbers, split = self.metrics()["tasks"], self.evaluated
        splits = list(self.data.splits)
        gains, texts, rows = {}, {}, []
        for name, task in self.tasks.items():
            mine, best = numbers[name], 1.0 if task.higher_is_better else 0.0
            value, floor = mine[task.measure][split], mine["baseline"]
            if value is not None and floor is not None and floor != best:
                gains[name] = (value - floor) / (best - floor)
                texts[name] = f"{reached(task, value)} against {reached(task, floor)}"
            rows.append(
                {
                    "task": f"{name} ({task.kind})",
                    **{part: reached(task, mine[task.measure][part]) for part in splits},
                    "constant": f"{constant(task, self.labels['train'][name])}: {reached(task, floor)}",
                    "95 % interval": interval(mine["interval"]),
                    **{
                        MEASURE_NAMES[each]: f"{percent(mine['measures'][each]['value'])} % "
                        f"({interval(mine['measures'][each])})"
                        if mine["measures"]
                        else "–"
                        for each in ("balanced_accuracy", "macro_f1")
                    },
                    "labelled": " + ".join(str(mine["labelled"][part]) for part in splits),
                }
            )
        explained = (
            "Error: the mean absolute error, in the units of the labels. For several labels: the fraction of "
            "right yes-or-no answers. Constant: the same answer for every image, the best one "
            f"on training images. Labelled: images with a label, {' + '.join(splits)}. A dash: there is no "
            "label."
        )
        blocks: list[Block] = [Table(pd.DataFrame(rows)), Text(explained, "soft")]
        if gains:
            drawn = figure(
                lambda ax: plots.task_gains(gains, texts, ax),
                (7.4, 0.9 + 0.5 * len(gains)),
                "Each task: " + "; ".join(f"{name} {text}" for name, text in texts.items()) + ".",
                f"Each task on the {split} images, compared with the same answer for every image, the best "
                "one on training images: 0 is no better, 1 is perfect. Accuracies and errors share this "
                "scale; still, two tasks differ in difficulty.",
            )
            blocks = [drawn, *blocks]
        return Section("Each task", blocks)

    def _samples(self) -> list[Tile]:
        """Return some training images with their labels: images with many labels, from all folders."""
        counts = np.sum([self.known("train", name) for name in self.tasks], axis=0)
        order = np.argsort(-counts, kind="stable")
        most = order[: max(SHOWN, np.sum(counts == counts.max()))]
        chosen = np.unique(most[np.linspace(0, len(most) - 1, SHOWN).astype(int)])

        def lines(place: int) -> list[tuple[str, str]]:
            labels = {name: self.labels["train"][name][chosen[place]] for name in self.tasks}
            return [(f"{name}: {answer(task, labels[name])}", "") for name, task in self.tasks.items()]

        return tiles(self.data.train, chosen, lines, "A training image, {name}")

    def _training(self) -> Section:
        """Return the loss of each task, and the weights of a balancing rule."""
        names = list(self.tasks)
        columns = min(3, len(names))
        rows = math.ceil(len(names) / columns)
        epochs = sum(len(phase.get("loss", ())) for phase in self.history.values())
        drawn: list[Block] = [
            figure(
                lambda axes: plots.task_curves(self.history, names, axes),
                (2.9 * columns, 2.6 * rows),
                f"Loss of {', '.join(names)} over {epochs} epochs.",
                "The loss of each task. Dashed: training images. Solid: validation images, which the network "
                "does not learn from. A gap that widens is overfitting. A vertical line separates two phases "
                "of training. The epoch with the lowest sum of validation losses is kept.",
                columns=columns,
                rows=rows,
            )
        ]
        last = list(self.history.values())[-1]
        weights = {f"{name}_weight": last.get(f"{name}_weight", []) for name in names}
        flat = [value for values in weights.values() for value in values]
        if flat and np.ptp(flat) >= 1e-6:
            ends = "; ".join(f"{name} {weights[f'{name}_weight'][-1]:.2f}" for name in names)
            drawn.append(
                figure(
                    lambda ax: plots.task_weights(weights, ax),
                    (6, 3),
                    f"Weights at the end: {ends}.",
                    f"The weight of each task in the shared layers in the last phase, as {self.balancing} "
                    "set it.",
                )
            )
        return Section("Training", drawn)

    def _task(self, name: str) -> Section:
        """Return the answers to one task, and its worst mistakes."""
        task, split, part = self.tasks[name], self.evaluated, self.data.splits[self.evaluated]
        labels, predicted = self.labels[split][name], self.predictions[split][name]
        scores = self.scores(split, name)
        known = ~np.isnan(scores)
        blocks = _figures(name, task, split, labels[known], predicted[known])
        if task.kind == "multi-label":
            blocks.append(Table(_per_label(task, labels, predicted)))
        worst = _worst(task, scores, predicted)
        if not len(worst):
            said = (
                f"No mistake: every labelled {split} image is right. With {known.sum()} images this does not "
                "mean that the network never errs."
            )
            return Section(name, [*blocks, Text(said)])

        def lines(place: int) -> list[tuple[str, str]]:
            row = worst[place]
            true = f"true: {answer(task, labels[row])}"
            return [(answer(task, predicted[row]), "wrong"), (true, ""), (str(part.names[row]), "file")]

        which = "answers farthest from the truth" if task.kind == "regression" else "most certain mistakes"
        said = f"The {which}. Look for wrong labels among them, too."
        shown = tiles(part, worst, lines, "An image with a wrong answer, {name}")
        return Section(name, [*blocks, Text(said), Images(shown)])


def reached(task: Task, measure: float | None) -> str:
    """Write an accuracy in percent, and an error as such.

    >>> reached(Regression(), 3.14159), reached(Regression(), None)
    ('error 3.142', '–')
    """
    if measure is None:
        return "–"
    return f"{percent(measure)} %" if task.higher_is_better else f"error {measure:.4g}"


def outcome(task: Task, measure: float | None, split: str) -> str:
    """Write the measure of a task on a split for the answer of the report.

    >>> outcome(Regression(), None, "test")
    'no test image has a label'
    """
    if measure is None:
        return f"no {split} image has a label"
    return reached(task, measure) + (" right" if task.higher_is_better else "")


def answer(task: Task, row: np.ndarray) -> str:
    """Write a row of labels or of predictions; a dash where the label is missing.

    >>> from tlkit.techniques.multi_task import MultiLabel
    >>> answer(MultiLabel(["red", "round"]), np.array([0.2, 0.9])), answer(Regression(), np.array([np.nan]))
    ('round', '–')
    """
    row = np.asarray(row)
    if np.isnan(row).all() or (row.ndim == 0 and row < 0):
        return "–"
    names = task.class_names or []
    if task.kind == "regression":
        return ", ".join(f"{value:.4g}" for value in row)
    if task.kind == "classification":
        return names[int(row) if row.ndim == 0 else row.argmax()]
    return ", ".join(name for name, value in zip(names, row, strict=True) if value > 0.5) or "none"


def constant(task: Task, train: np.ndarray) -> str:
    """Write the constant answer that is best on the training labels.

    >>> constant(Regression(), np.array([[1.0], [2.0], [90.0]]))
    '2'
    """
    return answer(task, task.constant(train))


def _contents(task: Task) -> str:
    if isinstance(task, Regression):
        return f"mean {task.mean:.4g}, standard deviation {task.deviation:.4g}"
    return shortened(task.class_names or [], 12)


def _figures(name: str, task: Task, split: str, labels: np.ndarray, predicted: np.ndarray) -> list[Block]:
    drawn: list[Figure] = []
    if task.kind == "classification" and task.outputs <= MAX_CLASSES:
        classes = task.class_names or []
        drawn = [confusion_figure(labels, predicted.argmax(axis=1), classes, f"labelled {split}", of=name)]
    elif task.kind == "regression":
        drawn = [
            figure(
                lambda ax: plots.true_and_predicted(labels.ravel(), predicted.ravel(), ax),
                (4.4, 4.4),
                f"Predicted against true {name}.",
                f"The labelled {split} images. On the dashed line the prediction is exact.",
            )
        ]
    return list(drawn)


def _per_label(task: Task, labels: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    rows = []
    for i, name in enumerate(task.class_names or []):
        known = ~np.isnan(labels[:, i])
        true, found = labels[known, i] > 0.5, predicted[known, i] > 0.5
        both = int(np.sum(true & found))
        precision, recall = (both / int(some.sum()) if some.any() else None for some in (found, true))
        rows.append((name, precision, recall, int(true.sum())))
    return pd.DataFrame(rows, columns=["label", "precision", "recall", "images with it"])


def _worst(task: Task, scores: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the rows of the worst answers, worst first; of equally wrong answers the most certain first."""
    badness = np.nan_to_num(1 - scores if task.higher_is_better else scores)
    certainty = np.zeros(len(scores)) if task.kind == "regression" else np.abs(predicted - 0.5).max(axis=1)
    order = np.lexsort((-certainty, -badness))
    return order[badness[order] > 0][:MISTAKES]
