"""What a method reached on a domain that was left out, and how methods compare over several of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FROZEN, CONTROL = "frozen", "erm"
Z = 1.959964  # 95 % of a normal distribution lie within


@dataclass(frozen=True)
class Outcome:
    """What a method reached on a domain that was left out.

    Attributes:
        method: its name.
        left_out: the position of the domain.
        predicted, labels: of the images of the domain that was left out, int `(n,)`.
        held_out: mean measure on held-out images of the domains that it learned from, 0 to 1; None if a
            domain has no validation split.
        steps: number of training steps.
        seconds: of the training and the evaluation.
    """

    method: str
    left_out: int
    predicted: np.ndarray
    labels: np.ndarray
    held_out: float | None
    steps: int
    seconds: float

    def scores(self, measure: str) -> np.ndarray:
        """Return a value for each image, float64 `(n,)`, whose mean is the measure.

        For the accuracy, the value is 1 (right) or 0 (wrong). For the balanced accuracy, which is the mean of
        the recalls of the classes, it is the mean, plus by how much the image differs from the recall of its
        class; the rarer the class, the more this difference counts. So the variance of the values gives the
        interval of the measure.

        Args:
            measure: `"accuracy"` or `"balanced_accuracy"`.

        >>> outcome = Outcome("erm", 0, np.array([0, 1, 1]), np.array([0, 0, 1]), None, 40, 3.0)
        >>> outcome.scores("accuracy").tolist(), outcome.scores("balanced_accuracy").tolist()
        ([1.0, 0.0, 1.0], [1.125, 0.375, 0.75])
        """
        right = (self.predicted == self.labels).astype(float)
        if measure == "accuracy":
            return right
        _, classes, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        recalls = np.bincount(classes, right) / counts
        weights = len(right) / (len(counts) * counts[classes])
        return recalls.mean() + weights * (right - recalls[classes])


def mean_of_means(groups: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Return the mean of the means of some groups, with its 95 % interval for new examples of these groups.

    Args:
        groups: values `(n,)` of the examples of each group, such as 1 for a right answer and 0 for a wrong
            one.

    >>> [round(each, 3) for each in mean_of_means([np.array([0.0, 1.0] * 50), np.ones(50)])]
    [0.75, 0.701, 0.799]
    """
    mean = float(np.mean([each.mean() for each in groups]))
    variances = [each.var(ddof=1) / len(each) if len(each) > 1 else np.nan for each in groups]
    half = Z * float(np.sqrt(np.sum(variances))) / len(groups)
    return mean, mean - half, mean + half


def verdict(method: str, difference: float, low: float, high: float) -> str:
    """Say whether a method is better than ERM.

    >>> verdict("mixstyle", 0.02, -0.01, 0.05)
    'These images cannot tell whether mixstyle is better than erm: +2.0 points, 95 % interval -1.0 to +5.0.'
    """
    points = f"{100 * difference:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    if low > 0 or high < 0:
        return f"{method} is {'better' if low > 0 else 'worse'} than erm: {points}."
    return f"These images cannot tell whether {method} is better than erm: {points}."
