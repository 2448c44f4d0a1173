"""Grids of images with their classes, and heat maps on images."""

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
    images: Split | np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    labels: np.ndarray | Sequence[int] | None = None,
    predicted: np.ndarray | Sequence[int] | None = None,
    count: int = 16,
    columns: int = 8,
    axes: Any = None,
) -> np.ndarray:
    """Show the first images in a grid, with their true or predicted classes as titles.

    Args:
        images: a split, from which only the shown images are read, or RGB `(n, height, width, 3)`, values 0
            to 255.
        class_names: names of the classes, by index; the indices by default.
        labels: int `(n,)` true classes; the labels of the split by default.
        predicted: int `(n,)` predicted classes; correct ones have green titles, wrong ones
            orange titles.
        count: maximum number of images.
        columns: number of images per row.
        axes: an array of at least `count` axes; new ones by default.

    Returns:
        The axes, as an array.

    >>> images(np.zeros((3, 8, 8, 3), "uint8"), labels=[0, 1, 0], columns=2).shape
    (2, 2)
    """
    shown = (images.images if isinstance(images, Split) else images)[:count]
    if labels is None and isinstance(images, Split) and images.labelled:
        labels = images.labels
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
            prediction = name(predicted[position])
            if labels is not None:
                correct = labels[position] == predicted[position]
                color = PALETTE["green" if correct else "vermillion"]
                prediction = prediction if correct else f"{prediction}\ntrue: {title}"
            title = prediction
        ax.set_title(title, fontsize=9, color=color, parse_math=False)
    return axes


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blend a heat map in colour with an image in grey; high values are bright.

    Args:
        image: RGB `(height, width, 3)`, values 0 to 255.
        heat: `(height, width)`, values 0 to 1.

    Returns:
        uint8 `(height, width, 3)`.

    >>> overlay(np.zeros((8, 8, 3), "uint8"), np.ones((8, 8))).shape
    (8, 8, 3)
    """
    grey = np.asarray(image, float).mean(axis=-1, keepdims=True)
    colored = 255 * colormaps["inferno"](heat)[..., :3]
    return _uint8(0.45 * grey + 0.55 * colored)


def heatmap(image: np.ndarray, heat: np.ndarray, ax: Axes | None = None) -> Axes:
    """Show an image with a heat map over it, such as a result of `tlkit.plots.saliency.grad_cam`.

    Args:
        image: RGB `(height, width, 3)`, values 0 to 255.
        heat: `(height, width)`, values 0 to 1; see `overlay`.
        ax: axes to draw on; new ones by default.
    """
    ax = axes_or_new(ax, (2.5, 2.5))
    ax.imshow(overlay(image, heat))
    ax.set_axis_off()
    return ax


def top_classes(
    images: Split | np.ndarray, predictions: Sequence[Sequence[tuple[str, float]]], axes: Any = None
) -> np.ndarray:
    """Show images with their most probable classes below them, as bars of probability.

    Args:
        images: a split, or RGB `(n, height, width, 3)`, values 0 to 255.
        predictions: for each image pairs (class name, probability), such as a result of
            `tlkit.predict_imagenet`.
        axes: an array of axes, two rows and `n` columns; new ones by default.

    Returns:
        The axes: images in the first row, bars in the second.

    >>> top_classes(np.zeros((1, 8, 8, 3), "uint8"), [[("cat", 0.7), ("dog", 0.2)]]).shape
    (2, 1)
    """
    pixels = (images.images if isinstance(images, Split) else images)[: len(predictions)]
    if axes is None:
        size = (1.9 * len(pixels), 1.9 + 0.24 * max(map(len, predictions)))
        ratios = [1.9, size[1] - 1.9]
        _, axes = plt.subplots(
            2,
            len(pixels),
            figsize=size,
            squeeze=False,
            layout="constrained",
            height_ratios=ratios,
            sharex="row",
        )
    for image, classes, above, below in zip(pixels, predictions, *axes, strict=True):
        above.imshow(_uint8(image))
        above.set_axis_off()
        below.barh(range(len(classes)), [value for _, value in classes], color=PALETTE["sky"])
        for row, (name, value) in enumerate(classes):
            text = f"{shortened(name, 22)} {value:.0%}"
            below.text(0.02, row, text, va="center", fontsize=8, parse_math=False)
        below.set(xlim=(0, 1), ylim=(len(classes) - 0.5, -0.5))
        below.set_axis_off()
    return axes


def _uint8(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.asarray(pixels), 0, 255).astype("uint8")
