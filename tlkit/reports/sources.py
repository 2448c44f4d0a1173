"""The section on several source domains: whether they are better together than the best one alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tlkit._internal.intervals import mean_interval
from tlkit.reports.document import Block, Section, Table, Text
from tlkit.reports.measures import MEASURE_NAMES, headline, point_measures
from tlkit.reports.words import listed

TOGETHER = "all sources together"


@dataclass(frozen=True)
class SourceAlone:
    """What a solved head on the features of one source, or of all sources together, predicts.

    Attributes:
        name: of the source; or `"all sources together"`.
        images: number of labelled images.
        predicted: the classes that it predicts for the evaluated target images, int `(n,)`; None if it was
            not measured, because the target has no labels or the backbone is not pretrained.
    """

    name: str
    images: int
    predicted: np.ndarray | None = None


def source_metrics(sources: Sequence[SourceAlone], labels: np.ndarray | None) -> list[dict[str, Any]]:
    """Return the name, the number of images and the accuracy on the target of each source."""
    return [
        {
            "name": each.name,
            "images": each.images,
            "accuracy": None
            if labels is None or each.predicted is None
            else float(np.mean(each.predicted == labels)),
        }
        for each in sources
    ]


def sources_section(sources: Sequence[SourceAlone], labels: np.ndarray | None) -> Section:
    """Return the section on several sources.

    Args:
        sources: each source, and all of them together.
        labels: of the evaluated target images, int `(n,)`, or None.
    """
    table = pd.DataFrame(
        {"source": [each.name for each in sources], "images": [each.images for each in sources]}
    )
    names = listed([each.name for each in sources if each.name != TOGETHER])
    found: list[Block] = [Text(f"The labelled images come from {names}.")]
    predicted = {each.name: each.predicted for each in sources if each.predicted is not None}
    if labels is None or not predicted:
        return Section("The sources", [*found, Table(table)])
    first = headline(labels)
    measured = [point_measures(labels, each)[first] for each in predicted.values()]
    table[f"{MEASURE_NAMES[first]} on the target"] = measured
    remark = (
        "Each row is a head that was solved on frozen features of these images, without adaptation. "
        + together_or_alone(predicted, labels)
    )
    return Section("The sources", [*found, Table(table), Text(remark)])


def together_or_alone(predicted: dict[str, np.ndarray], labels: np.ndarray) -> str:
    """Say whether all sources together are more accurate than the single source of the highest accuracy.

    Args:
        predicted: the classes that each source predicts, and those of all sources together, int `(n,)`.
        labels: int `(n,)`.

    >>> right, wrong = np.zeros(40, int), np.ones(40, int)
    >>> together_or_alone({"photos": wrong, "sketches": wrong, TOGETHER: right}, right)[:62]
    'All sources together are more accurate than photos alone, the '
    """
    right = {name: (each == labels).astype(float) for name, each in predicted.items()}
    together = right.pop(TOGETHER)
    best = max(right, key=lambda name: right[name].mean())
    difference = together - right[best]
    low, high = mean_interval(difference)
    points = f"{100 * difference.mean():+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    if low <= 0 <= high:
        return (
            f"These images cannot tell whether all sources together are more accurate than {best} alone, the "
            f"most accurate single source ({points})."
        )
    return (
        f"All sources together are {'more' if low > 0 else 'less'} accurate than {best} alone, the most "
        f"accurate single source ({points})."
    )
