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
        held_out: mean of the compared measure on held-out images of the domains that it learned from, 0 to 1;
            None if a domain has no validation split.
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

    @property
    def right(self) -> np.ndarray:
        """Which images were classified correctly, float64 `(n,)`, 0 or 1."""
        return (self.predicted == self.labels).astype(float)


def domain_mean(values: np.ndarray, labels: np.ndarray, measure: str, prior: float) -> tuple[float, float]:
    """Return the mean of the values of a domain, and the variance of this mean for new images of the domain.

    Args:
        values: of each image, float `(n,)`, such as 1 for a right answer and 0 for a wrong one.
        labels: int `(n,)`.
        measure: `"accuracy"` takes the mean over the images, `"balanced_accuracy"` that over the means of the
            classes that occur.
        prior: the variance of the values of a class before any image is seen. It counts as much as two
            images of the class, because few images often agree by chance. The accuracy does not use it.

    >>> values, labels = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0, 0, 0, 1])
    >>> [round(domain_mean(values, labels, each, 0.25)[0], 2) for each in ("accuracy", "balanced_accuracy")]
    [0.5, 0.33]
    """
    balanced = measure == "balanced_accuracy"
    groups = [values[labels == each] for each in np.unique(labels)] if balanced else [values]
    known = 2 if balanced else 0
    variance = 0.0
    for group in groups:
        squares = np.square(group - group.mean()).sum() + known * prior
        degrees = len(group) - 1 + known
        variance += (squares / degrees if degrees else np.nan) / len(group)
    return float(np.mean([group.mean() for group in groups])), variance / len(groups) ** 2


def mean_of_domains(domains: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Return the mean over domains, with its 95 % interval for new images of these domains.

    Args:
        domains: mean and variance of each domain, by `domain_mean`.

    >>> [round(each, 3) for each in mean_of_domains([(0.5, 0.0025), (1.0, 0.0)])]
    [0.75, 0.701, 0.799]
    """
    mean = float(np.mean([mean for mean, _ in domains]))
    half = Z * float(np.sqrt(np.sum([variance for _, variance in domains]))) / len(domains)
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
