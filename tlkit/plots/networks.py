"""The stages of a network, and which of them are trainable."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from tlkit.plots.style import PALETTE, axes_or_new, shortened


def frozen(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the stages of a network as a row of blocks, coloured by whether they are frozen or trainable.

    The width of a block is proportional to the square root of its number of parameters, so that small stages
    remain visible. "Partly trainable" means that less than half of the parameters are trainable. The
    statistics of BatchNormalization are never trainable.

    Args:
        table: result of `tlkit.frozen_table(model)`.
        ax: axes to draw on; new ones by default.

    >>> columns = {"parameters": [800, 1010], "trainable parameters": [0, 1010]}
    >>> [text.get_text() for text in frozen(pd.DataFrame(columns, index=["conv1", "head"])).texts]
    ['800', '1.01 k']
    """
    colors = {
        "frozen": PALETTE["sky"],
        "partly trainable": PALETTE["orange"],
        "trainable": PALETTE["vermillion"],
    }
    parameters = table["parameters"].to_numpy(float)
    fractions = table["trainable parameters"].to_numpy(float) / parameters
    states = [
        "frozen" if each == 0 else "partly trainable" if each < 0.5 else "trainable" for each in fractions
    ]
    widths = np.sqrt(parameters)
    widths = np.maximum(widths / widths.sum(), 0.4 / len(widths))  # wide enough for the name
    centres = np.cumsum(widths) - widths / 2
    ax = axes_or_new(ax, (9, 1.9))
    ax.bar(centres, 1, widths, color=[colors[state] for state in states], edgecolor="white", linewidth=2)
    horizontal = len(widths) <= 8
    for centre, count in zip(centres, parameters, strict=True):
        ax.text(
            centre, 0.5, _count(count), rotation=0 if horizontal else 90, ha="center", va="center", fontsize=8
        )
    names = [shortened(str(name), 16) for name in table.index]
    rotated: dict[str, Any] = {} if horizontal else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(centres, names, fontsize=8, **rotated)
    ax.tick_params(length=0)
    ax.set(yticks=[], xlim=(0, widths.sum()), ylim=(0, 1))
    ax.spines[:].set_visible(False)
    handles = [Patch(color=color, label=state) for state, color in colors.items() if state in states]
    ax.legend(handles=handles, ncols=3, frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1))
    return ax


def _count(number: float) -> str:
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"
