"""Labelled features with a known separation of the classes."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def labelled():
    """A function that draws features `(n, d)` around class means at a given distance, and their labels."""

    def draw(distance=3.0, n=240, d=12, classes=4, seed=0):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(np.arange(n) % classes)
        means = distance * np.linalg.qr(rng.normal(size=(d, classes)))[0].T
        return means[labels] + rng.normal(size=(n, d)) * np.linspace(0.5, 1.5, d) + 1.0, labels

    return draw


@pytest.fixture(scope="session")
def rotation():
    """A rotation of the space of 12 features."""
    return np.linalg.qr(np.random.default_rng(9).normal(size=(12, 12)))[0]
