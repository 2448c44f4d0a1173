"""What several tasks learned: curves, gain over a constant answer, numbers against the truth."""

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
    """Draw the loss of each task by epoch: training dashed, validation solid.

    Args:
        phases: Keras's history of a `MultiTask` learner by the name of the phase, one after the other.
        tasks: their names.
        axes: one for each task; those beyond are switched off.

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
    """Draw how far each task is from the best constant answer (0) on the way to perfection (1).

    Args:
        gains: by task, up to 1; below 0 the network is worse than saying the same of every image.
        texts: what is written beside each bar.

    >>> task_gains({"kind": 0.8}, {"kind": "90 %"}).get_xlabel()
    '0: the best constant answer, 1: perfect'
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
    ax.set_xlabel("0: the best constant answer, 1: perfect")
    lighten(ax)
    return ax


def true_and_predicted(labels: np.ndarray, predicted: np.ndarray, ax: Axes | None = None) -> Axes:
    """Draw predicted numbers against the true ones; on the diagonal they agree.

    Args:
        labels, predicted: float `(n,)`.

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
