"""The baselines for every score: cross-validated accuracy of a linear head and of nearest neighbours."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from tlkit.challenges.model_selection.examples import check_examples
from tlkit.errors import DataError
from tlkit.techniques.few_shot import NEIGHBOURS, head


def linear_probe(features: np.ndarray, labels: np.ndarray, *, folds: int = 5, seed: int = 0) -> float:
    """Return the cross-validated accuracy of logistic regression on the features, 0 to 1.

    The features are scaled to length 1, and each fold is predicted by a head trained on the other folds. This
    is the only score that directly estimates what it predicts: the accuracy of feature extraction. The other
    scores are useful if they predict more, or cost less.

    Limitations: it cannot rank backbones that are all near 1, or examples so few that a single one changes
    the value, and it misses changes of the order by fine-tuning. See `tlkit.techniques.few_shot`.

    Alain & Bengio 2016, "Understanding Intermediate Layers Using Linear Classifier Probes".

    Args:
        features: `(n, d)`; n may be below d.
        labels: integers `(n,)`, at least two examples per class: one to train on and one to predict.
        folds: number of folds, at least 2; reduced to the size of the largest class if that is smaller.
        seed: random seed for the folds.

    Raises:
        DataError: the features or labels are invalid, or a class has one example; see `check_examples`.

    >>> labels = np.arange(20) % 2
    >>> linear_probe(np.eye(2)[labels], labels)
    1.0
    """
    return _fold_accuracy(*_held_out("logistic regression", features, labels, folds, seed))


def probe_predictions(
    features: np.ndarray, labels: np.ndarray, *, folds: int = 5, seed: int = 0
) -> tuple[np.ndarray, float]:
    """Return the cross-validated predictions of the linear probe, and its score, the value of `linear_probe`.

    Args:
        features, labels, folds, seed: as for `linear_probe`.

    Returns:
        The predicted labels `(n,)`, each by a head that was trained on other examples; and the accuracy.

    Raises:
        DataError: as for `linear_probe`.
    """
    found = _held_out("logistic regression", features, labels, folds, seed)
    return np.unique(labels)[found[0]], _fold_accuracy(*found)


def knn(features: np.ndarray, labels: np.ndarray, *, folds: int = 5, seed: int = 0) -> float:
    """Return the cross-validated accuracy of the five nearest neighbours by cosine similarity, 0 to 1.

    The score shows whether the features of a class are close together as they are, without any training.

    Limitations: it underrates features in which a few dimensions matter most, because the distance weights
    all dimensions equally. Otherwise see `linear_probe`.

    Cover & Hart 1967, "Nearest Neighbor Pattern Classification".

    Args:
        features: `(n, d)`; n may be below d.
        labels: integers `(n,)`, at least two examples per class.
        folds: number of folds, at least 2; reduced to the size of the largest class if that is smaller.
        seed: random seed for the folds.

    Raises:
        DataError: the features or labels are invalid, or a class has one example; see `check_examples`.

    >>> labels = np.arange(20) % 2
    >>> knn(np.eye(2)[labels], labels)
    1.0
    """
    return _fold_accuracy(*_held_out(NEIGHBOURS, features, labels, folds, seed))


def _held_out(
    name: str, features: np.ndarray, labels: np.ndarray, folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return predicted and true class indices, and the rows of each fold."""
    if folds < 2:
        raise DataError(f"folds={folds} was given; expected 2 or more, such as 5.")
    examples = check_examples(features, labels, min_per_class=2)
    splits = StratifiedKFold(min(folds, int(examples.counts.max())), shuffle=True, random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1):  # small matrices: threads only add overhead
        # a class smaller than the number of folds is absent from some of them, which does no harm
        warnings.filterwarnings("ignore", message="The least populated class")
        warnings.simplefilter("ignore", ConvergenceWarning)
        rows = [held_out for _, held_out in splits.split(examples.features, examples.classes)]
        predicted = cross_val_predict(head(name), examples.features, examples.classes, cv=splits)
    return predicted, examples.classes, rows


def _fold_accuracy(predicted: np.ndarray, classes: np.ndarray, rows: list[np.ndarray]) -> float:
    return float(np.mean([np.mean(predicted[each] == classes[each]) for each in rows]))
