"""LogME against its definition: the maximum over alpha and beta of a Gaussian density of the labels."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from tlkit.challenges.model_selection import logme


def maximum_evidence(features, target):
    """Return the maximum over alpha and beta of `log N(y; 0, I / beta + F F' / alpha) / n`."""
    n = len(target)

    def loss(logs):
        covariance = np.eye(n) * np.exp(-logs[1]) + features @ features.T * np.exp(-logs[0])
        return -multivariate_normal.logpdf(target, cov=covariance, allow_singular=True) / n

    starts = [(a, b) for a in (0.0, 4.0, 10.0) for b in (0.0, 3.0)]
    return -min(minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-6}).fun for start in starts)


def iterated(features, target, steps=100):
    """Return the evidence by MacKay's iteration, which inverts a matrix in each step (You et al. 2021)."""
    (n, d), alpha, beta = features.shape, 1.0, 1.0
    for _ in range(steps):
        a = alpha * np.eye(d) + beta * features.T @ features
        m = beta * np.linalg.inv(a) @ features.T @ target
        gamma = beta * np.trace(np.linalg.inv(a) @ features.T @ features)
        alpha = gamma / (m @ m)
        beta = (n - gamma) / np.sum((features @ m - target) ** 2)
    a = alpha * np.eye(d) + beta * features.T @ features
    m = beta * np.linalg.inv(a) @ features.T @ target
    logs = d * np.log(alpha) + n * np.log(beta) - n * np.log(2 * np.pi) - np.linalg.slogdet(a)[1]
    return (logs - beta * np.sum((features @ m - target) ** 2) - alpha * m @ m) / (2 * n)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (25, 12), (20, 40)])
def test_logme_is_the_maximum_of_the_evidence(labelled, n, d):
    features, labels = labelled(1.0, n=n, d=d, classes=3)
    expected = np.mean([maximum_evidence(features, (labels == c).astype(float)) for c in range(3)])
    assert logme(features, labels) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(("n", "d", "classes"), [(300, 30, 7), (40, 20, 2)])
def test_one_decomposition_gives_the_same_value_as_an_inverse_in_each_step(labelled, n, d, classes):
    features, labels = labelled(2.0, n=n, d=d, classes=classes)
    expected = np.mean([iterated(features, (labels == c).astype(float)) for c in range(classes)])
    assert logme(features, labels) == pytest.approx(expected, rel=1e-6)


def test_logme_is_invariant_to_rotation_scale_and_columns_of_zeros(labelled, rotation):
    features, labels = labelled()
    expected = logme(features, labels)
    assert logme(features @ rotation, labels) == pytest.approx(expected, rel=1e-9)
    assert logme(1e-3 * features, labels) == pytest.approx(expected, rel=1e-6)
    assert logme(1e4 * features, labels) == pytest.approx(expected, rel=1e-6)
    assert logme(np.hstack([features, np.zeros((240, 3))]), labels) == pytest.approx(expected, rel=1e-9)


def test_logme_is_stable_if_features_fit_the_labels_perfectly_or_not_at_all(labelled):
    features, labels = labelled(n=20, d=60, classes=2)
    assert np.isfinite(logme(features, labels))
    assert np.isfinite(logme(np.eye(2)[labels], labels))
    assert logme(np.eye(2)[labels], labels) > logme(features, labels)
    # features orthogonal to both classes explain nothing: the evidence is that of noise alone
    orthogonal = np.tile([[1.0], [1.0], [-1.0], [-1.0]], (5, 1))
    noise_only = -0.5 * (np.log(2 * np.pi * 0.5) + 1)
    assert logme(orthogonal, np.arange(20) % 2) == pytest.approx(noise_only, abs=1e-6)


def test_added_noise_dimensions_lower_the_score(labelled):
    features, labels = labelled(2.0)
    noise = np.random.default_rng(5).normal(size=(240, 150))
    assert logme(np.hstack([features, noise]), labels) < logme(features, labels)
