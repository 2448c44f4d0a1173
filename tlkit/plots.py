"""Figures on axes: each function draws onto the axes it is given, or makes some, and returns them.

Colours are from Okabe & Ito 2008, "Color Universal Design": they differ for colour-blind readers too.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from sklearn.metrics import confusion_matrix

from tlkit.data import Split

PALETTE = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#007A5A",  # darker than the original, to be read as text
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "grey": "#767676",
    "light": "#D0D0D0",
}
MAX_NUMBERED_CLASSES = 20
MAX_NAMED_CLASSES = 40


def images(
    pictures: Split | np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    labels: np.ndarray | Sequence[int] | None = None,
    predicted: np.ndarray | Sequence[int] | None = None,
    count: int = 16,
    columns: int = 8,
    axes: Any = None,
) -> np.ndarray:
    """Show the first pictures in a grid, titled by what they are or were taken for.

    Args:
        pictures: a split, of which only these pictures are read, or RGB `(n, height, width, 3)`, 0 to 255.
        class_names: names of the classes; their numbers by default.
        labels: int `(n,)` true classes; those of the split by default.
        predicted: int `(n,)` predicted classes; right ones are titled in green, wrong ones in red.
        count: number of pictures, at most.
        columns: pictures in a row.
        axes: an array of axes, at least `count` of them.

    Returns:
        The axes, as an array.

    >>> images(np.zeros((3, 8, 8, 3), "uint8"), labels=[0, 1, 0], columns=2).shape
    (2, 2)
    """
    shown = (pictures.images if isinstance(pictures, Split) else pictures)[:count]
    if labels is None and isinstance(pictures, Split) and pictures.labelled:
        labels = pictures.labels
    if axes is None:
        columns = max(1, min(columns, len(shown)))
        rows = max(1, math.ceil(len(shown) / columns))
        size = (1.35 * columns, 1.65 * rows)
        _, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    axes = np.asarray(axes)

    def name(index: int) -> str:
        return _short(class_names[index] if class_names is not None else str(index), 16)

    for position, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if position >= len(shown):
            continue
        ax.imshow(_uint8(shown[position]))
        title, color = "", "black"
        if labels is not None:
            title = name(labels[position])
        if predicted is not None:
            guess = name(predicted[position])
            if labels is not None:
                right = labels[position] == predicted[position]
                color = PALETTE["green" if right else "vermillion"]
                guess = guess if right else f"{guess}\ntrue: {title}"
            title = guess
        ax.set_title(title, fontsize=9, color=color, parse_math=False)
    return axes


def learning_curves(history: Any, axes: Any = None) -> np.ndarray:
    """Draw accuracy and loss by epoch: training dashed, validation solid.

    Args:
        history: Keras's `History` or its `history` dictionary, or several of them by the name of their
            phase, such as `{"head": ..., "fine-tuning": ...}`; these are drawn one after the other.
        axes: two axes, for accuracy and loss.

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
        _lighten(ax)
    return axes


def confusion(
    labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str], ax: Axes | None = None
) -> Axes:
    """Draw the confusion matrix: true classes in rows, predicted ones in columns.

    Colour is the share of the true class. The counts are written for up to 20 classes; of more
    than 40 classes every second, third, ... one is named.

    Args:
        labels, predicted: int `(n,)` class indices.
        class_names: the names, by index.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), ["cat", "dog"]).get_xlabel()
    'predicted'
    """
    classes = len(class_names)
    counts = confusion_matrix(labels, predicted, labels=range(classes))
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    ax = _axes(ax, (min(10, 3 + 0.35 * classes),) * 2)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(0, classes, math.ceil(classes / MAX_NAMED_CLASSES))
    names = [_short(class_names[tick], 18) for tick in ticks]
    ax.set_xticks(ticks, names, rotation=90 if max(map(len, names)) > 2 else 0, fontsize=8, parse_math=False)
    ax.set_yticks(ticks, names, fontsize=8, parse_math=False)
    ax.set(xlabel="predicted", ylabel="true")
    if classes <= MAX_NUMBERED_CLASSES:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            ax.text(column, row, counts[row, column], ha="center", va="center", color=color, fontsize=8)
    _lighten(ax)
    return ax


def compare(
    arms: Mapping[str, Sequence[float]] | pd.DataFrame,
    ax: Axes | None = None,
    *,
    intervals: Mapping[str, tuple[float, float]] | None = None,
    predicted: Mapping[str, float] | None = None,
    value: str = "accuracy",
    quantity: str | None = None,
) -> Axes:
    """Draw the arms of an experiment below each other: a point for each seed, a tick for the mean.

    Args:
        arms: the table of `tlkit.compare`, or values over seeds by the name of the arm.
        intervals: (low, high) of each arm, drawn as a bar; the standard deviation by default.
        predicted: what the learner expected of each arm, drawn as a diamond.
        value: the column of the table.
        quantity: what the values are, for the axis; the column's name by default.

    >>> compare({"scratch": [0.5, 0.6], "frozen": [0.8, 0.9]}).get_xlabel()
    'accuracy'
    """
    if isinstance(arms, pd.DataFrame):
        arms = {str(name): rows[value].to_list() for name, rows in arms.groupby("arm", sort=False)}
    ax = _axes(ax, (7, 0.8 + 0.55 * max(1, len(arms))))
    for row, (name, given) in enumerate(arms.items()):
        values = np.asarray(given, float)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        mean, spread = values.mean(), values.std(ddof=1) if len(values) > 1 else 0.0
        low, high = intervals[name] if intervals else (mean - spread, mean + spread)
        color = list(PALETTE.values())[row % 6]
        ax.plot([low, high], [row, row], color=color, linewidth=9, alpha=0.25, solid_capstyle="butt")
        ax.plot([mean, mean], [row - 0.28, row + 0.28], color=color, linewidth=2)
        ax.plot(values, np.full(len(values), row), "o", color=color, markersize=5)
        ax.text(mean, row - 0.3, f"{mean:.3f}", ha="center", va="bottom", fontsize=9)
    if predicted:
        rows = [list(arms).index(name) for name in predicted]
        ax.plot(list(predicted.values()), rows, "D", color="black", markersize=6, label="your prediction")
        ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    ax.set_yticks(range(len(arms)), [_short(str(name), 40) for name in arms], parse_math=False)
    ax.set(xlabel=quantity or value, ylim=(len(arms) - 0.5, -0.65))
    ax.grid(axis="x", color="#EEEEEE")
    ax.set_axisbelow(True)
    _lighten(ax)
    return ax


def frozen(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the stages of a network as a row of blocks, coloured by whether they learn.

    A block is as wide as the square root of its parameters, so that small stages are seen as well.
    "Partly" means that less than half of the parameters learn: the statistics of BatchNormalization
    never do.

    Args:
        table: what `tlkit.frozen_table(model)` returned.
    """
    colors = {"frozen": PALETTE["sky"], "partly": PALETTE["orange"], "trainable": PALETTE["vermillion"]}
    parameters = table["parameters"].to_numpy(float)
    shares = table["trainable parameters"].to_numpy(float) / parameters
    states = ["frozen" if share == 0 else "partly" if share < 0.5 else "trainable" for share in shares]
    widths = np.sqrt(parameters)
    widths = np.maximum(widths / widths.sum(), 0.4 / len(widths))  # never too narrow for its name
    centres = np.cumsum(widths) - widths / 2
    ax = _axes(ax, (9, 1.9))
    ax.bar(centres, 1, widths, color=[colors[state] for state in states], edgecolor="white", linewidth=2)
    upright = len(widths) <= 8
    for centre, count in zip(centres, parameters, strict=True):
        ax.text(
            centre, 0.5, _count(count), rotation=0 if upright else 90, ha="center", va="center", fontsize=8
        )
    names = [_short(str(name), 16) for name in table.index]
    turned: dict[str, Any] = {} if upright else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(centres, names, fontsize=8, **turned)
    ax.tick_params(length=0)
    ax.set(yticks=[], xlim=(0, widths.sum()), ylim=(0, 1))
    ax.spines[:].set_visible(False)
    handles = [Patch(color=color, label=state) for state, color in colors.items() if state in states]
    ax.legend(handles=handles, ncols=3, frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return the image in grey under the heat in colour, bright where it is hot, uint8 `(height, width, 3)`.

    Args:
        image: RGB `(height, width, 3)`, values 0 to 255.
        heat: `(height, width)`, values 0 to 1.
    """
    grey = np.asarray(image, float).mean(axis=-1, keepdims=True)
    colored = 255 * colormaps["inferno"](heat)[..., :3]
    return _uint8(0.45 * grey + 0.55 * colored)


def heatmap(image: np.ndarray, heat: np.ndarray, ax: Axes | None = None) -> Axes:
    """Show an image under a heat map, such as one of `tlkit.explain.grad_cam`; see `overlay`."""
    ax = _axes(ax, (2.5, 2.5))
    ax.imshow(overlay(image, heat))
    ax.set_axis_off()
    return ax


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def _lighten(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(PALETTE["light"])
    ax.tick_params(color=PALETTE["light"])


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _count(number: float) -> str:
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _uint8(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.asarray(pixels), 0, 255).astype("uint8")
