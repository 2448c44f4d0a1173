"""H-scores and TransRate against their definitions."""

import warnings

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.cross_decomposition import CCA

from tlkit.challenges.model_selection import h_score, regularized_h_score, transrate
from tlkit.errors import TlkitWarning


def class_mean_of_each(features, labels):
    """Return E[f | y] for every example."""
    return np.stack([features[labels == y].mean(axis=0) for y in labels])


def covariance(x):
    centre = x.mean(axis=0)
    return sum(np.outer(row - centre, row - centre) for row in x) / len(x)


def test_the_h_score_is_the_trace_in_its_definition(labelled):
    features, labels = labelled(n=60, d=5, classes=3)
    labels[:20] = 0  # classes of different sizes
    between = covariance(class_mean_of_each(features, labels))
    expected = np.trace(np.linalg.inv(covariance(features)) @ between)
    assert h_score(features, labels) == pytest.approx(expected)


def test_the_h_score_is_the_sum_of_squared_canonical_correlations(labelled):
    features, labels = labelled(1.5, d=5, classes=3)
    one, other = CCA(2, max_iter=5000, tol=1e-12).fit_transform(features, np.eye(3)[labels])
    expected = sum(np.corrcoef(one[:, i], other[:, i])[0, 1] ** 2 for i in range(2))
    assert h_score(features, labels) == pytest.approx(expected, rel=1e-4)


def test_the_h_score_is_invariant_to_invertible_maps_and_to_constant_or_repeated_columns(labelled):
    features, labels = labelled()
    expected = h_score(features, labels)
    mapped = features @ np.random.default_rng(3).normal(size=(12, 12)) + 5
    assert h_score(mapped, labels) == pytest.approx(expected)
    redundant = np.hstack([features, features[:, :2], np.full((240, 1), 3.0)])
    assert h_score(redundant, labels) == pytest.approx(expected)


def test_the_h_score_ranges_from_zero_to_the_number_of_classes_minus_one():
    labels = np.arange(40) % 4
    assert h_score(np.eye(4)[labels], labels) == pytest.approx(3)
    assert h_score(np.repeat([1.0, -1.0], 20)[:, None], labels) == pytest.approx(0, abs=1e-12)


def test_random_labels_have_the_h_score_of_the_docstring(labelled):
    features, labels = labelled(n=100)
    rng = np.random.default_rng(0)
    found = np.mean([h_score(features, rng.permutation(labels)) for _ in range(200)])
    assert found == pytest.approx(3 * 12 / 99, rel=0.05)


def test_the_h_score_warns_if_there_are_more_features_than_examples(labelled):
    features, labels = labelled(n=30, d=40)
    for permuted in (labels, np.random.default_rng(0).permutation(labels)):
        with pytest.warns(TlkitWarning, match=r"30 examples with 40 features is near 3.*shrinkage-h-score"):
            value = h_score(features, permuted)
        assert value == pytest.approx(3)


@pytest.mark.parametrize(("n", "d"), [(90, 6), (30, 40)])
def test_the_regularized_h_score_shrinks_the_covariance(labelled, n, d):
    features, labels = labelled(n=n, d=d, classes=3)
    fitted = LedoitWolf().fit(features)
    assert 0 < fitted.shrinkage_ < 1
    between = covariance(class_mean_of_each(features, labels))
    expected = (1 - fitted.shrinkage_) * np.trace(np.linalg.inv(fitted.covariance_) @ between)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert regularized_h_score(features, labels) == pytest.approx(expected)


def test_with_few_examples_the_regularized_h_score_separates_true_from_random_labels(labelled):
    features, labels = labelled(6.0, n=40, d=60)
    chance = regularized_h_score(features, np.random.default_rng(0).permutation(labels))
    assert regularized_h_score(features, labels) > chance + 0.5


def test_the_regularized_h_score_is_invariant_to_rotation_and_scale(labelled, rotation):
    features, labels = labelled()
    expected = regularized_h_score(features, labels)
    assert regularized_h_score(7 * features @ rotation - 2, labels) == pytest.approx(expected)
    assert regularized_h_score(features * np.linspace(1, 20, 12), labels) != pytest.approx(expected, rel=0.01)


def rate(z, epsilon):
    return 0.5 * np.log(np.linalg.det(np.eye(z.shape[1]) + z.T @ z / (len(z) * epsilon)))


@pytest.mark.parametrize(("n", "d"), [(120, 4), (12, 16)])
def test_transrate_is_the_reduction_of_the_code_length_by_the_classes(labelled, n, d):
    features, labels = labelled(n=n, d=d, classes=3)
    labels[: n // 4] = 0  # classes of different sizes
    z = features - features.mean(axis=0)
    within = sum(np.mean(labels == c) * rate(z[labels == c], 0.1) for c in range(3))
    plain = transrate(features, labels, epsilon=0.1, scaled=False)
    assert plain == pytest.approx(rate(z, 0.1) - within)
    unit = z / np.sqrt(z.var(axis=0).sum())
    assert transrate(features, labels, epsilon=0.1) == pytest.approx(
        transrate(unit, labels, epsilon=0.1, scaled=False)
    )
    assert transrate(features, labels, epsilon=0.1) != pytest.approx(plain, rel=1e-3)


def test_transrate_is_invariant_to_rotation_scale_and_shift(labelled, rotation):
    features, labels = labelled()
    expected = transrate(features, labels)
    assert transrate(7 * features @ rotation - 2, labels) == pytest.approx(expected)
    plain, larger = (transrate(s * features, labels, epsilon=0.1, scaled=False) for s in (1, 7))
    assert plain != pytest.approx(larger, rel=1e-2)


def test_transrate_of_identical_classes_is_zero():
    features = np.random.default_rng(0).normal(size=(20, 3))
    assert transrate(np.vstack([features, features]), np.repeat([0, 1], 20)) == pytest.approx(0, abs=1e-9)
