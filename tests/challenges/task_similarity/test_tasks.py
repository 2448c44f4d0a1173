import math

import numpy as np
import pytest
from scipy.stats import t as students

from tlkit.challenges.task_similarity import predicted_gain, transfer_gain
from tlkit.errors import DataError, TlkitWarning

LABELS = np.repeat([0, 1, 2, 3], 8)


def features(noise, seed=0):
    """Return features in which four directions separate the classes, with a given amount of noise."""
    rng = np.random.default_rng(seed)
    return np.eye(6)[LABELS] + rng.normal(0, noise, (len(LABELS), 6))


def test_the_gain_is_the_mean_difference_with_students_interval():
    found = transfer_gain([0.80, 0.90, 0.85], [0.70, 0.75, 0.80])
    differences = np.array([0.10, 0.15, 0.05])
    half = students.ppf(0.975, 2) * differences.std(ddof=1) / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((0.10, 0.10 - half, 0.10 + half))
    assert found.errors_removed == pytest.approx(0.10 / 0.25)
    assert found.pairs == 3


def test_an_effect_of_the_seed_on_both_cancels():
    control = np.array([0.3, 0.9, 0.5, 0.7])
    better = control + np.array([0.05, 0.06, 0.05, 0.06])
    assert transfer_gain(better, control).verdict == "helps"
    assert transfer_gain(better, control[::-1]).verdict == "unclear"


@pytest.mark.parametrize(("shift", "verdict"), [(0.1, "helps"), (-0.1, "hurts"), (0.0, "unclear")])
@pytest.mark.parametrize("seeds", [4, 20])
def test_the_verdict_names_the_side_of_0_on_which_the_interval_lies(seeds, shift, verdict):
    control = np.linspace(0.4, 0.6, seeds)
    scatter = 0.01 * (-1.0) ** np.arange(seeds)
    found = transfer_gain(control + shift + scatter, control)
    assert found.verdict == verdict
    assert found.low < found.mean < found.high


def test_with_many_seeds_the_interval_is_a_bootstrap_interval_and_reflects_skew():
    control = np.full(30, 0.5)
    skewed = control + np.where(np.arange(30) < 3, 0.4, 0.0)
    found = transfer_gain(skewed, control)
    assert found.high - found.mean > found.mean - found.low > 0
    assert found == transfer_gain(skewed, control)  # the bootstrap is seeded


def test_with_one_seed_the_spread_is_unknown_and_a_warning_is_issued():
    with pytest.warns(TlkitWarning, match="at least three seeds"):
        found = transfer_gain([0.9], [0.5])
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.verdict == "unclear"


def test_equal_differences_have_an_interval_of_width_0():
    found = transfer_gain([0.75, 0.5], [0.5, 0.25])
    assert (found.low, found.mean, found.high) == (0.25, 0.25, 0.25)


def test_a_control_without_errors_has_no_errors_to_remove():
    assert math.isnan(transfer_gain([0.9, 0.8], [1.0, 1.0]).errors_removed)


@pytest.mark.parametrize(
    ("transferred", "control", "message"),
    [
        ([0.5, 0.6], [0.5], "paired by seed"),
        ([], [], "one per seed"),
        ([80.0, 90.0], [0.5, 0.6], "fractions from 0 to 1"),
        ([0.5, float("nan")], [0.5, 0.6], "fractions from 0 to 1"),
        ([[0.5], [0.6]], [0.5, 0.6], "fractions from 0 to 1"),
    ],
)
def test_invalid_accuracies_are_refused(transferred, control, message):
    with pytest.raises(DataError, match=message):
        transfer_gain(transferred, control)


def test_the_prediction_is_that_better_features_help_and_worse_features_hurt():
    good, middling, blind = features(0.1), features(0.7), features(30.0)
    assert predicted_gain(good, middling, LABELS).verdict == "helps"
    assert predicted_gain(blind, middling, LABELS).verdict == "hurts"
    same = predicted_gain(middling, middling, LABELS)
    assert (same.mean, same.low, same.high, same.verdict) == (0.0, 0.0, 0.0, "unclear")


def test_swapping_source_and_control_changes_the_sign():
    one, other = features(0.3), features(0.9, seed=1)
    assert predicted_gain(one, other, LABELS).mean == pytest.approx(-predicted_gain(other, one, LABELS).mean)


def test_the_predicted_gain_is_measured_on_held_out_examples():
    """With random labels and more features than examples, a probe is correct on all its training examples."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(LABELS)
    wide, constant = rng.normal(size=(len(labels), 200)), np.ones((len(labels), 1))
    assert predicted_gain(wide, constant, labels).mean < 0.25


def test_the_predicted_gain_agrees_with_probes_on_new_examples():
    from tlkit.techniques import few_shot

    def probe(noise):
        fitted = few_shot.head("logistic regression").fit(features(noise), LABELS)
        return np.mean([fitted.score(features(noise, seed=s), LABELS) for s in range(1, 20)])

    measured = probe(0.2) - probe(0.8)
    found = predicted_gain(features(0.2), features(0.8), LABELS)
    assert found.low < measured < found.high
    assert found.pairs == len(LABELS)


def test_labels_may_be_class_names():
    numbered = predicted_gain(features(0.2), features(0.8), LABELS)
    names = np.array(["bee", "cat", "dog", "owl"])[LABELS]
    assert predicted_gain(features(0.2), features(0.8), names) == numbered


def test_labels_of_other_images_are_refused():
    x = features(0.2)
    with pytest.raises(DataError, match="do not pass labels of the source data"):
        predicted_gain(x, x, np.repeat(LABELS, 2))
    with pytest.raises(DataError, match="32 rows of the source network, 31 rows of the control"):
        predicted_gain(x, x[1:], LABELS)
    with pytest.raises(DataError, match="1 class, "):
        predicted_gain(x, x, np.zeros(32, int))
    with pytest.raises(DataError, match="smallest with 1 example;"):
        predicted_gain(x, x, np.array([0] * 31 + [1]))
    broken = x.copy()
    broken[3] = np.nan
    with pytest.raises(DataError, match="the control are NaN or infinite in 1 of 32"):
        predicted_gain(x, broken, LABELS)


def test_two_examples_per_class_are_enough():
    chosen = np.concatenate([np.flatnonzero(k == LABELS)[:2] for k in range(4)])
    assert predicted_gain(features(0.1)[chosen], features(30.0)[chosen], LABELS[chosen]).mean > 0.3
