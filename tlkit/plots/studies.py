"""What a study found: differences with their intervals, and a learning curve with its forecast."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from tlkit.plots.style import PALETTE, axes_or_new, legend, lighten, shortened

BEYOND = 8  # the forecast goes on to this many times the largest size


def differences(table: pd.DataFrame, ax: Axes | None = None, *, quantity: str | None = None) -> Axes:
    """Draw each arm's difference from the control with its interval; filled where that leaves zero out.

    Args:
        table: of `tlkit.paired`; with one further column of groups these have a colour each.
        quantity: what differs, for the axis.

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
    for place, (name, part) in enumerate(parts):
        color = list(PALETTE.values())[place % 6]
        for row in part.itertuples():
            at = arms.index(row.arm) + shift[place]
            sure = row.low > 0 or row.high < 0
            ax.plot([row.low, row.high], [at, at], color=color, linewidth=2, alpha=0.7)
            ax.plot(
                [row.difference], [at], "os^vPX"[place % 6], color=color, fillstyle="full" if sure else "none"
            )
        if groups:
            named = zip(groups, name, strict=True)
            label = ", ".join(each if isinstance(each, str) else f"{by}: {each}" for by, each in named)
            ax.plot([], [], "os^vPX"[place % 6], color=color, label=label)
    ax.axvline(0, color=PALETTE["grey"], linewidth=1)
    ax.set_yticks(range(len(arms)), [shortened(str(arm), 40) for arm in arms], parse_math=False)
    ax.set(xlabel=quantity or "difference from the control", ylim=(len(arms) - 0.5, -0.5))
    ax.grid(axis="x", color="#EEEEEE")
    ax.set_axisbelow(True)
    if groups:
        legend(ax)
    lighten(ax)
    return ax


def forecast(
    table: pd.DataFrame,
    law: Any,
    ax: Axes | None = None,
    *,
    x: str = "labels",
    value: str = "accuracy",
    aim: float | None = None,
    seen: float | None = None,
    setting: str | None = None,
) -> Axes:
    """Draw a learning curve, the power law through it, and how sure that is, beyond the largest size too.

    Args:
        table: of `tlkit.compare`, of one arm: a row for each size and seed.
        law: of `tlkit.challenges.dataset_size.fit_power_law`.
        x, value: the columns of sizes and of what was measured, 0 to 1.
        aim: an accuracy that is wished for; where the curve gets there is marked.
        seen: the largest size that the fit knows, where the others are held out to check it.
        setting: the label of the x axis.

    >>> from tlkit.challenges.dataset_size import fit_power_law
    >>> labels, accuracy = [5, 5, 9, 9, 20, 20, 40, 40], [0.5, 0.4, 0.6, 0.6, 0.7, 0.7, 0.8, 0.8]
    >>> table = pd.DataFrame({"labels": labels, "accuracy": accuracy})
    >>> forecast(table, fit_power_law(labels, accuracy)).get_xscale()
    'log'
    """
    ax = axes_or_new(ax, (7, 3.8))
    sizes = np.unique(table[x].to_numpy(float))
    end = sizes[-1] * (BEYOND if seen is None else 1.2)
    at = np.geomspace(sizes[0], end, 200)
    low, high = law.interval(at)
    ax.fill_between(at, low, high, color=PALETTE["blue"], alpha=0.15, linewidth=0, label="95 % interval")
    known = sizes[-1] if seen is None else seen
    for part, style in ((at <= known, "-"), (at >= known, "--")):
        label = "power law" if style == "-" else "forecast"
        ax.plot(at[part], law.accuracy(at[part]), style, color=PALETTE["blue"], linewidth=2, label=label)
    fitted = table[x] <= known
    ax.plot(table[x][fitted], table[value][fitted], "o", color=PALETTE["blue"], markersize=4, alpha=0.6)
    if not fitted.all():
        label = "held out: not seen by the fit"
        ax.plot(
            table[x][~fitted],
            table[value][~fitted],
            "s",
            color=PALETTE["vermillion"],
            markersize=5,
            label=label,
        )
    if aim is not None:
        needed = law.needed(aim)
        ax.axhline(aim, color=PALETTE["grey"], linewidth=1, linestyle=":")
        if needed.labels <= end:
            ax.plot(
                [needed.labels], [aim], "D", color=PALETTE["green"], label=f"{aim:.0%} at {needed.labels:.0f}"
            )
    ax.set_xscale("log")
    ticks = [*sizes, *([] if seen is not None else [sizes[-1] * BEYOND / 2, end])]
    ax.set_xticks(ticks, [f"{each:.0f}" for each in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel=setting or x, ylabel=value, ylim=(None, min(1.02, ax.get_ylim()[1])))
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    legend(ax)
    lighten(ax)
    return ax
