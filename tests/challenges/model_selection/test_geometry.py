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
def test_parc_is_the_rank_correlation_of_feature_and_label_distances(labelled, classes):
    features, labels = labelled(2.0, n=40, classes=classes)
    assert parc(features, labels) == pytest.approx(slow_parc(features, labels))


def test_parc_is_invariant_to_scale_and_shift_of_each_feature_but_not_to_rotation(labelled, rotation):
    features, labels = labelled()
    expected = parc(features, labels)
    assert parc(features * np.linspace(0.1, 9, 12) - 3, labels) == pytest.approx(expected)
    assert parc(features @ rotation, labels) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("classes", "maximum"), [(2, 0.866), (4, 0.75), (10, 0.52)])
def test_the_maximum_is_that_of_the_docstring(labelled, classes, maximum):
    features, labels = labelled(100.0, n=400, d=12, classes=classes)
    assert parc(features, labels) == pytest.approx(maximum, abs=0.01)


def test_with_many_examples_a_random_sample_is_used(labelled):
    features, labels = labelled(1.0, n=400)
    whole = parc(features, labels)
    sample = parc(features, labels, max_examples=150)
    assert sample == pytest.approx(whole, abs=0.05)
    assert sample not in (whole, parc(features, labels, max_examples=150, seed=1))
    assert sample == parc(features, labels, max_examples=150)


def test_constant_columns_and_examples_at_the_mean_give_a_finite_value():
    labels = np.arange(20) % 2
    features = np.hstack([np.eye(2)[labels], np.ones((20, 1))])
    features[0] = features.mean(axis=0)
    assert np.isfinite(parc(features, labels))


def test_inputs_without_a_correlation_are_refused():
    with pytest.raises(DataError, match="1 feature has no correlation"):
        parc(np.arange(6.0)[:, None], [0, 0, 0, 1, 1, 1])
    with pytest.raises(DataError, match="Every class has one example"):
        parc(np.eye(3), [0, 1, 2])
