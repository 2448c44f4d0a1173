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
) -> tuple[np.ndarray, dict[str, float]]:
    """Compute the features of images, and measures of their quality.

    Args:
        learner: the backbone and its method.
        images: RGB `(n, height, width, 3)`, values 0 to 255.
        views: two views of the images by name, used if the method compares views.

    Returns:
        The features, float32 `(n, d)`; and the measures by name: `effective_rank` of the features, `spread`
        of the embeddings, and `alignment` and `uniformity` if the method compares views.
    """
    features, embeddings = learner.features_and_embeddings(images)
    measures = {"effective_rank": effective_rank(features), "spread": spread(embeddings)}
    if isinstance(learner.objective, TwoViews):
        first, second = (learner.features_and_embeddings(each)[1] for each in views.values())
        measures |= {"alignment": alignment(first, second), "uniformity": uniformity(first)}
    return features, measures


def knn_predictions(
    backbone: keras.Model, data: Dataset | None, *, progress: bool = False
) -> np.ndarray | None:
    """Predict the classes of the evaluation split by the 5 nearest neighbours in the train split.

    Args:
        backbone: raw images to features.
        data: labelled images.
        progress: show a progress bar.

    Returns:
        int `(n,)`; None if the data set has no labels, or neither a test nor a validation split.
    """
    split = evaluation_split(data)
    if data is None or split is None:
        return None
    options: dict[str, Any] = {"keep": False, "progress": progress}
    fitted = head(NEIGHBOURS).fit(extract(backbone, data.train, **options), data.train.labels)
    return fitted.predict(extract(backbone, data.splits[split], **options))


def evaluation_split(data: Dataset | None) -> str | None:
    """Return the name of the split to evaluate features on: test, else validation, else None."""
    splits = data.splits if data is not None and data.train.labelled else {}
    return next((name for name in ("test", "validation") if name in splits and splits[name].labelled), None)
