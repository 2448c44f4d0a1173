"""How good features are before anything is trained on them: by labels of neighbours, or by geometry alone."""

from typing import Any

import keras
import numpy as np

from tlkit.data import Dataset
from tlkit.techniques.feature_extraction import extract
from tlkit.techniques.few_shot import NEIGHBOURS, head
from tlkit.techniques.self_supervised import (
    SelfSupervised,
    TwoViews,
    alignment,
    effective_rank,
    spread,
    uniformity,
)


def measured(
    learner: SelfSupervised,
    images: np.ndarray,
    views: dict[str, np.ndarray],
    judge: Dataset | None,
    *,
    progress: bool = False,
) -> tuple[np.ndarray, dict[str, float]]:
    """Return the features of images, float32 `(n, d)`, and what `Pretraining.before` tells of them."""
    features, embeddings = learner.look(images)
    found = {"effective_rank": effective_rank(features), "spread": spread(embeddings)}
    if isinstance(learner.objective, TwoViews):
        first, second = (learner.look(each)[1] for each in views.values())
        found |= {"alignment": alignment(first, second), "uniformity": uniformity(first)}
    accuracy = None if judge is None else knn_accuracy(learner.backbone, judge, progress=progress)
    return features, found if accuracy is None else found | {"knn_accuracy": accuracy}


def knn_accuracy(backbone: keras.Model, judge: Dataset, *, progress: bool = False) -> float | None:
    """Return the share of images that their nearest neighbours in the train split name right, 0 to 1.

    None where the data set has no labels, or neither a test nor a validation split.
    """
    split = judged_split(judge)
    if split is None:
        return None
    options: dict[str, Any] = {"keep": False, "progress": progress}
    fitted = head(NEIGHBOURS).fit(extract(backbone, judge.train, **options), judge.train.labels)
    return float(fitted.score(extract(backbone, judge.splits[split], **options), judge.splits[split].labels))


def judged_split(judge: Dataset | None) -> str | None:
    """Return the name of the split that features are judged on: test, else validation, else None."""
    splits = judge.splits if judge is not None and judge.train.labelled else {}
    return next((name for name in ("test", "validation") if name in splits and splits[name].labelled), None)
