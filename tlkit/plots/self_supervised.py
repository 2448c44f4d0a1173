"""Self-supervised learning: the views used for training, nearest neighbours, and pretraining curves."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator
from sklearn.preprocessing import normalize

from tlkit.data import ImageFiles, Split
from tlkit.plots.images import images as image_grid
from tlkit.plots.style import PALETTE, lighten

CURVES = {
    "loss": "loss",
    "spread": "spread of embeddings",
    "effective_rank": "effective rank of features",
}


def image_rows(rows: Mapping[str, np.ndarray], axes: Any = None) -> np.ndarray:
    """Show rows of images, each row with its name at the left.

    Args:
        rows: name of each row to its RGB images `(n, height, width, 3)`, values 0 to 255; n is the same for
            all rows.
        axes: an array of axes `(rows, n)`; new ones by default.

    Returns:
        The axes, as an array `(rows, n)`.

    >>> black = np.zeros((3, 8, 8, 3), "uint8")
    >>> image_rows({"before": black, "after": black}).shape
    (2, 3)
    """
    images = np.concatenate([np.asarray(row) for row in rows.values()])
    columns = len(images) // len(rows)
    if axes is None:
        size = (1.1 * columns + 0.7, 1.15 * len(rows))
        _, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="constrained")
    axes = np.asarray(axes).reshape(len(rows), columns)
    image_grid(images, count=len(images), axes=axes)
    for name, ax in zip(rows, axes[:, 0], strict=True):
        # an annotation, because axes that are switched off show no label
        position = {"xy": (-0.08, 0.5), "xycoords": "axes fraction", "ha": "right", "va": "center"}
        ax.annotate(name, fontsize=9, annotation_clip=False, parse_math=False, **position)
    return axes


def views(
    images: Split | np.ndarray | ImageFiles, layer: Callable[..., Any], *, count: int = 6, axes: Any = None
) -> np.ndarray:
    """Show images and two random views of each, which a network learns to match.

    Args:
        images: RGB `(n, height, width, 3)`, values 0 to 255, or a split; only the shown images are read.
        layer: random augmentation that is active during training, such as
            `tlkit.techniques.self_supervised.random_views()`.
        count: maximum number of images; the first ones are shown.
        axes: an array of axes `(3, count)`; new ones by default.

    Returns:
        The axes, as an array: images in the first row, their views below.

    >>> import keras
    >>> views(np.zeros((4, 8, 8, 3), "uint8"), keras.layers.RandomBrightness(0.2), count=2).shape
    (3, 2)
    """
    import keras  # imported here because no other figure of this package needs it

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
    """Show query images and, to the right of each, the images with the most similar features.

    The similarity is the cosine of the features, so no labels are needed. A query is not its own neighbour.

    Args:
        images: RGB `(n, height, width, 3)`, values 0 to 255, or a split; only the shown images are read.
        features: `(n, d)`, row i for image i.
        queries: indices of the query images, one per row of the figure.
        count: maximum number of neighbours.
        axes: an array of axes `(queries, count + 1)`; new ones by default.

    Returns:
        The axes, as an array: the queries in the first column.

    >>> neighbours(np.zeros((4, 8, 8, 3), "uint8"), np.eye(4), [0, 3], count=2).shape
    (2, 3)
    """
    pixels = images.images if isinstance(images, Split) else images
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
    image_grid(pixels[shown.ravel()], count=shown.size, axes=axes)
    for ax, title in zip(axes[0], ("image", "nearest"), strict=False):
        ax.set_title(title, fontsize=9, loc="left")
    frame: dict[str, Any] = {"fill": False, "linewidth": 3, "edgecolor": PALETTE["blue"], "clip_on": False}
    for ax in axes[:, 0]:  # a rectangle, because axes that are switched off have no frame
        ax.add_patch(plt.Rectangle((0, 0), 1, 1, transform=ax.transAxes, **frame))
    return axes


def pretraining_curves(history: Any, axes: Any = None) -> np.ndarray:
    """Draw self-supervised pretraining per epoch: the loss, and two measures that detect collapse.

    Args:
        history: Keras's `History` or its `history` dictionary, with `loss`, `spread` and `effective_rank`;
            see `tlkit.techniques.self_supervised.CollapseWarning`.
        axes: three axes; new ones by default.

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
