"""GBC and SFDA against their definitions."""

import warnings
from itertools import permutations

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tlkit.challenges.model_selection import gbc, sfda
from tlkit.errors import DataError, TlkitWarning


def slow_gbc(x, labels):
    total = 0.0
    for i, j in permutations(np.unique(labels), 2):
        (m, v), (o, w) = (
            (each.mean(axis=0), each.var(axis=0).mean()) for each in (x[labels == i], x[labels == j])
        )
        d = x.shape[1]
        both, one, other = ((s * np.eye(d)) for s in ((v + w) / 2, v, w))
        distance = (m - o) @ np.linalg.inv(both) @ (m - o) / 8
        distance += 0.5 * np.linalg.slogdet(both)[1]
        distance -= 0.25 * (np.linalg.slogdet(one)[1] + np.linalg.slogdet(other)[1])
        total += np.exp(-distance)
    return -total


def test_gbc_sums_the_coefficients_of_all_class_pairs(labelled):
    features, labels = labelled(2.0)
    features[labels == 1] *= 1.7  # classes of different width
    assert gbc(features, labels) == pytest.approx(slow_gbc(features, labels))


def test_the_coefficient_of_gbc_is_the_overlap_of_two_densities():
    rng = np.random.default_rng(0)
    features = np.r_[rng.normal(0, 1, 400), rng.normal(2, 0.5, 400)][:, None]
    labels = np.repeat([0, 1], 400)
    grid = np.linspace(-8, 10, 20001)
    one, other = (
        multivariate_normal.pdf(grid, features[labels == c].mean(), features[labels == c].var())
        for c in (0, 1)
    )
    overlap = np.trapezoid(np.sqrt(one * other), grid)
    assert gbc(features, labels) == pytest.approx(-2 * overlap, rel=1e-6)


def test_gbc_reduces_many_dimensions_by_pca(labelled):
    features, labels = labelled(1.0, d=80)
    reduced = PCA(64).fit_transform(features)
    assert gbc(features, labels) == pytest.approx(slow_gbc(reduced, labels))
    assert gbc(features, labels, dimensions=None) == pytest.approx(slow_gbc(features, labels))
    few = slow_gbc(PCA(5).fit_transform(features), labels)
    assert gbc(features, labels, dimensions=5) == pytest.approx(few)


def test_gbc_is_invariant_to_rotation_and_scale(labelled, rotation):
    features, labels = labelled(1.0)
    assert gbc(1e-3 * features @ rotation + 4, labels) == pytest.approx(gbc(features, labels))


def test_gbc_ranges_from_minus_the_number_of_pairs_to_zero(labelled):
    features, _ = labelled(n=50)
    assert gbc(np.vstack([features] * 3), np.repeat([0, 1, 2], 50)) == pytest.approx(-6)
    assert gbc(np.eye(3)[np.arange(9) % 3], np.arange(9) % 3) == pytest.approx(0, abs=1e-12)


def test_gbc_refuses_a_class_with_one_example(labelled):
    features, labels = labelled()
    with pytest.raises(DataError, match="fewer than 2 examples, such as label 9"):
        gbc(features, np.r_[labels[:-1], 9])


def fisher(x, labels, shrinkage):
    """Return class probabilities by the projections of the paper: eigenvectors of S_b relative to S_w."""
    classes = np.unique(labels)
    priors = np.array([np.mean(labels == c) for c in classes])
    means = np.stack([x[labels == c].mean(axis=0) for c in classes])
    within = sum(p * np.cov(x[labels == c].T, bias=True) for p, c in zip(priors, classes, strict=True))
    total = np.cov(x.T, bias=True)
    if shrinkage is None:
        shrinkage = max(np.exp(-5 * np.linalg.eigvalsh(within)[-1]), 1e-10)
    within, total = (
        (1 - shrinkage) * s + shrinkage * np.trace(s) / len(s) * np.eye(len(s)) for s in (within, total)
    )
    _, u = eigh(total - within, within)
    projected = means @ u
    scores = x @ u @ projected.T - 0.5 * (projected**2).sum(axis=1) + np.log(priors)
    return softmax(scores, axis=1), shrinkage


def slow_sfda(x, labels):
    p, shrinkage = fisher(x, labels, None)
    p = softmax(p, axis=1)
    means = np.stack([x[labels == c].mean(axis=0) for c in np.unique(labels)])
    harder = np.empty_like(x)
    for i, c in enumerate(labels):
        others = np.delete(means, c, axis=0).mean(axis=0)
        harder[i] = p[i, c] * x[i] + (1 - p[i, c]) * others
    q, _ = fisher(harder, labels, shrinkage)
    return np.mean([q[i, c] for i, c in enumerate(labels)])


@pytest.mark.parametrize("scale", [1.0, 0.3, 0.03])
def test_sfda_follows_the_three_steps_of_the_paper(labelled, scale):
    features, labels = labelled(2.0)
    features[labels == 1] *= 1.3
    labels = np.where(labels == 3, np.arange(240) % 3, labels)  # classes of different sizes
    assert sfda(scale * features, labels) == pytest.approx(slow_sfda(scale * features, labels))


def test_the_discriminant_analysis_agrees_with_scikit_learn(labelled):
    features, labels = labelled(1.0)
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(features, labels)
    np.testing.assert_allclose(fisher(features, labels, 0.1)[0], lda.predict_proba(features), rtol=1e-6)


def test_sfda_depends_on_scale_but_not_on_rotation_and_does_not_change_its_input(labelled, rotation):
    features, labels = labelled(1.0)
    before = features.copy()
    expected = sfda(features, labels)
    assert sfda(features @ rotation, labels) == pytest.approx(expected)
    assert sfda(0.1 * features, labels) != pytest.approx(expected, rel=1e-3)
    np.testing.assert_array_equal(features, before)


def test_sfda_of_random_labels_is_one_over_the_classes_and_of_single_points_one(labelled):
    features, labels = labelled(n=4000, d=12)
    chance = sfda(features, np.random.default_rng(0).permutation(labels))
    assert chance == pytest.approx(1 / 4, abs=0.02)
    assert sfda(np.eye(4)[labels], labels) == pytest.approx(1)


def test_sfda_warns_if_it_fits_every_example(labelled):
    features, labels = labelled(n=30, d=40)
    chance = np.random.default_rng(0).permutation(labels)
    with pytest.warns(TlkitWarning, match="30 examples with 40 features.*Divide the features"):
        assert sfda(5 * features, chance) > 0.9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sfda(0.03 * features, chance) < 0.9
