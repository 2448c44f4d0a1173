"""Validation of the inputs of the scores: invalid ones are refused with advice."""

import tracemalloc

import numpy as np
import pytest

from tlkit.challenges.model_selection import check_examples, check_probabilities, h_score, leep, logme
from tlkit.errors import DataError

X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 0, 1, 1, 2, 2])


def test_labels_may_have_gaps_and_be_negative():
    examples = check_examples(X.astype("float32"), [9, 9, -1, -1, 4, 4])
    assert examples.classes.tolist() == [2, 2, 0, 0, 1, 1]
    assert examples.counts.tolist() == [2, 2, 2]
    np.testing.assert_array_equal(examples.class_means, [[5, 6], [9, 10], [1, 2]])
    assert examples.features.dtype == "float64"


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (X, Y[:5], r"shape \(5,\) were given; expected \(6,\)"),
        (X, np.eye(3)[Y], r"labels\.argmax\(axis=1\)"),
        (X, Y + 0.5, "type float64 were given; expected integers"),
        (X, np.array(list("aabbcc")), "np.unique"),
        (X, np.zeros(6, int), "All 6 labels are 0.*Add examples of other classes"),
        (X[:, 0], Y, r"shape \(6,\) were given; expected \(n, d\)"),
        (X[:, None, None], Y, "mean over h and w"),
        (np.zeros((0, 2)), Y[:0], r"\(0, 2\)"),
        (np.ones((6, 2)), Y, "same features.*weights"),
        ([["a"] * 2] * 6, Y, "not numbers"),
    ],
)
def test_invalid_examples_are_refused_with_advice(features, labels, message):
    with pytest.raises(DataError, match=message):
        check_examples(features, labels)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted_and_listed(value):
    broken = X.copy()
    broken[[1, 4], [0, 1]] = value
    with pytest.raises(DataError, match=r"2 of 6 rows \(indices 1, 4\).*leave the rows out"):
        check_examples(broken, Y)


def test_of_many_broken_rows_the_first_are_listed():
    with pytest.raises(DataError, match=r"6 of 6 rows \(indices 0, 1, 2, 3, 4, \.\.\.\)"):
        check_examples(X * np.nan, Y)


def test_a_class_with_too_few_examples_is_named():
    with pytest.raises(DataError, match="1 of 2 classes have fewer than 2 examples, such as label 7"):
        check_examples(X, [3, 3, 3, 3, 3, 7], min_per_class=2)


def test_a_sample_keeps_the_class_proportions_and_the_labels_of_its_rows():
    labels = np.repeat([0, 1, 2], [60, 39, 1])
    examples = check_examples(np.arange(200.0).reshape(100, 2), labels)
    sample = examples.sample(21, seed=0)
    assert sample.counts.tolist() == [12, 8, 1]
    assert (labels[(sample.features[:, 0] / 2).astype(int)] == sample.classes).all()
    assert len(np.unique(sample.features[:, 0])) == 21
    np.testing.assert_array_equal(sample.features, examples.sample(21, seed=0).features)
    assert not np.array_equal(sample.features, examples.sample(21, seed=1).features)
    assert examples.sample(100, seed=0) is examples


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p * 0.9, "do not sum to 1"),
        (lambda p: p - [1, -1], "negative"),
        (lambda p: p * np.nan, "infinite"),
        (np.log, r"softmax\(logits"),
        (lambda p: p[:, 0], r"shape \(6,\) were given"),
        (lambda p: p[:5], r"shape \(6,\) were given; expected \(5,\)"),
    ],
)
def test_rows_that_are_not_probability_distributions_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        check_probabilities(change(np.full((6, 2), 0.5)), Y)


def test_float16_probabilities_are_accepted_and_normalised():
    half = np.random.default_rng(0).dirichlet(np.ones(1000), size=6).astype("float16")
    theta, classes = check_probabilities(half, Y)
    np.testing.assert_allclose(theta.sum(axis=1), 1, rtol=1e-12)
    assert classes.tolist() == Y.tolist()


def test_moments_sum_over_several_blocks(labelled):
    features, labels = labelled(n=5000, d=3, classes=2)
    examples = check_examples(features.astype("float32"), labels, keep_float32=True)
    assert examples.features.dtype == "float32"
    x = examples.features.astype("float64")
    for centred, shift in ((False, 0.0), (True, x.mean(axis=0))):
        second, sums = examples.moments(centred=centred, scale=2.0)
        scaled = (x - shift) / 2
        np.testing.assert_allclose(second, sum(np.outer(row, row) for row in scaled))
        np.testing.assert_allclose(sums, [scaled[labels == c].sum(axis=0) for c in range(2)], atol=1e-9)


@pytest.mark.parametrize("score", [logme, h_score])
def test_float32_features_are_not_copied_as_a_whole_and_lose_no_precision(score, labelled):
    features, labels = labelled(n=60_000, d=40)
    single = features.astype("float32")
    score(single[:100], labels[:100])  # imports
    tracemalloc.start()
    value = score(single, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < single.nbytes
    assert value == pytest.approx(score(single.astype("float64"), labels), rel=1e-9)


def test_float32_probabilities_are_not_copied_as_a_whole_and_lose_no_precision():
    rng = np.random.default_rng(0)
    theta = rng.dirichlet(np.ones(50), 20_000).astype("float32")
    labels = rng.integers(0, 4, len(theta))
    leep(theta[:100], labels[:100])  # imports
    tracemalloc.start()
    value = leep(theta, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < theta.nbytes
    assert value == pytest.approx(leep(theta.astype("float64"), labels), rel=1e-6)
