"""How far apart things are: every pair in a table, and all of them on a plane."""

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

MAX_NUMBERED = 16  # rows or columns up to which the values are written
WHITE_FROM = 0.53  # share of the colours from which white is read better than black
AROUND = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]  # where a name is tried


def similarity_map(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    quantity: str | None = None,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """Draw a table of distances or similarities: dark is large, and the values are written in the cells.

    On the diagonal of distances stands what two halves of the same data set get.

    Args:
        table: names on both sides; as of `tlkit.challenges.task_similarity.distances` or `similarities`.
        ax: axes to draw on.
        quantity: what the values are, for the colour bar; the table's own `attrs["measure"]` by default.
        limits: values of the lightest and the darkest colour; the table's smallest and largest by default.

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
            text = f"{round(value, digits) + 0.0:.{digits}f}"  # plus 0: no minus before a zero
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    across = [shortened(str(name), 24) for name in table.columns]
    turned = max(map(len, across)) > 6
    ax.set_xticks(
        range(columns),
        across,
        fontsize=8,
        parse_math=False,
        rotation=40 if turned else 0,
        ha="right" if turned else "center",
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
    """Draw things on a plane so that their distances there are those of the table, as nearly as they can be.

    The stress in the corner says how nearly: 0 is exact, above 0.2 the picture misleads. Directions mean
    nothing. Metric multidimensional scaling, started from the classical one, so that it has no chance in it.

    Kruskal 1964, "Multidimensional Scaling by Optimizing Goodness of Fit to a Nonmetric Hypothesis", for the
    stress.

    Args:
        table: square and symmetric, as of `tlkit.challenges.task_similarity.distances`; the diagonal is not
            used, and values below `same` count as no distance.
        ax: axes to draw on.
        same: what two samples of one thing get; the table's own `attrs["same"]` by default, else 0.
        squared: whether the values are squared distances, of which the roots are drawn; `attrs["squared"]`
            by default, else not.

    Raises:
        TlkitError: the table is not square and symmetric, or values are missing.

    >>> table = pd.DataFrame([[0, 3.0, 4], [3, 0, 5], [4, 5, 0]], index=[*"abc"], columns=[*"abc"])
    >>> [text.get_text() for text in similarity_embedding(table).texts]
    ['stress 0.00', 'a', 'b', 'c']
    """
    values = table.to_numpy(float)
    if table.shape[0] != table.shape[1] or not np.allclose(values, values.T):  # NaN is not close to itself
        raise TlkitError(
            f"The table of shape {table.shape} is not square and symmetric, or has gaps; expected the "
            "distance of every pair, as task_similarity.distances(...) returns it."
        )
    same = table.attrs.get("same", 0.0) if same is None else same
    squared = table.attrs.get("squared", False) if squared is None else squared
    lengths = np.maximum(values - same, 0.0)
    np.fill_diagonal(lengths, 0.0)
    lengths = np.sqrt(lengths) if squared else lengths
    places = _plane(lengths)
    ax = axes_or_new(ax, (5, 4.2))
    ax.plot(*places.T, "o", color=PALETTE["blue"], markersize=7)
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.18)
    measure = table.attrs.get("measure", "distance")
    unit = f"root of {measure}" if squared else measure
    ax.set(xlabel=f"MDS 1, in units of {unit}", ylabel="MDS 2, the same units")
    ax.text(
        0.01, 0.99, f"stress {_stress(lengths, places):.2f}", transform=ax.transAxes, va="top", fontsize=9
    )
    lighten(ax)
    _name(ax, places, [shortened(str(name), 24) for name in table.index])
    return ax


def _plane(lengths: np.ndarray) -> np.ndarray:
    """Return places `(n, 2)`: classical scaling, then the stress made small from there."""
    n = len(lengths)
    centring = np.eye(n) - 1 / n
    sizes, directions = np.linalg.eigh(-0.5 * centring @ np.square(lengths) @ centring)
    start = directions[:, : -min(2, n) - 1 : -1] * np.sqrt(np.maximum(sizes[: -min(2, n) - 1 : -1], 0.0))
    start = np.pad(start, ((0, 0), (0, 2 - start.shape[1])))
    if not lengths.any():
        return start
    places, _ = smacof(lengths / lengths.max(), init=start / lengths.max(), n_init=1, random_state=0)
    return places * lengths.max()


def _stress(lengths: np.ndarray, places: np.ndarray) -> float:
    drawn = cdist(places, places)
    return float(np.linalg.norm(drawn - lengths) / (np.linalg.norm(drawn) or 1.0))


def _name(ax: Axes, places: np.ndarray, names: Sequence[str]) -> None:
    """Write each name beside its point, within the axes, where it covers neither a point nor other words."""
    figure: Any = ax.figure
    figure.draw_without_rendering()  # places on the screen are known only now
    inside = ax.get_window_extent()
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in ax.transData.transform(places)]
    taken += [text.get_window_extent() for text in ax.texts]
    for place, name in zip(places, names, strict=True):
        for distance, (right, up) in itertools.product((8, 18, 30, 45), AROUND):
            beside: Any = {"xytext": (distance * right, distance * up), "textcoords": "offset points"}
            beside |= {
                "ha": ("right", "center", "left")[right + 1],
                "va": ("top", "center", "bottom")[up + 1],
            }
            text = ax.annotate(name, place, fontsize=9, parse_math=False, **beside)
            box = text.get_window_extent()
            within = (
                inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            )
            if within and not box.count_overlaps(taken):
                break
            text.remove()
        else:
            text, distance = ax.annotate(name, place, fontsize=9, parse_math=False), 0  # no place is free
        if distance > 8:
            line = {"arrowstyle": "-", "color": PALETTE["grey"], "linewidth": 0.6}
            ax.annotate("", place, arrowprops=line, **beside)
        taken.append(text.get_window_extent())
