"""Evaluate a model with several tasks on images and a table of their labels."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit.data import Dataset, Split, is_folder, load, load_table
from tlkit.deployment.networks import check_answers
from tlkit.deployment.saved_run import SavedRun
from tlkit.errors import DataError, TlkitWarning
from tlkit.reports.classifier import accuracy_interval, confusion_figure
from tlkit.reports.document import Block, Document, Section, Table
from tlkit.reports.measures import headline, measures
from tlkit.reports.result import Result
from tlkit.reports.tasks import MAX_CLASSES, answer, outcome
from tlkit.reports.words import interval
from tlkit.techniques.multi_task import Classification, MultiLabel, Regression, Task
from tlkit.techniques.multi_task.writing import is_missing, parts_of


@dataclass
class TaskEvaluation(Result):
    """A model's predictions for images with labels of one or more tasks.

    Attributes:
        model: raw images to `{task: predictions}`.
        images: the images, with a column of labels for each task.
        name: of the data.
        tasks: those that the images have labels of, by name.
        labels: as `Task.encode` returns them, by task.
        predictions: float32 `(n, outputs)` by task.
        seconds: how long it took: total.
    """

    model: keras.Model
    images: Split
    name: str
    tasks: dict[str, Task]
    labels: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]
    seconds: dict[str, float] = field(default_factory=dict)

    def measure(self, task: str) -> float:
        """Return the accuracy, 0 to 1, or the mean absolute error of a task, over all its labels."""
        of, labels = self.tasks[task], self.labels[task]
        scores = keras.ops.convert_to_numpy(of.score(of.filled(labels), self.predictions[task]))
        known = keras.ops.convert_to_numpy(of.known(labels)) > 0
        return float(scores[known].mean())

    def known(self, task: str) -> np.ndarray:
        """Return which images have a label of the task, bool `(n,)`."""
        known = keras.ops.convert_to_numpy(self.tasks[task].known(self.labels[task])) > 0
        return known if known.ndim == 1 else known.any(axis=1)

    @property
    def answer(self) -> str:
        """The measure of each task in a sentence, an accuracy with its 95 % interval."""
        said = []
        for name, about in self.metrics()["tasks"].items():
            text = outcome(self.tasks[name], about[about["measure"]], "")
            if about["interval"]:
                text += f", 95 % interval {interval(about['interval'])}"
            said.append(f"{name}: {text} ({about['labelled']} images)")
        return "; ".join(said)

    def metrics(self) -> dict[str, Any]:
        """Return the measure of each task, for accuracies of one label per image with a 95 % interval."""
        found = {}
        for name, task in self.tasks.items():
            value, known = self.measure(name), self.known(name)
            about: dict[str, Any] = {
                "kind": task.kind,
                "measure": task.measure,
                "classes": task.class_names,
                task.measure: value,
                "labelled": int(known.sum()),
                "interval": None,
            }
            if task.kind == "classification":
                labels, predicted = self.labels[name][known], self.predictions[name][known].argmax(axis=1)
                about["interval"] = accuracy_interval(value, "all", int(known.sum()))
                about |= {"headline": headline(labels), "measures": measures(labels, predicted)}
            found[name] = about
        return {"data": self.name, "images": len(self.images), "tasks": found}

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: the measure of each task, and the confusions of its classes."""
        rows = [
            {
                "task": f"{name} ({about['kind']})",
                "measure": outcome(self.tasks[name], about[about["measure"]], ""),
                "95 % interval": interval(about["interval"]),
                "labelled images": about["labelled"],
            }
            for name, about in self.metrics()["tasks"].items()
        ]
        sections = [Section("Each task", [Table(pd.DataFrame(rows))])]
        for name, task in self.tasks.items():
            if task.kind == "classification" and task.outputs <= MAX_CLASSES:
                known = self.known(name)
                predicted = self.predictions[name][known].argmax(axis=1)
                blocks: list[Block] = [
                    confusion_figure(
                        self.labels[name][known], predicted, task.class_names or [], "labelled", of=name
                    )
                ]
                sections.append(Section(name, blocks))
        detail = f"{len(self.images):,} images; each task is measured on those with a label."
        title = f"{self.name}: evaluation of {self.model.name}"
        return Document(title, self.answer, detail, [], sections)

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the predictions: a row for each image, two columns for each task."""
        table: dict[str, Any] = {"file": self.images.names}
        for name, task in self.tasks.items():
            table[f"{name}: truth"] = [answer(task, row) for row in self.labels[name]]
            table[f"{name}: prediction"] = [answer(task, row) for row in self.predictions[name]]
        return {"predictions.csv": partial(pd.DataFrame(table).to_csv, index=False)}


def evaluate_tasks(
    run: SavedRun,
    data: Dataset | str | Path,
    *,
    labels: str | Path | None = None,
    progress: bool = False,
) -> TaskEvaluation:
    """Evaluate the model of a run with several tasks.

    Args:
        run: of `tlkit train-tasks`.
        data: a folder of images; or a data set with attributes, or its name. Of splits, test is used, or
            train if there is no other.
        labels: the table for a folder: file name, then one column for each task, by the names of the tasks.
            A task without a column is left out with a warning; other columns are not read.
        progress: show a progress bar while images are read.

    Raises:
        DataError: there is no table, no column of a task, no label, or a label that the task does not know.
    """
    start = perf_counter()
    if not isinstance(data, Dataset):
        data = read(data, labels, run.image_size, progress)
    images = data.test or data.train
    tasks = {name: task_of(about) for name, about in run.tasks.items() if name in images.attributes}
    if not tasks:
        raise DataError(
            f"{data.card.name} has labels of {', '.join(images.attributes) or 'nothing'}, and the model has "
            f"the tasks {', '.join(run.tasks)}. Give a table with a column for at least one of them: "
            "--labels FILE.csv."
        )
    encoded = {name: encoded_labels(name, task, images.attributes[name]) for name, task in tasks.items()}
    empty = [name for name, task in tasks.items() if not _any_known(task, encoded[name])]
    if missing := [*(name for name in run.tasks if name not in tasks), *empty]:
        warnings.warn(f"No label of {', '.join(missing)}: not evaluated.", TlkitWarning, stacklevel=2)
    tasks = {name: task for name, task in tasks.items() if name not in empty}
    if not tasks:
        raise DataError(f"No image of {data.card.name} has a label. Fill in the columns of the table.")
    found = run.model.predict(images.batches(labels=False), verbose=int(progress))
    for name, task in tasks.items():
        check_answers(found[name], f"The model, task {name!r},", task.kind)
    predictions = {name: np.asarray(found[name], "float32") for name in tasks}
    chosen = {name: encoded[name] for name in tasks}
    seconds = {"total": perf_counter() - start}
    return TaskEvaluation(run.model, images, data.card.name, tasks, chosen, predictions, seconds)


def read(data: str | Path, labels: str | Path | None, size: int, progress: bool) -> Dataset:
    """Load images with attributes: a folder with its table, or a data set by its name.

    Raises:
        DataError: a folder without a table, or see `tlkit.data.load_table` and `tlkit.data.load`.
    """
    if labels is not None:
        return load_table(data, labels, image_size=size, validation=0.0, test=0.0, progress=progress)
    if is_folder(data):
        raise DataError(
            f"{data} is a folder, and the model has several tasks, so a table must name the images and their "
            "labels: --labels FILE.csv."
        )
    return load(str(data), image_size=size, progress=progress)


def task_of(about: Mapping[str, Any]) -> Task:
    """Return the task that a `metrics.json` describes."""
    if about["kind"] == "regression":
        return Regression(mean=about.get("mean") or 0.0, deviation=about.get("deviation") or 1.0)
    return (Classification if about["kind"] == "classification" else MultiLabel)(about["classes"])


def encoded_labels(name: str, task: Task, column: np.ndarray) -> np.ndarray:
    """Encode a column of labels.

    Raises:
        DataError: a label is none of the task's classes, or no number.
    """
    texts = [str(each) for each in column if not is_missing(each)]
    if task.class_names is None:
        try:
            return task.encode(column)
        except ValueError as error:
            raise DataError(
                f"The model predicts a number for {name!r}, and a label is not one: {error}. Correct the "
                "table."
            ) from error
    found = {part for text in texts for part in (parts_of(text) if task.kind == "multi-label" else [text])}
    if unknown := sorted(found - set(task.class_names)):
        raise DataError(
            f"The model does not know {', '.join(unknown[:12])} as {name!r}; it knows "
            f"{', '.join(task.class_names[:12])}. Correct these labels, or leave them empty."
        )
    return task.encode(column)


def _any_known(task: Task, labels: np.ndarray) -> bool:
    return bool(keras.ops.convert_to_numpy(task.known(labels)).any())
