"""Diagnostics compared with slow implementations of their definitions."""

from math import dist, exp, log, sqrt

import numpy as np
import pytest
from scipy.stats import ortho_group

from tlkit.errors import DataError
from tlkit.techniques.self_supervised import alignment, effective_rank, retrieval, spread, uniformity


def draw(n=40, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * rng.uniform(0.2, 3, d) + rng.normal(size=d)


def unit(row):
    length = sqrt(sum(value * value for value in row))
    return [value / length for value in row]


def independent(k, n=50, d=20):
    """Make n vectors of mean zero that vary evenly in k directions of d."""
    rng = np.random.default_rng(k)
    columns = rng.normal(size=(n, k))
    even, _ = np.linalg.qr(columns - columns.mean(axis=0))
    return even @ ortho_group.rvs(d, random_state=1)[:k]


# --- spread


def test_spread_is_that_of_its_definition():
    z = draw()
    rows = [unit(row) for row in z]
    deviations = []
    for column in zip(*rows, strict=True):
        mean = sum(column) / len(column)
        deviations.append(sqrt(sum((value - mean) ** 2 for value in column) / len(column)))
    assert spread(z) == pytest.approx(sqrt(6) * sum(deviations) / 6)


def test_spread_by_hand():
    assert spread(np.eye(4)) == pytest.approx(sqrt(1 - 1 / 4))
    one_of_four = np.array([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]])
    assert spread(one_of_four) == pytest.approx(sqrt(4) / 4)
    assert spread(np.random.default_rng(0).normal(size=(4000, 64))) == pytest.approx(1, abs=0.01)


def test_spread_depends_only_on_directions():
    z, lengths = draw(), np.random.default_rng(1).uniform(0.01, 100, (40, 1))
    assert spread(lengths * z) == pytest.approx(spread(z))
    assert spread(lengths * np.ones((40, 6))) == pytest.approx(0, abs=1e-6)


# --- effective rank


def test_effective_rank_is_that_of_its_definition():
    x = draw()
    centred = x - x.mean(axis=0)
    singular = np.sqrt(np.linalg.eigvalsh(centred.T @ centred))
    fractions = [value / sum(singular) for value in singular]
    assert effective_rank(x) == pytest.approx(exp(-sum(p * log(p) for p in fractions)))


@pytest.mark.parametrize("k", [1, 2, 3, 7, 19])
def test_k_even_directions_have_rank_k(k):
    assert effective_rank(independent(k)) == pytest.approx(k)


def test_the_rank_of_uneven_directions_is_the_exponential_of_their_entropy():
    x = independent(2)
    first, second = np.linalg.svd(x)[2][:2]
    uneven = x + 9 * np.outer(x @ first, first)
    assert 1 < effective_rank(uneven) < 2
    assert effective_rank(uneven) == pytest.approx(exp(-(10 / 11 * log(10 / 11) + 1 / 11 * log(1 / 11))))
    assert abs(first @ second) < 1e-9


def test_effective_rank_is_invariant_to_rotation_translation_and_scale():
    x = draw()
    rotated = x @ ortho_group.rvs(6, random_state=0)
    for changed in (rotated, x + 100, 1e-3 * x, 1e3 * x, x[::-1], np.hstack([x, np.zeros((40, 30))])):
        assert effective_rank(changed) == pytest.approx(effective_rank(x), rel=1e-6)


@pytest.mark.parametrize("d", [16, 100, 1280])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_rounding_errors_of_a_constant_encoder_have_rank_zero(d, size):
    rng = np.random.default_rng(0)
    one = (size * rng.uniform(0.1, 1, d)).astype("float32")
    rounded = np.nextafter(one, np.float32(np.inf) * rng.choice([-1, 1], (300, d)).astype("float32"))
    rounded = np.where(rng.uniform(size=(300, d)) < 0.5, one, rounded)
    assert np.ptp(rounded, axis=0).max() > 0
    assert effective_rank(rounded) == 0.0
    assert effective_rank(np.tile(one, (300, 1))) == 0.0


def test_a_small_variation_around_a_large_mean_counts():
    x = np.full((200, 20), 10.0)
    x[:, 3] += 1e-2 * np.random.default_rng(0).normal(size=200)
    assert effective_rank(x.astype("float32")) == pytest.approx(1)


def test_effective_rank_of_zeros_is_zero():
    assert effective_rank(np.zeros((5, 3))) == 0.0


# --- alignment and uniformity


def test_alignment_is_that_of_its_definition():
    one, other = draw(seed=1), draw(seed=2)
    squares = [dist(unit(a), unit(b)) ** 2 for a, b in zip(one, other, strict=True)]
    assert alignment(one, other) == pytest.approx(sum(squares) / 40)
    assert alignment(one, other) == pytest.approx(alignment(other, one))


def test_alignment_is_small_for_views_of_the_same_images_in_the_same_order():
    z = draw()
    near = z + 0.01 * draw(seed=3)
    assert alignment(z, near) < 0.01 < alignment(z, near[::-1])
    assert alignment(z, 5 * z) == pytest.approx(0)
    assert alignment(z, -z) == pytest.approx(4)


def test_uniformity_is_that_of_its_definition():
    z = draw(n=12)
    rows = [unit(row) for row in z]
    pairs = [exp(-2 * dist(a, b) ** 2) for i, a in enumerate(rows) for b in rows[:i]]
    assert len(pairs) == 66
    assert uniformity(z) == pytest.approx(log(sum(pairs) / len(pairs)))


def test_uniformity_is_lower_for_more_even_embeddings():
    rng = np.random.default_rng(0)
    narrow, wide, even = (rng.normal(size=(300, 32)) + mean for mean in (20.0, 1.0, 0.0))
    assert -4 < uniformity(even) < uniformity(wide) < uniformity(narrow) < 0
    assert uniformity(even) == pytest.approx(-4, abs=0.3)
    assert uniformity(np.array([[1.0], [-1.0]])) == pytest.approx(-8)
    assert uniformity(np.ones((4, 3))) == pytest.approx(0, abs=1e-9)


# --- retrieval


def test_retrieval_is_that_of_its_definition():
    features = draw(seed=4)
    changed = features + 1.5 * draw(seed=5)
    correct = 0
    for i, query in enumerate(changed):
        cosines = [sum(a * b for a, b in zip(unit(query), unit(row), strict=True)) for row in features]
        correct += cosines.index(max(cosines)) == i
    assert 0 < correct < 40
    assert retrieval(changed, features) == correct / 40


def by_colour(images):
    """Return a colour histogram of each image, with 4 x 4 x 4 bins."""
    pixels = np.asarray(images).reshape(len(images), -1, 3)
    return np.stack([np.histogramdd(each, bins=4, range=[(0, 256)] * 3)[0].ravel() for each in pixels])


def by_shape(images):
    """Return the brightness of each image on a grid of 8 x 8 cells."""
    light = np.asarray(images, "float64").mean(axis=-1)
    return light.reshape(len(light), 8, 2, 8, 2).mean(axis=(2, 4)).reshape(len(light), 64)


def test_grey_copies_are_retrieved_by_shape_but_not_by_colour(images):
    grey = np.repeat(images.mean(axis=-1, keepdims=True), 3, axis=-1)
    assert retrieval(by_colour(images), by_colour(images)) > 0.9  # the images have different colours
    assert retrieval(by_shape(grey), by_shape(images)) > 0.9
    assert retrieval(by_colour(grey), by_colour(images)) < 0.2


def test_a_constant_encoder_retrieves_one_image_at_most():
    assert retrieval(np.ones((50, 4)), np.ones((50, 4))) <= 1 / 50


# --- bad input


@pytest.mark.parametrize("measure", [spread, effective_rank, uniformity])
@pytest.mark.parametrize("bad", [np.zeros((3, 2, 2, 4)), np.zeros(3), np.zeros((1, 4)), np.zeros((0, 4))])
def test_features_that_are_not_a_matrix_are_refused(measure, bad):
    with pytest.raises(DataError, match=r"expected \(n, d\) with n at least 2"):
        measure(bad)


@pytest.mark.parametrize("measure", [spread, effective_rank, uniformity])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(measure, value):
    with pytest.raises(DataError, match="NaN or infinite"):
        measure(np.array([[1.0, 2.0], [3.0, value]]))


@pytest.mark.parametrize("measure", [alignment, retrieval])
@pytest.mark.parametrize("other", [(5, 4), (6, 3), (6, 1)])
def test_features_of_different_shapes_are_refused(measure, other):
    with pytest.raises(DataError, match="expected equal shapes"):
        measure(np.ones((6, 4)), np.ones(other))
