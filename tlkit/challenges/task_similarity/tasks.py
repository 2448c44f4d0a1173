"""What one task gains from another: measured after training, and predicted before it."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from tlkit._internal.intervals import mean_interval
from tlkit.challenges.task_similarity.checks import matrix
from tlkit.errors import DataError, TlkitWarning
from tlkit.techniques import few_shot

FOLDS, REPEATS = 5, 3  # of the cross-validation; repeated, since so few labels fall into folds by chance


@dataclass(frozen=True)
class Gain:
    """What transfer gave: below 0 it did harm, which is called negative transfer.

    Attributes:
        mean: mean difference of the accuracies, -1 to 1.
        low, high: its 95 % interval; NaN of one pair.
        errors_removed: share of the control's errors that transfer took away, up to 1; below 0 it added
            errors. NaN where the control makes none.
        pairs: number of seeds if measured, of labelled examples if predicted.
    """

    mean: float
    low: float
    high: float
    errors_removed: float
    pairs: int

    @property
    def verdict(self) -> str:
        """One of `"helps"`, `"hurts"` and `"unclear"`: the interval lies above 0, below it, or holds it."""
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "unclear"


def transfer_gain(transferred: Sequence[float], control: Sequence[float]) -> Gain:
    """Return what the transferred network gained over the control, seed by seed.

    The control has the same architecture, labels and budget, but random weights. The interval is that of the
    mean difference, by `tlkit._internal.intervals.mean_interval`.

    Wang, Dai, Póczos & Carbonell 2019, "Characterizing and Avoiding Negative Transfer".

    Args:
        transferred, control: accuracies 0 to 1, the same seed at the same place.

    Raises:
        DataError: no accuracies, not as many on both sides, or values outside 0 to 1.

    Warns:
        TlkitWarning: with one seed the spread is unknown.

    >>> gain = transfer_gain([0.80, 0.82, 0.81], [0.60, 0.61, 0.62])
    >>> round(gain.mean, 2), gain.verdict, round(gain.errors_removed, 2)
    (0.2, 'helps', 0.51)
    """
    with_transfer, without = _accuracies(transferred, "transferred"), _accuracies(control, "control")
    if len(with_transfer) != len(without):
        raise DataError(
            f"{len(with_transfer)} accuracies with transfer and {len(without)} of the control were given; "
            "expected as many, since they are compared seed by seed. Run both with the same seeds."
        )
    if len(without) == 1:
        warnings.warn(
            "With one seed the spread is unknown, and no interval can be given. Run at least three seeds.",
            TlkitWarning,
            stacklevel=2,
        )
    return _gain(with_transfer, without)


def predicted_gain(
    features: np.ndarray, control_features: np.ndarray, labels: np.ndarray, *, seed: int = 0
) -> Gain:
    """Return the gain to expect from a source, before anything is trained, from a few labels of the target.

    The difference of two cross-validated linear probes on the same examples: one on features of the source's
    network, one on those of its random twin. It foretells what frozen features gain, and less well what
    fine-tuning gains, which mends much of a bad start. The interval is over the labelled examples and knows
    nothing of other random twins.

    Args:
        features: `(n, d)` of the source's backbone on the target's labelled images.
        control_features: `(n, q)` of a random one on the same images.
        labels: int `(n,)`, the target's own classes; those of the source may be others and are not needed.
        seed: of the folds.

    Raises:
        DataError: numbers of rows that differ, fewer than two classes, a class with one example, or NaN or
            infinite features.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1, 2], 10)
    >>> good, blind = np.eye(3)[labels] + rng.normal(0, 0.1, (30, 3)), rng.normal(size=(30, 3))
    >>> predicted_gain(good, blind, labels).verdict
    'helps'
    """
    source, control = matrix(features, "the source's network"), matrix(control_features, "the control")
    labels = _target_labels(labels, len(source), len(control))
    return _gain(_hits(source, labels, seed), _hits(control, labels, seed))


def _hits(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return for each example how often a probe that did not see it names it right, 0 to 1."""
    folds = min(FOLDS, int(np.unique(labels, return_counts=True)[1].min()))
    right = []
    with threadpool_limits(1):  # on so few examples threads only wait for each other
        for repeat in range(REPEATS):
            parts = StratifiedKFold(folds, shuffle=True, random_state=REPEATS * seed + repeat)
            probe = few_shot.head("logistic regression")
            right.append(cross_val_predict(probe, features, labels, cv=parts) == labels)
    return np.mean(right, axis=0)


def _target_labels(labels: np.ndarray, examples: int, control: int) -> np.ndarray:
    given = np.asarray(labels)
    if given.ndim != 1 or not len(given) == examples == control:
        raise DataError(
            f"There are {examples} rows of the source's network, {control} of the control and labels of "
            f"shape {given.shape}; expected as many of each. All three are of the target's labelled images: "
            "extract the features of these with both networks. Labels of the source's data do not fit here."
        )
    names, counts = np.unique(given, return_counts=True)
    fewest = int(counts.min())
    if len(names) < 2 or fewest < 2:
        raise DataError(
            f"The labels have {len(names)} class{'es' * (len(names) != 1)}, the smallest with {fewest} "
            f"example{'s' * (fewest != 1)}; expected at least two classes with two each, to hold some "
            "out. Label more images, or leave small classes out: Dataset.only(names)."
        )
    return given


def _accuracies(given: Sequence[float], name: str) -> np.ndarray:
    values = np.asarray(given, "float64")
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            f"The accuracies {name!r} are {values.tolist()}; expected a list of shares from 0 to 1, one for "
            "each seed."
        )
    return values


def _gain(transferred: np.ndarray, control: np.ndarray) -> Gain:
    differences, errors = transferred - control, 1 - float(control.mean())
    mean = float(differences.mean())
    low, high = mean_interval(differences)
    return Gain(mean, low, high, mean / errors if errors > 0 else float("nan"), len(differences))
