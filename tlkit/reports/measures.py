"""Measures of predicted classes: accuracy, balanced accuracy and macro F1, each with its 95 % interval."""

from typing import Any

import numpy as np
from scipy.stats import chisquare
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    roc_auc_score,
)

from tlkit._internal.intervals import wilson_of

MEASURE_NAMES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}
UNBALANCED = 1.5  # ratio of the largest to the smallest class from which accuracy misleads
DRAWS = 1000
SHRINKAGE = 2.0  # pseudo-images of each class with the mean recall, which shrink recalls towards it


def point_measures(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return accuracy, balanced accuracy and macro F1, 0 to 1.

    Balanced accuracy is the mean recall of the classes, and macro F1 the mean of their F1. Both count every
    class alike, however many images it has. Classes without images are left out.

    Brodersen, Ong, Stephan & Buhmann 2010, "The Balanced Accuracy and Its Posterior Distribution".

    Args:
        labels, predicted: int `(n,)` true and predicted classes.

    >>> point_measures(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))["balanced_accuracy"]
    0.5
    """
    present = np.unique(labels)
    recalls = [float(np.mean(predicted[labels == each] == each)) for each in present]
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0)),
    }


def measures(labels: np.ndarray, predicted: np.ndarray) -> dict[str, dict[str, float]]:
    """Return each measure with its 95 % confidence interval: `value`, `low` and `high`, 0 to 1.

    The interval accounts for the random choice of the test images. It is Wilson's. For balanced accuracy and
    macro F1, it uses an effective number of images: the number at which an accuracy of the same value has the
    same variance. Unlike a bootstrap interval, it has a width even if every prediction is right.
    `tests/reports/test_measures.py` simulates how often the interval contains the true value.

    Args:
        labels, predicted: int `(n,)` true and predicted classes, at least one.

    >>> found = measures(np.arange(40) % 2, np.zeros(40, int))["accuracy"]
    >>> {name: round(each, 2) for name, each in found.items()}
    {'value': 0.5, 'low': 0.35, 'high': 0.65}
    """
    points = point_measures(labels, predicted)
    sizes = {"accuracy": float(len(labels)), **_effective_sizes(labels, predicted, points)}
    found = {}
    for name, value in points.items():
        low, high = wilson_of(value, sizes[name])
        found[name] = {"value": value, "low": low, "high": high}
    return found


def _effective_sizes(labels: np.ndarray, predicted: np.ndarray, points: dict[str, float]) -> dict[str, float]:
    """Return the number of images at which an accuracy of the same value has the variance of each measure."""
    classes = np.unique(np.concatenate([labels, predicted]))
    counts = confusion_matrix(labels, predicted, labels=classes)
    present = np.flatnonzero(counts.sum(axis=1))
    sizes = counts[present].sum(axis=1)
    balanced, f1 = points["balanced_accuracy"], points["macro_f1"]
    # shrunk to their mean, since a class of few images that are all right or all wrong would have no variance
    recalls = (counts[present, present] + SHRINKAGE * balanced) / (sizes + SHRINKAGE)
    of_balanced = float(np.mean(recalls * (1 - recalls) / sizes)) / len(present)
    of_f1 = float(np.var(_macro_f1_draws(counts, present, recalls)))
    if_perfect = len(present) / float(np.mean(1 / sizes))  # the limit of both for values near 0 or 1
    return {
        "balanced_accuracy": balanced * (1 - balanced) / of_balanced if of_balanced else if_perfect,
        "macro_f1": f1 * (1 - f1) / of_f1 if of_f1 else if_perfect,
    }


def _macro_f1_draws(counts: np.ndarray, present: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """Return macro F1 of random confusion matrices with the same class sizes, `(DRAWS,)`."""
    rng = np.random.default_rng(0)
    right = np.zeros((len(counts), DRAWS))
    named = np.zeros((len(counts), DRAWS))  # images that were predicted as each class
    for row, recall in zip(present, recalls, strict=True):
        wrong = counts[row].astype(float)
        wrong[row] = 0.0
        if not wrong.any():
            wrong[np.arange(len(counts)) != row] = 1.0
        cells = np.flatnonzero(wrong)
        chances = (1 - recall) * wrong[cells] / max(1.0, wrong.sum())
        drawn = rng.multinomial(counts[row].sum(), np.append(chances, recall), size=DRAWS).T
        right[row] = drawn[-1]
        named[row] += drawn[-1]
        named[cells] += drawn[:-1]
    sizes = counts.sum(axis=1)[present, None]
    return np.mean(2 * right[present] / (sizes + named[present]), axis=0)


def is_unbalanced(labels: np.ndarray) -> bool:
    """Return whether the classes have different sizes, and not by chance.

    The largest class then has at least 1.5 times as many images as the smallest, and a chi-squared test
    rejects equal probabilities at 1 %.

    >>> is_unbalanced(np.array([0, 1] * 50 + [1] * 10)), is_unbalanced(np.array([0, 1] * 50 + [1] * 50))
    (False, True)
    """
    counts = np.unique(labels, return_counts=True)[1]
    return bool(counts.max() >= UNBALANCED * counts.min() and chisquare(counts).pvalue < 0.01)


def headline(labels: np.ndarray) -> str:
    """Return the measure to state first: accuracy, or balanced accuracy if the classes are unbalanced.

    Args:
        labels: int `(n,)`, of the images that decide whether the classes are unbalanced.

    >>> headline(np.array([0, 1] * 50 + [1] * 50))
    'balanced_accuracy'
    """
    return "balanced_accuracy" if is_unbalanced(labels) else "accuracy"


def two_class_measures(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any] | None:
    """Return the areas under the ROC and precision-recall curves of the second of two classes, 0 to 1.

    Args:
        labels: int `(n,)`.
        probabilities: `(n, 2)`.

    Returns:
        `roc_auc` and `average_precision`; None for another number of classes, or if one class has no images.

    >>> two_class_measures(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    {'roc_auc': 1.0, 'average_precision': 1.0}
    """
    if probabilities.shape[1] != 2 or len(np.unique(labels)) < 2:
        return None
    scores = probabilities[:, 1]
    return {
        "roc_auc": float(roc_auc_score(labels, scores)),
        "average_precision": float(average_precision_score(labels, scores)),
    }
