"""PARC against its definition."""

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata

from tlkit.challenges.model_selection import parc
from tlkit.errors import DataError


def slow_parc(features, labels):
    z = (features - features.mean(axis=0)) / features.std(axis=0)
    one_hot = np.eye(labels.max() + 1)[labels]
    one, other = [], []
    for i in range(len(z)):
        for j in range(i):
            one.append(1 - pearsonr(z[i], z[j]).statistic)
            other.append(1 - pearsonr(one_hot[i], one_hot[j]).statistic)
    return pearsonr(rankdata(np.round(one, 12)), rankdata(np.round(other, 12))).statistic


@pytest.mark.parametrize("classes", [2, 5])
def test_it_ranks_distances_of_features_and_of_labels(labelled, classes):
    features, labels = labelled(2.0, n=40, classes=classes)
    assert parc(features, labels) == pytest.approx(slow_parc(features, labels))


def test_scale_and_shift_of_single_features_change_nothing_but_rotation_does(labelled, rotation):
    features, labels = labelled()
    expected = parc(features, labels)
    assert parc(features * np.linspace(0.1, 9, 12) - 3, labels) == pytest.approx(expected)
    assert parc(features @ rotation, labels) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("classes", "most"), [(2, 0.866), (4, 0.75), (10, 0.52)])
def test_its_most_is_what_the_docstring_says(labelled, classes, most):
    features, labels = labelled(100.0, n=400, d=12, classes=classes)
    assert parc(features, labels) == pytest.approx(most, abs=0.01)


def test_of_many_examples_a_drawn_part_is_compared(labelled):
    features, labels = labelled(1.0, n=400)
    whole = parc(features, labels)
    part = parc(features, labels, most=150)
    assert part == pytest.approx(whole, abs=0.05)
    assert part not in (whole, parc(features, labels, most=150, seed=1))
    assert part == parc(features, labels, most=150)


def test_columns_without_variance_and_examples_at_the_mean_are_no_problem():
    labels = np.arange(20) % 2
    features = np.hstack([np.eye(2)[labels], np.ones((20, 1))])
    features[0] = features.mean(axis=0)
    assert np.isfinite(parc(features, labels))


def test_what_has_no_correlation_is_said():
    with pytest.raises(DataError, match="1 feature has no correlation"):
        parc(np.arange(6.0)[:, None], [0, 0, 0, 1, 1, 1])
    with pytest.raises(DataError, match="Every class has one example"):
        parc(np.eye(3), [0, 1, 2])
