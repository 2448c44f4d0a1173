"""Signs of overfitting: confidence against accuracy, how far the weights went, how the gap opened."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tlkit.plots.style import PALETTE, axes_or_new, legend, lighten, shortened


def reliability(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw accuracy by confidence: a bar below the diagonal is surer than it is right.

    What is missing to the diagonal, or stands above it, is hatched. A bar is as dark as its bin has examples,
    and the title is their weighted mean gap, the expected calibration error.

    Args:
        table: of `tlkit.challenges.overfitting.reliability_table`.

    >>> table = {"low": [0.5], "high": [1.0], "count": [4], "confidence": [0.9], "accuracy": [0.5]}
    >>> reliability(pd.DataFrame(table)).get_title()
    'expected calibration error 0.400, 4 images'
    """
    ax = axes_or_new(ax, (4.2, 4))
    share = table["count"] / table["count"].sum()
    width = table["high"] - table["low"]
    middle = (table["low"] + table["high"]) / 2
    for x, wide, accuracy, confidence, dark in zip(
        middle, width, table["accuracy"], table["confidence"], share / share.max(), strict=True
    ):
        seen = 0.15 + 0.7 * dark
        ax.bar(x, accuracy, wide, color=PALETTE["blue"], alpha=seen, edgecolor="white")
        gap: dict[str, Any] = {
            "facecolor": "none",
            "edgecolor": (PALETTE["vermillion"], min(1.0, 2 * seen)),  # a bin of one image shall not shout
            "hatch": "///",
            "linewidth": 0,
        }
        ax.bar(x, confidence - accuracy, wide, bottom=accuracy, **gap)
    ax.plot([0, 1], [0, 1], "--", color=PALETTE["grey"], linewidth=1)
    ax.bar(0, 0, color=PALETTE["blue"], label="right")
    ax.bar(0, 0, facecolor="none", edgecolor=PALETTE["vermillion"], hatch="///", label="gap to confidence")
    error = float(np.sum(share * np.abs(table["accuracy"] - table["confidence"])))
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    images = f"{table['count'].sum():,} images"
    ax.set_title(f"expected calibration error {error:.3f}, {images}", fontsize=10)
    legend(ax)
    lighten(ax)
    return ax


def distance_from_start(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame], ax: Axes | None = None, *, value: str = "relative"
) -> Axes:
    """Draw for each stage how far its weights have moved, from the input on the left to the head.

    Args:
        tables: of `tlkit.challenges.overfitting.distance_from_start`, one or several by name.
        value: the column: `"relative"` or `"distance"`.

    >>> table = pd.DataFrame({"relative": [0.01, 0.2]}, index=["conv1", "head"])
    >>> [text.get_text() for text in distance_from_start(table).get_xticklabels()]
    ['conv1', 'head']
    """
    given = {"": tables} if isinstance(tables, pd.DataFrame) else dict(tables)
    stages = list(dict.fromkeys(str(stage) for table in given.values() for stage in table.index))
    ax = axes_or_new(ax, (max(4, 1 + 0.7 * len(stages)), 3.2))
    wide = 0.8 / len(given)
    for index, (name, table) in enumerate(given.items()):
        at = np.array([stages.index(str(stage)) for stage in table.index]) + (index + 0.5) * wide - 0.4
        color = list(PALETTE.values())[index % 6]
        ax.bar(at, table[value], 0.92 * wide, color=color, label=shortened(name, 40))
    ax.set_xticks(range(len(stages)), [shortened(stage, 14) for stage in stages], fontsize=9)
    ax.set_ylabel("|w − w₀| / |w₀|" if value == "relative" else "|w − w₀|")
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    if any(given):
        legend(ax)
    lighten(ax)
    return ax


def gaps(by_epoch: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Draw generalisation gaps by epoch, a line each: above 0 the training images are known better.

    Args:
        by_epoch: the values of `tlkit.challenges.overfitting.generalisation_gap` by the name of the training.

    >>> gaps({"plain": [0.0, 0.2], "mixup": [0.0, 0.1]}).get_ylabel()
    'generalisation gap'
    """
    ax = axes_or_new(ax, (6, 3.2))
    for index, (name, values) in enumerate(by_epoch.items()):
        epochs = np.arange(1, len(values) + 1)
        color, line = list(PALETTE.values())[index % 6], "-" if index < 6 else "--"
        ax.plot(epochs, values, line, color=color, linewidth=2, label=shortened(name, 40))
    ax.axhline(0, color=PALETTE["grey"], linewidth=0.8)
    ax.set(xlabel="epoch", ylabel="generalisation gap")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(ax)
    lighten(ax)
    return ax
