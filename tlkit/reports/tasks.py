"""Sections about a network with several tasks: each task against its baseline, its answers, its mistakes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tlkit import plots
from tlkit.data import Split
from tlkit.reports.data import SHOWN, tiles
from tlkit.reports.document import Block, Figure, Images, Section, Table, Text, Tile
from tlkit.reports.figures import figure
from tlkit.reports.words import percent, shortened
from tlkit.techniques.multi_task import Regression, Task

MAX_CLASSES = 25  # of which a confusion matrix can be read
MISTAKES = 6  # images of each task
Labels = Mapping[str, np.ndarray]


def reached(task: Task, measure: float | None) -> str:
    """Write an accuracy in percent, and an error as such.

    >>> reached(Regression(), 3.14159), reached(Regression(), None)
    ('error 3.142', '–')
    """
    if measure is None:
        return "–"
    return f"{percent(measure)} %" if task.higher_is_better else f"error {measure:.4g}"


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
    """Write the best constant answer according to the training labels."""
    if task.kind == "classification":
        return (task.class_names or [])[np.bincount(train[train >= 0]).argmax()]
    return answer(task, (np.nanmean if task.kind == "multi-label" else np.nanmedian)(train, axis=0))


def task_terms(tasks: Mapping[str, Task]) -> dict[str, str]:
    """Return the tasks for `data_section`."""
    return {name: f"{task.kind}: {_contents(task)}" for name, task in tasks.items()}


def _contents(task: Task) -> str:
    if isinstance(task, Regression):
        return f"mean {task.mean:.4g}, standard deviation {task.deviation:.4g}"
    return shortened(task.class_names or [], 12)


def overview_section(
    tasks: Mapping[str, Task],
    numbers: Mapping[str, Mapping[str, Any]],
    split: str,
    splits: Sequence[str],
    train_labels: Labels,
) -> Section:
    """Return the section that compares each task with its best constant answer.

    Args:
        tasks: by name.
        numbers: of each task, as in `metrics.json`.
        split: the split of the figure.
        splits: all splits.
        train_labels: as `Task.encode` returns them.
    """
    gains, texts, rows = {}, {}, []
    for name, task in tasks.items():
        mine = numbers[name]
        got, floor = mine[task.measure][split], mine["baseline"]
        best = 1.0 if task.higher_is_better else 0.0
        if got is not None and floor is not None and floor != best:
            gains[name] = (got - floor) / (best - floor)
            texts[name] = f"{reached(task, got)} against {reached(task, floor)}"
        bounds = mine["interval"]
        rows.append(
            {
                "task": f"{name} ({task.kind})",
                **{part: reached(task, mine[task.measure][part]) for part in splits},
                "constant": f"{constant(task, train_labels[name])}: {reached(task, floor)}",
                "95 % interval": f"{percent(bounds['low'])} to {percent(bounds['high'])} %"
                if bounds
                else "–",
                "labelled": " + ".join(str(mine["labelled"][part]) for part in splits),
            }
        )
    blocks: list[Block] = []
    if gains:
        blocks.append(
            figure(
                lambda ax: plots.task_gains(gains, texts, ax),
                (7.4, 0.9 + 0.5 * len(gains)),
                "Each task: " + "; ".join(f"{name} {text}" for name, text in texts.items()) + ".",
                f"Each task compared with the best answer that is the same for every {split} image: 0 is no "
                "better, 1 is perfect. Accuracies and errors share this scale; still, two tasks differ in "
                "difficulty.",
            )
        )
    explained = (
        "Error: the mean absolute error, in the units of the labels. For several labels: the fraction of "
        "right yes-or-no answers. Constant: the best answer that is the same for every image. Labelled: "
        f"images with a label, {' + '.join(splits)}."
    )
    return Section("Each task", [*blocks, Table(pd.DataFrame(rows)), Text(explained, "soft")])


def samples(
    split: Split, tasks: Mapping[str, Task], labels: Labels, known: Mapping[str, np.ndarray]
) -> list[Tile]:
    """Return some training images with their labels: images with many labels, from all folders."""
    counts = np.sum(list(known.values()), axis=0)
    order = np.argsort(-counts, kind="stable")
    most = order[: max(SHOWN, np.sum(counts == counts.max()))]
    chosen = np.unique(most[np.linspace(0, len(most) - 1, SHOWN).astype(int)])

    def lines(place: int) -> list[tuple[str, str]]:
        row = chosen[place]
        return [(f"{name}: {answer(task, labels[name][row])}", "") for name, task in tasks.items()]

    return tiles(split, chosen, lines, "A training image, {name}")


def training_section(history: Mapping[str, Any], tasks: Sequence[str], balancing: str) -> Section:
    """Return the section with the loss of each task, and the weights of a balancing rule."""
    columns = min(3, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    epochs = sum(len(phase.get("loss", ())) for phase in history.values())
    drawn: list[Block] = [
        figure(
            lambda axes: plots.task_curves(history, tasks, axes),
            (2.9 * columns, 2.6 * rows),
            f"Loss of {', '.join(tasks)} over {epochs} epochs.",
            "The loss of each task. Dashed: training images. Solid: validation images, which the network "
            "does not learn from. A gap that widens is overfitting. A vertical line separates two phases of "
            "training. The epoch with the lowest sum of validation losses is kept.",
            columns=columns,
            rows=rows,
        )
    ]
    last = list(history.values())[-1]
    weights = {f"{name}_weight": last.get(f"{name}_weight", []) for name in tasks}
    flat = [value for values in weights.values() for value in values]
    if flat and np.ptp(flat) >= 1e-6:
        ends = "; ".join(f"{name} {weights[f'{name}_weight'][-1]:.2f}" for name in tasks)
        drawn.append(
            figure(
                lambda ax: plots.task_weights(weights, ax),
                (6, 3),
                f"Weights at the end: {ends}.",
                f"The weight of each task in the shared layers in the last phase, as {balancing} set it.",
            )
        )
    return Section("Training", drawn)


def task_section(
    name: str,
    task: Task,
    split: Split,
    split_name: str,
    labels: np.ndarray,
    predicted: np.ndarray,
    scores: np.ndarray,
) -> Section:
    """Return the section on the answers of one task.

    Args:
        name: of the task.
        task: its kind and classes.
        split: the images; only those that are shown are read.
        split_name: of the split.
        labels: as `Task.encode` returns them.
        predicted: `(n, outputs)`.
        scores: the task's measure of each image `(n,)`; NaN where there is no label.
    """
    known = ~np.isnan(scores)
    blocks = _figure(name, task, split_name, labels[known], predicted[known])
    if task.kind == "multi-label":
        blocks.append(Table(_per_label(task, labels, predicted)))
    worst = _worst(task, scores, predicted)
    if not len(worst):
        said = (
            f"No mistake: every labelled {split_name} image is right. With {known.sum()} images this does "
            "not mean that the network never errs."
        )
        return Section(name, [*blocks, Text(said)])

    def lines(place: int) -> list[tuple[str, str]]:
        row = worst[place]
        true = f"true: {answer(task, labels[row])}"
        return [(answer(task, predicted[row]), "wrong"), (true, ""), (str(split.names[row]), "file")]

    order = "farthest from the truth" if task.kind == "regression" else "and most certain"
    said = f"The worst answers, {order}. Look for wrong labels among them, too."
    shown = tiles(split, worst, lines, "An image with a wrong answer, {name}")
    return Section(name, [*blocks, Text(said), Images(shown)])


def _figure(name: str, task: Task, split: str, labels: np.ndarray, predicted: np.ndarray) -> list[Block]:
    drawn: list[Figure] = []
    if task.kind == "classification" and task.outputs <= MAX_CLASSES:
        side = min(9, 2.6 + 0.3 * task.outputs)
        names = task.class_names or []
        drawn = [
            figure(
                lambda ax: plots.confusion(labels, predicted.argmax(axis=1), names, ax),
                (side, side),
                f"Confusion matrix of {name}: {task.outputs} classes.",
                f"The labelled {split} images. Rows are true classes, columns are predictions; the diagonal "
                "is right. The colour is the fraction of the row.",
            )
        ]
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
