"""The result of measuring accuracy against the number of labels: curves, and a forecast with its check."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from tlkit import plots
from tlkit.challenges.dataset_size import Needed, PowerLaw, fit_power_law, forecast_check
from tlkit.data import Dataset
from tlkit.errors import DataError
from tlkit.plots.studies import clip_bands
from tlkit.reports.document import Block, Document, Section, Table, Text
from tlkit.reports.figures import figure
from tlkit.reports.measures import MEASURE_NAMES, headline
from tlkit.reports.result import Result
from tlkit.reports.statistics import fraction_interval, paired, summary
from tlkit.reports.words import counted, interval

CONTROL = "scratch"
TECHNIQUES = {
    "scratch": "Training from scratch",
    "feature-extraction": "Feature extraction",
    "fine-tuning": "Fine-tuning",
}


@dataclass
class LabelCounts(Result):
    """Accuracy against the number of labels.

    Attributes:
        data: the data set.
        table: one row for each technique (`arm`), size (`labels`) and seed: `accuracy`, `balanced_accuracy`
            and `macro_f1` on the test split, 0 to 1, and `seconds`.
        backbone: its name.
        target_accuracy: the accuracy whose number of labels is forecast, above 0 and below 1.
        held_out: how many of the largest sizes the check of the forecast does not use.
        seconds: how long it took: total.
    """

    data: Dataset
    table: pd.DataFrame
    backbone: str
    target_accuracy: float = 0.9
    held_out: int = 2
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        """The column of the table that is reported: balanced accuracy if the classes are unbalanced."""
        first = headline(self.data.train.labels)
        return first if first in self.table else "accuracy"  # an earlier table has accuracy alone

    @property
    def best(self) -> str:
        """The technique that is the most accurate with all labels."""
        largest = self.table[self.table["labels"] == self.table["labels"].max()]
        return str(largest.groupby("arm")[self.measure].mean().idxmax())

    @property
    def best_rows(self) -> pd.DataFrame:
        """The rows of the best technique."""
        return self.table[self.table["arm"] == self.best]

    @property
    def reached(self) -> dict[str, float]:
        """The mean of the best technique with all labels, `value`, its 95 % interval, and the seeds.

        The interval, from `low` to `high`, is that over the seeds; one seed gives none, and both are NaN.
        """
        rows = self.best_rows
        values = rows[rows["labels"] == rows["labels"].max()][self.measure].to_numpy(float)
        low, high = fraction_interval(values)
        return {"value": float(values.mean()), "low": low, "high": high, "seeds": len(values)}

    @property
    def forecast(self) -> PowerLaw | None:
        """The power law through the accuracies of the best technique; None with fewer than four sizes."""
        rows = self.best_rows
        enough = rows["labels"].nunique() >= 4
        return fit_power_law(rows["labels"], rows[self.measure]) if enough else None

    @property
    def check(self) -> pd.DataFrame | None:
        """The forecast from the smaller sizes and the result at the largest; None with too few sizes."""
        rows = self.best_rows
        try:
            return forecast_check(rows["labels"], rows[self.measure], held_out=self.held_out)
        except DataError:
            return None

    @property
    def answer(self) -> str:
        """The accuracy of the best technique, and the labels that the target needs, in a sentence."""
        law, target, reached = self.forecast, self.target_accuracy, self.reached
        most = int(self.best_rows["labels"].max())
        quantity = "" if self.measure == "accuracy" else f" {MEASURE_NAMES[self.measure]}"
        said = f"{TECHNIQUES.get(self.best, self.best)} reaches {reached['value']:.0%}{quantity}"
        said += f" with {most} labels ({_over_seeds(reached)})"
        if law is None:
            return f"{said}. For a forecast measure at least four sizes."
        needed = law.needed(target)
        if needed.labels <= most:
            return f"{said}; for {target:.0%} about {rounded(needed.labels)} are enough."
        if math.isinf(needed.labels):
            return f"{said}; the curve levels off below {target:.0%}: more labels alone are not enough."
        more = rounded(needed.labels - most)
        return f"{said}; for {target:.0%} about {more} more are needed ({_bounds(needed)})."

    @property
    def cautions(self) -> list[str]:
        """Why the curves or the forecast may be wrong."""
        found, check = [], self.check
        if self.table["seed"].nunique() == 1:
            found.append(
                "One seed: the spread is unknown. Run at least three before you believe a difference."
            )
        if check is not None and not check["measured"].between(check["low"], check["high"]).all():
            found.append(
                "The forecast failed where it could be checked: the accuracy at the largest sizes is outside "
                "the interval that the smaller sizes predicted. Do not rely on it further out."
            )
        return found

    def metrics(self) -> dict[str, Any]:
        """Return the table, the forecast and its check."""
        law = self.forecast
        numbers: dict[str, Any] | None = None
        if law is not None:
            needed = law.needed(self.target_accuracy)
            numbers = {"scale": law.scale, "exponent": law.exponent, "limit": law.limit}
            numbers |= {"labels_needed": needed.labels, "low": needed.low, "high": needed.high}
        return {
            "data": self.data.card.name,
            "backbone": self.backbone,
            "headline": self.measure,
            "target_accuracy": self.target_accuracy,
            "best": self.best,
            "reached": self.reached,
            "results": self.table,
            "forecast": numbers,
            "check": self.check,
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: curves, differences from scratch, and the forecast with its check."""
        seeds, arms = self.table["seed"].nunique(), set(self.table["arm"])
        found = [self._curves()]
        if seeds > 1 and CONTROL in arms and len(arms) > 1:
            found.append(self._gains())
        if (law := self.forecast) is not None:
            found.append(self._forecast(law))
        return Document(
            f"{self.data.card.title}: accuracy against the number of labels with {self.backbone}",
            self.answer,
            f"{counted(seeds, 'seed')}, {counted(len(self.data.test or ()), 'test image')}, no validation "
            "split.",
            self.cautions,
            found,
        )

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the table."""
        return {"results.csv": partial(self.table.to_csv, index=False)}

    def _curves(self) -> Section:
        written = summary(self.table, self.measure, by=("labels", "arm")).apply(
            lambda row: f"{row['mean']:.3f}" + (f" ± {row['std']:.3f}" if row["seeds"] > 1 else ""), axis=1
        )
        arms, sizes = list(dict.fromkeys(self.table["arm"])), self.table["labels"]
        quantity = MEASURE_NAMES[self.measure]
        drawn = figure(
            self.curves_on,
            (8, 4),
            f"Test {quantity} from {sizes.min()} to {sizes.max()} labels for each technique.",
            "A point is one seed, the line the mean, the band one standard deviation, cut off at 0 and 1. "
            "Each smaller set is part of the larger sets, so that the curve shows the effect of labels and "
            "not of luck.",
        )
        by_size = written.unstack("arm").reindex(columns=arms).reset_index()
        blocks: list[Block] = [drawn, Table(by_size)]
        measured = [each for each in MEASURE_NAMES if each in self.table]
        if len(measured) > 1:
            largest = self.table[sizes == sizes.max()].groupby("arm", sort=False)[measured]
            means = largest.mean().rename(columns=MEASURE_NAMES).rename_axis("with all labels").reset_index()
            blocks.append(Table(means, folded="All measures with all labels, means over the seeds"))
        return Section("Accuracy by number of labels", blocks)

    def curves_on(self, ax: Axes) -> Axes:
        """Draw the curves of all techniques; the bands stay within 0 and 1."""
        quantity = f"test {MEASURE_NAMES[self.measure]}"
        return clip_bands(plots.curves(self.table, "labels", self.measure, ax, quantity=quantity))

    def _gains(self) -> Section:
        compared = paired(self.table, CONTROL, self.measure, by="labels")
        quantity = f"difference in test {MEASURE_NAMES[self.measure]} from scratch"
        drawn = figure(
            lambda ax: plots.differences(compared, ax, quantity=quantity),
            (8, 3.5),
            "Difference from scratch for each technique and number of labels.",
            "Bars are 95 % intervals over the seeds. A mark is filled where the interval excludes zero; "
            "elsewhere these seeds cannot tell.",
        )
        said = (
            "The difference in accuracy between pretrained and random weights, for the same seed and labels."
        )
        return Section("The value of transfer", [Text(said), drawn])

    def _forecast(self, law: PowerLaw) -> Section:
        rows, check, target = self.best_rows, self.check, self.target_accuracy
        shown: dict[str, Any] = {"value": self.measure, "setting": "labels"}
        found: list[Block] = [
            figure(
                lambda ax: plots.forecast(rows, law, ax, target_accuracy=target, **shown),
                (8, 4),
                f"The power law through all sizes of {self.best}, and its forecast.",
                f"Fitted to all sizes: the error is {law.limit:.3f} + {law.scale:.3g} n^-{law.exponent:.2f}. "
                "The forecast assumes that the curve continues like this.",
            )
        ]
        if check is not None:
            known = rows["labels"][rows["labels"] < check["labels"].min()]
            part = fit_power_law(known, rows[self.measure][known.index])
            found += [
                figure(
                    lambda ax: plots.forecast(rows, part, ax, known=known.max(), **shown),
                    (8, 4),
                    "The same with the largest sizes held out.",
                    "The check: a forecast from the smaller sizes alone, and what was measured then. Trust "
                    "the figure above as far as this one is right.",
                ),
                Table(check),
            ]
        return Section("How many labels are needed", found)


def _over_seeds(reached: Mapping[str, float]) -> str:
    if reached["seeds"] < 2:
        return "one seed gives no interval"
    return f"95 % interval over {reached['seeds']} seeds: {interval(reached)}"


def _bounds(needed: Needed) -> str:
    high = "infinity" if math.isinf(needed.high) else rounded(needed.high)
    return f"95 % interval of the total: {rounded(needed.low)} to {high}"


def rounded(labels: float) -> str:
    """Write a number of labels with two significant digits, which is what a forecast is worth.

    >>> rounded(1234.5), rounded(57)
    ('1,200', '57')
    """
    return f"{float(f'{labels:.2g}'):,.0f}"
