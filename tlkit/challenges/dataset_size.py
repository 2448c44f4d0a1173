"""Dataset size: accuracy as a function of the number of labels, and how many labels a target accuracy needs.

>>> labels = [10, 10, 20, 20, 40, 40, 80, 80]  # two seeds per size
>>> law = fit_power_law(labels, [0.40, 0.42, 0.55, 0.54, 0.66, 0.67, 0.75, 0.74])
>>> bool(law.accuracy(160) > 0.78), law.needed(0.9).labels > 300
(True, True)
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit

from tlkit._internal.seeds import check_seed
from tlkit.data import Split
from tlkit.errors import DataError, TlkitError, TlkitWarning

REFITS = 200  # refits to simulated measurements; their scatter is the uncertainty
MAX_EXPONENT = 2.0  # measured learning curves have exponents between 0.1 and 1
MIN_SPREAD = 1e-3  # of an accuracy; a smaller spread only reflects the finite number of test images
MAX_LABELS = 1e9  # a forecast beyond this number is reported as infinite


@dataclass(frozen=True)
class Needed:
    """The number of labels that an accuracy needs, with its 95 % interval from `low` to `high`.

    A value is infinite where the curve levels off below that accuracy.
    """

    labels: float
    low: float
    high: float


@dataclass(frozen=True)
class PowerLaw:
    """A learning curve: accuracy(n) = 1 - (limit + scale n^-exponent) for n labels.

    Attributes:
        scale: reducible error at one label, above 0.
        exponent: rate at which labels reduce this error; doubling n multiplies it by 2^-exponent.
        limit: error that remains with any number of labels, 0 to 1.
        draws: float `(200, 3)`: scale, exponent and limit refitted to 200 simulated measurements, or to as
            many resampled curves as `fit_resampled` was given.
    """

    scale: float
    exponent: float
    limit: float
    draws: np.ndarray

    def accuracy(self, labels: Any) -> Any:
        """Return the predicted accuracy, 0 to 1, for one number of labels or an array of them."""
        return np.clip(1.0 - _error(np.asarray(labels, float), self.scale, self.exponent, self.limit), 0, 1)

    def interval(self, labels: Any, confidence: float = 0.95) -> tuple[Any, Any]:
        """Return the interval (low, high) of the mean accuracy over many training runs, each end 0 to 1.

        The interval assumes that the curve is a power law; it does not cover a later bend of the curve. It
        becomes less reliable further beyond the largest measured size. See `forecast_check`.

        Args:
            labels: one number of labels, or an array of them.
            confidence: probability that the interval should cover, between 0 and 1.
        """
        at = np.atleast_1d(np.asarray(labels, float))
        found = np.clip(1.0 - np.stack([_error(at, *draw) for draw in self.draws]), 0, 1)
        low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
        return (low, high) if np.ndim(labels) else (float(low[0]), float(high[0]))

    def needed(self, accuracy: float) -> Needed:
        """Return how many labels this accuracy needs.

        Args:
            accuracy: target accuracy, between 0 and 1.

        Raises:
            TlkitError: the accuracy is not between 0 and 1.
        """
        if not 0 < accuracy < 1:
            raise TlkitError(
                f"accuracy={accuracy} was given; expected a fraction between 0 and 1, such as 0.9."
            )
        found = [_inverse(1 - accuracy, *draw) for draw in self.draws]
        low, high = np.quantile(found, [0.025, 0.975], method="nearest")
        return Needed(_inverse(1 - accuracy, self.scale, self.exponent, self.limit), float(low), float(high))


def fit_power_law(labels: Sequence[float], accuracies: Sequence[float], *, seed: int = 0) -> PowerLaw:
    """Fit a power law with an error floor to a learning curve, and estimate its uncertainty.

    The fit is weighted least squares: each size has the weight of the precision of its mean accuracy. The
    variance over seeds is itself modelled as a power of the size. For the uncertainty, noise from Student's t
    distribution is added to the fitted means, and the curve is refitted 200 times.

    Cortes et al. 1994, "Learning Curves: Asymptotic Values and Rate of Convergence"; Viering & Loog 2022,
    "The Shape of Learning Curves: a Review"; Mahmood et al. 2022, "How Much More Data Do I Need?".

    Args:
        labels: number of labels of each measurement, above 0; repeat a size for several seeds.
        accuracies: accuracy of each measurement on held-out images, 0 to 1.
        seed: random seed for the simulated noise.

    Raises:
        DataError: there are fewer than four sizes, the lengths differ, or values are out of range.
    """
    n, error = np.asarray(labels, float), 1.0 - np.asarray(accuracies, float)
    if n.shape != error.shape or n.ndim != 1:
        raise DataError(
            f"Labels of shape {n.shape} and accuracies of shape {error.shape} were given; expected one "
            "number of labels and one accuracy per training run."
        )
    if not (np.all(n > 0) and np.all((error >= 0) & (error <= 1))):
        raise DataError(
            "Some values are NaN or out of range; expected numbers of labels above 0 and accuracies from 0 "
            "to 1. Remove those values, or divide percentages by 100."
        )
    sizes = np.unique(n)
    if len(sizes) < 4:
        raise DataError(
            f"{len(sizes)} sizes were given; a curve with three parameters needs at least 4, such as "
            "5, 10, 20 and 40 labels per class."
        )
    means = np.array([error[n == size].mean() for size in sizes])
    spread, freedom = _spread_of_means(n, error)
    if spread is None:
        warnings.warn(
            "With one seed per size the spread is unknown; it is estimated from the residuals of the fit. "
            "Run at least three seeds.",
            TlkitWarning,
            stacklevel=2,
        )
        residuals = means - _error(sizes, *_fitted(sizes, means, np.ones(len(sizes))))
        spread = np.full(len(sizes), np.sqrt(np.square(residuals).sum() / freedom) + MIN_SPREAD)
    fitted = _fitted(sizes, means, spread)
    curve = _error(sizes, *fitted)
    noise = spread * np.random.default_rng(seed).standard_t(freedom, (REFITS, len(sizes)))
    draws = np.stack([_fitted(sizes, np.clip(curve + each, 0, 1), spread, fitted) for each in noise])
    scale, exponent, limit = fitted.tolist()
    return PowerLaw(scale, exponent, limit, draws)


def fit_resampled(labels: Sequence[float], accuracies: np.ndarray) -> PowerLaw:
    """Fit a power law to a learning curve, and again to resampled copies of it, for the uncertainty.

    The intervals cover what was resampled, such as seeds and test images. Those of `fit_power_law` cover
    seeds only. The fit is generalised least squares, with the covariances of the resampled curves.

    Efron & Tibshirani 1993, "An Introduction to the Bootstrap".

    Args:
        labels: numbers of labels, `(sizes,)`, above 0 and ascending.
        accuracies: `(1 + resamples, sizes)`, each 0 to 1; row 0 is the measured curve.

    Returns:
        The law of row 0; its `draws`, `(resamples, 3)`, are the laws of the other rows.

    Raises:
        DataError: there are fewer than four sizes or two resamples, or shapes or values are wrong.

    >>> labels = np.array([10, 20, 40, 80])
    >>> curve = 1 - 0.1 - 2 * labels**-0.5
    >>> law = fit_resampled(labels, curve + np.linspace(0, 0.01, 5)[:, None])
    >>> round(law.exponent, 2), law.draws.shape
    (0.5, (4, 3))
    """
    n, error = np.asarray(labels, float), 1.0 - np.asarray(accuracies, float)
    if n.ndim != 1 or len(n) < 4 or error.ndim != 2 or error.shape[1:] != n.shape or len(error) < 3:
        raise DataError(
            f"Labels of shape {n.shape} and accuracies of shape {error.shape} were given; expected (sizes,) "
            "and (1 + resamples, sizes), with at least 4 sizes and 2 resamples."
        )
    if not (np.all(n[0] > 0) and np.all(np.diff(n) > 0) and np.all((error >= 0) & (error <= 1))):
        raise DataError("Expected ascending numbers of labels above 0, and accuracies from 0 to 1.")
    # sizes that share test images or labels have correlated errors, so the fit needs their covariances
    covariance = np.cov(error[1:], rowvar=False) + MIN_SPREAD**2 * np.eye(len(n))
    fitted = _fitted(n, error[0], covariance)
    draws = np.stack([_fitted(n, each, covariance, fitted) for each in error[1:]])
    scale, exponent, limit = fitted.tolist()
    return PowerLaw(scale, exponent, limit, draws)


def forecast_check(
    labels: Sequence[float], accuracies: Sequence[float], *, held_out: int = 2, seed: int = 0
) -> pd.DataFrame:
    """Test the forecast: fit the smaller sizes, and compare its predictions with the largest measured sizes.

    Args:
        labels, accuracies: as for `fit_power_law`.
        held_out: how many of the largest sizes to withhold from the fit.
        seed: as for `fit_power_law`.

    Returns:
        One row per held-out size: `labels`, `measured` (mean accuracy), `forecast`, its 95 % interval from
        `low` to `high`, and `error`, the forecast minus the measured accuracy.

    Raises:
        DataError: fewer than four sizes are left for the fit.
    """
    n, accuracy = np.asarray(labels, float), np.asarray(accuracies, float)
    sizes = np.unique(n)
    fitted = n < sizes[-held_out] if 0 < held_out < len(sizes) else np.zeros(len(n), bool)
    if len(np.unique(n[fitted])) < 4:
        raise DataError(
            f"{len(sizes)} sizes with {held_out} held out were given; expected at least 1 held out and "
            "4 left to fit. Measure more sizes."
        )
    law = fit_power_law(n[fitted], accuracy[fitted], seed=seed)
    rows = []
    for size in sizes[-held_out:]:
        measured, forecast = accuracy[n == size].mean(), float(law.accuracy(size))
        low, high = law.interval(size)
        rows.append((size, measured, forecast, low, high, forecast - measured))
    return pd.DataFrame(rows, columns=["labels", "measured", "forecast", "low", "high", "error"])


def nested_subsets(split: Split, sizes: Sequence[int], *, seed: int = 0) -> dict[int, Split]:
    """Return a subset of each size; each one keeps the class proportions and contains all smaller ones.

    Compare dataset sizes on nested subsets. Independent subsets would add new sampling noise at every size.

    Args:
        split: labelled images.
        sizes: numbers of images, from the number of classes to all images.
        seed: random seed for the random choice.

    Raises:
        DataError: a size is below the number of classes, or above the number of images.
        NoLabelsError: the split is unlabelled.

    >>> split = Split(np.zeros((12, 8, 8, 3), "uint8"), [0] * 8 + [1] * 4)
    >>> [np.bincount(each.labels).tolist() for each in nested_subsets(split, [3, 6, 12]).values()]
    [[2, 1], [4, 2], [8, 4]]
    """
    chosen = nested_indices(split.labels, sizes, seed=seed)
    return {size: split.subset(indices) for size, indices in chosen.items()}


def nested_indices(labels: np.ndarray, sizes: Sequence[int], *, seed: int = 0) -> dict[int, np.ndarray]:
    """Return the indices of `nested_subsets`, by size: int `(size,)` in ascending order.

    Args:
        labels: `(n,)`, of any type.
        sizes, seed: as for `nested_subsets`.

    Raises:
        DataError: a size is below the number of classes, or above the number of labels.

    >>> {size: chosen.size for size, chosen in nested_indices(np.array([0, 1, 0, 1]), [2, 4]).items()}
    {2: 2, 4: 4}
    """
    classes, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    for size in sizes:
        if not len(classes) <= size <= len(class_of):
            raise DataError(
                f"{size} of {len(class_of)} images in {len(classes)} classes were requested; expected a "
                f"number from {len(classes)} to {len(class_of)}."
            )
    order = np.random.default_rng(check_seed(seed)).permutation(len(class_of))
    rank = np.zeros(len(class_of))
    for index in range(len(classes)):
        members = order[class_of[order] == index]
        # evenly spaced ranks within each class give every prefix of the ranking the overall proportions
        rank[members] = (np.arange(len(members)) + 0.5) / counts[index]
        rank[members[0]] = 0.0  # every class is represented from the start
    ranked = order[np.argsort(rank[order], kind="stable")]
    return {int(size): np.sort(ranked[:size]) for size in sizes}


def _error(n: Any, scale: float, exponent: float, limit: float) -> Any:
    return limit + scale * n**-exponent


def _spread_of_means(n: np.ndarray, error: np.ndarray) -> tuple[np.ndarray | None, int]:
    """Return the standard error of the mean at each size, None for one seed, and the degrees of freedom.

    The variance over seeds is modelled as a power of the size. Three seeds can agree by chance; without the
    model their size would dominate the fit.
    """
    sizes, counts = np.unique(n, return_counts=True)
    several = counts > 1
    if several.sum() < 2:
        return None, max(1, len(sizes) - 3)
    measured = np.array([error[n == size].var(ddof=1) for size in sizes[several]]) + MIN_SPREAD**2
    power = np.polyfit(np.log(sizes[several]), np.log(measured), 1)
    smooth = np.exp(np.polyval(power, np.log(sizes)))
    smooth *= np.average(measured / smooth[several], weights=counts[several] - 1)
    return np.sqrt(smooth / counts), int(np.sum(counts[several] - 1))


def _inverse(error: float, scale: float, exponent: float, limit: float) -> float:
    if error <= limit or scale <= 0 or exponent <= 0:
        return float("inf")
    labels = float(np.exp(np.clip(np.log(scale / (error - limit)) / exponent, -50, 50)))
    return labels if labels < MAX_LABELS else float("inf")


def _fitted(sizes: np.ndarray, means: np.ndarray, spread: np.ndarray, start: Any = None) -> np.ndarray:
    """Return scale, exponent and limit by weighted least squares within their bounds.

    The spread is a standard error per size, `(sizes,)`, or a covariance matrix, `(sizes, sizes)`.
    """
    lowest = max(float(means.min()), 1e-6)
    max_scale = 1e3
    if start is None:
        start = (max(means[0] * sizes[0] ** 0.5, 1e-3), 0.5, 0.5 * lowest)
    bounds = ([0.0, 1e-3, 0.0], [max_scale, MAX_EXPONENT, lowest])
    start = np.clip(start, np.add(bounds[0], 1e-9), np.subtract(bounds[1], 1e-9))
    found, _ = curve_fit(_error, sizes, means, p0=start, sigma=spread, bounds=bounds, max_nfev=5000)
    return found
