"""Dataset size: accuracy against the number of labels, and how many more would be needed.

>>> labels = [10, 10, 20, 20, 40, 40, 80, 80]  # two seeds each
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

from tlkit.data import Split
from tlkit.errors import DataError, TlkitError, TlkitWarning

DRAWS = 200  # refits that carry the uncertainty
STEEPEST = 2.0  # exponent; measured learning curves lie between 0.1 and 1
LEAST_SPREAD = 1e-3  # of an accuracy: below that it is the number of test images that is seen
FURTHEST = 1e9  # labels beyond which no forecast is made


@dataclass(frozen=True)
class Needed:
    """How many labels an accuracy takes: `labels`, and the 95 % interval from `low` to `high`.

    Infinite where the curve levels off below that accuracy.
    """

    labels: float
    low: float
    high: float


@dataclass(frozen=True)
class PowerLaw:
    """A learning curve: accuracy(n) = 1 - (limit + scale n^-exponent) for n labels.

    Attributes:
        scale: error that labels can remove, at one label; above 0.
        exponent: how fast they remove it; twice the labels leave 2^-exponent of it.
        limit: error that no number of labels removes, 0 to 1.
        draws: `(200, 3)`, the same three fitted to as many plausible repetitions of the measurement.
    """

    scale: float
    exponent: float
    limit: float
    draws: np.ndarray

    def accuracy(self, labels: Any) -> Any:
        """Return the forecast for a number of labels, or an array of them, 0 to 1."""
        return 1.0 - _error(np.asarray(labels, float), self.scale, self.exponent, self.limit)

    def interval(self, labels: Any, confidence: float = 0.95) -> tuple[Any, Any]:
        """Return where the mean accuracy over many trainings would lie, as (low, high).

        It supposes that the curve is a power law, and knows nothing of a bend that comes later: the further
        beyond the largest size that was measured, the less it is worth. See `forecast_check`.
        """
        at = np.atleast_1d(np.asarray(labels, float))
        found = 1.0 - np.stack([_error(at, *draw) for draw in self.draws])
        low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
        return (low, high) if np.ndim(labels) else (float(low[0]), float(high[0]))

    def needed(self, accuracy: float) -> Needed:
        """Return how many labels would reach this accuracy.

        Raises:
            TlkitError: the accuracy is not between 0 and 1.
        """
        if not 0 < accuracy < 1:
            raise TlkitError(
                f"accuracy={accuracy} was asked for; expected a share between 0 and 1, such as 0.9."
            )
        found = [_inverse(1 - accuracy, *draw) for draw in self.draws]
        low, high = np.quantile(found, [0.025, 0.975], method="nearest")
        return Needed(_inverse(1 - accuracy, self.scale, self.exponent, self.limit), float(low), float(high))


def fit_power_law(labels: Sequence[float], accuracies: Sequence[float], *, seed: int = 0) -> PowerLaw:
    """Fit a power law with a limit to a learning curve, with its uncertainty.

    Each size counts by the precision of its mean, in which the variance over seeds is taken for a power of
    the size too. For the uncertainty the means are drawn anew around the fitted curve, from Student's
    distribution, and fitted again.

    Cortes et al. 1994, "Learning Curves: Asymptotic Values and Rate of Convergence"; Viering & Loog 2022,
    "The Shape of Learning Curves: a Review"; Mahmood et al. 2022, "How Much More Data Do I Need?".

    Args:
        labels: number of labels of each measurement, above 0; several seeds are several entries.
        accuracies: measured on held-out images, 0 to 1.
        seed: of the drawing.

    Raises:
        DataError: fewer than four sizes, lengths that differ, or values out of range.
    """
    n, error = np.asarray(labels, float), 1.0 - np.asarray(accuracies, float)
    if n.shape != error.shape or n.ndim != 1:
        raise DataError(
            f"Labels of shape {n.shape} and accuracies of shape {error.shape} were given; expected one of "
            "each for every training."
        )
    if not (np.all(n > 0) and np.all((error >= 0) & (error <= 1))):
        raise DataError(
            "Numbers of labels must be above 0 and accuracies from 0 to 1; some are not, or are NaN. Leave "
            "them out, or give shares instead of percent."
        )
    sizes = np.unique(n)
    if len(sizes) < 4:
        raise DataError(
            f"{len(sizes)} sizes were given; a curve with three unknowns needs at least 4, such as "
            "5, 10, 20 and 40 labels a class."
        )
    means = np.array([error[n == size].mean() for size in sizes])
    spread, freedom = _spread_of_means(n, error)
    if spread is None:
        warnings.warn(
            "With one seed a size the spread is unknown; it is guessed from the distance to the curve. "
            "Run at least three seeds.",
            TlkitWarning,
            stacklevel=2,
        )
        rest = means - _error(sizes, *_fitted(sizes, means, np.ones(len(sizes))))
        spread = np.full(len(sizes), np.sqrt(np.square(rest).sum() / freedom) + LEAST_SPREAD)
    fitted = _fitted(sizes, means, spread)
    curve = _error(sizes, *fitted)
    noise = spread * np.random.default_rng(seed).standard_t(freedom, (DRAWS, len(sizes)))
    draws = np.stack([_fitted(sizes, np.clip(curve + each, 0, 1), spread, fitted) for each in noise])
    scale, exponent, limit = fitted.tolist()
    return PowerLaw(scale, exponent, limit, draws)


def forecast_check(
    labels: Sequence[float], accuracies: Sequence[float], *, held_out: int = 2, seed: int = 0
) -> pd.DataFrame:
    """Forecast the largest sizes from the smaller ones, where the truth is known.

    Args:
        labels, accuracies: as for `fit_power_law`.
        held_out: how many of the largest sizes the fit does not see.

    Returns:
        One row for each held-out size: `labels`, `measured` (mean), `forecast`, `low`, `high` and `error`,
        the forecast minus the measured accuracy.

    Raises:
        DataError: fewer than four sizes are left.
    """
    n, found = np.asarray(labels, float), np.asarray(accuracies, float)
    sizes = np.unique(n)
    seen = n < sizes[-held_out] if 0 < held_out < len(sizes) else np.zeros(len(n), bool)
    if len(np.unique(n[seen])) < 4:
        raise DataError(
            f"{len(sizes)} sizes with {held_out} held out were given; expected at least 1 held out and "
            "4 left to fit. Measure more sizes."
        )
    law = fit_power_law(n[seen], found[seen], seed=seed)
    rows = []
    for size in sizes[-held_out:]:
        measured, forecast = found[n == size].mean(), float(law.accuracy(size))
        low, high = law.interval(size)
        rows.append((size, measured, forecast, low, high, forecast - measured))
    return pd.DataFrame(rows, columns=["labels", "measured", "forecast", "low", "high", "error"])


def nested_subsets(split: Split, sizes: Sequence[int], *, seed: int = 0) -> dict[int, Split]:
    """Return subsets with the classes in the shares of the whole, in which a smaller one lies in a larger.

    Compare sizes on nested subsets: otherwise the luck of the draw is added to each size anew.

    Args:
        split: labelled images.
        sizes: numbers of images, from the number of classes to all.
        seed: of the choice.

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
    """Return the indices `(size,)`, rising, of `nested_subsets` by size, for labels `(n,)` of any kind.

    >>> {size: chosen.size for size, chosen in nested_indices(np.array([0, 1, 0, 1]), [2, 4]).items()}
    {2: 2, 4: 4}
    """
    classes, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    for size in sizes:
        if not len(classes) <= size <= len(places):
            raise DataError(
                f"{size} of {len(places)} images in {len(classes)} classes were asked for; expected a number "
                f"from {len(classes)} to {len(places)}."
            )
    order = np.random.default_rng(seed).permutation(len(places))
    rank = np.zeros(len(places))
    for place in range(len(classes)):
        members = order[places[order] == place]
        # the k-th of a class of m stands at (k + 1/2) / m of the way: every beginning has the whole's shares
        rank[members] = (np.arange(len(members)) + 0.5) / counts[place]
        rank[members[0]] = 0.0  # one of each class first
    ranked = order[np.argsort(rank[order], kind="stable")]
    return {int(size): np.sort(ranked[:size]) for size in sizes}


def _error(n: Any, scale: float, exponent: float, limit: float) -> Any:
    return limit + scale * n**-exponent


def _spread_of_means(n: np.ndarray, error: np.ndarray) -> tuple[np.ndarray | None, int]:
    """Return the standard error of the mean at each size and its degrees of freedom; None for one seed.

    The variance over seeds is taken for a power of the size as well: three seeds alone may agree by chance,
    and their size would then count for everything.
    """
    sizes, counts = np.unique(n, return_counts=True)
    several = counts > 1
    if several.sum() < 2:
        return None, max(1, len(sizes) - 3)
    measured = np.array([error[n == size].var(ddof=1) for size in sizes[several]]) + LEAST_SPREAD**2
    power = np.polyfit(np.log(sizes[several]), np.log(measured), 1)
    smooth = np.exp(np.polyval(power, np.log(sizes)))
    smooth *= np.average(measured / smooth[several], weights=counts[several] - 1)
    return np.sqrt(smooth / counts), int(np.sum(counts[several] - 1))


def _inverse(error: float, scale: float, exponent: float, limit: float) -> float:
    if error <= limit or scale <= 0 or exponent <= 0:
        return float("inf")
    labels = float(np.exp(np.clip(np.log(scale / (error - limit)) / exponent, -50, 50)))
    return labels if labels < FURTHEST else float("inf")


def _fitted(sizes: np.ndarray, means: np.ndarray, spread: np.ndarray, start: Any = None) -> np.ndarray:
    """Return scale, exponent and limit by weighted least squares within their bounds."""
    lowest = max(float(means.min()), 1e-6)
    top = 1e3
    if start is None:
        start = (max(means[0] * sizes[0] ** 0.5, 1e-3), 0.5, 0.5 * lowest)
    bounds = ([0.0, 1e-3, 0.0], [top, STEEPEST, lowest])
    start = np.clip(start, np.add(bounds[0], 1e-9), np.subtract(bounds[1], 1e-9))
    found, _ = curve_fit(_error, sizes, means, p0=start, sigma=spread, bounds=bounds, max_nfev=5000)
    return found
