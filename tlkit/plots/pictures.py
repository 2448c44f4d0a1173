"""Pictures, and what was found in them."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from tlkit.data import Split
from tlkit.plots.style import PALETTE, axes_or_new, shortened


def images(
    pictures: Split | np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    labels: np.ndarray | Sequence[int] | None = None,
    predicted: np.ndarray | Sequence[int] | None = None,
    count: int = 16,
    columns: int = 8,
    axes: Any = None,
) -> np.ndarray:
    """Show the first pictures in a grid, titled by what they are or were taken for.

    Args:
        pictures: a split, of which only these pictures are read, or RGB `(n, height, width, 3)`, 0 to 255.
        class_names: names of the classes; their numbers by default.
        labels: int `(n,)` true classes; those of the split by default.
        predicted: int `(n,)` predicted classes; right ones are titled in green, wrong ones in red.
        count: number of pictures, at most.
        columns: pictures in a row.
        axes: an array of axes, at least `count` of them.

    Returns:
        The axes, as an array.

    >>> images(np.zeros((3, 8, 8, 3), "uint8"), labels=[0, 1, 0], columns=2).shape
    (2, 2)
    """
    shown = (pictures.images if isinstance(pictures, Split) else pictures)[:count]
    if labels is None and isinstance(pictures, Split) and pictures.labelled:
        labels = pictures.labels
    if axes is None:
        columns = max(1, min(columns, len(shown)))
        rows = max(1, math.ceil(len(shown) / columns))
        size = (1.35 * columns, 1.65 * rows)
        _, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    axes = np.asarray(axes)

    def name(index: int) -> str:
        return shortened(class_names[index] if class_names is not None else str(index), 16)

    for position, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if position >= len(shown):
            continue
        ax.imshow(_uint8(shown[position]))
        title, color = "", "black"
        if labels is not None:
            title = name(labels[position])
        if predicted is not None:
            guess = name(predicted[position])
            if labels is not None:
                right = labels[position] == predicted[position]
                color = PALETTE["green" if right else "vermillion"]
                guess = guess if right else f"{guess}\ntrue: {title}"
            title = guess
        ax.set_title(title, fontsize=9, color=color, parse_math=False)
    return axes


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return the image in grey under the heat in colour, bright where it is hot, uint8 `(height, width, 3)`.

    Args:
        image: RGB `(height, width, 3)`, values 0 to 255.
        heat: `(height, width)`, values 0 to 1.
    """
    grey = np.asarray(image, float).mean(axis=-1, keepdims=True)
    colored = 255 * colormaps["inferno"](heat)[..., :3]
    return _uint8(0.45 * grey + 0.55 * colored)


def heatmap(image: np.ndarray, heat: np.ndarray, ax: Axes | None = None) -> Axes:
    """Show an image under a heat map, such as one of `tlkit.plots.saliency.grad_cam`; see `overlay`."""
    ax = axes_or_new(ax, (2.5, 2.5))
    ax.imshow(overlay(image, heat))
    ax.set_axis_off()
    return ax


def _uint8(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.asarray(pixels), 0, 255).astype("uint8")
