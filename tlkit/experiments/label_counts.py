"""Measure accuracy against the number of labels, by every technique, with several sizes and seeds."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tlkit.backbones.registry import BACKBONES
from tlkit.challenges.dataset_size import nested_subsets
from tlkit.data import Dataset
from tlkit.errors import DataError, TlkitError
from tlkit.experiments.cells import run_cells
from tlkit.experiments.fitting import FROZEN, TUNED, fit_classifier
from tlkit.reports.label_counts import LabelCounts
from tlkit.reports.measures import point_measures
from tlkit.techniques import TECHNIQUES

BATCH = 32  # images in a step
STEPS, STEPS_OF_SMALL = 100, 400  # of a training, at least: random weights take hundreds
SMALL = 1_000_000  # parameters
EPOCHS = 8  # at least
SIZES = 6
CONTROL = "scratch"


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
    least as many steps, since few images make short epochs. With one label per class, fine-tuning keeps the
    network frozen, since no label can be held out.

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
    """Train with that many labels, and return the measures on the test split, 0 to 1."""
    few = nested_subsets(data.train, [labels], seed=seed)[labels]
    if technique == TUNED and np.bincount(few.labels).max() < 2:
        technique = FROZEN  # of one label per class, none can be held out
    if technique != FROZEN:
        options |= {"epochs": max(EPOCHS, math.ceil(steps / math.ceil(labels / BATCH))), "batch_size": BATCH}
    fitted = fit_classifier(
        replace(data, train=few, validation=None), technique, minutes=None, seed=seed, **options
    )
    assert data.test is not None  # checked by `label_counts`
    return point_measures(data.test.labels, fitted.probabilities["test"].argmax(axis=1))


def default_sizes(data: Dataset) -> list[int]:
    """Return six numbers of labels, from two per class to all, each about the same factor apart.

    >>> import tlkit
    >>> default_sizes(tlkit.load("digits/optical"))
    [20, 44, 99, 219, 486, 1079]
    """
    most = len(data.train)
    least = min(most, 2 * len(data.class_names))
    return sorted({round(each) for each in np.geomspace(least, most, SIZES)})
