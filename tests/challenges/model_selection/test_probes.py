"""The baseline scores: cross-validated accuracy of a simple head."""

import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from tlkit.challenges.model_selection import knn, linear_probe
from tlkit.errors import DataError
from tlkit.techniques.few_shot import head

PROBES = {"linear": (linear_probe, "logistic regression"), "knn": (knn, "nearest neighbours")}


@pytest.mark.parametrize("name", PROBES)
def test_the_score_is_the_mean_accuracy_of_a_head_on_held_out_folds(name, labelled):
    probe, kind = PROBES[name]
    features, labels = labelled(1.5, n=100)
    accuracies = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=2).split(features, labels):
        fitted = head(kind).fit(features[train], labels[train])
        accuracies.append(np.mean(fitted.predict(features[test]) == labels[test]))
    assert probe(features, labels, seed=2) == pytest.approx(np.mean(accuracies))


@pytest.mark.parametrize("probe", [linear_probe, knn])
def test_random_labels_have_an_accuracy_near_chance(probe):
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(200, 60)), np.arange(200) % 4
    assert probe(features, labels) < 0.4


@pytest.mark.parametrize("probe", [linear_probe, knn])
def test_two_examples_per_class_are_enough_and_one_is_refused(probe, labelled):
    features, labels = labelled(n=60)
    rare = np.r_[labels[:-2], 9, 9]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0 <= probe(features, rare) <= 1
        assert probe(np.eye(3)[[0, 0, 1, 1, 2, 2]], [0, 0, 1, 1, 2, 2]) == 1
    with pytest.raises(DataError, match="fewer than 2 examples, such as label 9"):
        probe(features[:-1], rare[:-1])


def test_one_fold_is_refused(labelled):
    with pytest.raises(DataError, match="folds=1"):
        linear_probe(*labelled(n=60), folds=1)
