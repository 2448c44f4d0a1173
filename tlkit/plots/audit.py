"""Figures of a data audit: pairs of images side by side, and the number of images per class."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tlkit.plots.style import PALETTE, axes_or_new, legend, lighten, shortened

PAIRS_PER_ROW = 3


def image_pairs(
    pairs: np.ndarray, titles: Sequence[tuple[str, str]] | None = None, axes: Any = None
) -> np.ndarray:
    """Show pairs of images side by side, three pairs per row.

    Args:
        pairs: uint8 RGB `(n, 2, height, width, 3)`, values 0 to 255.
        titles: titles of the two images of each pair.
        axes: an array of at least `n` axes; new ones by default.

    Returns:
        The axes, as an array.

    >>> image_pairs(np.zeros((4, 2, 8, 8, 3), "uint8")).shape
    (2, 3)
    """
    if axes is None:
        columns = max(1, min(PAIRS_PER_ROW, len(pairs)))
        rows = max(1, -(-len(pairs) // PAIRS_PER_ROW))
        size = (3.1 * columns, 1.95 * rows)
        axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")[1]
    axes = np.asarray(axes)
    for position, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if position >= len(pairs):
            continue
        one, other = pairs[position]
        gap = np.full((len(one), max(1, len(one) // 16), 3), 255, "uint8")
        ax.imshow(np.concatenate([one, gap, other], axis=1))
        if titles is not None:
            title = " | ".join(shortened(name, 20) for name in titles[position])
            ax.set_title(title, fontsize=8, parse_math=False)
    return axes


def class_counts(classes: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the number of images of each class, divided by split.

    Args:
        classes: one row per class, one column per split; a column `images` is ignored.
        ax: axes to draw on; new ones by default.

    >>> class_counts(pd.DataFrame({"train": [9, 6], "test": [3, 2]}, index=["cat", "dog"])).get_xlabel()
    'images'
    """
    ax = axes_or_new(ax, (7, 0.8 + 0.26 * len(classes)))
    done = np.zeros(len(classes))
    colors = {"train": "blue", "validation": "sky", "test": "orange"}
    for split in classes.columns.drop("images", errors="ignore"):
        color = PALETTE[colors.get(split, "grey")]
        ax.barh(range(len(classes)), classes[split], left=done, color=color, label=split)
        done += classes[split].to_numpy()
    names = [shortened(str(name), 24) for name in classes.index]
    ax.set_yticks(range(len(classes)), names, fontsize=8, parse_math=False)
    ax.set(xlabel="images", ylim=(len(classes) - 0.5, -0.5))
    legend(ax)
    lighten(ax)
    return ax
