"""What an audit found: pairs of pictures beside each other, and how many images a class has."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tlkit.plots.style import PALETTE, axes_or_new, legend, lighten, shortened

ABREAST = 3  # pairs in a row


def image_pairs(
    pictures: np.ndarray, titles: Sequence[tuple[str, str]] | None = None, axes: Any = None
) -> np.ndarray:
    """Show pairs of pictures, three in a row, each of a pair touching the other.

    Args:
        pictures: uint8 `(n, 2, height, width, 3)`, values 0 to 255.
        titles: what stands above both of each pair.
        axes: an array of at least `n` axes.

    Returns:
        The axes, as an array.

    >>> image_pairs(np.zeros((4, 2, 8, 8, 3), "uint8")).shape
    (2, 3)
    """
    if axes is None:
        columns = max(1, min(ABREAST, len(pictures)))
        rows = max(1, -(-len(pictures) // ABREAST))
        size = (3.1 * columns, 1.95 * rows)
        axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")[1]
    axes = np.asarray(axes)
    for position, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if position >= len(pictures):
            continue
        one, other = pictures[position]
        gap = np.full((len(one), max(1, len(one) // 16), 3), 255, "uint8")
        ax.imshow(np.concatenate([one, gap, other], axis=1))
        if titles is not None:
            above = " | ".join(shortened(name, 20) for name in titles[position])
            ax.set_title(above, fontsize=8, parse_math=False)
    return axes


def class_counts(classes: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw how many images each class has, and in which split they are.

    Args:
        classes: one row a class, a column a split; a column `images` is left out.

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
