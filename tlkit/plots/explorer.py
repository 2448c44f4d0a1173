"""An interactive figure of fine-tuning: learning rate, trainable layers and number of labels on sliders."""

import base64
import io
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure
from PIL import Image

from tlkit.errors import DataError
from tlkit.plots.style import PALETTE, lighten

FOLDER = Path(__file__).parent
GRID = FOLDER / "fine_tuning_grid.json"  # written by benchmarks/fine_tuning_grid.py
COLOURS = 48  # of the static image
REQUIRED = ("depths", "rates", "labels", "new", "old", "start", "scratch", "before", "seeds", "steps")


class Explorer:
    """An interactive grid of fine-tuning results; a notebook shows it as HTML that works offline.

    Attributes:
        results: as for `explorer`.
    """

    def __init__(self, results: Mapping[str, Any]) -> None:
        if missing := [name for name in REQUIRED if name not in results]:
            raise DataError(
                f"The results have no {', '.join(missing)}; expected the results that "
                "benchmarks/fine_tuning_grid.py writes. Run it again, or call explorer() without results."
            )
        self.results = dict(results)

    def _repr_html_(self) -> str:
        return self.html

    @cached_property
    def html(self) -> str:
        """The HTML: sliders and bars with JavaScript, and a static image without it."""
        drawn, png = io.BytesIO(), io.BytesIO()
        static_figure(self.results).savefig(drawn, dpi=90)
        Image.open(drawn).quantize(COLOURS).save(png, "PNG", optimize=True)  # reduces the file to a third
        templates = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER), autoescape=True)
        return templates.get_template("explorer.html.jinja").render(
            results=self.results,
            image=base64.b64encode(png.getvalue()).decode(),
            alt=alternative_text(self.results),
        )


def explorer(results: Mapping[str, Any] | None = None) -> Explorer:
    """Show how trainable layers, learning rate and number of labels affect fine-tuning and forgetting.

    Args:
        results: results in the format of `benchmarks/fine_tuning_grid.py`; its own results by default. All
            accuracies are 0 to 1. `new` and `old` have `mean` and `std` by depth, learning rate and labels;
            `start` (only the head is trained) and `scratch` have them by labels; `before` is one number.

    Raises:
        DataError: parts of the results are missing.

    >>> explorer().results["depths"]
    ['head only', 'from dense', 'from conv2', 'all layers']
    """
    return Explorer(json.loads(GRID.read_text("utf-8")) if results is None else results)


def static_figure(results: Mapping[str, Any]) -> Figure:
    """Draw the whole grid, with one column per number of labels and one line per depth.

    >>> len(static_figure(explorer().results).axes)
    12
    """
    labels, rates = results["labels"], results["rates"]
    figure = Figure(figsize=(10, 4.6), layout="constrained")  # not from pyplot, so no other figure changes
    axes = figure.subplots(2, len(labels), sharex=True, sharey=True, squeeze=False)
    for row, what in zip(axes, ("new", "old"), strict=True):
        for column, (ax, count) in enumerate(zip(row, labels, strict=True)):
            for color, marker, depth, means, stds in zip(
                ("grey", "green", "blue", "vermillion"),
                "os^v",
                results["depths"],
                results[what]["mean"],
                results[what]["std"],
                strict=True,
            ):
                mean, std = ([line[column] for line in each] for each in (means, stds))
                style = {"color": PALETTE[color], "marker": marker, "markersize": 4, "label": depth}
                ax.errorbar(rates, mean, std, linewidth=1.3, elinewidth=0.8, **style)
            if what == "new":
                scratch = results["scratch"]["mean"][column]
                ax.axhline(scratch, color="black", linestyle="--", linewidth=1, label="from scratch")
                ax.set_title(f"{count} label{'s'[: count > 1]} per class", fontsize=10)
            ax.set(xscale="log", ylim=(0, 1))
            ax.grid(axis="y", color="#EEEEEE")
            lighten(ax)
        row[0].set_ylabel(f"accuracy on {what} digits")
    for ax in axes[-1]:
        ax.set_xlabel("learning rate", fontsize=9)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def alternative_text(results: Mapping[str, Any]) -> str:
    """Describe the static figure for readers who cannot see it.

    >>> alternative_text(explorer().results).split(".")[0]
    'Accuracy on new and on old digits against the learning rate, for 4 depths and 6 numbers of labels'
    """
    few, many = results["labels"][0], results["labels"][-1]
    best = [max(rate[column] for depth in results["new"]["mean"] for rate in depth) for column in (0, -1)]
    large = results["old"]["mean"][-1][-1]
    return (
        f"Accuracy on new and on old digits against the learning rate, for {len(results['depths'])} depths "
        f"and {len(results['labels'])} numbers of labels. "
        f"With {few} label per class the best setting reaches {best[0]:.2f} on the new digits (from scratch: "
        f"{results['scratch']['mean'][0]:.2f}); with {many} labels it reaches {best[1]:.2f} (from scratch: "
        f"{results['scratch']['mean'][-1]:.2f}). With all layers and the largest learning rate, the accuracy "
        f"on the old digits falls from {results['before']:.2f} to {max(large):.2f} or less."
    )
