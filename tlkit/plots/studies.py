"""Results of experiments: differences with their intervals, and a learning curve with its forecast."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from tlkit.plots.curves import MARKERS
from tlkit.plots.style import PALETTE, axes_or_new, legend, lighten, shortened

EXTRAPOLATION = 8  # the forecast extends to this multiple of the largest size


def differences(table: pd.DataFrame, ax: Axes | None = None, *, quantity: str | None = None) -> Axes:
    """Draw each arm's difference from the control with its interval; a filled marker excludes zero.

    Args:
        table: result of `tlkit.paired`; further levels of its index are groups, each with its own colour.
        ax: axes to draw on; new ones by default.
        quantity: label of the axis.

    >>> table = pd.DataFrame({"arm": ["a"], "difference": [0.1], "low": [0.05], "high": [0.15]})
    >>> differences(table.set_index("arm"), quantity="accuracy").get_xlabel()
    'accuracy'
    """
    rows = table.reset_index()
    groups = [name for name in table.index.names if name != "arm"]
    arms, parts = (
        list(dict.fromkeys(rows["arm"])),
        rows.groupby(groups, sort=False) if groups else [("", rows)],
    )
    ax = axes_or_new(ax, (7, 0.9 + 0.38 * max(1, len(arms))))
    shift = np.linspace(-0.3, 0.3, len(parts)) if len(parts) > 1 else [0.0]
    for index, (name, part) in enumerate(parts):
        color, marker = list(PALETTE.values())[index % 6], MARKERS[index % 6]
        for row in part.itertuples():
            at = arms.index(row.arm) + shift[index]
            excludes_zero = row.low > 0 or row.high < 0
            ax.plot([row.low, row.high], [at, at], color=color, linewidth=2, alpha=0.7)
            fill = "full" if excludes_zero else "none"
            ax.plot([row.difference], [at], marker, color=color, fillstyle=fill)
        if groups:
            named = zip(groups, name, strict=True)
            label = ", ".join(each if isinstance(each, str) else f"{by}: {each}" for by, each in named)
            ax.plot([], [], marker, color=color, label=label)
    ax.axvline(0, color=PALETTE["grey"], linewidth=1)
    ax.set_yticks(range(len(arms)), [shortened(str(arm), 40) for arm in arms], parse_math=False)
    ax.set(xlabel=quantity or "difference from the control", ylim=(len(arms) - 0.5, -0.5))
    ax.grid(axis="x", color="#EEEEEE")
    ax.set_axisbelow(True)
    if groups:
        legend(ax)
    lighten(ax)
    return ax


def clip_bands(ax: Axes, low: float = 0.0, high: float = 1.0) -> Axes:
    """Clip the bands of a figure to the range of its quantity, such as 0 to 1 for accuracies.

    A band of one standard deviation around a mean near the end of the range would leave it.

    Args:
        ax: axes with bands that `fill_between` drew, such as those of `tlkit.plots.curves`.
        low, high: ends of the range of y.

    >>> import matplotlib.pyplot as plt
    >>> ax = plt.figure().subplots()
    >>> band = ax.fill_between([0, 1], [0.8, 0.9], [1.1, 1.2])
    >>> clip_bands(ax).collections[0].get_paths()[0].vertices[:, 1].max().item()
    1.0
    """
    for band in ax.collections:
        for path in band.get_paths():
            heights = np.asarray(path.vertices)[:, 1]
            np.clip(heights, low, high, out=heights)
    ax.relim()
    ax.autoscale_view()
    return ax


def forecast(
    table: pd.DataFrame,
    law: Any,
    ax: Axes | None = None,
    *,
    x: str = "labels",
    value: str = "accuracy",
    target_accuracy: float | None = None,
    known: float | None = None,
    setting: str | None = None,
) -> Axes:
    """Draw a learning curve, the power law fitted to it, and the forecast beyond the largest size.

    Args:
        table: one row per size and seed, such as the `table` of a `tlkit.compare` result for one arm.
        law: result of `tlkit.challenges.dataset_size.fit_power_law`.
        ax: axes to draw on; new ones by default.
        x, value: columns of the sizes and of the accuracy, 0 to 1.
        target_accuracy: accuracy, 0 to 1, whose number of labels is marked on the curve.
        known: largest size that was used for the fit, if larger sizes were held out to check it.
        setting: label of the x axis; the name of the column by default.

    >>> from tlkit.challenges.dataset_size import fit_power_law
    >>> labels, accuracy = [5, 5, 9, 9, 20, 20, 40, 40], [0.5, 0.4, 0.6, 0.6, 0.7, 0.7, 0.8, 0.8]
    >>> table = pd.DataFrame({"labels": labels, "accuracy": accuracy})
    >>> forecast(table, fit_power_law(labels, accuracy)).get_xscale()
    'log'
    """
    ax = axes_or_new(ax, (7, 3.8))
    sizes = np.unique(table[x].to_numpy(float))
    end = sizes[-1] * (EXTRAPOLATION if known is None else 1.2)
    at = np.geomspace(sizes[0], end, 200)
    low, high = law.interval(at)
    ax.fill_between(at, low, high, color=PALETTE["blue"], alpha=0.15, linewidth=0, label="95 % interval")
    fit_end = sizes[-1] if known is None else known
    for part, style in ((at <= fit_end, "-"), (at >= fit_end, "--")):
        label = "power law" if style == "-" else "forecast"
        ax.plot(at[part], law.accuracy(at[part]), style, color=PALETTE["blue"], linewidth=2, label=label)
    fitted = table[x] <= fit_end
    ax.plot(table[x][fitted], table[value][fitted], "o", color=PALETTE["blue"], markersize=4, alpha=0.6)
    if not fitted.all():
        held_out = table[x][~fitted], table[value][~fitted]
        ax.plot(*held_out, "s", color=PALETTE["vermillion"], markersize=5, label="held out from the fit")
    if target_accuracy is not None:
        needed = law.needed(target_accuracy)
        ax.axhline(target_accuracy, color=PALETTE["grey"], linewidth=1, linestyle=":")
        if needed.labels <= end:
            label = f"{target_accuracy:.0%} at {needed.labels:.0f}"
            ax.plot([needed.labels], [target_accuracy], "D", color=PALETTE["green"], label=label)
    ax.set_xscale("log")
    ticks = [*sizes, *([] if known is not None else [sizes[-1] * EXTRAPOLATION / 2, end])]
    ax.set_xticks(ticks, [f"{each:.0f}" for each in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel=setting or x, ylabel=value, ylim=(None, min(1.02, ax.get_ylim()[1])))
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    legend(ax)
    lighten(ax)
    return ax
