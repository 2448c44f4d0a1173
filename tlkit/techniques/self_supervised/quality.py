"""Measures of feature quality that need no further training: nearest neighbours, and geometry."""

from typing import Any

import keras
import numpy as np

from tlkit.data import Dataset
from tlkit.techniques.feature_extraction import extract
from tlkit.techniques.few_shot import NEIGHBOURS, head
from tlkit.techniques.self_supervised.diagnostics import alignment, effective_rank, spread, uniformity
from tlkit.techniques.self_supervised.learner import SelfSupervised
from tlkit.techniques.self_supervised.objective import TwoViews


def feature_quality(
    learner: SelfSupervised,
    images: np.ndarray,
    views: dict[str, np.ndarray],
    evaluate: Dataset | None = None,
    *,
    progress: bool = False,
) -> tuple[np.ndarray, dict[str, float]]:
    """Compute the features of images, and measures of their quality.

    Args:
        learner: the backbone and its method.
        images: RGB `(n, height, width, 3)`, values 0 to 255.
        views: two views of the images by name, used if the method compares views.
        evaluate: labelled images for `knn_accuracy`.
        progress: show a progress bar.

    Returns:
        The features, float32 `(n, d)`; and the measures by name: `effective_rank` of the features, `spread`
        of the embeddings, `alignment` and `uniformity` if the method compares views, and `knn_accuracy`, 0 to
        1, if there are labels.
    """
    features, embeddings = learner.features_and_embeddings(images)
    measures = {"effective_rank": effective_rank(features), "spread": spread(embeddings)}
    if isinstance(learner.objective, TwoViews):
        first, second = (learner.features_and_embeddings(each)[1] for each in views.values())
        measures |= {"alignment": alignment(first, second), "uniformity": uniformity(first)}
    accuracy = None if evaluate is None else knn_accuracy(learner.backbone, evaluate, progress=progress)
    return features, measures if accuracy is None else measures | {"knn_accuracy": accuracy}


def knn_accuracy(backbone: keras.Model, data: Dataset, *, progress: bool = False) -> float | None:
    """Return the accuracy of a classifier by the 5 nearest neighbours in the train split, 0 to 1.

    It is None if the data set has no labels, or neither a test nor a validation split.
    """
    split = evaluation_split(data)
    if split is None:
        return None
    options: dict[str, Any] = {"keep": False, "progress": progress}
    fitted = head(NEIGHBOURS).fit(extract(backbone, data.train, **options), data.train.labels)
    return float(fitted.score(extract(backbone, data.splits[split], **options), data.splits[split].labels))


def evaluation_split(data: Dataset | None) -> str | None:
    """Return the name of the split to evaluate features on: test, else validation, else None."""
    splits = data.splits if data is not None and data.train.labelled else {}
    return next((name for name in ("test", "validation") if name in splits and splits[name].labelled), None)
