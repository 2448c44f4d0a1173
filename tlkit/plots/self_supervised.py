"""What a network without labels is shown, and what it then takes for alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator
from sklearn.preprocessing import normalize

from tlkit.data import ImageFiles, Split
from tlkit.plots.pictures import images as grid
from tlkit.plots.style import PALETTE, lighten

CURVES = {
    "loss": "loss",
    "spread": "spread of embeddings",
    "effective_rank": "effective rank of features",
}


def image_rows(rows: Mapping[str, np.ndarray], axes: Any = None) -> np.ndarray:
    """Show rows of pictures one below the other, each row with its name at the left.

    Args:
        rows: name to RGB images `(n, height, width, 3)`, values 0 to 255, of every row as many.
        axes: axes `(rows, n)`.

    Returns:
        The axes, as an array `(rows, n)`.

    >>> black = np.zeros((3, 8, 8, 3), "uint8")
    >>> image_rows({"before": black, "after": black}).shape
    (2, 3)
    """
    pictures = np.concatenate([np.asarray(row) for row in rows.values()])
    columns = len(pictures) // len(rows)
    if axes is None:
        size = (1.1 * columns + 0.7, 1.15 * len(rows))
        _, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="constrained")
    axes = np.asarray(axes).reshape(len(rows), columns)
    grid(pictures, count=len(pictures), axes=axes)
    for name, ax in zip(rows, axes[:, 0], strict=True):
        # an axis that is off shows no label
        place = {"xy": (-0.08, 0.5), "xycoords": "axes fraction", "ha": "right", "va": "center"}
        ax.annotate(name, fontsize=9, annotation_clip=False, parse_math=False, **place)
    return axes


def views(
    images: Split | np.ndarray | ImageFiles, layer: Callable[..., Any], *, count: int = 6, axes: Any = None
) -> np.ndarray:
    """Show the first images and two random views of each, which a network shall learn to match.

    Args:
        images: `(n, height, width, 3)`, values 0 to 255, or a split; of files only those shown are read.
        layer: what changes images at random in training, such as
            `tlkit.techniques.self_supervised.random_views()`.
        count: number of images, at most.
        axes: axes `(3, count)`.

    Returns:
        The axes, as an array: images in the first row, their views below.

    >>> import keras
    >>> views(np.zeros((4, 8, 8, 3), "uint8"), keras.layers.RandomBrightness(0.2), count=2).shape
    (3, 2)
    """
    import keras  # other figures do without

    chosen = (images.images if isinstance(images, Split) else images)[:count]
    pixels = np.asarray(chosen, "float32")
    drawn = [keras.ops.convert_to_numpy(layer(pixels, training=True)) for _ in range(2)]
    return image_rows({"image": chosen, "view 1": drawn[0], "view 2": drawn[1]}, axes)


def neighbours(
    images: Split | np.ndarray | ImageFiles,
    features: np.ndarray,
    queries: Sequence[int] | np.ndarray,
    *,
    count: int = 6,
    axes: Any = None,
) -> np.ndarray:
    """Show images and, to the right of each, those with the nearest features, by their cosine.

    No labels are needed to see what a network takes for alike. The image itself is left out.

    Args:
        images: `(n, height, width, 3)`, values 0 to 255, or a split; of files only those shown are read.
        features: `(n, d)`, row by row of these images.
        queries: indices of the images whose neighbours are shown, one row each.
        count: number of neighbours, at most.
        axes: axes `(queries, count + 1)`.

    Returns:
        The axes, as an array: the queries in the first column.

    >>> neighbours(np.zeros((4, 8, 8, 3), "uint8"), np.eye(4), [0, 3], count=2).shape
    (2, 3)
    """
    pictures = images.images if isinstance(images, Split) else images
    queries = np.asarray(queries)
    unit = normalize(np.asarray(features, "float32"))
    cosines = unit[queries] @ unit.T
    cosines[np.arange(len(queries)), queries] = -np.inf
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(count, len(unit) - 1)]
    shown = np.column_stack([queries, nearest])
    rows, columns = shown.shape
    if axes is None:
        size = (1.1 * columns, 1.1 * rows + 0.3)
        _, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    axes = np.asarray(axes).reshape(rows, columns)
    grid(pictures[shown.ravel()], count=shown.size, axes=axes)
    for ax, title in zip(axes[0], ("image", "nearest"), strict=False):
        ax.set_title(title, fontsize=9, loc="left")
    frame: dict[str, Any] = {"fill": False, "linewidth": 3, "edgecolor": PALETTE["blue"], "clip_on": False}
    for ax in axes[:, 0]:  # an axis that is off has no frame
        ax.add_patch(plt.Rectangle((0, 0), 1, 1, transform=ax.transAxes, **frame))
    return axes


def pretraining_curves(history: Any, axes: Any = None) -> np.ndarray:
    """Draw how a network learned without labels: the loss, and two signs of collapse, by epoch.

    Args:
        history: Keras's `History`, or its dictionary, with `spread` and `effective_rank`; see
            `tlkit.techniques.self_supervised.CollapseWarning`.
        axes: three axes.

    Returns:
        The axes, as an array.

    >>> pretraining_curves({"loss": [2, 1], "spread": [0.4, 0.7], "effective_rank": [9, 12]}).shape
    (3,)
    """
    values = getattr(history, "history", history)
    if axes is None:
        _, axes = plt.subplots(1, 3, figsize=(9, 2.7), layout="constrained")
    axes = np.asarray(axes).ravel()
    for ax, name, color in zip(axes, CURVES, ("blue", "vermillion", "green"), strict=True):
        epochs = range(1, len(values[name]) + 1)
        marker = "o" if len(epochs) < 12 else None
        ax.plot(epochs, values[name], color=PALETTE[color], marker=marker)
        ax.set(xlabel="epoch", ylabel=CURVES[name])
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if name != "loss":
            ax.set_ylim(0, 1.02 if name == "spread" else 1.1 * max(values[name]) or 1.0)
        lighten(ax)
    return axes
