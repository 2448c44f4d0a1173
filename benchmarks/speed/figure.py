"""One figure of all ratios that the benchmarks of speed measured, from their JSON."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
from measuring import RESULTS, Comparison

mpl.use("Agg")
from matplotlib import pyplot as plt

FIGURE = Path(__file__).parents[1] / "speed.png"
AHEAD, BEHIND = "#0072B2", "#D55E00"


def draw(results: Path = RESULTS, figure: Path = FIGURE) -> None:
    """Draw a row for each peer of each table of time: median ratio, and the smallest and largest."""
    rows, groups = [], []
    for path in sorted(results.glob("*.json")):
        written = json.loads(path.read_text("utf-8"))
        groups.append((len(rows), written["title"]))
        for comparison in (Comparison(**each) for each in written["comparisons"]):
            if comparison.unit in ("s", "ms", "images/s", "MB"):
                sides = (side for side in comparison.values if not side.startswith(comparison.ours))
                rows += [(comparison.title, side, *comparison.ratios(side)) for side in sides]
    height = len(rows) + 1.5 * len(groups)
    _, ax = plt.subplots(figsize=(11, 0.27 * height + 1), layout="constrained")
    y, labels = 0.0, []
    starts = dict(groups)
    for number, (title, side, middle, low, high) in enumerate(rows):
        if number in starts:
            y += 1.5
            ax.text(0, y - 1, starts[number], weight="bold", transform=ax.get_yaxis_transform(), va="center")
        colour = AHEAD if middle >= 1 else BEHIND
        ax.plot([low, high], [y, y], color=colour, lw=2, alpha=0.5)
        ax.plot(middle, y, "o", color=colour, ms=5)
        labels.append((y, f"{title}: {side}"))
        y += 1
    ax.axvline(1, color="0.5", lw=1)
    ax.set(
        xscale="log", ylim=(y, 0), xlabel="how many times tlkit is ahead of this peer (median, least, most)"
    )
    ax.set_yticks(*zip(*labels, strict=True), fontsize=8)
    ticks = np.array([0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256])
    low, high = ax.get_xlim()
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
    plt.savefig(figure, dpi=130)
    plt.close()


if __name__ == "__main__":
    draw()
