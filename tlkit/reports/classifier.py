"""Sections about a classifier: its curves, its confusions, its mistakes, and where it looks."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tlkit import plots
from tlkit._internal.intervals import wilson
from tlkit.data import Split
from tlkit.errors import TlkitError
from tlkit.plots.saliency import grad_cam
from tlkit.reports.data import SHOWN, tiles
from tlkit.reports.document import Block, Figure, Images, Section, Table, Text, Tile
from tlkit.reports.figures import figure, stages, thumbnail
from tlkit.reports.result import plain
from tlkit.reports.words import interval, percent

History = Mapping[str, Mapping[str, Sequence[float]]]


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of right answers, 0 to 1."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def answer(accuracy: float, split: str, images: int) -> str:
    """Return an accuracy with its 95 % interval in words.

    >>> answer(0.8, "test", 100)
    '80 % of 100 test images right, 95 % interval 71 to 87 %'
    """
    bounds = accuracy_interval(accuracy, split, images)
    return f"{percent(accuracy)} % of {images:,} {split} images right, 95 % interval {interval(bounds)}"


def chance(class_names: Sequence[str]) -> str:
    """Return the number of classes and the accuracy of chance in words."""
    return f"{len(class_names)} classes; chance is about {percent(1 / len(class_names))} %."


def accuracy_interval(accuracy: float, split: str, images: int) -> dict[str, Any]:
    """Return the 95 % interval of an accuracy, 0 to 1, for `metrics.json`."""
    low, high = wilson(round(accuracy * images), images)
    return {"split": split, "images": images, "level": 0.95, "low": low, "high": high}


def class_metrics(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return precision, recall, F1 (0 to 1, None where undefined) and number of images of each class."""
    columns = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(len(class_names)), zero_division=np.nan
    )
    names = ("precision", "recall", "f1", "support")
    rows = zip(class_names, *columns, strict=True)
    return [{"name": each} | plain(dict(zip(names, values, strict=True))) for each, *values in rows]


def samples(split: Split, class_names: Sequence[str]) -> list[Tile]:
    """Return some images of a split: one of every class, then a second one of each, and so on."""
    turn = pd.Series(split.labels).groupby(split.labels).cumcount()
    chosen = np.lexsort((split.labels, turn))[:SHOWN]
    chosen = chosen[np.argsort(split.labels[chosen], kind="stable")]
    names = [class_names[label] for label in split.labels[chosen]]
    return tiles(split, chosen, lambda place: [(names[place], "")], "A training image, {name}")


def training_section(history: History) -> Section:
    """Return the section with the learning curves.

    Args:
        history: Keras's history of each phase, by name.
    """
    last = list(history.values())[-1]
    ends = {"training": last.get("accuracy"), "validation": last.get("val_accuracy")}
    reached = " and ".join(f"{name} {percent(values[-1])} %" for name, values in ends.items() if values)
    epochs = sum(len(phase.get("loss", ())) for phase in history.values())
    drawn = figure(
        lambda axes: plots.learning_curves(history, axes),
        (8, 3.2),
        f"Accuracy and loss over {epochs} epochs. Accuracy at the end: {reached or 'not measured'}.",
        "Dashed: training images. Solid: validation images, which the network does not learn from. A gap "
        "that widens is overfitting.",
        columns=2,
    )
    return Section("Training", [drawn])


def answer_sections(
    split: Split,
    name: str,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    model: keras.Model,
) -> list[Section]:
    """Return the sections on a classifier's answers.

    Args:
        split: labelled images; of these only the few that are shown are read.
        name: of the split.
        probabilities: float32 `(n, classes)`.
        class_names: in the order of the probabilities.
        model: images to class probabilities, for the heat maps.
    """
    labels, predicted = split.labels, probabilities.argmax(axis=1)
    by_confidence = np.argsort(-probabilities.max(axis=1), kind="stable")
    is_right = (predicted == labels)[by_confidence]
    wrong, right = by_confidence[~is_right], by_confidence[is_right]
    found = [
        Section("Confusion", [_confusion(labels, predicted, class_names, name)]),
        Section("Each class", _classes(labels, probabilities, class_names)),
        Section("Worst mistakes", _mistakes(split, name, probabilities, class_names, wrong)),
    ]
    heat = _heat_maps(split, predicted, class_names, model, np.concatenate([wrong[:4], right[:2]]))
    if heat:
        explained = (
            "Grad-CAM: bright regions raised the score of the predicted class. It shows coarsely where the "
            "network found evidence, and not why it counts."
        )
        found.append(Section("Where the network looked", [Text(explained), Images(heat)]))
    return found


def frozen_section(frozen: pd.DataFrame) -> Section:
    """Return the section on what was frozen; see `tlkit.frozen_table`."""
    table = Table(frozen.reset_index(names="stage"), folded="The same as a table")
    return Section("Frozen layers", [stages(frozen), table])


def _confusion(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str], name: str) -> Figure:
    side = min(9, 2.6 + 0.3 * len(class_names))
    right = int((labels == predicted).sum())
    return figure(
        lambda ax: plots.confusion(labels, predicted, class_names, ax),
        (side, side),
        f"Confusion matrix of {len(class_names)} classes: {right} of {len(labels)} right.",
        f"The {name} images. Rows are true classes, columns are predictions; the diagonal is right. The "
        f"colour is the fraction of the row. {_most_confused(labels, predicted, class_names)}",
    )


def _most_confused(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> str:
    counts = confusion_matrix(labels, predicted, labels=range(len(class_names)))
    of_class = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    if np.sum(counts == counts.max()) > 1:  # a tie, or no mistake at all
        return ""
    true, other = np.unravel_index(counts.argmax(), counts.shape)
    return (
        f"The most frequent mistake: {counts.max()} of {of_class[true]} images of {class_names[true]} were "
        f"predicted as {class_names[other]}."
    )


def _classes(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> list[Block]:
    table = pd.DataFrame(class_metrics(labels, probabilities, class_names))
    table.columns = pd.Index(["class", "precision", "recall", "F1", "images"])
    return [
        Table(table),
        Text(
            "Precision: of the images predicted as this class, the fraction that belong to it. Recall: of "
            "the images of this class, the fraction that were found. F1: their harmonic mean. A dash: there "
            "is nothing to divide by. With few images these figures vary widely.",
            "soft",
        ),
    ]


def _mistakes(
    split: Split, name: str, probabilities: np.ndarray, class_names: Sequence[str], wrong: np.ndarray
) -> list[Block]:
    if not len(wrong):
        return [
            Text(
                f"None: every {name} image is right. With {len(split)} images this does not mean that the "
                "network never errs; see the interval above."
            )
        ]
    shown = wrong[:SHOWN]
    names = split.names[shown]

    def lines(place: int) -> list[tuple[str, str]]:
        row = probabilities[shown[place]]
        certainty = "over 99" if row.max() > 0.995 else percent(row.max())
        true = class_names[split.labels[shown[place]]]
        return [
            (class_names[row.argmax()], "wrong"),
            (f"{certainty} % sure", ""),
            (f"true: {true}", ""),
            (names[place], "file"),
        ]

    said = (
        f"The most certain mistakes: {len(shown)} of {len(wrong)} on the {name} images. Look for wrong "
        "labels among them, too."
    )
    return [Text(said), Images(tiles(split, shown, lines, "An image that was misclassified, {name}"))]


def _heat_maps(
    split: Split,
    predicted: np.ndarray,
    class_names: Sequence[str],
    model: keras.Model,
    rows: np.ndarray,
) -> list[Tile]:
    pixels = split.images[rows]
    try:
        heat = grad_cam(model, pixels, predicted[rows])
    except TlkitError:  # a backbone without feature maps has no regions to point at
        return []
    found = []
    for row, image, regions in zip(rows, pixels, heat, strict=True):
        true, answer = class_names[split.labels[row]], class_names[predicted[row]]
        lines = (
            [(answer, "right"), ("right", "")]
            if true == answer
            else [(answer, "wrong"), (f"true: {true}", "")]
        )
        both = [
            thumbnail(image, f"An image of {true}"),
            thumbnail(plots.overlay(image, regions), f"The evidence for {answer} in it"),
        ]
        found.append(Tile(both, [*lines, (str(split.names[row]), "file")]))
    return found
