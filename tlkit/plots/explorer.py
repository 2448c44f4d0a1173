"""Results of many settings behind sliders: what a step size does at a depth, with so many labels."""

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
COLOURS = 48  # of the still picture
NEEDED = ("depths", "rates", "labels", "new", "old", "start", "scratch", "before", "seeds", "steps")


class Explorer:
    """A grid of fine-tunings to play with; shown by a notebook as HTML that needs nothing from elsewhere.

    Attributes:
        results: what `explorer` took.
    """

    def __init__(self, results: Mapping[str, Any]) -> None:
        if missing := [name for name in NEEDED if name not in results]:
            raise DataError(
                f"The results have no {', '.join(missing)}; expected those that "
                "benchmarks/fine_tuning_grid.py writes. Run it again, or call explorer() without any."
            )
        self.results = dict(results)

    def _repr_html_(self) -> str:
        return self.html

    @cached_property
    def html(self) -> str:
        """Sliders and bars where JavaScript runs, and the still picture where it does not."""
        drawn, png = io.BytesIO(), io.BytesIO()
        still(self.results).savefig(drawn, dpi=90)
        Image.open(drawn).quantize(COLOURS).save(png, "PNG", optimize=True)  # a third of the size
        templates = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER), autoescape=True)
        return templates.get_template("explorer.html.jinja").render(
            results=self.results,
            picture=base64.b64encode(png.getvalue()).decode(),
            alt=in_words(self.results),
        )


def explorer(results: Mapping[str, Any] | None = None) -> Explorer:
    """Show how frozen depth, step size and number of labels decide what fine-tuning gains and forgets.

    Args:
        results: as `benchmarks/fine_tuning_grid.py` writes them, which are also the default. Accuracies are
            0 to 1: `new` and `old` have `mean` and `std` by depth, rate and labels; `start` (the head alone
            trained) and `scratch` by labels; `before` is one number.

    Raises:
        DataError: parts of the results are missing.

    >>> explorer().results["depths"]
    ['head only', 'from dense', 'from conv2', 'all layers']
    """
    return Explorer(json.loads(GRID.read_text("utf-8")) if results is None else results)


def still(results: Mapping[str, Any]) -> Figure:
    """Draw the whole grid: a column for each number of labels, a line for each depth.

    >>> len(still(explorer().results).axes)
    12
    """
    labels, rates = results["labels"], results["rates"]
    figure = Figure(figsize=(10, 4.6), layout="constrained")  # not from pyplot: it touches no other figure
    axes = figure.subplots(2, len(labels), sharex=True, sharey=True, squeeze=False)
    for row, what in zip(axes, ("new", "old"), strict=True):
        for place, (ax, count) in enumerate(zip(row, labels, strict=True)):
            for color, marker, depth, means, stds in zip(
                ("grey", "green", "blue", "vermillion"),
                "os^v",
                results["depths"],
                results[what]["mean"],
                results[what]["std"],
                strict=True,
            ):
                mean, std = ([line[place] for line in each] for each in (means, stds))
                style = {"color": PALETTE[color], "marker": marker, "markersize": 4, "label": depth}
                ax.errorbar(rates, mean, std, linewidth=1.3, elinewidth=0.8, **style)
            if what == "new":
                scratch = results["scratch"]["mean"][place]
                ax.axhline(scratch, color="black", linestyle="--", linewidth=1, label="from scratch")
                ax.set_title(f"{count} label{'s'[: count > 1]} a class", fontsize=10)
            ax.set(xscale="log", ylim=(0, 1))
            ax.grid(axis="y", color="#EEEEEE")
            lighten(ax)
        row[0].set_ylabel(f"accuracy on {what} digits")
    for ax in axes[-1]:
        ax.set_xlabel("step size", fontsize=9)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def in_words(results: Mapping[str, Any]) -> str:
    """Say what the still picture shows, for those who do not see it.

    >>> in_words(explorer().results).split(".")[0]
    'Accuracy on new and on old digits against the step size, for 4 depths and 6 numbers of labels'
    """
    few, many = results["labels"][0], results["labels"][-1]
    best = [max(rate[place] for depth in results["new"]["mean"] for rate in depth) for place in (0, -1)]
    large = results["old"]["mean"][-1][-1]
    return (
        f"Accuracy on new and on old digits against the step size, for {len(results['depths'])} depths and "
        f"{len(results['labels'])} numbers of labels. "
        f"With {few} label a class the best setting reaches {best[0]:.2f} on the new digits (from scratch "
        f"{results['scratch']['mean'][0]:.2f}), with {many} labels {best[1]:.2f} (from scratch "
        f"{results['scratch']['mean'][-1]:.2f}). With all layers and the largest step size the old "
        f"digits fall from {results['before']:.2f} to {max(large):.2f} at best."
    )
