"""A result against a setting, such as the number of labels, or against another result."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from tlkit.errors import DataError
from tlkit.plots.style import PALETTE, arm_colors, axes_or_new, legend, lighten, shortened

MARKERS = "os^vPX"  # the diamond is reserved for predictions


def curves(
    table: pd.DataFrame,
    x: str,
    value: str = "accuracy",
    ax: Axes | None = None,
    *,
    predicted: Mapping[str, Mapping[float, float | None]] | None = None,
    quantity: str | None = None,
    setting: str | None = None,
) -> Axes:
    """Draw a result against a setting, with one line per arm of an experiment.

    The line is the mean over the seeds, the band is one standard deviation, and each point is one seed. If
    the table has the columns `low` and `high`, the band is the interval that they give. The x axis is
    logarithmic if all values are above 0, and its ticks are the values.

    Args:
        table: the `table` of a `tlkit.compare` result with settings, or any table with the column `arm` and
            the two columns below. If `arm` is categorical, its categories set the colours, so that figures
            with different arms agree.
        x: column of the setting, numeric.
        value: column of the result.
        ax: axes to draw on; new ones by default.
        predicted: values that you predicted: arm to setting to value, drawn as diamonds; None draws nothing.
        quantity, setting: labels of the y and x axes; the names of the columns by default.

    Raises:
        DataError: a prediction is not a dictionary of values by setting.

    >>> table = pd.DataFrame({"arm": ["a", "a"], "labels": [1, 10], "accuracy": [0.5, 0.8]})
    >>> curves(table, "labels", setting="labels per class").get_xlabel()
    'labels per class'
    """
    ax = axes_or_new(ax, (7, 3.6))
    arms = table["arm"]
    order = list(arms.cat.categories if isinstance(arms.dtype, pd.CategoricalDtype) else arms.unique())
    colors, guessed = arm_colors(order), False
    for index, arm in enumerate(order):
        rows = table[arms == arm].dropna(subset=[x, value])
        if rows.empty:
            continue
        color, marker = colors[str(arm)], MARKERS[index % 6]
        grouped = rows.groupby(x)[value]
        mean, spread = grouped.mean(), grouped.std().fillna(0)
        low, high = mean - spread, mean + spread
        if {"low", "high"} <= set(rows):
            low, high = rows.groupby(x)["low"].mean(), rows.groupby(x)["high"].mean()
        at = mean.index.to_numpy(float)
        ax.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0)
        ax.plot(at, mean, color=color, linewidth=2, marker=marker, label=shortened(str(arm), 40))
        ax.plot(rows[x], rows[value], linestyle="", marker=marker, color=color, markersize=3, alpha=0.5)
        guesses = (predicted or {}).get(str(arm)) or {}
        if not isinstance(guesses, Mapping):
            raise DataError(
                f"{guesses!r} was predicted for {arm!r}; expected values by {x}, such as {{1: 0.5}}."
            )
        if guesses := {at: value for at, value in guesses.items() if value is not None}:
            guessed = True
            ax.plot(list(guesses), list(guesses.values()), "D", color=color, markeredgecolor="black")
    if guessed:
        ax.plot([], [], "D", color="white", markeredgecolor="black", label="your prediction")
    values = np.unique(table[x].dropna().to_numpy(float))
    if len(values) and values[0] > 0:
        ax.set_xscale("log")
    ax.set_xticks(values, [f"{each:g}" for each in values])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel=setting or x, ylabel=quantity or value)
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    legend(ax)
    lighten(ax)
    return ax


def trade_off(table: pd.DataFrame, x: str, y: str, ax: Axes | None = None) -> Axes:
    """Draw two results against each other, with one point per arm and seed; both axes go from 0 to 1.

    Args:
        table: the `table` of a `tlkit.compare` result, or any table with the column `arm` and the two columns
            below.
        x, y: columns of the two results.
        ax: axes to draw on; new ones by default.

    >>> table = pd.DataFrame({"arm": ["a", "b"], "old": [0.9, 0.1], "new": [0.5, 0.9]})
    >>> trade_off(table, "old", "new").get_ylabel()
    'new'
    """
    ax = axes_or_new(ax, (4.5, 3.6))
    colors = list(PALETTE.values())
    for index, (arm, rows) in enumerate(table.groupby("arm", sort=False)):
        name, color, marker = shortened(str(arm), 40), colors[index % 6], MARKERS[index % 6]
        ax.plot(rows[x], rows[y], linestyle="", marker=marker, color=color, alpha=0.75, label=name)
    ax.set(xlabel=x, ylabel=y, xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    ax.grid(color="#EEEEEE")
    ax.set_axisbelow(True)
    legend(ax)
    lighten(ax)
    return ax
