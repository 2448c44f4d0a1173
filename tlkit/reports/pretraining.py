"""Sections about pretraining without labels: neighbours, views, and measures of the features."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tlkit import plots
from tlkit._internal.intervals import wilson
from tlkit.data import Split
from tlkit.reports.document import Block, Figure, Section, Table, Text
from tlkit.reports.figures import accuracies, figure

QUERIES, NEIGHBOURS = 5, 7
MEASURES = {
    "knn_accuracy": "accuracy of 5 nearest neighbours",
    "effective_rank": "effective rank",
    "spread": "spread of the embeddings",
    "alignment": "alignment: distance of two views",
    "uniformity": "uniformity: lower is more even",
}


def neighbour_section(
    images: Split,
    features: Mapping[str, np.ndarray],
    knn_accuracy: Mapping[str, float] | None,
    split: str,
    evaluated: int,
) -> Section:
    """Return the section on which images the features call similar.

    Args:
        images: the images of the features.
        features: `before` and `after` pretraining, `(n, d)` each.
        knn_accuracy: `before` and `after`, 0 to 1; None without labels.
        split: the split of the accuracies.
        evaluated: number of its images.
    """
    found: list[Block] = []
    if knn_accuracy is not None:
        values = {f"{when} pretraining": value for when, value in knn_accuracy.items()}
        found.append(
            accuracies(
                values,
                "Accuracy of the nearest neighbours",
                f"The five nearest images of the train split vote for the class of each {split} image; "
                "nothing is trained for it. The control is the same network before pretraining.",
                quantity="accuracy of 5 nearest neighbours",
                intervals={
                    name: wilson(round(value * evaluated), evaluated) for name, value in values.items()
                },
            )
        )
    captions = {
        "before": "Before: images in a frame, and to the right of each its nearest images by cosine "
        "similarity.",
        "after": "After: the same images. It is better if images of the same thing are nearer now, and worse "
        "if images of the same colour or place are.",
    }
    found += [_neighbours(images, each, when, captions[when]) for when, each in features.items()]
    return Section("Which images are similar", found)


def _neighbours(images: Split, features: np.ndarray, when: str, caption: str) -> Figure:
    queries = np.unique(np.linspace(0, len(images) - 1, QUERIES + 2).astype(int)[1:-1])
    columns = min(NEIGHBOURS, len(images) - 1) + 1
    return figure(
        lambda axes: plots.neighbours(images, features, queries, count=NEIGHBOURS, axes=axes),
        (1.1 * columns, 1.1 * len(queries) + 0.3),
        f"{len(queries)} images, each with its nearest images to its right, {when} pretraining.",
        caption,
        columns=columns,
        rows=len(queries),
    )


def task_section(method: Any, shown: Mapping[str, np.ndarray], two_views: bool) -> Section:
    """Return the section on the pretext task.

    Args:
        method: the row of the method in its registry.
        shown: what the method makes of some images, uint8 `(n, height, width, 3)` by name.
        two_views: the method compares two random views of each image.
    """
    caption = "The input of the network."
    if two_views:
        caption += (
            " The network learns to ignore whatever differs between the views: it must not be what you want "
            "to tell apart."
        )
    elif "reconstructed" in shown:
        caption = "The input of the network, and in the last row its output."
    columns, rows = len(shown["image"]), len(shown)
    drawn = figure(
        lambda axes: plots.image_rows(shown, axes),
        (1.1 * columns + 0.7, 1.15 * rows),
        f"{columns} images; below each of them: {', '.join(list(shown)[1:])}.",
        caption,
        columns=columns,
        rows=rows,
    )
    return Section("The pretext task", [Text(f"{method.name}: {method.summary} ({method.paper})."), drawn])


def training_section(
    history: Mapping[str, Sequence[float]], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Section:
    """Return the section with the curves, and the measures before and after pretraining."""
    found: list[Block] = []
    if history:
        last = {name: values[-1] for name, values in history.items()}
        found.append(
            figure(
                lambda axes: plots.pretraining_curves(history, axes),
                (9, 2.7),
                f"After {len(history['loss'])} epochs: loss {last['loss']:.3g}, spread {last['spread']:.2f}, "
                f"effective rank {last['effective_rank']:.1f}.",
                "Losses of different methods cannot be compared. Spread of the embeddings: 0 if all images "
                "have the same embedding, which is collapse; 1 if they point in all directions. Effective "
                "rank: the number of directions that the features use.",
                columns=3,
            )
        )
    rows = [(MEASURES[name], before.get(name), after[name]) for name in MEASURES if name in after]
    found.append(Table(pd.DataFrame(rows, columns=["features", "before", "after"])))
    return Section("Training", found)
