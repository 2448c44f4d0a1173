"""Dataset size: a power law that finds what made the curve, and says how sure it is."""

from itertools import pairwise

import numpy as np
import pytest

from tlkit.challenges.dataset_size import fit_power_law, forecast_check, nested_subsets
from tlkit.data import Split
from tlkit.errors import DataError, NoLabelsError, TlkitError, TlkitWarning

SIZES = np.array([5, 10, 20, 40, 80, 160])
SCALE, EXPONENT, LIMIT = 0.9, 0.5, 0.08


def truth(labels):
    return 1 - (LIMIT + SCALE * np.asarray(labels, float) ** -EXPONENT)


def measured(seeds, noise, rng, sizes=SIZES):
    """A study of this many seeds: labels and accuracies, more spread where there are few labels."""
    labels = np.repeat(sizes, seeds)
    return labels, truth(labels) + noise * (labels / 5) ** -0.4 * rng.normal(size=len(labels))


@pytest.fixture(scope="module")
def fitted():
    """Fits to twenty noisy studies of one curve."""
    rng = np.random.default_rng(0)
    return [fit_power_law(*measured(5, 0.02, rng)) for _ in range(20)]


def test_the_law_that_made_a_curve_is_recovered():
    law = fit_power_law(np.repeat(SIZES, 3), truth(np.repeat(SIZES, 3)))
    assert (law.scale, law.exponent, law.limit) == pytest.approx((SCALE, EXPONENT, LIMIT), abs=1e-4)
    assert law.accuracy([1000, 5000]) == pytest.approx(truth([1000, 5000]), abs=1e-4)
    assert law.needed(0.9).labels == pytest.approx((SCALE / 0.02) ** 2, rel=0.01)


def test_intervals_hold_the_truth_as_often_as_they_say(fitted):
    for size in (320, 1280):
        held = [low <= truth(size) <= high for low, high in (law.interval(size) for law in fitted)]
        assert np.mean(held) >= 0.85
        half = [low <= truth(size) <= high for low, high in (law.interval(size, 0.5) for law in fitted)]
        assert 0.3 < np.mean(half) < 0.8


def test_the_number_of_labels_needed_comes_with_an_interval_that_holds_it(fitted):
    true = (SCALE / (1 - 0.88 - LIMIT)) ** 2
    answers = [law.needed(0.88) for law in fitted]
    assert np.mean([answer.low <= true <= answer.high for answer in answers]) >= 0.85
    assert np.median([answer.labels for answer in answers]) == pytest.approx(true, rel=0.4)


def test_further_away_and_with_more_noise_it_is_less_sure():
    rng = np.random.default_rng(1)
    exact, noisy = (fit_power_law(*measured(3, noise, rng)) for noise in (0.002, 0.03))

    def width(law, labels):
        low, high = law.interval(labels)
        return high - low

    assert width(exact, 160) < width(exact, 5000)
    assert width(exact, 1000) < width(noisy, 1000)
    low, high = exact.interval(SIZES)
    assert np.all(low <= high)
    assert low.shape == SIZES.shape


def test_what_lies_beyond_the_limit_needs_infinitely_many_labels():
    law = fit_power_law(np.repeat(SIZES, 3), truth(np.repeat(SIZES, 3)))
    assert law.needed(0.95).labels == np.inf
    assert law.needed(0.95).high == np.inf
    for share in (0, 1, 90):
        with pytest.raises(TlkitError, match="expected a share"):
            law.needed(share)


def test_seeds_that_agree_by_chance_do_not_count_for_everything():
    labels, found = measured(3, 0.02, np.random.default_rng(2))
    found[labels == 20] = truth(20) - 0.05  # all three the same, and off
    law = fit_power_law(labels, found)
    assert abs(law.accuracy(20) - truth(20)) < 0.04


def test_one_seed_is_said_to_leave_the_spread_unknown():
    rng = np.random.default_rng(0)
    with pytest.warns(TlkitWarning, match="the spread is unknown"):
        law = fit_power_law(SIZES, truth(SIZES) + rng.normal(0, 0.01, len(SIZES)))
    low, high = law.interval(320)
    assert low < law.accuracy(320) < high


def test_a_curve_that_does_not_rise_is_flat_and_never_gets_there():
    rng = np.random.default_rng(0)
    labels = np.repeat(SIZES, 3)
    law = fit_power_law(labels, 0.3 + rng.normal(0, 0.01, len(labels)))
    assert law.accuracy(10_000) == pytest.approx(0.3, abs=0.05)
    assert law.needed(0.9).labels == np.inf


def test_the_largest_sizes_are_forecast_without_being_seen():
    labels, found = measured(5, 0.01, np.random.default_rng(3))
    check = forecast_check(labels, found, held_out=2)
    assert check["labels"].tolist() == [80, 160]
    assert check["error"].abs().max() < 0.03
    assert (check["forecast"] - check["measured"]).tolist() == check["error"].tolist()
    corrupted = np.where(labels >= 80, 0.1, found)
    again = forecast_check(labels, corrupted, held_out=2)
    assert again["forecast"].tolist() == check["forecast"].tolist()
    assert (again["measured"] < again["low"]).all()
    for held_out in (0, 3, 9):
        with pytest.raises(DataError, match="4 left to fit"):
            forecast_check(labels, found, held_out=held_out)


def test_measurements_that_make_no_curve_are_refused():
    with pytest.raises(DataError, match="3 sizes were given"):
        fit_power_law([5, 10, 20, 20], [0.1, 0.2, 0.3, 0.3])
    with pytest.raises(DataError, match="shape"):
        fit_power_law(SIZES, [0.1])
    for wrong in (np.nan, 85.0):
        with pytest.raises(DataError, match="from 0 to 1"):
            fit_power_law(SIZES, [0.1, 0.2, 0.3, 0.4, 0.5, wrong])


@pytest.fixture
def uneven():
    """90 images of three classes, 60, 27 and 3 of them, in mixed order."""
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 4], [60, 27, 3]))
    images = np.arange(90, dtype="uint8")[:, None, None, None] * np.ones((8, 8, 3), "uint8")
    return Split(images, labels)


def test_subsets_are_nested_and_keep_the_shares_of_the_classes(uneven):
    found = nested_subsets(uneven, [3, 10, 30, 60, 90], seed=1)
    names = [set(split.names) for split in found.values()]
    assert [len(each) for each in names] == [3, 10, 30, 60, 90]
    assert all(small < large for small, large in pairwise(names))
    for size, split in found.items():
        counts = np.array([np.sum(split.labels == label) for label in (0, 1, 4)])
        assert counts.min() >= 1
        assert np.abs(counts - size * np.array([60, 27, 3]) / 90).max() <= 2
        assert (split.images[:, 0, 0, 0] == split.names.astype(int)).all(), "each image keeps its own name"


def test_another_seed_is_another_choice_and_the_same_seed_the_same(uneven):
    one, same, other = (set(nested_subsets(uneven, [30], seed=seed)[30].names) for seed in (1, 1, 2))
    assert one == same != other


def test_impossible_sizes_and_missing_labels_are_refused(uneven):
    for size in (2, 91):
        with pytest.raises(DataError, match="from 3 to 90"):
            nested_subsets(uneven, [size])
    with pytest.raises(NoLabelsError):
        nested_subsets(uneven.unlabelled(), [10])
