"""Predict the class of every image with classifiers that were not trained on it."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from tlkit._internal.intervals import wilson
from tlkit.data.decode import ordered_map

FOLDS = 5
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1)  # candidates of C, the inverse of the regularisation


@dataclass(frozen=True)
class Predictions:
    """Out-of-sample predictions of a logistic regression, for the images that could be predicted.

    Attributes:
        rows: int `(m,)`, which images; those of classes that are too small are missing.
        classes: int `(k,)`, the class index of each column of the probabilities.
        labels: int `(m,)`, the column of each image's label.
        probabilities: `(m, k)`, out of sample.
        strength: the chosen inverse regularisation strength C.
    """

    rows: np.ndarray
    classes: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    strength: float

    @property
    def predicted(self) -> np.ndarray:
        """The most probable column of each image, int `(m,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Whether the prediction agrees with the label, bool `(m,)`."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """The fraction of predictions that agree with the label."""
        return float(self.right.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy."""
        return wilson(int(self.right.sum()), len(self.right))

    @property
    def chance(self) -> float:
        """The accuracy of always predicting the largest class."""
        return float(np.bincount(self.labels).max() / len(self.labels))

    @property
    def informative(self) -> bool:
        """Whether the interval of the accuracy is wholly above chance."""
        return self.interval[0] > self.chance


def cross_validate(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, seed: int = 0, progress: bool = False
) -> Predictions | None:
    """Predict the class of each image by a logistic regression that is trained on other images.

    The images are divided into five folds with about equal class frequencies. For each fold, a logistic
    regression is trained on the standardised features of the other four. All images of a group, such as
    copies, are in the same fold, so no regression is trained on a copy of an image that it predicts. Among
    the candidates for the regularisation strength, the one with the lowest log loss of these predictions is
    used. There are only a few candidates, so the choice hardly overfits the labels.

    Args:
        features: float32 `(n, d)`.
        labels: int `(n,)` class indices. Classes with fewer than five groups are left out.
        groups: int `(n,)`, equal for images that show the same.
        seed: of the folds.
        progress: show a progress bar.

    Returns:
        The predictions; None if fewer than two classes have five groups.

    >>> labels = np.arange(40) % 2
    >>> cross_validate(np.eye(2, dtype="float32")[labels], labels, np.arange(40)).accuracy
    1.0
    """
    large = [label for label in np.unique(labels) if len(np.unique(groups[labels == label])) >= FOLDS]
    rows = np.flatnonzero(np.isin(labels, large))
    if len(large) < 2:
        return None
    x, y = np.asarray(features[rows], "float32"), np.searchsorted(large, labels[rows])
    folds = list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(x, y, groups[rows]))

    def predict(job: tuple[float, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        strength, (train, held_out) = job
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-3, max_iter=500))
        found = np.zeros((len(held_out), len(large)), "float32")
        found[:, np.unique(y[train])] = model.fit(x[train], y[train]).predict_proba(x[held_out])
        return found

    order = np.argsort(np.concatenate([held_out for _, held_out in folds]))
    jobs = [(strength, fold) for strength in STRENGTHS for fold in folds]
    with warnings.catch_warnings(), threadpool_limits(1):  # one fit per core; threads would only wait
        warnings.simplefilter("ignore", ConvergenceWarning)
        bar = tqdm(ordered_map(predict, jobs), "cross-validation", len(jobs), disable=not progress)
        found = list(bar)
    chosen = {
        strength: np.concatenate(found[place * FOLDS : (place + 1) * FOLDS])[order]
        for place, strength in enumerate(STRENGTHS)
    }
    best = min(STRENGTHS, key=lambda strength: log_loss(chosen[strength], y))
    return Predictions(rows, np.asarray(large), y, chosen[best], best)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log probability of the labels.

    >>> round(log_loss(np.array([[0.5, 0.5]]), np.array([1])), 3)
    0.693
    """
    given = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(given, np.finfo("float32").tiny)).mean())
