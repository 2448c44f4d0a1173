"""Scores of arms on the same test images, with intervals that cover both seeds and test images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

from tlkit import plots
from tlkit.errors import DataError, UnknownNameError
from tlkit.reports.words import counted

RESAMPLES = 2000  # of the test images, for an accuracy
RESAMPLES_OF_A_MEASURE = 300  # for any other measure, which has to be computed for each of them


@dataclass(frozen=True)
class Gain:
    """The difference between two arms, with its 95 % interval.

    Attributes:
        arm, control: names of the two arms.
        difference: mean score of the arm minus mean score of the control.
        low, high: ends of the interval.
        seeds, images: how many the interval covers.
    """

    arm: str
    control: str
    difference: float
    low: float
    high: float
    seeds: int
    images: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes zero. Where it does not, the experiment cannot tell."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        of = f"{counted(self.seeds, 'seed')}, {counted(self.images, 'test image')}"
        text = f"{self.arm} − {self.control}: {self.difference:+.2f}"
        text += f" (95 % interval {self.low:+.2f} to {self.high:+.2f}; {of})"
        return text if self.excludes_zero else f"{text}: cannot tell"

    __repr__ = __str__


class Evidence:
    """The predictions of several arms for the same test images, and what they prove.

    An arm is one of the alternatives that an experiment compares. The 95 % intervals are Student's. Their
    variance is the sum of two parts: the variance of the mean over the seeds, and the variance over test
    images, which the bootstrap estimates by drawing images with replacement within each class. The degrees
    of freedom are those of Welch and Satterthwaite. The difference of two arms is paired: both are scored
    with the same drawn images, and seed by seed. Seeds that draw their training images from one pool cover
    other draws from this pool, and not other pools.

    Bouthillier et al. 2021, "Accounting for Variance in Machine Learning Benchmarks".

    Args:
        predictions: arm to its predictions, one array per seed: int `(n,)` class indices, or clusters.
        labels: int `(n,)` true classes of the test images, which all arms and seeds share.
        balanced: score by balanced accuracy, the mean over the classes of the fraction that is correct.
        measure: a function of labels and predictions, such as scikit-learn's `adjusted_rand_score`. None
            takes the accuracy, or the balanced accuracy.

    Raises:
        DataError: there is no arm, an arm has fewer than two seeds, or the shapes of predictions and labels
            do not match.

    >>> labels = np.array([0, 1] * 50)
    >>> perfect, constant = [labels] * 3, [np.zeros(100, int)] * 3
    >>> evidence = Evidence({"constant": constant, "perfect": perfect}, labels)
    >>> evidence.gain("perfect", over="constant")
    perfect − constant: +0.50 (95 % interval +0.50 to +0.50; 3 seeds, 100 test images)
    """

    def __init__(
        self,
        predictions: Mapping[str, Sequence[np.ndarray]],
        labels: np.ndarray,
        *,
        balanced: bool = False,
        measure: Callable[[np.ndarray, np.ndarray], float] | None = None,
    ) -> None:
        self.labels = np.asarray(labels)
        self.predictions = {str(arm): np.asarray(list(rows)) for arm, rows in predictions.items()}
        self.balanced, self.measure = balanced, measure
        if not self.predictions:
            raise DataError("There is no arm. Pass predictions such as {'frozen': [seed_0, seed_1, seed_2]}.")
        for arm, rows in self.predictions.items():
            if rows.ndim != 2 or rows.shape[1:] != self.labels.shape or len(rows) < 2:
                raise DataError(
                    f"The predictions of {arm!r} have shape {rows.shape}; expected (seeds, "
                    f"{len(self.labels)}) with two or more seeds: a predicted label per seed and test image."
                )
        self._scores = self._by_resample()

    def scores(self) -> pd.DataFrame:
        """Return the score of each arm with its interval: `score`, `low`, `high`, `seeds`, by arm."""
        rows = {arm: [*_interval(values), values.shape[1]] for arm, values in self._scores.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["score", "low", "high", "seeds"])

    def gain(self, arm: str, *, over: str) -> Gain:
        """Return the difference between two arms, paired by test image and seed.

        Raises:
            UnknownNameError: there is no such arm.
            DataError: the arms have different numbers of seeds.
        """
        for name in (arm, over):
            if name not in self._scores:
                raise UnknownNameError("arm", name, list(self._scores))
        own, other = self._scores[arm], self._scores[over]
        if own.shape != other.shape:
            seeds = f"{own.shape[1]} and {other.shape[1]} seeds"
            raise DataError(f"{arm!r} and {over!r} have {seeds}. Run both with the same seeds.")
        difference, low, high = _interval(own - other)
        return Gain(arm, over, difference, low, high, own.shape[1], len(self.labels))

    def gains(self, over: str) -> list[Gain]:
        """Return the difference of every other arm from the control `over`, in order."""
        return [self.gain(arm, over=over) for arm in self._scores if arm != over]

    def plot(
        self,
        ax: Axes | None = None,
        *,
        predicted: Mapping[str, float | None] | None = None,
        quantity: str = "",
    ) -> Axes:
        """Draw each arm: a point per seed, a tick for the mean, a bar for the 95 % interval.

        Args:
            ax: axes to draw on; new ones by default.
            predicted: score that you predicted for each arm, drawn as a diamond; None draws nothing.
            quantity: label of the axis.

        Raises:
            DataError: a prediction is not a number from 0 to 1, or no arm has its name.
        """
        for arm, guess in (predicted or {}).items():
            if arm not in self._scores:
                raise DataError(f"{arm!r} was predicted; the arms are {', '.join(self._scores)}.")
            if guess is not None and not (isinstance(guess, int | float) and 0 <= guess <= 1):
                raise DataError(
                    f"{guess!r} was predicted for {arm!r}; expected a number from 0 to 1, such as 0.7."
                )
        name = "balanced accuracy" if self.balanced else "accuracy"
        return plots.compare_arms(
            {arm: values[0].tolist() for arm, values in self._scores.items()},
            ax,
            intervals={arm: _interval(values)[1:] for arm, values in self._scores.items()},
            predicted=predicted,
            quantity=quantity or f"{name}, with its 95 % interval",
        )

    def _by_resample(self) -> dict[str, np.ndarray]:
        """Return the scores of each arm `(1 + resamples, seeds)`; row 0 is of the test images themselves."""
        rng = np.random.default_rng(0)
        of_class = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        count = RESAMPLES if self.measure is None else RESAMPLES_OF_A_MEASURE
        drawn = np.hstack([rng.choice(each, (count, len(each))) for each in of_class])
        drawn = np.vstack([np.concatenate(of_class), drawn])
        if self.measure is not None:
            return {
                arm: np.array([[self.measure(self.labels[i], row[i]) for row in rows] for i in drawn])
                for arm, rows in self.predictions.items()
            }
        sizes = [len(each) for each in of_class]
        weight = np.repeat([1 / (size if self.balanced else np.mean(sizes)) for size in sizes], sizes)
        weight /= len(of_class)
        return {
            arm: np.stack([(row == self.labels)[drawn] @ weight for row in rows], axis=1)
            for arm, rows in self.predictions.items()
        }


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of row 0 and its 95 % interval, from values `(1 + resamples, seeds)`."""
    seeds = values.shape[1]
    of_seeds, of_images = values[0].var(ddof=1) / seeds, values[1:].mean(axis=1).var(ddof=1)
    variance, mean = of_seeds + of_images, float(values[0].mean())
    if variance < 1e-12:
        return mean, mean, mean
    freedom = variance**2 / (of_seeds**2 / (seeds - 1) + of_images**2 / (len(values) - 2))
    half = float(stats.t.ppf(0.975, freedom) * np.sqrt(variance))
    return mean, mean - half, mean + half
