"""Evaluate a trained model on labelled images: accuracy with its interval, confusions and mistakes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np

from tlkit.data import Dataset, Split, is_folder, load
from tlkit.deployment.evaluate_tasks import TaskEvaluation, evaluate_tasks, read
from tlkit.deployment.networks import check_answers, kind_of
from tlkit.deployment.saved_run import SavedRun, open_run
from tlkit.errors import DataError
from tlkit.reports import classifier
from tlkit.reports.document import Document
from tlkit.reports.measures import headline
from tlkit.reports.result import Result
from tlkit.techniques.multi_task.writing import is_missing
from tlkit.techniques.views import predicted


@dataclass
class Evaluation(Result):
    """A model's predictions for labelled images.

    Attributes:
        model: raw images to class probabilities.
        images: the labelled images.
        name: of the data.
        class_names: in the order of the model's outputs.
        probabilities: float32 `(n, classes)`.
        seconds: how long it took: total.
    """

    model: keras.Model
    images: Split
    name: str
    class_names: list[str]
    probabilities: np.ndarray
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """The fraction of right answers, 0 to 1."""
        return float(np.mean(self.probabilities.argmax(axis=1) == self.images.labels))

    @property
    def answer(self) -> str:
        """Accuracy, or balanced accuracy for unbalanced classes, with its 95 % interval, in a sentence."""
        labels = self.images.labels
        return classifier.answer(labels, self.probabilities, "", headline(labels))

    def metrics(self) -> dict[str, Any]:
        """Return the measures with their 95 % intervals, and precision, recall and F1 of each class."""
        return {
            "data": self.name,
            "images": len(self.images),
            "class_names": self.class_names,
            "accuracy": self.accuracy,
            "interval": classifier.accuracy_interval(self.accuracy, "all", len(self.images)),
            **classifier.measure_metrics(
                self.images.labels, self.probabilities, headline(self.images.labels)
            ),
            "per_class": classifier.class_metrics(self.images.labels, self.probabilities, self.class_names),
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: accuracy, confusions, mistakes and heat maps."""
        answers = classifier.answer_sections(
            self.images, "evaluated", self.probabilities, self.class_names, self.model
        )
        labels = self.images.labels
        detail = classifier.chance(self.class_names, labels, headline(labels))
        return Document(f"{self.name}: evaluation of {self.model.name}", self.answer, detail, [], answers)

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the predictions: a row for each image."""
        table = classifier.predictions_table(
            {"evaluated": self.images}, {"evaluated": self.probabilities}, self.class_names
        )
        return {"predictions.csv": partial(table.to_csv, index=False)}


def evaluate(
    run: SavedRun | str | Path,
    data: Dataset | str | Path,
    *,
    labels: str | Path | None = None,
    progress: bool = False,
) -> Evaluation | TaskEvaluation:
    """Evaluate the model of a run on labelled images.

    Args:
        run: the folder that `tlkit train` or `tlkit train-tasks` wrote, or what `tlkit.open_run` returned.
        data: a folder with one sub-folder for each class, of which all images are used; or a data set or its
            name, of which the test split is used, or the train split if it has no other.
        labels: a table, CSV: file name, then columns of labels. It is needed for a folder if the model has
            several tasks; then each column is a task. For a classifier it replaces the sub-folders: the
            column with the model's classes is used.
        progress: show a progress bar while images are read.

    Returns:
        The predictions with their figures.

    Raises:
        TlkitError: the folder holds no run, or its model cannot be opened.
        DataError: the classes are not those of the model, or see `evaluate_tasks`.
    """
    start = perf_counter()
    opened = run if isinstance(run, SavedRun) else open_run(run)
    if opened.tasks:
        return evaluate_tasks(opened, data, labels=labels, progress=progress)
    if labels is not None and not isinstance(data, Dataset):
        table = read(data, labels, opened.image_size, progress)
        part = table.test or table.train
        images, name = _of_column(part, opened.class_names, str(labels)), table.card.name
    else:
        images, name = _of_folders(opened, data, progress)
    mirrored = bool(opened.numbers.get("mirrored_views"))
    probabilities = predicted(opened.model, images, mirrored=mirrored, verbose=int(progress))
    check_answers(probabilities, "The model", kind_of(opened.model))
    seconds = {"total": perf_counter() - start}
    return Evaluation(opened.model, images, name, list(opened.class_names), probabilities, seconds)


def _of_folders(run: SavedRun, data: Dataset | str | Path, progress: bool) -> tuple[Split, str]:
    """Return the images with labels in the order of the model's classes, and the name of the data."""
    if not isinstance(data, Dataset):
        fraction = 0.0 if is_folder(data) else 0.2  # all images of a folder; a data set has splits of its own
        data = load(data, image_size=run.image_size, validation=fraction, test=fraction, progress=progress)
    if unknown := [name for name in data.class_names if name not in run.class_names]:
        raise DataError(
            f"The model does not know {', '.join(unknown)}; it knows {', '.join(run.class_names)}. Rename "
            "or remove these classes."
        )
    part = data.test or data.train
    places = np.array([run.class_names.index(name) for name in data.class_names])
    return Split(part.images, places[part.labels], part.names), data.card.name


def _of_column(images: Split, class_names: list[str], table: str) -> Split:
    """Return the images that have a label in the column with the model's classes.

    Raises:
        DataError: no column, or more than one, has the model's classes and nothing else.
    """
    texts = {
        name: np.array([str(each).strip() for each in column]) for name, column in images.attributes.items()
    }
    known = set(class_names)
    fitting = [
        name
        for name, column in texts.items()
        if (values := {each for each in column if not is_missing(each)}) and values <= known
    ]
    if len(fitting) != 1:
        found = f"the columns {', '.join(fitting)}" if fitting else f"none of {', '.join(texts)}"
        raise DataError(
            f"Exactly one column of {table} must hold classes that the model knows ("
            f"{', '.join(class_names[:12])}); {found} does. Give a table with that column alone."
        )
    column = texts[fitting[0]]
    rows = np.flatnonzero([not is_missing(each) for each in column])
    labels = np.array([class_names.index(column[row]) for row in rows])
    chosen = images.subset(rows)
    return Split(chosen.images, labels, chosen.names)
