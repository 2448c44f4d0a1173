"""Label shift: the class frequencies of the target differ from those of the source.

Both estimates assume that nothing else differs: the images of a class look alike in both domains. If the
images of a class look different, adapt the network first.
"""

import numpy as np
from scipy.optimize import nnls

from tlkit.errors import DataError

STEPS = 500  # of expectation maximisation, at most
TOLERANCE = 1e-7


def bbse(source: np.ndarray, labels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Estimate the class frequencies of the target by black-box shift estimation.

    Let C_ij be the fraction of the source that is predicted as class i and belongs to class j. If class j is
    w_j times as frequent in the target, then (C w)_i is the fraction of the target that is predicted as
    class i. Solve for w by least squares, with w >= 0.

    Lipton et al. 2018, "Detecting and Correcting for Label Shift with Black Box Predictors".

    Args:
        source: predicted probabilities `(n, classes)` of source examples that were not trained on.
        labels: int `(n,)`, their class indices. Each class needs some.
        target: predicted probabilities `(m, classes)`.

    Returns:
        float64 `(classes,)`, at least 0, sum 1.

    Raises:
        DataError: the shapes do not fit together, a class has no source example, or the target is predicted
            only as classes that are never predicted on the source.

    >>> source = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]])
    >>> target = source[[0, 1, 1, 3]]
    >>> bbse(source, np.array([0, 0, 1, 1]), target).round(2).tolist()
    [0.75, 0.25]
    """
    frequencies = _frequencies(labels, target)
    if source.shape != (len(labels), target.shape[1]):
        raise DataError(
            f"The source has probabilities of shape {source.shape}, {len(labels)} labels, and the target has "
            f"{target.shape[1]} classes. Give one row for each label, and one column for each class."
        )
    classes = target.shape[1]
    predicted = np.bincount(target.argmax(axis=1), minlength=classes) / len(target)
    confusion = np.eye(classes)[source.argmax(axis=1)].T @ np.eye(classes)[labels] / len(labels)
    found = nnls(confusion, predicted)[0] * frequencies
    if not found.any():
        raise DataError(
            "The target is predicted only as classes that are never predicted on the source, so their "
            "frequencies cannot be estimated. Use mlls, or check that both domains have the same classes."
        )
    return found / found.sum()


def mlls(labels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Estimate the class frequencies of the target by maximum likelihood; probabilities must be calibrated.

    Expectation maximisation: multiply the probabilities of the target by the ratio of target to source
    frequencies, and normalise them. Their mean is the next estimate of the target frequencies.

    Saerens et al. 2002, "Adjusting the Outputs of a Classifier to New a Priori Probabilities"; Alexandari et
    al. 2020, "Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift Adaptation".

    Args:
        labels: int `(n,)` class indices of the source examples that the network was trained on.
        target: predicted probabilities `(m, classes)`.

    Returns:
        float64 `(classes,)`, at least 0, sum 1.

    Raises:
        DataError: a class has no source example, or a label is not among the classes.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(np.repeat([-1.0, 1.0], [900, 100]))
    >>> second = 1 / (1 + np.exp(-2 * x))  # its probability if both classes were equally frequent
    >>> mlls(np.array([0, 1]), np.stack([1 - second, second], axis=1)).round(1).tolist()
    [0.9, 0.1]
    """
    source = _frequencies(labels, target)
    found = source.copy()
    for _ in range(STEPS):
        before, found = found, reweighted(target, source, found).mean(axis=0)
        if np.abs(found - before).max() < TOLERANCE:
            break
    return found


def reweighted(probabilities: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return probabilities for a target whose class frequencies differ from those of the source.

    Args:
        probabilities: `(n, classes)`, of a network that was trained on the source.
        source, target: class frequencies `(classes,)`.

    Returns:
        float64 `(n, classes)`, each row with a sum of 1.

    >>> reweighted(np.array([[0.5, 0.5]]), np.array([0.5, 0.5]), np.array([0.9, 0.1])).tolist()
    [[0.9, 0.1]]
    """
    found = np.asarray(probabilities, "float64") * (target / source)
    return found / np.maximum(found.sum(axis=1, keepdims=True), 1e-300)


def _frequencies(labels: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the class frequencies of the source, all above 0."""
    counts = np.bincount(labels, minlength=target.shape[1])
    if len(counts) > target.shape[1] or not counts.all():
        raise DataError(
            f"The source has {counts.tolist()} examples by class, and the target {target.shape[1]} classes. "
            "Give at least one source example of each class."
        )
    return counts / len(labels)
