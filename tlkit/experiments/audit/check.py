"""What a frozen backbone finds in a data set: likely label errors, outliers, near duplicates, weak groups."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tlkit.experiments.audit.cross_validation import FOLDS, Predictions, cross_validate
from tlkit.experiments.audit.label_errors import label_errors
from tlkit.experiments.audit.neighbours import Distances, grouped, outliers
from tlkit.experiments.audit.pairs import compared
from tlkit.experiments.audit.weak_groups import WeakGroup, weak_groups
from tlkit.reports.words import shortened

# In uniform images, such as solar cells, links between all similar pairs would merge a quarter of the data.
COPY_BITS = 4


@dataclass
class Check:
    """What the features of a frozen backbone say about the images; rows are those of `Audit.images`.

    Attributes:
        backbone, image_size: the network, and the height and width of its images in pixels.
        predictions: cross-validated predictions; None if fewer than two classes have enough images.
        predicted: names of the predicted classes, `(n,)`; "" for images that are not predicted.
        label_errors: one row for each likely label error, the least probable label first: `row`, `label` and
            `suggested` (names of classes), `score` (the probability of the label) and `probability` (of
            the suggested class).
        outliers: one row for each outlier, the farthest first: `row`, `distance` (mean distance to the
            nearest images, relative to the median of all images) and `score`, which is `exp(-distance)`.
        near_duplicates: pairs with nearly equal features that are not in `Audit.pairs`: its columns, and
            `distance`, relative to the median distance to the nearest neighbour. The most similar come first.
        weak_groups: groups of similar images in which the predictions are worse than overall.
        pair_distances: the same distance for each pair in `Audit.pairs`, `(pairs,)`.
        unchecked: the classes that have too few images to check their labels.
    """

    backbone: str
    image_size: int
    predictions: Predictions | None
    predicted: np.ndarray
    label_errors: pd.DataFrame
    outliers: pd.DataFrame
    near_duplicates: pd.DataFrame
    weak_groups: list[WeakGroup]
    pair_distances: np.ndarray
    unchecked: list[str]

    @property
    def informative(self) -> bool:
        """Whether the predictions are better than chance, so that they say something about labels."""
        return self.predictions is not None and self.predictions.informative

    @property
    def cautions(self) -> list[str]:
        """Why label errors cannot be found, or not in all classes."""
        if self.predictions is None:
            return [
                "Label errors and weak groups cannot be found. This takes at least two classes with "
                f"{FOLDS} images each, not counting copies."
            ]
        found, (low, high) = [], self.predictions.interval
        if not self.informative:
            found.append(
                "Label errors and weak groups cannot be found: the features do not predict the labels better "
                f"than chance. In cross-validation, {self.predictions.accuracy:.0%} of the predictions agree "
                f"with the labels (95 % interval {low:.0%} to {high:.0%}), and always predicting the largest "
                f"class reaches {self.predictions.chance:.0%}. Try another backbone."
            )
        if self.unchecked:
            found.append(
                f"Labels of these classes are not checked: {shortened(self.unchecked, 5)}. Not counting "
                f"copies, they have fewer than {FOLDS} images."
            )
        return found

    def metrics(self) -> dict[str, Any]:
        """Return the numbers of the cross-validation and of the weak groups."""
        found = self.predictions
        low, high = (None, None) if found is None else found.interval
        return {
            "backbone": self.backbone,
            "image_size": self.image_size,
            "folds": FOLDS,
            "images": 0 if found is None else len(found.rows),
            "unchecked_classes": self.unchecked,
            "regularization": None if found is None else found.strength,
            "accuracy": None if found is None else found.accuracy,
            "interval": {"low": low, "high": high},
            "chance": None if found is None else found.chance,
            "better_than_chance": self.informative,
            "weak_groups": [
                {"images": len(each.members), "accuracy": each.accuracy, "low": each.low, "high": each.high}
                for each in self.weak_groups
            ],
        }


def check(
    features: np.ndarray,
    images: pd.DataFrame,
    pairs: pd.DataFrame,
    class_names: list[str],
    *,
    backbone: str = "",
    image_size: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> Check:
    """Find likely label errors, outliers, near duplicates and weak groups by the features of all images.

    In the cross-validation, images count as copies of each other if their features are nearly equal, if their
    perceptual hashes differ in at most 4 bits, or if the hashes are similar and the features are closer than
    the median distance to the nearest neighbour.

    Args:
        features: float32 `(n, d)`, of a frozen backbone.
        images: the table of an `Inventory`, with `n` rows.
        pairs: of `tlkit.experiments.audit.pairs.pairs`.
        class_names: of all classes.
        backbone, image_size: the network of the features, to be reported.
        seed: of the folds and of the groups.
        progress: show a progress bar.
    """
    distances, labels = Distances(features), np.array([class_names.index(name) for name in images["class"]])
    i, j = pairs["i"].to_numpy(int), pairs["j"].to_numpy(int)
    between, near = distances.between(i, j), distances.near_duplicates()
    copies = np.stack([i, j], axis=1)[(pairs["bits"].to_numpy(int) <= COPY_BITS) | (between < 1)]
    groups = grouped(np.concatenate([copies, near]), len(images))
    found = cross_validate(features, labels, groups, seed=seed, progress=progress)
    errors = label_errors(found)
    for column in ("label", "suggested"):
        errors[column] = [class_names[label] for label in errors[column]]
    weak = []
    if found is not None and found.informative:
        weak = weak_groups(features[found.rows], found.right, seed=seed)
        weak = [replace(each, members=found.rows[each.members]) for each in weak]
    predicted, checked = np.full(len(images), "", object), list[int]()
    if found is not None:
        checked = found.classes.tolist()
        predicted[found.rows] = np.array(class_names, object)[found.classes[found.predicted]]
    return Check(
        backbone,
        image_size,
        found,
        predicted,
        errors,
        outliers(features),
        _new_pairs(images, pairs, near, distances),
        weak,
        between,
        [name for label, name in enumerate(class_names) if label not in checked],
    )


def _new_pairs(
    images: pd.DataFrame, pairs: pd.DataFrame, near: np.ndarray, distances: Distances
) -> pd.DataFrame:
    """Return the table of pairs with nearly equal features that the perceptual hashes did not find."""
    i, j = near.T
    table = compared(images, i, j).assign(distance=distances.between(i, j))
    known = set(zip(pairs["i"], pairs["j"], strict=True))
    new = [pair not in known for pair in zip(table["i"], table["j"], strict=True)]
    return table[~table["identical"] & np.array(new, bool)].sort_values("distance").reset_index(drop=True)
