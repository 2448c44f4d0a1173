"""Which backbone to choose: what each is worth against what it costs."""

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
    standard_error: float | None = None,
    recommended: str | None = None,
    quantity: str | None = None,
) -> Axes:
    """Draw what each candidate is worth against its speed, and join those that no other beats in both.

    Filled marks are joined; open ones are beaten; a cross has random weights. The x axis is logarithmic.

    Args:
        table: of `tlkit.experiments.select`, or any with `backbone`, bool `optimal` and `random`, and the two
            columns.
        x, y: columns of numbers, higher is better.
        standard_error: of the best value, drawn as a band below it.
        recommended: a name, which gets a ring.
        quantity: the label of the y axis; the column's name by default.

    >>> rows = {"backbone": ["a", "b"], "images per second": [10, 20], "linear-probe": [0.8, 0.7]}
    >>> pareto(pd.DataFrame(rows | {"optimal": True, "random": False})).get_xscale()
    'log'
    """
    ax = axes_or_new(ax, (7, 3.8))
    if standard_error is not None:
        best = table[y].max()
        said = "within one standard error of the best"
        ax.axhspan(best - standard_error, best, color=PALETTE["green"], alpha=0.12, linewidth=0, label=said)
    front = table[table["optimal"]].sort_values(x)
    ax.step(front[x], front[y], where="pre", color=PALETTE["blue"], linewidth=1.5, label="Pareto-optimal")
    trained = 0
    for own in table.sort_values(x).to_dict("records"):
        trained += not own["random"]
        color = PALETTE["grey" if own["random"] else "blue"]
        face = color if own["optimal"] else "white"
        marker = "X" if own["random"] else "o"
        ax.plot(own[x], own[y], marker, color=color, markerfacecolor=face, markersize=9, zorder=3)
        above = not own["random"] and trained % 2 == 1  # neighbours take turns
        ax.annotate(
            shortened(str(own["backbone"]), 30),
            (own[x], own[y]),
            (0, 9 if above else -9),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=9,
            parse_math=False,
        )
        if own["backbone"] == recommended:
            color = PALETTE["vermillion"]
            ax.scatter(own[x], own[y], 260, "none", edgecolors=color, linewidths=2, label="recommended")
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
