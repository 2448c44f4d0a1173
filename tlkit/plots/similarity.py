"""Similarity of data sets or networks: a heat map of all pairs, and a two-dimensional embedding."""

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.transforms import Bbox
from scipy.spatial.distance import cdist
from sklearn.manifold import smacof

from tlkit.errors import TlkitError
from tlkit.plots.style import PALETTE, axes_or_new, lighten, shortened

MAX_NUMBERED = 16  # rows or columns; larger tables are drawn without numbers
WHITE_FROM = 0.53  # position on the colour scale from which white text is more readable than black
DIRECTIONS = [
    (1, 0),
    (-1, 0),
    (0, 1),
    (0, -1),
    (1, 1),
    (1, -1),
    (-1, 1),
    (-1, -1),
]  # of a name from its point


def similarity_map(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    quantity: str | None = None,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw a table of distances or similarities as a heat map; dark cells have large values.

    In a table of distances, the diagonal is the distance between two halves of the same data set.

    Args:
        table: result of `tlkit.challenges.task_similarity.distances` or `similarities`, or any numeric table.
        ax: axes to draw on; new ones by default.
        quantity: label of the colour bar; `table.attrs["measure"]` by default.
        limits: values of the lightest and the darkest colour; the smallest and largest value by default.

    >>> table = pd.DataFrame([[0.1, 1.9], [1.9, 0.0]], index=["a", "b"], columns=["a", "b"])
    >>> [text.get_text() for text in similarity_map(table).texts]
    ['0.10', '1.90', '1.90', '0.00']
    """
    values = table.to_numpy(float)
    rows, columns = values.shape
    ax = axes_or_new(ax, (2.4 + 0.62 * columns, 1.6 + 0.5 * rows))
    low, high = limits or (np.nanmin(values), np.nanmax(values))
    norm = Normalize(low, high if high > low else low + 1)
    colors = plt.get_cmap("cividis_r")  # made for colour-blind readers, Nunez et al. 2018
    shown = ax.imshow(values, cmap=colors, norm=norm, aspect="auto")
    if max(rows, columns) <= MAX_NUMBERED:
        digits = 2 if np.nanmax(np.abs(values)) < 10 else 1 if np.nanmax(np.abs(values)) < 100 else 0
        for row, column in np.argwhere(np.isfinite(values)):
            value = values[row, column]
            color = "white" if norm(value) > WHITE_FROM else "black"
            text = f"{round(value, digits) + 0.0:.{digits}f}"  # adding 0 turns -0.0 into 0.0
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    column_names = [shortened(str(name), 24) for name in table.columns]
    rotated = max(map(len, column_names)) > 6
    ax.set_xticks(
        range(columns),
        column_names,
        fontsize=8,
        parse_math=False,
        rotation=40 if rotated else 0,
        ha="right" if rotated else "center",
        rotation_mode="anchor",
    )
    ax.set_yticks(
        range(rows), [shortened(str(name), 24) for name in table.index], fontsize=8, parse_math=False
    )
    ax.set(xlabel=table.columns.name or "", ylabel=table.index.name or "")
    bar = ax.figure.colorbar(shown, ax=ax, fraction=0.05, pad=0.03)
    bar.set_label(quantity or table.attrs.get("measure", ""), fontsize=9)
    bar.outline.set_visible(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def similarity_embedding(
    table: pd.DataFrame, ax: Axes | None = None, *, same: float | None = None, squared: bool | None = None
) -> Axes:
    """Draw points in a plane whose distances approximate those of a table, by multidimensional scaling (MDS).

    The stress in the corner measures the quality of the approximation: 0 is exact, and above 0.2 the figure
    is misleading. Directions have no meaning. Metric MDS starts from the solution of classical MDS, so the
    result is deterministic.

    Kruskal 1964, "Multidimensional Scaling by Optimizing Goodness of Fit to a Nonmetric Hypothesis", for the
    stress.

    Args:
        table: square and symmetric, such as a result of `tlkit.challenges.task_similarity.distances`. The
            diagonal is not used, and values below `same` are treated as a distance of 0.
        ax: axes to draw on; new ones by default.
        same: value that means no distance; by default `table.attrs["same"]`, or 0 if that is missing.
        squared: whether the values are squared distances, whose square roots are drawn; by default
            `table.attrs["squared"]`, or False if that is missing.

    Raises:
        TlkitError: the table is not square and symmetric, or values are missing.

    >>> table = pd.DataFrame([[0, 3.0, 4], [3, 0, 5], [4, 5, 0]], index=[*"abc"], columns=[*"abc"])
    >>> [text.get_text() for text in similarity_embedding(table).texts]
    ['stress 0.00', 'a', 'b', 'c']
    """
    values = table.to_numpy(float)
    if table.shape[0] != table.shape[1] or not np.allclose(values, values.T):  # also False if a value is NaN
        raise TlkitError(
            f"The table of shape {table.shape} is not square and symmetric, or has missing values; expected "
            "the distance of every pair, as task_similarity.distances(...) returns it."
        )
    same = table.attrs.get("same", 0.0) if same is None else same
    squared = table.attrs.get("squared", False) if squared is None else squared
    lengths = np.maximum(values - same, 0.0)
    np.fill_diagonal(lengths, 0.0)
    lengths = np.sqrt(lengths) if squared else lengths
    points = _plane(lengths)
    ax = axes_or_new(ax, (5, 4.2))
    ax.plot(*points.T, "o", color=PALETTE["blue"], markersize=7)
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.18)
    measure = table.attrs.get("measure", "distance")
    unit = f"square root of {measure}" if squared else measure
    ax.set(xlabel=f"MDS 1 ({unit})", ylabel=f"MDS 2 ({unit})")
    ax.text(
        0.01, 0.99, f"stress {_stress(lengths, points):.2f}", transform=ax.transAxes, va="top", fontsize=9
    )
    lighten(ax)
    _name(ax, points, [shortened(str(name), 24) for name in table.index])
    return ax


def _plane(lengths: np.ndarray) -> np.ndarray:
    """Return points `(n, 2)` that minimise the stress, starting from classical scaling."""
    n = len(lengths)
    centring = np.eye(n) - 1 / n
    sizes, directions = np.linalg.eigh(-0.5 * centring @ np.square(lengths) @ centring)
    start = directions[:, : -min(2, n) - 1 : -1] * np.sqrt(np.maximum(sizes[: -min(2, n) - 1 : -1], 0.0))
    start = np.pad(start, ((0, 0), (0, 2 - start.shape[1])))
    if not lengths.any():
        return start
    points, _ = smacof(lengths / lengths.max(), init=start / lengths.max(), n_init=1, random_state=0)
    return points * lengths.max()


def _stress(lengths: np.ndarray, points: np.ndarray) -> float:
    drawn = cdist(points, points)
    return float(np.linalg.norm(drawn - lengths) / (np.linalg.norm(drawn) or 1.0))


def _name(ax: Axes, points: np.ndarray, names: Sequence[str]) -> None:
    """Write each name next to its point, inside the axes, without covering a point or other text."""
    figure: Any = ax.figure
    figure.draw_without_rendering()  # positions in pixels are not known before
    inside = ax.get_window_extent()
    occupied = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in ax.transData.transform(points)]
    occupied += [text.get_window_extent() for text in ax.texts]
    for point, name in zip(points, names, strict=True):
        for distance, (right, up) in itertools.product((8, 18, 30, 45), DIRECTIONS):
            beside: Any = {"xytext": (distance * right, distance * up), "textcoords": "offset points"}
            beside |= {
                "ha": ("right", "center", "left")[right + 1],
                "va": ("top", "center", "bottom")[up + 1],
            }
            text = ax.annotate(name, point, fontsize=9, parse_math=False, **beside)
            box = text.get_window_extent()
            within = (
                inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            )
            if within and not box.count_overlaps(occupied):
                break
            text.remove()
        else:
            text, distance = ax.annotate(name, point, fontsize=9, parse_math=False), 0  # no free position
        if distance > 8:
            line = {"arrowstyle": "-", "color": PALETTE["grey"], "linewidth": 0.6}
            ax.annotate("", point, arrowprops=line, **beside)
        occupied.append(text.get_window_extent())
