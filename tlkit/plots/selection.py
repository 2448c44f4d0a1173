"""Model selection: accuracy of each backbone against its speed."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from tlkit.plots.style import PALETTE, axes_or_new, legend, lighten, shortened


def pareto(
    table: pd.DataFrame,
    x: str = "images per second",
    y: str = "linear-probe",
    ax: Axes | None = None,
    *,
    spread: tuple[str, str] | None = None,
    standard_error: float | None = None,
    recommended: str | None = None,
    quantity: str | None = None,
) -> Axes:
    """Draw the accuracy of each candidate against its speed, and connect the Pareto-optimal candidates.

    Filled markers are Pareto-optimal, and open markers are not. A cross has random weights. The x axis is
    logarithmic.

    Args:
        table: the `table` of a `tlkit.select` result, or any table with the columns `backbone`, `optimal` and
            `random` (both bool), and the two columns below.
        x, y: numeric columns; higher is better.
        ax: axes to draw on; new ones by default.
        spread: columns of the lowest and the highest measurement of x, which a horizontal bar connects; NaN
            draws none.
        standard_error: standard error of the best value of y, drawn as a band below that value.
        recommended: name of the recommended backbone, which is marked with a ring.
        quantity: label of the y axis; the name of the column by default.

    >>> rows = {"backbone": ["a", "b"], "images per second": [10, 20], "linear-probe": [0.8, 0.7]}
    >>> pareto(pd.DataFrame(rows | {"optimal": True, "random": False})).get_xscale()
    'log'
    """
    ax = axes_or_new(ax, (7, 3.8))
    if standard_error is not None:
        best = table[y].max()
        label = "within one standard error of the best"
        ax.axhspan(best - standard_error, best, color=PALETTE["green"], alpha=0.12, linewidth=0, label=label)
    front = table[table["optimal"]].sort_values(x)
    ax.step(front[x], front[y], where="pre", color=PALETTE["blue"], linewidth=1.5, label="Pareto-optimal")
    pretrained = 0
    for row in table.sort_values(x).to_dict("records"):
        pretrained += not row["random"]
        color = PALETTE["grey" if row["random"] else "blue"]
        face = color if row["optimal"] else "white"
        marker = "X" if row["random"] else "o"
        ax.plot(row[x], row[y], marker, color=color, markerfacecolor=face, markersize=9, zorder=3)
        above = not row["random"] and pretrained % 2 == 1  # alternate, so that names do not overlap
        if spread is not None:
            ax.plot([row[each] for each in spread], [row[y]] * 2, "|-", color=color, linewidth=1, alpha=0.6)
        ax.annotate(
            shortened(str(row["backbone"]), 30),
            (row[x], row[y]),
            (0, 9 if above else -9),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=9,
            parse_math=False,
        )
        if row["backbone"] == recommended:
            color = PALETTE["vermillion"]
            ax.scatter(row[x], row[y], 260, "none", edgecolors=color, linewidths=2, label="recommended")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_locator(NullLocator())
    ax.margins(x=0.2, y=0.25)
    ax.set(xlabel=x, ylabel=quantity or y)
    ax.grid(color="#EEEEEE")
    ax.set_axisbelow(True)
    legend(ax)
    lighten(ax)
    return ax
