"""Results of training: learning curves, the confusion matrix, and the arms of an experiment."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay, confusion_matrix

from tlkit.plots.style import PALETTE, arm_colors, axes_or_new, lighten, shortened

MAX_NUMBERED_CLASSES = 20
MAX_NAMED_CLASSES = 40


def learning_curves(history: Any, axes: Any = None) -> np.ndarray:
    """Draw accuracy and loss per epoch, for training (dashed) and validation (solid).

    Args:
        history: Keras's `History` or its `history` dictionary, or several of them by name of the phase, such
            as `{"head": ..., "fine-tuning": ...}`, which are drawn one after the other.
        axes: two axes, for accuracy and loss; new ones by default.

    Returns:
        The two axes, as an array.

    >>> learning_curves({"accuracy": [0.5, 0.8], "loss": [1.0, 0.4]}).shape
    (2,)
    """
    history = getattr(history, "history", history)
    curves = all(isinstance(values, Sequence) for values in history.values())
    phases = {
        name: getattr(phase, "history", phase)
        for name, phase in ({"": history} if curves else history).items()
    }
    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    axes = np.asarray(axes)
    styles = {"": ("training", "--", PALETTE["orange"]), "val_": ("validation", "-", PALETTE["blue"])}
    for ax, quantity in zip(axes.flat, ("accuracy", "loss"), strict=True):
        done, drawn = 0, {}
        for name, phase in phases.items():
            for prefix, (label, line, color) in styles.items():
                if values := phase.get(prefix + quantity):
                    x = np.arange(done + 1, done + len(values) + 1)
                    marker = "o" if len(values) < 12 else None
                    [drawn[label]] = ax.plot(x, values, line, color=color, marker=marker, markersize=3.5)
            if done:
                ax.axvline(done + 0.5, color=PALETTE["grey"], linewidth=0.8)
            above = ax.get_xaxis_transform()
            ax.text(done + 0.5, 1.02, name, transform=above, fontsize=9, color="#444444", parse_math=False)
            done += max(map(len, phase.values()), default=0)
        ax.set(xlabel="epoch", ylabel=quantity, xlim=(0.5, max(done, 1) + 0.5))
        ax.xaxis.get_major_locator().set_params(integer=True)
        if drawn:
            ax.legend(drawn.values(), drawn.keys(), frameon=False, fontsize=9)
        lighten(ax)
    return axes


def confusion(
    labels: np.ndarray,
    predicted: np.ndarray,
    class_names: Sequence[str],
    ax: Axes | None = None,
    *,
    fractions: bool = False,
) -> Axes:
    """Draw the confusion matrix, with true classes in rows and predicted classes in columns.

    The colour of a cell is its fraction of the true class. With up to 20 classes, the cells show numbers.
    With more than 40 classes, only every second, third, ... class is named.

    Args:
        labels, predicted: int `(n,)` class indices.
        class_names: names of the classes, by index.
        ax: axes to draw on; new ones by default.
        fractions: show the percentage of the true class in each cell, instead of the count.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), ["cat", "dog"]).get_xlabel()
    'predicted'
    """
    classes = len(class_names)
    counts = confusion_matrix(labels, predicted, labels=range(classes))
    of_row = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    ax = axes_or_new(ax, (min(10, 3 + 0.35 * classes),) * 2)
    ax.imshow(of_row, cmap="Blues", vmin=0, vmax=1)
    ticks = range(0, classes, math.ceil(classes / MAX_NAMED_CLASSES))
    names = [shortened(class_names[tick], 18) for tick in ticks]
    ax.set_xticks(ticks, names, rotation=90 if max(map(len, names)) > 2 else 0, fontsize=8, parse_math=False)
    ax.set_yticks(ticks, names, fontsize=8, parse_math=False)
    ax.set(xlabel="predicted", ylabel="true")
    if classes <= MAX_NUMBERED_CLASSES:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if of_row[row, column] > 0.5 else "black"
            number = f"{100 * of_row[row, column]:.0f}" if fractions else counts[row, column]
            ax.text(column, row, number, ha="center", va="center", color=color, fontsize=8)
    ax.set_title("percent of the true class" if fractions else "images", fontsize=9)
    lighten(ax)
    return ax


def roc_and_precision_recall(
    labels: np.ndarray, scores: np.ndarray, positive: str, axes: Any = None
) -> np.ndarray:
    """Draw the ROC curve and the precision-recall curve of two classes, by scikit-learn's displays.

    A point marks the threshold of 0.5.

    Args:
        labels: int `(n,)`, 1 for the positive class and 0 for the other.
        scores: `(n,)` probabilities of the positive class, 0 to 1.
        positive: its name.
        axes: two axes; new ones by default.

    Returns:
        The two axes, as an array.

    >>> labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9])
    >>> roc_and_precision_recall(labels, scores, "defective").shape
    (2,)
    """
    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
    axes = np.asarray(axes)
    for display, ax in ((RocCurveDisplay, axes[0]), (PrecisionRecallDisplay, axes[1])):
        drawn = display.from_predictions(labels, scores, ax=ax, plot_chance_level=True)
        drawn.line_.set_color(PALETTE["blue"])
    (negatives, alarms), (missed, found) = confusion_matrix(labels, scores >= 0.5, labels=[0, 1])
    recall = found / max(1, missed + found)
    axes[0].plot(alarms / max(1, negatives + alarms), recall, "o", color=PALETTE["vermillion"])
    axes[1].plot(recall, found / max(1, alarms + found), "o", color=PALETTE["vermillion"])
    axes[0].set(xlabel="false alarms: fraction of the others", ylabel=f"found: fraction of {positive}")
    axes[1].set(xlabel=f"recall: fraction of {positive} found", ylabel="precision")
    for ax in axes:
        if legend := ax.get_legend():
            legend.remove()
        lighten(ax)
    return axes


def compare_arms(
    arms: Mapping[str, Sequence[float]] | pd.DataFrame,
    ax: Axes | None = None,
    *,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    predicted: Mapping[str, float | None] | None = None,
    value: str = "accuracy",
    quantity: str | None = None,
) -> Axes:
    """Draw the values of each arm of an experiment in a row: one point per seed, and a tick for the mean.

    Args:
        arms: the `table` of a `tlkit.compare` result, or the values over seeds by name of the arm.
        ax: axes to draw on; new ones by default.
        intervals: interval (low, high) of each arm, drawn as a bar; one standard deviation by default.
        predicted: value that you predicted for each arm, drawn as a diamond; None draws nothing.
        value: column of the table.
        quantity: label of the axis; the name of the column by default.

    >>> compare_arms({"scratch": [0.5, 0.6], "frozen": [0.8, 0.9]}).get_xlabel()
    'accuracy'
    """
    if isinstance(arms, pd.DataFrame):
        arms = {str(name): rows[value].to_list() for name, rows in arms.groupby("arm", sort=False)}
    ax = axes_or_new(ax, (7, 0.8 + 0.55 * max(1, len(arms))))
    colors = arm_colors(arms)
    for row, (name, results) in enumerate(arms.items()):
        values = np.asarray(results, float)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        mean, spread = values.mean(), values.std(ddof=1) if len(values) > 1 else 0.0
        low, high = intervals[name] if intervals else (mean - spread, mean + spread)
        color = colors[str(name)]
        ax.plot([low, high], [row, row], color=color, linewidth=9, alpha=0.25, solid_capstyle="butt")
        ax.plot([mean, mean], [row - 0.28, row + 0.28], color=color, linewidth=2)
        ax.plot(values, np.full(len(values), row), "o", color=color, markersize=5)
        ax.text(mean, row - 0.3, f"{mean:.2f}", ha="center", va="bottom", fontsize=9)
    if guesses := {name: value for name, value in (predicted or {}).items() if value is not None}:
        rows = [list(arms).index(name) for name in guesses]
        ax.plot(list(guesses.values()), rows, "D", color="black", markersize=6, label="your prediction")
        ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    ax.set_yticks(range(len(arms)), [shortened(str(name), 40) for name in arms], parse_math=False)
    ax.set(xlabel=quantity or value, ylim=(len(arms) - 0.5, -0.65))
    ax.grid(axis="x", color="#EEEEEE")
    ax.set_axisbelow(True)
    lighten(ax)
    return ax
