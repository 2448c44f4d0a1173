"""Results of several tasks: loss curves, gain over a constant prediction, and predictions of a regression."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tlkit.plots.style import PALETTE, axes_or_new, lighten, shortened


def task_curves(
    phases: Mapping[str, Mapping[str, Sequence[float]]], tasks: Sequence[str], axes: Any = None
) -> np.ndarray:
    """Draw the loss of each task per epoch, for training (dashed) and validation (solid).

    Args:
        phases: name of each phase to the `history` dictionary of a `MultiTask` learner; the phases are drawn
            one after the other.
        tasks: names of the tasks.
        axes: one per task; further axes are switched off. New ones by default.

    Returns:
        The axes, as an array.

    >>> task_curves({"head": {"left_loss": [2.0, 1.0]}}, ["left"]).shape
    (1,)
    """
    if axes is None:
        _, axes = plt.subplots(1, len(tasks), figsize=(3.2 * len(tasks), 2.8), layout="constrained")
    axes = np.atleast_1d(axes).ravel()
    for ax in axes[len(tasks) :]:
        ax.set_axis_off()
    styles = {"": ("training", "--", PALETTE["orange"]), "val_": ("validation", "-", PALETTE["blue"])}
    for ax, task in zip(axes, tasks, strict=False):
        done, drawn = 0, {}
        for phase in phases.values():
            for prefix, (label, line, color) in styles.items():
                if values := phase.get(f"{prefix}{task}_loss"):
                    x = np.arange(done + 1, done + len(values) + 1)
                    marker = "o" if len(values) < 12 else None
                    [drawn[label]] = ax.plot(x, values, line, color=color, marker=marker, markersize=3)
            if done:
                ax.axvline(done + 0.5, color=PALETTE["grey"], linewidth=0.8)
            done += len(phase.get(f"{task}_loss", ()))
        ax.set_title(shortened(task, 26), fontsize=10, parse_math=False)
        ax.set(xlabel="epoch", ylabel="loss", xlim=(0.5, max(done, 1) + 0.5))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if drawn:
            ax.legend(drawn.values(), drawn.keys(), frameon=False, fontsize=8)
        lighten(ax)
    return axes


def task_gains(gains: Mapping[str, float], texts: Mapping[str, str], ax: Axes | None = None) -> Axes:
    """Draw the gain of each task, from the best constant prediction (0) to perfect predictions (1).

    Args:
        gains: name of a task to its gain, at most 1; below 0 the network is worse than predicting the same
            for every image.
        texts: name of a task to the text next to its bar.
        ax: axes to draw on; new ones by default.

    >>> task_gains({"kind": 0.8}, {"kind": "90 %"}).get_xlabel()
    'gain (0: best constant prediction, 1: perfect)'
    """
    ax = axes_or_new(ax, (7, 0.9 + 0.5 * len(gains)))
    for row, (name, gain) in enumerate(gains.items()):
        color = PALETTE["blue" if gain > 0 else "vermillion"]
        ax.barh(row, gain, height=0.5, color=color, alpha=0.85)
        ax.annotate(
            texts[name],
            (max(gain, 0), row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            parse_math=False,
            annotation_clip=False,
        )
    ax.axvline(0, color=PALETTE["grey"], linewidth=1)
    ax.set_yticks(range(len(gains)), [shortened(name, 30) for name in gains], parse_math=False)
    low = min(0.0, *gains.values()) if gains else 0.0
    ax.set(xlim=(max(low, -1.0), 1), ylim=(len(gains) - 0.5, -0.5))
    ax.set_xlabel("gain (0: best constant prediction, 1: perfect)")
    lighten(ax)
    return ax


def true_and_predicted(labels: np.ndarray, predicted: np.ndarray, ax: Axes | None = None) -> Axes:
    """Draw the predicted values of a regression against the true values; perfect ones lie on the diagonal.

    Args:
        labels, predicted: float `(n,)`.
        ax: axes to draw on; new ones by default.

    >>> true_and_predicted(np.array([1.0, 2.0]), np.array([1.5, 1.5])).get_ylabel()
    'predicted'
    """
    ax = axes_or_new(ax, (4.2, 4.2))
    both = np.concatenate([labels, predicted])
    margin = 0.05 * (np.ptp(both) or 1.0)
    ends = (both.min() - margin, both.max() + margin)
    ax.plot(ends, ends, color=PALETTE["grey"], linestyle="--", linewidth=1)
    ax.plot(labels, predicted, "o", color=PALETTE["blue"], markersize=5, alpha=0.6, markeredgewidth=0)
    ax.set(xlabel="true", ylabel="predicted", xlim=ends, ylim=ends, aspect="equal")
    lighten(ax)
    return ax
