"""Intervals: how far what was measured may be from what is true."""

import numpy as np
from scipy.stats import binomtest, bootstrap, ttest_1samp

MANY = 10  # values from which the bootstrap is trusted


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of the mean of independent values, such as differences over seeds.

    Below 10 values it is Student's, which supposes that they are about normal; from 10 on it is the
    bootstrap's (BCa), which supposes nothing. Of five values the bootstrap is too narrow: its 95 % intervals
    hold the mean of normal values in 86 % of cases. With one value the spread is unknown: (NaN, NaN).

    Efron & Tibshirani 1993, "An Introduction to the Bootstrap".

    Args:
        values: `(n,)`.
        confidence: above 0 and below 1.

    >>> low, high = mean_interval(np.array([0.1, 0.2, 0.3]))
    >>> round(low, 3), round(high, 3)
    (-0.048, 0.448)
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return float("nan"), float("nan")
    if np.ptp(values) < 1e-12:
        return float(values.mean()), float(values.mean())
    if len(values) < MANY:
        found = ttest_1samp(values, 0.0).confidence_interval(confidence)
    else:
        found = bootstrap((values,), np.mean, confidence_level=confidence, rng=0).confidence_interval
    return float(found.low), float(found.high)


def wilson(right: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    low, high = binomtest(right, of).proportion_ci(confidence_level=0.95, method="wilson")
    return float(low), float(high)
