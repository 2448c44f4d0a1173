"""Calibration: whether predictions with a confidence of 80 % are correct in 80 % of cases."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import binned_statistic

from tlkit.errors import DataError, TlkitError

TINY = 1e-12


def reliability_table(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """Return the accuracy of the predictions by their confidence: one row per bin that has examples.

    The prediction for an example is its most probable class, and the confidence is the probability of that
    class.

    Args:
        probabilities: `(n, k)`, rows that sum to 1, for images that were not used for training.
        labels: int `(n,)` class indices.
        bins: number of bins of equal width from 0 to 1, at least 1.

    Returns:
        The columns `low` and `high` (edges of the bin, which includes its lower edge), `count`, and the means
        `confidence` and `accuracy`, 0 to 1.

    Raises:
        DataError: shapes or values are invalid.
        TlkitError: `bins` is below 1.

    >>> reliability_table(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]), bins=2)["accuracy"].tolist()
    [0.5]
    """
    probabilities, labels = _checked(probabilities, labels)
    if bins < 1:
        raise TlkitError(f"bins={bins} was given; expected at least 1, such as 15.")
    confidence = probabilities.max(axis=1)
    correct = (probabilities.argmax(axis=1) == labels).astype(float)
    edges = np.linspace(0, 1, bins + 1)
    of_bin = {"statistic": "mean", "bins": edges}
    means = binned_statistic(np.minimum(confidence, 1.0), [confidence, correct], **of_bin).statistic
    table = pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "count": np.histogram(np.minimum(confidence, 1.0), edges)[0],
            "confidence": means[0],
            "accuracy": means[1],
        }
    )
    return table[table["count"] > 0].reset_index(drop=True)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error (ECE), the mean gap between confidence and accuracy, 0 to 1.

    ECE is `sum_b n_b / n |accuracy_b - confidence_b|` over the bins of `reliability_table`. 0 means perfect
    calibration; a classifier that is always certain and correct half the time has 0.5. ECE is too high on
    small samples, because the accuracy of each bin is then mostly noise.

    Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"; Guo et al. 2017,
    "On Calibration of Modern Neural Networks".

    Args:
        probabilities: `(n, k)`, rows that sum to 1, for images that were not used for training.
        labels: int `(n,)` class indices.
        bins: number of bins of equal width from 0 to 1, at least 1.

    Raises:
        DataError: shapes or values are invalid.
        TlkitError: `bins` is below 1.

    >>> expected_calibration_error(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    0.5
    """
    table = reliability_table(probabilities, labels, bins)
    gaps = np.abs(table["accuracy"] - table["confidence"])
    return float(np.average(gaps, weights=table["count"]))


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature T that maximises the likelihood of held-out labels; above 1 means overconfident.

    `tempered(probabilities, T)` divides the logits by T. This changes the confidence but not the predicted
    class.

    Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        probabilities: `(n, k)` of validation images, rows that sum to 1.
        labels: int `(n,)` class indices.

    Returns:
        T, from 1/50 to 50.

    Raises:
        DataError: shapes or values are invalid.

    >>> overconfident = np.tile([[0.99, 0.01]], (4, 1))
    >>> T = temperature(overconfident, np.array([0, 0, 0, 1]))
    >>> np.round(tempered(overconfident, T)[0], 2).tolist()
    [0.75, 0.25]
    """
    probabilities, labels = _checked(probabilities, labels)
    logits, rows = np.log(np.maximum(probabilities, TINY)), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-np.log(50), np.log(50)), method="bounded").x))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Apply a temperature T to probabilities: `softmax(log p / T)`; T above 1 lowers the confidence.

    Args:
        probabilities: `(n, k)`, rows that sum to 1.
        temperature: T, above 0.

    Returns:
        `(n, k)`, rows that sum to 1.

    Raises:
        TlkitError: the temperature is not above 0.

    >>> tempered(np.array([[0.8, 0.2]]), 1.0).round(3).tolist()
    [[0.8, 0.2]]
    """
    if temperature <= 0:
        raise TlkitError(f"temperature={temperature} was given; expected a number above 0, such as 1.5.")
    return softmax(np.log(np.maximum(probabilities, TINY)) / temperature, axis=1)


def _checked(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = np.asarray(probabilities, "float64"), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise DataError(
            f"Probabilities of shape {probabilities.shape} and labels of shape {labels.shape} were given; "
            "expected (n, classes) and (n,), n at least 1: model.predict(images) and split.labels."
        )
    sums = probabilities.sum(axis=1)
    if not np.allclose(sums, 1, atol=1e-2) or probabilities.min() < 0:
        raise DataError(
            f"The rows sum to {sums.min():.3g} to {sums.max():.3g}, and the smallest value is "
            f"{probabilities.min():.3g}; expected probabilities. Convert logits with a softmax: "
            "scipy.special.softmax(logits, axis=1)."
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise DataError(
            f"Labels {labels.min()} to {labels.max()} of dtype {labels.dtype} were given for "
            f"{probabilities.shape[1]} classes; expected integers from 0 to {probabilities.shape[1] - 1}."
        )
    return probabilities, labels
