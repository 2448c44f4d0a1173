"""The gain in accuracy from transfer: measured after training, or predicted before training."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from tlkit._internal.intervals import mean_interval
from tlkit.challenges.task_similarity.checks import feature_matrix
from tlkit.errors import DataError, TlkitWarning
from tlkit.techniques import few_shot

FOLDS, REPEATS = 5, 3  # of the cross-validation; repeats reduce the noise of a random assignment to folds


@dataclass(frozen=True)
class Gain:
    """The gain in accuracy from transfer; a gain below 0 is called negative transfer.

    Attributes:
        mean: mean difference between the accuracies, -1 to 1.
        low, high: 95 % interval of the mean; NaN for a single pair.
        errors_removed: fraction of the control's errors that transfer removes, at most 1; negative if
            transfer adds errors. NaN if the control makes no errors.
        pairs: number of seeds for a measured gain, number of labelled examples for a predicted gain.
    """

    mean: float
    low: float
    high: float
    errors_removed: float
    pairs: int

    @property
    def verdict(self) -> str:
        """`"helps"`, `"hurts"` or `"unclear"`: the interval lies above 0, lies below 0, or includes 0."""
        if self.low > 0:
            return "helps"
        return "hurts" if self.high < 0 else "unclear"


def transfer_gain(transferred: Sequence[float], control: Sequence[float]) -> Gain:
    """Return the measured gain of the transferred network over a control, paired by seed.

    The control has the same architecture, labels and training budget, but random initial weights. The
    interval is the 95 % interval of the mean difference.

    Wang, Dai, Póczos & Carbonell 2019, "Characterizing and Avoiding Negative Transfer".

    Args:
        transferred, control: test accuracies, 0 to 1, one per seed, in the same order of seeds.

    Raises:
        DataError: there are no accuracies, their numbers differ, or values are outside 0 to 1.

    Warns:
        TlkitWarning: there is only one seed, so the spread is unknown.

    >>> gain = transfer_gain([0.80, 0.82, 0.81], [0.60, 0.61, 0.62])
    >>> round(gain.mean, 2), gain.verdict, round(gain.errors_removed, 2)
    (0.2, 'helps', 0.51)
    """
    with_transfer, without = _accuracies(transferred, "transferred"), _accuracies(control, "control")
    if len(with_transfer) != len(without):
        raise DataError(
            f"{len(with_transfer)} accuracies with transfer and {len(without)} of the control were given; "
            "expected equal numbers, because they are paired by seed. Run both with the same seeds."
        )
    if len(without) == 1:
        warnings.warn(
            "With one seed the spread is unknown, so there is no interval. Run at least three seeds.",
            TlkitWarning,
            stacklevel=2,
        )
    return _gain(with_transfer, without)


def predicted_gain(
    features: np.ndarray, control_features: np.ndarray, labels: np.ndarray, *, seed: int = 0
) -> Gain:
    """Predict the gain of transfer from a few labelled target images, before any network is trained.

    The prediction is the difference in accuracy between two cross-validated linear probes on the same
    examples: one on the features of the source network, the other on the features of a network with random
    weights. It predicts the gain of feature extraction. It predicts the gain of fine-tuning less well,
    because fine-tuning can repair unsuitable features. The interval reflects the choice of labelled examples,
    but not the choice of random weights.

    Args:
        features: `(n, d)`, features of the labelled target images from the source network.
        control_features: `(n, q)`, features of the same images from a network with random weights.
        labels: int `(n,)`, target classes. The source classes may differ, and are not needed.
        seed: random seed for the folds.

    Raises:
        DataError: the numbers of rows differ, there are fewer than two classes, a class has one example, or
            features are NaN or infinite.

    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1, 2], 10)
    >>> good, blind = np.eye(3)[labels] + rng.normal(0, 0.1, (30, 3)), rng.normal(size=(30, 3))
    >>> predicted_gain(good, blind, labels).verdict
    'helps'
    """
    source, control = (
        feature_matrix(features, "the source network"),
        feature_matrix(control_features, "the control"),
    )
    labels = _target_labels(labels, len(source), len(control))
    return _gain(_hit_rates(source, labels, seed), _hit_rates(control, labels, seed))


def _hit_rates(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return how often held-out predictions of a probe are correct, 0 to 1 for each example."""
    folds = min(FOLDS, int(np.unique(labels, return_counts=True)[1].min()))
    correct = []
    with threadpool_limits(1):  # with few examples, threads only add overhead
        for repeat in range(REPEATS):
            splits = StratifiedKFold(folds, shuffle=True, random_state=REPEATS * seed + repeat)
            probe = few_shot.head("logistic regression")
            correct.append(cross_val_predict(probe, features, labels, cv=splits) == labels)
    return np.mean(correct, axis=0)


def _target_labels(labels: np.ndarray, examples: int, control: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) == examples == control:
        raise DataError(
            f"There are {examples} rows of the source network, {control} rows of the control and labels of "
            f"shape {labels.shape}; expected equal numbers, one for each labelled target image. Extract the "
            "features of these images with both networks, and do not pass labels of the source data."
        )
    names, counts = np.unique(labels, return_counts=True)
    fewest = int(counts.min())
    if len(names) < 2 or fewest < 2:
        raise DataError(
            f"The labels have {len(names)} class{'es' * (len(names) != 1)}, the smallest with {fewest} "
            f"example{'s' * (fewest != 1)}; expected at least two classes with two examples each, because "
            "the probe holds some out. Label more images, or leave small classes out: Dataset.only(names)."
        )
    return labels


def _accuracies(accuracies: Sequence[float], name: str) -> np.ndarray:
    values = np.asarray(accuracies, "float64")
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            f"The accuracies {name!r} are {values.tolist()}; expected a list of fractions from 0 to 1, one "
            "per seed. Divide percentages by 100."
        )
    return values


def _gain(transferred: np.ndarray, control: np.ndarray) -> Gain:
    differences, errors = transferred - control, 1 - float(control.mean())
    mean = float(differences.mean())
    low, high = mean_interval(differences)
    return Gain(mean, low, high, mean / errors if errors > 0 else float("nan"), len(differences))
