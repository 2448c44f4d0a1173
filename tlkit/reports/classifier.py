"""Sections about a classifier: its curves, its confusions, its mistakes, and the image regions that count."""

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
from tlkit.reports.measures import MEASURE_NAMES, measures, two_class_measures
from tlkit.reports.result import plain
from tlkit.reports.words import interval, percent

History = Mapping[str, Mapping[str, Sequence[float]]]


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the fraction of right answers, 0 to 1."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def answer(labels: np.ndarray, probabilities: np.ndarray, split: str, first: str = "accuracy") -> str:
    """Return a sentence with the accuracy and the headline measure, and the 95 % interval of the latter.

    Args:
        labels: int `(n,)`.
        probabilities: `(n, classes)`.
        split: its name, or "".
        first: a result of `headline`.

    >>> answer(np.arange(40) % 2, np.eye(2)[np.zeros(40, int)], "test")
    '50 % of 40 test images right, 95 % interval 35 to 65 %'
    """
    found = measures(labels, probabilities.argmax(axis=1))
    right = f"{percent(found['accuracy']['value'])} % of {len(labels):,} {split} images right".replace(
        "  ", " "
    )
    if first == "accuracy":
        return f"{right}, 95 % interval {interval(found[first])}"
    value = f"{percent(found[first]['value'])} %, 95 % interval {interval(found[first])}"
    return f"{MEASURE_NAMES[first].capitalize()} {value} ({right})"


def chance(class_names: Sequence[str], labels: np.ndarray | None = None, first: str = "accuracy") -> str:
    """Return the number of classes and the accuracy of chance in words; say so if the classes are unbalanced.

    Args:
        class_names: the names of all classes.
        labels: int `(n,)`, of the images that are evaluated.
        first: a result of `headline`.

    >>> chance(["no", "yes"], np.array([0, 0, 0, 1]), "balanced_accuracy")[33:76]
    'The classes are unbalanced: always predicti'
    """
    said = f"{len(class_names)} classes; chance is about {percent(1 / len(class_names))} %."
    if labels is None or first == "accuracy":
        return said
    counts = np.bincount(labels)
    return (
        f"{said} The classes are unbalanced: always predicting {class_names[int(counts.argmax())]} is right "
        f"for {percent(counts.max() / counts.sum())} % of the images. Balanced accuracy is the mean recall "
        "of the classes."
    )


def measure_metrics(labels: np.ndarray, probabilities: np.ndarray, first: str) -> dict[str, Any]:
    """Return every measure with its 95 % interval for `metrics.json`, and `headline`: which comes first.

    With two classes `roc_auc` and `average_precision` follow, of the second class.
    """
    found: dict[str, Any] = {"headline": first, "measures": measures(labels, probabilities.argmax(axis=1))}
    return found | (two_class_measures(labels, probabilities) or {})


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


def predictions_table(
    splits: Mapping[str, Split], probabilities: Mapping[str, np.ndarray], class_names: Sequence[str]
) -> pd.DataFrame:
    """Return a row for each predicted image, for `predictions.csv`.

    Args:
        splits: the images by the name of their split; images without labels have an empty truth.
        probabilities: float32 `(n, classes)` by the name of the split.
        class_names: in the order of the probabilities.

    Returns:
        The columns file, split, truth, prediction and probability (of the prediction, 0 to 1), and the
        probability of each class, named such as `p(cat)`.
    """
    names, parts = np.array(class_names, object), []
    for split, found in probabilities.items():
        part, best = splits[split], found.argmax(axis=1)
        columns = {
            "file": part.names,
            "split": split,
            "truth": names[part.labels] if part.labelled else "",
            "prediction": names[best],
            "probability": found.max(axis=1),
        }
        each = pd.DataFrame(found, columns=[f"p({name})" for name in class_names])
        parts.append(pd.concat([pd.DataFrame(columns), each], axis=1))
    return pd.concat(parts, ignore_index=True)


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
        Section("Measures", _measures(labels, probabilities, class_names)),
        Section("Confusion", [confusion_figure(labels, predicted, class_names, name)]),
        Section("Each class", _classes(labels, probabilities, class_names)),
        Section("Worst mistakes", _mistakes(split, name, probabilities, class_names, wrong)),
        Section("Right predictions", _hits(split, name, probabilities, class_names, right)),
    ]
    shown = np.concatenate([wrong[:4], _of_each_class(right, labels, 1)[:4]])
    heat = _heat_maps(split, predicted, class_names, model, shown)
    if heat:
        explained = (
            "Grad-CAM: bright regions raised the score of the predicted class. It shows coarsely where the "
            "network found evidence, and not why it counts."
        )
        found.append(Section("Image regions that raised the score", [Text(explained), Images(heat)]))
    return found


def frozen_section(frozen: pd.DataFrame) -> Section:
    """Return the section on what was frozen; see `tlkit.frozen_table`."""
    table = Table(frozen.reset_index(names="stage"), folded="The same as a table")
    return Section("Frozen layers", [stages(frozen), table])


def _measures(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> list[Block]:
    found = measures(labels, probabilities.argmax(axis=1))
    rows = [
        {
            "measure": MEASURE_NAMES[name],
            "value": f"{percent(each['value'])} %",
            "95 % interval": interval(each),
        }
        for name, each in found.items()
    ]
    blocks: list[Block] = [
        Table(pd.DataFrame(rows)),
        Text(
            "Balanced accuracy is the mean recall of the classes, macro F1 the mean of their F1: both count "
            "every class alike. In about 95 % of cases, an interval computed in this way contains the value "
            "for unlimited images from the same source.",
            "soft",
        ),
    ]
    areas = two_class_measures(labels, probabilities)
    return blocks if areas is None else [*blocks, _thresholds(labels, probabilities, class_names, areas)]


def _thresholds(
    labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], areas: Mapping[str, float]
) -> Figure:
    positive = class_names[1]
    return figure(
        lambda axes: plots.roc_and_precision_recall(labels, probabilities[:, 1], positive, axes),
        (8, 4),
        f"ROC curve, area {areas['roc_auc']:.3f}, and precision-recall curve, average precision "
        f"{areas['average_precision']:.3f}, of {positive}.",
        f"Each point of a curve is a threshold on the probability of {positive}. The marked one is 50 %, "
        f"which the other figures use. The area under the left curve is {areas['roc_auc']:.3f}, the average "
        f"precision {areas['average_precision']:.3f}. Dashed: a classifier that knows nothing. Choose the "
        "threshold by what a miss and a false alarm cost.",
        columns=2,
    )


def confusion_figure(
    labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str], name: str, *, of: str = ""
) -> Figure:
    """Draw the confusion matrix twice: as counts, and as percentages of each true class.

    Args:
        labels, predicted: int `(n,)` true and predicted classes.
        class_names: the names of the classes.
        name: what the images are called, such as "test".
        of: the task, if there are several.
    """
    side = min(9, 2.6 + 0.3 * len(class_names))
    beside = side <= 6  # inches: two of them fit on a page side by side
    right = int((labels == predicted).sum())

    def draw(axes: np.ndarray) -> None:
        plots.confusion(labels, predicted, class_names, axes[0])
        plots.confusion(labels, predicted, class_names, axes[1], fractions=True)

    return figure(
        draw,
        (2 * side, side) if beside else (side, 2 * side),
        f"Confusion matrix{f' of {of}' if of else ''}, {len(class_names)} classes: {right} of {len(labels)} "
        "images right.",
        f"The {name} images, as counts and as percentages of each true class. Rows are true classes, columns "
        "are predictions; the diagonal is right. The colour is the fraction of the row. "
        f"{_most_confused(labels, predicted, class_names)}",
        columns=2 if beside else 1,
        rows=1 if beside else 2,
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


def _hits(
    split: Split, name: str, probabilities: np.ndarray, class_names: Sequence[str], right: np.ndarray
) -> list[Block]:
    if not len(right):
        return [Text(f"None: no {name} image is right.")]
    shown = _of_each_class(right, split.labels, max(1, SHOWN // len(class_names)))[:SHOWN]

    def lines(place: int) -> list[tuple[str, str]]:
        row = probabilities[shown[place]]
        certainty = "over 99" if row.max() > 0.995 else percent(row.max())
        return [
            (class_names[row.argmax()], "right"),
            (f"{certainty} % sure", ""),
            (split.names[shown[place]], "file"),
        ]

    said = f"The most certain ones of each class: {len(shown)} of {len(right)} on the {name} images."
    return [Text(said), Images(tiles(split, shown, lines, "An image that was classified right, {name}"))]


def _of_each_class(rows: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """Return the first rows of each class, in the order of the classes."""
    return np.concatenate([rows[labels[rows] == label][:most] for label in np.unique(labels[rows])] or [rows])


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
