"""Accuracy against the number of labels: the study of a data set by every technique, sizes and seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlkit import run
from tlkit.backbones.registry import find
from tlkit.challenges.dataset_size import nested_subsets
from tlkit.data import Dataset
from tlkit.errors import DataError, TlkitError, UnknownNameError
from tlkit.study.cells import compare
from tlkit.techniques import TECHNIQUES

BATCH = 32  # images in a step
STEPS, STEPS_OF_SMALL = 100, 400  # of training, at least: random weights take hundreds
SMALL = 1_000_000  # parameters
EPOCHS = 8  # passes over the images, at least
HEAD_STEPS, HEAD_EPOCHS = 200, 50  # of a head, at least
SIZES = 6


def label_counts(
    data: Dataset,
    *,
    backbone: str = "EfficientNetLite0",
    weights: str | None = "imagenet",
    techniques: Sequence[str] = TECHNIQUES,
    sizes: Sequence[int] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int | None = None,
    keep: Path | None = None,
    workers: int | None = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Train with more and more labels by each technique; scratch is the control.

    No validation split is used: its labels would be labels as well. All trainings run to their end, with at
    least as many steps, since few images make short epochs.

    Args:
        data: labelled, with a test split; subsets are drawn from its train split, nested and stratified.
        backbone: a name of `tlkit.backbones`.
        weights: see `tlkit.train`.
        techniques: of `tlkit.techniques.TECHNIQUES`.
        sizes: numbers of labels; by default six, from two a class to all, each about the same factor apart.
        seeds: of the subset, the head, the order of the images and their augmentation.
        steps: of each training, at least; eight passes over the labels if these are more. By default 100, and
            400 for networks below a million parameters.
        keep, workers, progress: see `tlkit.compare`.

    Returns:
        One row for each technique (`arm`), size (`labels`) and seed: `accuracy` on the test split, 0 to 1,
        and `seconds`.

    Raises:
        DataError: no labelled test split, or sizes that the train split does not have.
        UnknownNameError: there is no such technique.
        TlkitError: no technique or no step.
    """
    if data.test is None or not data.test.labelled:
        raise DataError(
            "The study needs a labelled test split to measure on. For a folder: load(..., test=0.2)."
        )
    for technique in techniques:
        if technique not in TECHNIQUES:
            raise UnknownNameError("technique", technique, TECHNIQUES)
    if steps is None:
        steps = STEPS_OF_SMALL if find(backbone).parameters < SMALL else STEPS
    if steps < 1:
        raise TlkitError(f"steps={steps} was given; expected at least 1.")
    sizes = default_sizes(data) if sizes is None else sorted(set(sizes))
    nested_subsets(data.train, sizes)  # fails before anything is trained
    common: dict[str, Any] = {"data": data, "backbone": backbone, "weights": weights, "steps": steps}
    arms: Mapping[str, Any] = {name: partial(trained, technique=name, **common) for name in techniques}
    return compare(
        arms, seeds=seeds, settings={"labels": sizes}, keep=keep, workers=workers, progress=progress
    )


def trained(
    seed: int, labels: int, *, data: Dataset, technique: str, steps: int, **options: Any
) -> dict[str, float]:
    """Train on that many labels, and return the accuracy on the test split, 0 to 1."""
    few = nested_subsets(data.train, [labels], seed=seed)[labels]
    an_epoch = math.ceil(labels / BATCH)
    epochs = max(EPOCHS, math.ceil(steps / an_epoch))
    head_epochs = max(HEAD_EPOCHS, math.ceil(HEAD_STEPS / an_epoch))  # on kept features: they cost little
    done = run.train(
        replace(data, train=few, validation=None),
        technique=technique,
        epochs=head_epochs if technique == "feature-extraction" else epochs,
        head_epochs=head_epochs,
        seed=seed,
        **options,
    )
    return {"accuracy": done.accuracy("test")}


def default_sizes(data: Dataset) -> list[int]:
    """Return six numbers of labels, from two a class to all, each about the same factor apart.

    >>> import tlkit
    >>> default_sizes(tlkit.load("digits/optical"))
    [20, 44, 99, 219, 486, 1079]
    """
    most = len(data.train)
    least = min(most, 2 * len(data.class_names))
    return sorted({round(each) for each in np.geomspace(least, most, SIZES)})
