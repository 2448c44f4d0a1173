"""Measure accuracy against the number of labels, by every technique, with several sizes and seeds."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlkit.backbones.registry import BACKBONES
from tlkit.challenges.dataset_size import PowerLaw, fit_power_law, forecast_check, nested_subsets
from tlkit.data import Dataset
from tlkit.errors import DataError, TlkitError
from tlkit.experiments import phases
from tlkit.experiments.cells import run_cells
from tlkit.experiments.fitting import fit_classifier
from tlkit.experiments.statistics import paired, summary
from tlkit.reports import label_counts as sections
from tlkit.reports.document import Document
from tlkit.reports.result import Result
from tlkit.reports.words import counted
from tlkit.techniques import TECHNIQUES

BATCH = 32  # images in a step
STEPS, STEPS_OF_SMALL = 100, 400  # of a training, at least: random weights take hundreds
SMALL = 1_000_000  # parameters
EPOCHS = 8  # at least
HEAD_STEPS, HEAD_EPOCHS = 200, 50  # of a head, at least
SIZES = 6
CONTROL = "scratch"


@dataclass
class LabelCounts(Result):
    """Accuracy against the number of labels.

    Attributes:
        data: the data set.
        table: one row for each technique (`arm`), size (`labels`) and seed: `accuracy` on the test split, 0
            to 1, and `seconds`.
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
    def best(self) -> str:
        """The technique that is the most accurate with all labels."""
        largest = self.table[self.table["labels"] == self.table["labels"].max()]
        return str(largest.groupby("arm")["accuracy"].mean().idxmax())

    @property
    def best_rows(self) -> pd.DataFrame:
        """The rows of the best technique."""
        return self.table[self.table["arm"] == self.best]

    @property
    def forecast(self) -> PowerLaw | None:
        """The power law through the accuracies of the best technique; None with fewer than four sizes."""
        rows = self.best_rows
        enough = rows["labels"].nunique() >= 4
        return fit_power_law(rows["labels"], rows["accuracy"]) if enough else None

    @property
    def check(self) -> pd.DataFrame | None:
        """The forecast from the smaller sizes beside what the largest reached; None with too few sizes."""
        rows = self.best_rows
        try:
            return forecast_check(rows["labels"], rows["accuracy"], held_out=self.held_out)
        except DataError:
            return None

    @property
    def answer(self) -> str:
        """The accuracy of the best technique and the forecast, in a sentence."""
        return sections.answer(self.best, self.best_rows, self.forecast, self.target_accuracy)

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
            "target_accuracy": self.target_accuracy,
            "best": self.best,
            "results": self.table,
            "forecast": numbers,
            "check": self.check,
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: curves, differences from scratch, and the forecast with its check."""
        seeds, law, check = self.table["seed"].nunique(), self.forecast, self.check
        found = [sections.curve_section(self.table, summary(self.table, by=("labels", "arm")))]
        arms = set(self.table["arm"])
        if seeds > 1 and CONTROL in arms and len(arms) > 1:
            found.append(sections.gain_section(paired(self.table, control=CONTROL, by="labels")))
        if law is not None:
            found.append(
                sections.forecast_section(self.best, self.best_rows, law, self.target_accuracy, check)
            )
        return Document(
            f"{self.data.card.title}: accuracy against the number of labels with {self.backbone}",
            self.answer,
            f"{counted(seeds, 'seed')}, {counted(len(self.data.test or ()), 'test image')}, no validation "
            "split.",
            sections.cautions(seeds, check),
            found,
        )

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the table."""
        return {"results.csv": partial(self.table.to_csv, index=False)}


def label_counts(
    data: Dataset,
    *,
    backbone: str = "EfficientNetLite0",
    weights: str | None = "imagenet",
    techniques: Sequence[str] | None = None,
    sizes: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int | None = None,
    target_accuracy: float = 0.9,
    keep: Path | None = None,
    workers: int | None = 1,
    progress: bool = False,
) -> LabelCounts:
    """Train with more and more labels by each technique; training from scratch is the control.

    No validation split is used: its labels would be labels as well. All trainings run to their end, with at
    least as many steps, since few images make short epochs.

    Args:
        data: labelled, with a test split; subsets are drawn from its train split, nested and stratified.
        backbone: a name of `tlkit.list_backbones()`.
        weights: as for `tlkit.train`.
        techniques: names of `tlkit.techniques.TECHNIQUES`; by default all.
        sizes: numbers of labels; by default six, from two per class to all, each about the same factor apart.
        seeds: of the subset, the head, the order of the images and their augmentation.
        steps: of each training, at least; eight epochs if these are more. By default 100, and 400 for
            networks below a million parameters.
        target_accuracy: how many labels does this accuracy need? Above 0 and below 1.
        keep, workers, progress: as for `tlkit.compare`.

    Returns:
        The accuracies with a forecast.

    Raises:
        DataError: no labelled test split, or sizes that the train split does not have.
        UnknownNameError: there is no such technique or backbone.
        TlkitError: no technique or no step.
    """
    start = time.perf_counter()
    if data.test is None or not data.test.labelled:
        raise DataError(
            "A labelled test split is needed to measure accuracy. For a folder: load(..., test=0.2)."
        )
    chosen = [TECHNIQUES.find(name).name for name in (TECHNIQUES.names if techniques is None else techniques)]
    if steps is None:
        steps = STEPS_OF_SMALL if BACKBONES.find(backbone).parameters < SMALL else STEPS
    if steps < 1:
        raise TlkitError(f"steps={steps} was given; expected at least 1.")
    sizes = default_sizes(data) if sizes is None else sorted(set(sizes))
    nested_subsets(data.train, sizes)  # fails before anything is trained
    common: dict[str, Any] = {"data": data, "backbone": backbone, "weights": weights, "steps": steps}
    arms = {name: partial(trained, technique=name, **common) for name in chosen}
    table = run_cells(
        arms, seeds=seeds, settings={"labels": sizes}, keep=keep, workers=workers, progress=progress
    )
    total = {"total": time.perf_counter() - start}
    return LabelCounts(data, table, backbone, target_accuracy, seconds=total)


def trained(
    seed: int, labels: int, *, data: Dataset, technique: str, steps: int, **options: Any
) -> dict[str, float]:
    """Train with that many labels, and return the accuracy on the test split, 0 to 1."""
    few = nested_subsets(data.train, [labels], seed=seed)[labels]
    steps_per_epoch = math.ceil(labels / BATCH)
    epochs = max(EPOCHS, math.ceil(steps / steps_per_epoch))
    head_epochs = max(HEAD_EPOCHS, math.ceil(HEAD_STEPS / steps_per_epoch))
    fitted = fit_classifier(
        replace(data, train=few, validation=None),
        technique,
        epochs=head_epochs if technique == "feature-extraction" else epochs,
        head_epochs=head_epochs,
        seed=seed,
        **options,
    )
    assert data.test is not None  # checked by `label_counts`
    return {"accuracy": phases.accuracy_of(fitted.probabilities["test"], data.test.labels)}


def default_sizes(data: Dataset) -> list[int]:
    """Return six numbers of labels, from two per class to all, each about the same factor apart.

    >>> import tlkit
    >>> default_sizes(tlkit.load("digits/optical"))
    [20, 44, 99, 219, 486, 1079]
    """
    most = len(data.train)
    least = min(most, 2 * len(data.class_names))
    return sorted({round(each) for each in np.geomspace(least, most, SIZES)})
