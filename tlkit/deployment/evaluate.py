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
from tlkit.deployment.saved_run import SavedRun, open_run
from tlkit.errors import DataError
from tlkit.reports import classifier
from tlkit.reports.document import Document
from tlkit.reports.measures import headline
from tlkit.reports.result import Result
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


def evaluate(run: SavedRun | str | Path, data: Dataset | str | Path, *, progress: bool = False) -> Evaluation:
    """Evaluate the model of a run on labelled images.

    Args:
        run: the folder that `tlkit train` wrote, or what `tlkit.open_run` returned.
        data: a folder with one sub-folder for each class, of which all images are used; or a data set or its
            name, of which the test split is used, or the train split if it has no other.
        progress: show a progress bar while images are read.

    Returns:
        The predictions with their figures.

    Raises:
        TlkitError: the folder holds no run of one classifier.
        DataError: the classes are not those of the model.
    """
    start = perf_counter()
    opened = run if isinstance(run, SavedRun) else open_run(run)
    if not isinstance(data, Dataset):
        fraction = 0.0 if is_folder(data) else 0.2  # all images of a folder; a data set has splits of its own
        size = int(opened.model.input_shape[1])
        data = load(data, image_size=size, validation=fraction, test=fraction, progress=progress)
    if unknown := [name for name in data.class_names if name not in opened.class_names]:
        raise DataError(
            f"The model does not know {', '.join(unknown)}; it knows {', '.join(opened.class_names)}. Rename "
            "or remove these classes."
        )
    part = data.test or data.train
    places = np.array([opened.class_names.index(name) for name in data.class_names])
    images = Split(part.images, places[part.labels], part.names)
    mirrored = bool(opened.numbers.get("mirrored_views"))
    probabilities = predicted(opened.model, images, mirrored=mirrored, verbose=int(progress))
    seconds = {"total": perf_counter() - start}
    return Evaluation(opened.model, images, data.card.name, list(opened.class_names), probabilities, seconds)
