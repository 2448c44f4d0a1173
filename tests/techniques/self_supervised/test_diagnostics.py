"""Figures of features against their definitions in slow loops."""

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


def test_spread_looks_at_directions_alone():
    z, lengths = draw(), np.random.default_rng(1).uniform(0.01, 100, (40, 1))
    assert spread(lengths * z) == pytest.approx(spread(z))
    assert spread(lengths * np.ones((40, 6))) == pytest.approx(0, abs=1e-6)


# --- effective rank


def test_effective_rank_is_that_of_its_definition():
    x = draw()
    centred = x - x.mean(axis=0)
    singular = np.sqrt(np.linalg.eigvalsh(centred.T @ centred))
    shares = [value / sum(singular) for value in singular]
    assert effective_rank(x) == pytest.approx(exp(-sum(share * log(share) for share in shares)))


@pytest.mark.parametrize("k", [1, 2, 3, 7, 19])
def test_k_even_directions_have_rank_k(k):
    assert effective_rank(independent(k)) == pytest.approx(k)


def test_uneven_directions_count_by_their_share():
    x = independent(2)
    first, second = np.linalg.svd(x)[2][:2]
    uneven = x + 9 * np.outer(x @ first, first)
    assert 1 < effective_rank(uneven) < 2
    assert effective_rank(uneven) == pytest.approx(exp(-(10 / 11 * log(10 / 11) + 1 / 11 * log(1 / 11))))
    assert abs(first @ second) < 1e-9


def test_effective_rank_does_not_change_when_features_are_turned_moved_or_scaled():
    x = draw()
    turned = x @ ortho_group.rvs(6, random_state=0)
    for changed in (turned, x + 100, 1e-3 * x, 1e3 * x, x[::-1], np.hstack([x, np.zeros((40, 30))])):
        assert effective_rank(changed) == pytest.approx(effective_rank(x), rel=1e-6)


@pytest.mark.parametrize("d", [16, 100, 1280])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_rounding_of_a_constant_encoder_is_no_direction(d, size):
    rng = np.random.default_rng(0)
    one = (size * rng.uniform(0.1, 1, d)).astype("float32")
    rounded = np.nextafter(one, np.float32(np.inf) * rng.choice([-1, 1], (300, d)).astype("float32"))
    rounded = np.where(rng.uniform(size=(300, d)) < 0.5, one, rounded)
    assert np.ptp(rounded, axis=0).max() > 0
    assert effective_rank(rounded) == 0.0
    assert effective_rank(np.tile(one, (300, 1))) == 0.0


def test_a_small_true_direction_beside_a_large_mean_still_counts():
    x = np.full((200, 20), 10.0)
    x[:, 3] += 1e-2 * np.random.default_rng(0).normal(size=200)
    assert effective_rank(x.astype("float32")) == pytest.approx(1)


def test_effective_rank_of_zeros_is_none():
    assert effective_rank(np.zeros((5, 3))) == 0.0


# --- alignment and uniformity


def test_alignment_is_that_of_its_definition():
    one, other = draw(seed=1), draw(seed=2)
    squares = [dist(unit(a), unit(b)) ** 2 for a, b in zip(one, other, strict=True)]
    assert alignment(one, other) == pytest.approx(sum(squares) / 40)
    assert alignment(one, other) == pytest.approx(alignment(other, one))


def test_alignment_is_small_for_views_of_one_image_and_looks_row_by_row():
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


def test_uniformity_is_lower_the_more_evenly_vectors_lie():
    rng = np.random.default_rng(0)
    heap, cap, ball = (rng.normal(size=(300, 32)) + mean for mean in (20.0, 1.0, 0.0))
    assert -4 < uniformity(ball) < uniformity(cap) < uniformity(heap) < 0
    assert uniformity(ball) == pytest.approx(-4, abs=0.3)
    assert uniformity(np.array([[1.0], [-1.0]])) == pytest.approx(-8)
    assert uniformity(np.ones((4, 3))) == pytest.approx(0, abs=1e-9)


# --- retrieval


def test_retrieval_is_that_of_its_definition():
    features = draw(seed=4)
    changed = features + 1.5 * draw(seed=5)
    right = 0
    for i, query in enumerate(changed):
        cosines = [sum(a * b for a, b in zip(unit(query), unit(row), strict=True)) for row in features]
        right += cosines.index(max(cosines)) == i
    assert 0 < right < 40
    assert retrieval(changed, features) == right / 40


def by_colour(pictures):
    """Count the pixels of each image in four bins of red, by four of green, by four of blue."""
    pixels = np.asarray(pictures).reshape(len(pictures), -1, 3)
    return np.stack([np.histogramdd(each, bins=4, range=[(0, 256)] * 3)[0].ravel() for each in pixels])


def by_shape(pictures):
    """Return how the brightness is spread over a grid of places."""
    light = np.asarray(pictures, "float64").mean(axis=-1)
    return light.reshape(len(light), 8, 2, 8, 2).mean(axis=(2, 4)).reshape(len(light), 64)


def test_grey_copies_are_found_by_shape_and_not_by_colour(pictures):
    grey = np.repeat(pictures.mean(axis=-1, keepdims=True), 3, axis=-1)
    assert retrieval(by_colour(pictures), by_colour(pictures)) > 0.9  # colours tell these images apart
    assert retrieval(by_shape(grey), by_shape(pictures)) > 0.9
    assert retrieval(by_colour(grey), by_colour(pictures)) < 0.2


def test_an_encoder_that_answers_the_same_finds_one_image_at_most():
    assert retrieval(np.ones((50, 4)), np.ones((50, 4))) <= 1 / 50


# --- bad input


@pytest.mark.parametrize("figure", [spread, effective_rank, uniformity])
@pytest.mark.parametrize("bad", [np.zeros((3, 2, 2, 4)), np.zeros(3), np.zeros((1, 4)), np.zeros((0, 4))])
def test_what_is_no_matrix_of_features_is_refused(figure, bad):
    with pytest.raises(DataError, match=r"expected \(n, d\) with n at least 2"):
        figure(bad)


@pytest.mark.parametrize("figure", [spread, effective_rank, uniformity])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_of_a_broken_network_are_refused(figure, value):
    with pytest.raises(DataError, match="NaN or infinite"):
        figure(np.array([[1.0, 2.0], [3.0, value]]))


@pytest.mark.parametrize("figure", [alignment, retrieval])
@pytest.mark.parametrize("other", [(5, 4), (6, 3), (6, 1)])
def test_features_of_other_images_or_another_network_are_refused(figure, other):
    with pytest.raises(DataError, match="row by row of the same image"):
        figure(np.ones((6, 4)), np.ones(other))
