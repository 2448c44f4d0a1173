"""Figures of overfitting: reliability diagram, distance of the weights from the start, and gap per epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tlkit.plots.style import PALETTE, axes_or_new, legend, lighten, shortened


def reliability(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw a reliability diagram: accuracy against confidence; bars below the diagonal are overconfident.

    The hatched area is the gap between accuracy and confidence. Darker bars have more examples. The title
    shows the expected calibration error, the weighted mean of the gaps.

    Args:
        table: result of `tlkit.challenges.overfitting.reliability_table`.
        ax: axes to draw on; new ones by default.

    >>> table = {"low": [0.5], "high": [1.0], "count": [4], "confidence": [0.9], "accuracy": [0.5]}
    >>> reliability(pd.DataFrame(table)).get_title()
    'expected calibration error 0.400, 4 images'
    """
    ax = axes_or_new(ax, (4.2, 4))
    fraction = table["count"] / table["count"].sum()
    width = table["high"] - table["low"]
    middle = (table["low"] + table["high"]) / 2
    for x, bar_width, accuracy, confidence, relative_count in zip(
        middle, width, table["accuracy"], table["confidence"], fraction / fraction.max(), strict=True
    ):
        opacity = 0.15 + 0.7 * relative_count
        ax.bar(x, accuracy, bar_width, color=PALETTE["blue"], alpha=opacity, edgecolor="white")
        gap: dict[str, Any] = {
            "facecolor": "none",
            "edgecolor": (PALETTE["vermillion"], min(1.0, 2 * opacity)),  # a small bin should not stand out
            "hatch": "///",
            "linewidth": 0,
        }
        ax.bar(x, confidence - accuracy, bar_width, bottom=accuracy, **gap)
    ax.plot([0, 1], [0, 1], "--", color=PALETTE["grey"], linewidth=1)
    ax.bar(-1, 0, color=PALETTE["blue"], label="accuracy")
    ax.bar(-1, 0, facecolor="none", edgecolor=PALETTE["vermillion"], hatch="///", label="gap to confidence")
    error = float(np.sum(fraction * np.abs(table["accuracy"] - table["confidence"])))
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    images = f"{table['count'].sum():,} images"
    ax.set_title(f"expected calibration error {error:.3f}, {images}", fontsize=10)
    legend(ax)
    lighten(ax)
    return ax


def distance_from_start(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame], ax: Axes | None = None, *, value: str = "relative"
) -> Axes:
    """Draw how far the weights of each stage have moved, from the input on the left to the head.

    Args:
        tables: a result of `tlkit.challenges.overfitting.distance_from_start`, or several by name.
        ax: axes to draw on; new ones by default.
        value: column to draw, `"relative"` or `"distance"`.

    >>> table = pd.DataFrame({"relative": [0.01, 0.2]}, index=["conv1", "head"])
    >>> [text.get_text() for text in distance_from_start(table).get_xticklabels()]
    ['conv1', 'head']
    """
    named = {"": tables} if isinstance(tables, pd.DataFrame) else dict(tables)
    stages = list(dict.fromkeys(str(stage) for table in named.values() for stage in table.index))
    ax = axes_or_new(ax, (max(4, 1 + 0.7 * len(stages)), 3.2))
    width = 0.8 / len(named)
    for index, (name, table) in enumerate(named.items()):
        at = np.array([stages.index(str(stage)) for stage in table.index]) + (index + 0.5) * width - 0.4
        color = list(PALETTE.values())[index % 6]
        ax.bar(at, table[value], 0.92 * width, color=color, label=shortened(name, 40))
    ax.set_xticks(range(len(stages)), [shortened(stage, 14) for stage in stages], fontsize=9)
    ax.set_ylabel("|w − w₀| / |w₀|" if value == "relative" else "|w − w₀|")
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    if any(named):
        legend(ax)
    lighten(ax)
    return ax


def gaps(by_epoch: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """Draw the generalisation gap per epoch, one line per training run; a gap above 0 indicates overfitting.

    Args:
        by_epoch: name of a training run to the result of `tlkit.challenges.overfitting.generalisation_gap`.
        ax: axes to draw on; new ones by default.

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
