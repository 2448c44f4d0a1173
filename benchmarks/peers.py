"""The benchmark of README in one figure: the default of tlkit, compared with its peers on few labels.

    .venv/bin/python benchmarks/peers.py

The script trains nothing. It reads `few_labels.csv`, which `few_labels.py` wrote, and draws `peers.png`. For
each peer and setting, a point is the difference in accuracy on the test images, the mean over the seeds that
both have. The black mark is the mean over all settings with its 95 % interval.
"""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from few_labels import differences, mean_with_interval

from tlkit import plots

HERE = Path(__file__)
PEERS = {
    "scikit-learn": "scikit-learn\non the same features",
    "Keras guide": "recipe of the\nKeras guide",
    "fastai": "fastai,\nfine_tune",
}
KINDS = {"solar": ("solar cells", "vermillion"), "digits": ("digits", "grey"), "": ("clothes, emoji", "blue")}


def main() -> None:
    table = pd.read_csv(HERE.with_name("few_labels.csv"))
    figure, ax = plt.subplots(figsize=(7.4, 4.3), layout="constrained")
    ax.axvspan(-5, 0, color=plots.PALETTE["vermillion"], alpha=0.08, linewidth=0)
    ax.axvline(0, color="black", linewidth=1)
    for row, peer in enumerate(PEERS):
        draw(ax, row, differences(table, "auto", peer, "accuracy"))
    for said, color in KINDS.values():
        ax.scatter([], [], color=plots.PALETTE[color], s=40, alpha=0.7, label=said)
    ax.set_yticks(range(len(PEERS)), PEERS.values(), fontsize=13)
    ax.set_ylim(len(PEERS) - 0.45, -0.75)
    ax.set_xlim(-5, 37)
    ax.set_xlabel("accuracy of tlkit minus accuracy of the peer, in points", fontsize=12)
    ax.text(-0.5, -0.7, "peer is\nbetter", ha="right", va="top", fontsize=11, color="#8A3B00")
    ax.text(0.6, -0.7, "tlkit is better", ha="left", va="top", fontsize=11)
    ax.tick_params(axis="x", labelsize=12)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    handles, names = ax.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside upper center", ncols=3, fontsize=12, frameon=False, handletextpad=0.1
    )
    figure.savefig(HERE.with_suffix(".png"), dpi=150)


def draw(ax: Any, row: int, by_setting: pd.Series) -> None:
    """Draw the settings of one peer, and their mean with its interval below them."""
    kinds = [next(kind for kind in KINDS if name.startswith(kind)) for name, _ in by_setting.index]
    for kind, (_, color) in KINDS.items():
        values = by_setting[np.array(kinds) == kind]
        ax.scatter(values, [row - 0.12] * len(values), color=plots.PALETTE[color], s=40, alpha=0.6)
    found = mean_with_interval(by_setting)
    mean, low, high = found["mean"], found["low"], found["high"]
    ax.plot([low, high], [row + 0.14] * 2, color="black", linewidth=3, solid_capstyle="butt")
    ax.plot(mean, row + 0.14, "D", color="black", markersize=8)
    said = f"+{mean:.1f}  ({low:.1f} to {high:.1f})"
    ax.text(high + 0.7, row + 0.14, said, ha="left", va="center", fontsize=12)


if __name__ == "__main__":
    main()
