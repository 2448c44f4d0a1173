"""What a network is made of, and which part of it learns."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from tlkit.plots.style import PALETTE, axes_or_new, shortened


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
    ax = axes_or_new(ax, (9, 1.9))
    ax.bar(centres, 1, widths, color=[colors[state] for state in states], edgecolor="white", linewidth=2)
    upright = len(widths) <= 8
    for centre, count in zip(centres, parameters, strict=True):
        ax.text(
            centre, 0.5, _count(count), rotation=0 if upright else 90, ha="center", va="center", fontsize=8
        )
    names = [shortened(str(name), 16) for name in table.index]
    turned: dict[str, Any] = {} if upright else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(centres, names, fontsize=8, **turned)
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
