"""The figure of a learning-rate range test."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tlkit.plots.style import PALETTE, axes_or_new, lighten


def learning_rate(found: Any, ax: Axes | None = None) -> Axes:
    """Draw the training loss against the learning rate of a range test, and mark the suggestion.

    The line is the smoothed loss; the faint points are the losses of single batches. Losses far above the
    starting level, where training diverges, are above the upper end of the axis.

    Args:
        found: result of `tlkit.find_learning_rate`, or any object with arrays `rates`, `losses` and
            `smoothed` `(steps,)`, and the numbers `suggestion` and `lowest_loss_rate`.
        ax: axes to draw on; new ones by default.

    >>> from types import SimpleNamespace
    >>> rates, losses = np.array([1e-4, 1e-3, 1e-2, 1e-1]), np.array([2.0, 1.5, 1.0, 8.0])
    >>> found = {"rates": rates, "losses": losses, "smoothed": losses}
    >>> ax = learning_rate(SimpleNamespace(**found, suggestion=1e-3, lowest_loss_rate=1e-2))
    >>> ax.get_title()
    'suggested learning rate 1.0e-03'
    """
    ax = axes_or_new(ax, (7.5, 3))
    rates, losses, smoothed = (np.asarray(each) for each in (found.rates, found.losses, found.smoothed))
    blue, red = PALETTE["blue"], PALETTE["vermillion"]
    ax.plot(rates, losses, "o", color=blue, markersize=3, alpha=0.3, label="one batch")
    ax.plot(rates, smoothed, color=blue, linewidth=2, label="running average")
    suggestion, lowest = float(found.suggestion), float(found.lowest_loss_rate)
    ax.axvline(lowest, color=PALETTE["grey"], linestyle=":", label=f"rate of the lowest loss: {lowest:.1e}")
    ax.axvline(suggestion, color=red, linestyle="--", label=f"suggestion: {suggestion:.1e}")
    height = np.interp(np.log(suggestion), np.log(rates), smoothed)
    ax.plot(suggestion, height, "o", color=red, markersize=7)
    ax.set_xscale("log")
    start, bottom = float(smoothed[: max(2, len(smoothed) // 10)].max()), float(losses.min())
    margin = 0.08 * (start - bottom)
    ax.set_ylim(bottom - margin, min(float(losses.max()) + margin, start + 0.6 * (start - bottom)))
    ax.set(xlabel="learning rate", ylabel="training loss")
    ax.set_title(f"suggested learning rate {suggestion:.1e}", fontsize=10)
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    ax.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))  # beside the lines
    lighten(ax)
    return ax
