"""The plain scores that the others have to beat: accuracy of a simple head on examples it has not seen."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_val_score
from threadpoolctl import threadpool_limits

from tlkit.challenges.model_selection.given import examples
from tlkit.errors import DataError
from tlkit.techniques.few_shot import NEIGHBOURS, head


def linear_probe(features: np.ndarray, labels: np.ndarray, *, folds: int = 5, seed: int = 0) -> float:
    """Return the cross-validated accuracy of a logistic regression on the features, a share from 0 to 1.

    Each fifth of the examples is named by a head that was trained on the others; features are scaled to
    length 1 first. The only score here that nearly is what it predicts: the accuracy of feature extraction.
    The others are judged by whether they tell more, or cost less.

    It fails to rank where all backbones are near 1, where examples are so few that a single one moves it, and
    where fine-tuning changes the order. See `tlkit.techniques.few_shot`.

    Alain & Bengio 2016, "Understanding Intermediate Layers Using Linear Classifier Probes".

    Args:
        features: `(n, d)`; n may be below d.
        labels: integers `(n,)`, at least two examples a class, to learn from one and ask for the other.
        folds: parts, at least 2; fewer where no class has as many examples.
        seed: of the parts.

    Raises:
        DataError: features or labels that no score can use, or a class with one example; see `examples`.

    >>> labels = np.arange(20) % 2
    >>> linear_probe(np.eye(2)[labels], labels)
    1.0
    """
    return _held_out_accuracy("logistic regression", features, labels, folds, seed)


def knn(features: np.ndarray, labels: np.ndarray, *, folds: int = 5, seed: int = 0) -> float:
    """Return the cross-validated accuracy of the five nearest neighbours by angle, a share from 0 to 1.

    Asks whether features of one class are together as they are, without any training. It fails where some
    dimensions matter more than others, which neighbours do not learn. See `linear_probe` for the rest.

    Cover & Hart 1967, "Nearest Neighbor Pattern Classification".

    Args:
        features: `(n, d)`; n may be below d.
        labels: integers `(n,)`, at least two examples a class.
        folds: parts, at least 2; fewer where no class has as many examples.
        seed: of the parts.

    Raises:
        DataError: features or labels that no score can use, or a class with one example; see `examples`.

    >>> labels = np.arange(20) % 2
    >>> knn(np.eye(2)[labels], labels)
    1.0
    """
    return _held_out_accuracy(NEIGHBOURS, features, labels, folds, seed)


def _held_out_accuracy(name: str, features: np.ndarray, labels: np.ndarray, folds: int, seed: int) -> float:
    if folds < 2:
        raise DataError(f"folds={folds} was given; expected 2 or more parts.")
    given = examples(features, labels, least=2)
    parts = StratifiedKFold(min(folds, int(given.counts.max())), shuffle=True, random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1):  # the products are small: threads would only wait
        # a class smaller than the number of parts is missing in some of them, which is no harm
        warnings.filterwarnings("ignore", message="The least populated class")
        warnings.simplefilter("ignore", ConvergenceWarning)
        correct = cross_val_score(head(name), given.features, given.classes, cv=parts)
    return float(correct.mean())
