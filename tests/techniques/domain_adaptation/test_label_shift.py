"""Class frequencies of the target, estimated without its labels."""

import numpy as np
import pytest

from tlkit.errors import DataError
from tlkit.techniques.domain_adaptation import bbse, mlls, reweighted

SOURCE, TARGET = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7])
MEANS = 2.0 * np.eye(3)


def examples(frequencies, seed, n=6000):
    """Labels of these frequencies, and the right probabilities if the frequencies are those of the source."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=frequencies)
    x = rng.normal(MEANS[labels])
    logits = x @ MEANS.T + np.log(SOURCE)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True), labels


def test_both_recover_a_known_shift():
    (source, labels), (target, hidden) = examples(SOURCE, 0), examples(TARGET, 1)
    predicted = np.bincount(target.argmax(axis=1)) / len(target)
    assert np.abs(predicted - TARGET).max() > 0.05  # counting predictions does not
    np.testing.assert_allclose(bbse(source, labels, target), TARGET, atol=0.03)
    np.testing.assert_allclose(mlls(labels, target), TARGET, atol=0.03)
    better = reweighted(target, SOURCE, mlls(labels, target)).argmax(axis=1)
    assert np.mean(better == hidden) > np.mean(target.argmax(axis=1) == hidden) + 0.01


def test_without_a_shift_the_frequencies_are_those_of_the_source():
    (source, labels), (target, _) = examples(SOURCE, 0), examples(SOURCE, 1)
    np.testing.assert_allclose(bbse(source, labels, target), SOURCE, atol=0.03)
    np.testing.assert_allclose(mlls(labels, target), SOURCE, atol=0.03)


def test_a_class_that_the_target_lacks_gets_nearly_nothing():
    (source, labels), (target, _) = examples(SOURCE, 0), examples([0.6, 0.4, 0.0], 1)
    assert bbse(source, labels, target)[2] < 0.02
    assert mlls(labels, target)[2] < 0.02


def test_what_does_not_fit_together_is_refused():
    source, target = np.full((4, 3), 1 / 3), np.full((5, 3), 1 / 3)
    with pytest.raises(DataError, match="at least one source example of each class"):
        bbse(source, np.array([0, 1, 1, 0]), target)
    with pytest.raises(DataError, match="at least one source example of each class"):
        mlls(np.array([0, 1, 2, 3]), target)
    with pytest.raises(DataError, match="one row for each label"):
        bbse(source, np.array([0, 1, 2]), target)
    with pytest.raises(DataError, match="never predicted on the source"):
        bbse(np.eye(2)[[0, 0]], np.array([0, 1]), np.eye(2)[[1, 1]])
