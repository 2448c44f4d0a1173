"""NCE, LEEP and NLEEP against their definitions, written as loops."""

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from tlkit.challenges.model_selection import leep, nce, nleep
from tlkit.errors import DataError, TlkitWarning

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 50)
THETA = RNG.dirichlet(np.full(6, 0.3), size=50)


def slow_nce(sources, labels):
    value, n = 0.0, len(labels)
    for y in set(labels):
        for z in set(sources):
            joint = np.sum((labels == y) & (sources == z)) / n
            if joint:
                value += joint * np.log(joint / np.mean(sources == z))
    return value


def slow_leep(theta, labels):
    n, total = len(labels), 0.0
    for i in range(n):
        expected = 0.0
        for z in range(theta.shape[1]):
            joint = sum(theta[j, z] for j in range(n) if labels[j] == labels[i]) / n
            marginal = sum(theta[j, z] for j in range(n)) / n
            expected += joint / marginal * theta[i, z] if marginal else 0.0
        total += np.log(expected)
    return total / n


def test_nce_is_minus_the_conditional_entropy():
    sources = RNG.integers(0, 5, 50)
    assert nce(sources, LABELS) == pytest.approx(slow_nce(sources, LABELS))


def test_leep_is_the_mean_log_expected_prediction():
    assert leep(THETA, LABELS) == pytest.approx(slow_leep(THETA, LABELS))


def test_source_classes_that_are_never_predicted_have_no_effect():
    wider = np.insert(THETA, 2, 0.0, axis=1)
    assert leep(wider, LABELS) == pytest.approx(leep(THETA, LABELS))


def test_leep_of_one_hot_predictions_is_nce():
    sources = THETA.argmax(axis=1)
    assert leep(np.eye(6)[sources], LABELS) == pytest.approx(nce(sources, LABELS))


def test_both_lie_between_minus_the_entropy_of_the_labels_and_zero():
    minimum = -entropy(np.bincount(LABELS))
    same = np.tile(THETA[:1], (50, 1))
    assert leep(same, LABELS) == pytest.approx(minimum)
    assert nce(np.full(50, 4), LABELS) == pytest.approx(minimum)
    assert minimum < leep(THETA, LABELS) < 0
    assert leep(np.eye(3)[LABELS], LABELS) == 0
    assert nce(LABELS + 7, LABELS) == 0


def test_the_numbering_of_the_classes_has_no_effect():
    renumbered = np.array([20, -3, 11])[LABELS]
    assert leep(THETA[:, ::-1], renumbered) == pytest.approx(leep(THETA, LABELS))
    assert nce(THETA.argmax(axis=1) * 3, renumbered) == pytest.approx(nce(THETA.argmax(axis=1), LABELS))


def test_a_class_with_one_example_is_allowed():
    labels = np.r_[LABELS[:-1], 99]
    assert leep(THETA, labels) == pytest.approx(slow_leep(THETA, labels))
    assert nce(THETA.argmax(axis=1), labels) == pytest.approx(slow_nce(THETA.argmax(axis=1), labels))


def test_nce_refuses_probabilities_in_place_of_source_labels():
    with pytest.raises(DataError, match="argmax"):
        nce(THETA, LABELS)
    with pytest.raises(DataError, match=r"expected \(40,\)"):
        nce(np.zeros(40, int), LABELS)


def test_nleep_is_leep_of_a_mixture_on_the_principal_components(labelled):
    features, labels = labelled(n=200)
    reduced = PCA(0.8).fit_transform(features)
    assert 1 < reduced.shape[1] < 12
    mixture = GaussianMixture(20, covariance_type="diag", random_state=3).fit(reduced)
    expected = slow_leep(mixture.predict_proba(reduced), labels)
    assert nleep(features, labels, seed=3) == pytest.approx(expected, rel=1e-6)


def test_nleep_is_reproducible_and_depends_on_its_options(labelled):
    features, labels = labelled(1.5, n=200)
    default = nleep(features, labels)
    assert nleep(features, labels) == default
    for option in ({"seed": 1}, {"components": 4}, {"energy": 0.4}, {"covariance": "full"}):
        assert nleep(features, labels, **option) != default


def test_nleep_warns_if_clusters_hold_single_examples(labelled):
    features, labels = labelled(n=30)
    with pytest.warns(TlkitWarning, match="30 examples and 20 clusters"):
        nleep(features, labels)
    with pytest.warns(TlkitWarning, match="12 examples and 12 clusters"):
        value = nleep(features[:12], labels[:12])
    assert value == pytest.approx(0, abs=0.01)
