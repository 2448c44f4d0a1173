"""Calibration: of the answers given with 80 % confidence, are 80 % right?"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import binned_statistic

from tlkit.errors import DataError, TlkitError

TINY = 1e-12


def reliability_table(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """Return by confidence how many answers are right: a row for each bin that has examples.

    An example's confidence is its largest probability, its answer the class that has it. Columns: `low` and
    `high` (the bin, which holds its lower edge), `count`, and the means `confidence` and `accuracy`.

    Args:
        probabilities: `(n, k)`, rows of sum 1; of images that took no part in training.
        labels: int `(n,)` class indices.
        bins: of equal width from 0 to 1.

    Raises:
        DataError: shapes or values do not fit.

    >>> reliability_table(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]), bins=2)["accuracy"].tolist()
    [0.5]
    """
    probabilities, labels = _checked(probabilities, labels)
    if bins < 1:
        raise TlkitError(f"bins={bins} was given; expected at least 1, such as 15.")
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    edges = np.linspace(0, 1, bins + 1)
    of_bin = {"statistic": "mean", "bins": edges}
    means = binned_statistic(np.minimum(confidence, 1.0), [confidence, right], **of_bin).statistic
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
    """Return the expected calibration error (ECE), 0 to 1: how far confidence is from accuracy on average.

    `sum_b n_b / n |accuracy_b - confidence_b|` over the bins of `reliability_table`. 0 is perfect; always
    sure and right half of the time is 0.5. Small samples make it too large, since each bin's accuracy is
    then mostly chance.

    Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"; Guo et al. 2017,
    "On Calibration of Modern Neural Networks".

    Args:
        probabilities: `(n, k)`, rows of sum 1; of images that took no part in training.
        labels: int `(n,)` class indices.
        bins: of equal width.

    Raises:
        DataError: shapes or values do not fit.

    >>> expected_calibration_error(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    0.5
    """
    table = reliability_table(probabilities, labels, bins)
    gaps = np.abs(table["accuracy"] - table["confidence"])
    return float(np.average(gaps, weights=table["count"]))


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature T above 0 under which held-out labels are likeliest; above 1 says too sure.

    `tempered(probabilities, T)` is then calibrated; no answer changes, only its confidence.

    Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Args:
        probabilities: `(n, k)` of validation images.
        labels: int `(n,)` class indices.

    Returns:
        T, from 1/50 to 50.

    Raises:
        DataError: shapes or values do not fit.

    >>> sure = np.tile([[0.99, 0.01]], (4, 1))
    >>> T = temperature(sure, np.array([0, 0, 0, 1]))
    >>> np.round(tempered(sure, T)[0], 2).tolist()
    [0.75, 0.25]
    """
    probabilities, labels = _checked(probabilities, labels)
    logits, rows = np.log(np.maximum(probabilities, TINY)), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-np.log(50), np.log(50)), method="bounded").x))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return `softmax(log p / T)`: less sure above a temperature of 1, more sure below.

    Args:
        probabilities: `(n, k)`.
        temperature: T, above 0.

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
            f"Rows were given that sum to {sums.min():.3g} to {sums.max():.3g}, with values from "
            f"{probabilities.min():.3g}; expected probabilities. Of logits take "
            "scipy.special.softmax(logits, axis=1)."
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise DataError(
            f"Labels {labels.min()} to {labels.max()} of dtype {labels.dtype} were given for "
            f"{probabilities.shape[1]} classes; expected integers from 0 to {probabilities.shape[1] - 1}."
        )
    return probabilities, labels
