"""Multi-task training per epoch: the weight of each task, and the similarity of the gradients."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tlkit.plots.style import PALETTE, axes_or_new, legend, lighten


def task_weights(history: Any, ax: Axes | None = None) -> Axes:
    """Draw the loss weight of each task per epoch.

    Args:
        history: Keras's `History` of a `MultiTask` learner, or its `history` dictionary.
        ax: axes to draw on; new ones by default.

    >>> task_weights({"left_weight": [1.0, 0.8], "right_weight": [1.0, 1.2]}).get_ylabel()
    'task weight'
    """
    weights = {
        name.removesuffix("_weight"): values
        for name, values in getattr(history, "history", history).items()
        if name.endswith("_weight") and not name.startswith("val_")
    }
    ax = _lines(weights, ax)
    ax.axhline(1, color=PALETTE["grey"], linestyle="--", linewidth=1, zorder=0)
    ax.set(ylabel="task weight", ylim=(0, None))
    return ax


def gradient_cosines(history: Any, ax: Axes | None = None) -> Axes:
    """Draw the cosine similarity of the gradients of each pair of tasks per epoch; below 0 they conflict.

    Args:
        history: Keras's `History` of a `MultiTask` learner that records gradients, or its `history`
            dictionary.
        ax: axes to draw on; new ones by default.

    >>> gradient_cosines({"cosine_left_right": [0.1, -0.2]}).get_ylabel()
    'cosine similarity of gradients'
    """
    cosines = {
        name.removeprefix("cosine_").replace("_", " and "): values
        for name, values in getattr(history, "history", history).items()
        if name.startswith("cosine_")
    }
    ax = _lines(cosines, ax)
    ax.axhline(0, color=PALETTE["grey"], linestyle="--", linewidth=1, zorder=0)
    ax.set(ylabel="cosine similarity of gradients", ylim=(-1, 1))
    return ax


def _lines(curves: dict[str, list[float]], ax: Axes | None) -> Axes:
    ax = axes_or_new(ax, (5, 3.2))
    colors = list(PALETTE.values())
    for index, (name, values) in enumerate(curves.items()):
        marker = "o" if len(values) < 12 else None
        x = np.arange(1, len(values) + 1)
        ax.plot(x, values, color=colors[index % 6], marker=marker, markersize=3.5, label=name)
    ax.set(xlabel="epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if curves:
        legend(ax)
    lighten(ax)
    return ax
