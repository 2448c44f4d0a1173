"""Dataset size: the power law recovers the true curve, and its intervals cover the truth."""

from itertools import pairwise

import numpy as np
import pytest
from pushes import full

from tlkit.challenges.dataset_size import fit_power_law, fit_resampled, forecast_check, nested_subsets
from tlkit.data import Split
from tlkit.errors import DataError, NoLabelsError, TlkitError, TlkitWarning

SIZES = np.array([5, 10, 20, 40, 80, 160])
SCALE, EXPONENT, LIMIT = 0.9, 0.5, 0.08


def truth(labels):
    return 1 - (LIMIT + SCALE * np.asarray(labels, float) ** -EXPONENT)


def measured(seeds, noise, rng, sizes=SIZES):
    """Return labels and accuracies of a simulated study; the noise is larger for fewer labels."""
    labels = np.repeat(sizes, seeds)
    return labels, truth(labels) + noise * (labels / 5) ** -0.4 * rng.normal(size=len(labels))


@pytest.fixture(scope="module")
def fitted():
    """Fits to twenty simulated studies of one curve."""
    rng = np.random.default_rng(0)
    return [fit_power_law(*measured(5, 0.02, rng)) for _ in range(20)]


def test_the_true_power_law_is_recovered():
    law = fit_power_law(np.repeat(SIZES, 3), truth(np.repeat(SIZES, 3)))
    assert (law.scale, law.exponent, law.limit) == pytest.approx((SCALE, EXPONENT, LIMIT), abs=1e-4)
    assert law.accuracy([1000, 5000]) == pytest.approx(truth([1000, 5000]), abs=1e-4)
    assert law.needed(0.9).labels == pytest.approx((SCALE / 0.02) ** 2, rel=0.01)


@full
def test_intervals_have_their_nominal_coverage(fitted):
    for size in (320, 1280):
        covered = [low <= truth(size) <= high for low, high in (law.interval(size) for law in fitted)]
        assert np.mean(covered) >= 0.85
        half = [low <= truth(size) <= high for low, high in (law.interval(size, 0.5) for law in fitted)]
        assert 0.3 < np.mean(half) < 0.8


def test_the_interval_of_the_labels_needed_covers_the_truth(fitted):
    true = (SCALE / (1 - 0.88 - LIMIT)) ** 2
    found = [law.needed(0.88) for law in fitted]
    assert np.mean([each.low <= true <= each.high for each in found]) >= 0.85
    assert np.median([each.labels for each in found]) == pytest.approx(true, rel=0.4)


def test_the_interval_is_wider_for_larger_sizes_and_more_noise():
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


def test_an_accuracy_beyond_the_limit_needs_infinitely_many_labels():
    law = fit_power_law(np.repeat(SIZES, 3), truth(np.repeat(SIZES, 3)))
    assert law.needed(0.95).labels == np.inf
    assert law.needed(0.95).high == np.inf
    for accuracy in (0, 1, 90):
        with pytest.raises(TlkitError, match="expected a fraction"):
            law.needed(accuracy)


def test_seeds_that_agree_by_chance_do_not_dominate_the_fit():
    labels, found = measured(3, 0.02, np.random.default_rng(2))
    found[labels == 20] = truth(20) - 0.05  # all three equal, and wrong
    law = fit_power_law(labels, found)
    assert abs(law.accuracy(20) - truth(20)) < 0.04


def test_with_one_seed_a_warning_reports_that_the_spread_is_unknown():
    rng = np.random.default_rng(0)
    with pytest.warns(TlkitWarning, match="the spread is unknown"):
        law = fit_power_law(SIZES, truth(SIZES) + rng.normal(0, 0.01, len(SIZES)))
    low, high = law.interval(320)
    assert low < law.accuracy(320) < high


def test_a_flat_curve_never_reaches_the_target():
    rng = np.random.default_rng(0)
    labels = np.repeat(SIZES, 3)
    law = fit_power_law(labels, 0.3 + rng.normal(0, 0.01, len(labels)))
    assert law.accuracy(10_000) == pytest.approx(0.3, abs=0.05)
    assert law.needed(0.9).labels == np.inf


def test_the_forecast_of_held_out_sizes_does_not_depend_on_their_accuracies():
    labels, found = measured(5, 0.01, np.random.default_rng(3))
    check = forecast_check(labels, found, held_out=2)
    assert check["labels"].tolist() == [80, 160]
    assert check["error"].abs().max() < 0.03
    assert (check["forecast"] - check["measured"]).tolist() == check["error"].tolist()
    corrupted = np.where(labels >= 80, 0.1, found)
    repeated = forecast_check(labels, corrupted, held_out=2)
    assert repeated["forecast"].tolist() == check["forecast"].tolist()
    assert (repeated["measured"] < repeated["low"]).all()
    for held_out in (0, 3, 9):
        with pytest.raises(DataError, match="4 left to fit"):
            forecast_check(labels, found, held_out=held_out)


def test_invalid_measurements_are_refused():
    with pytest.raises(DataError, match="3 sizes were given"):
        fit_power_law([5, 10, 20, 20], [0.1, 0.2, 0.3, 0.3])
    with pytest.raises(DataError, match="shape"):
        fit_power_law(SIZES, [0.1])
    for wrong in (np.nan, 85.0):
        with pytest.raises(DataError, match="from 0 to 1"):
            fit_power_law(SIZES, [0.1, 0.2, 0.3, 0.4, 0.5, wrong])


@pytest.fixture
def uneven():
    """90 images of three classes, with 60, 27 and 3 images, in random order."""
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 4], [60, 27, 3]))
    images = np.arange(90, dtype="uint8")[:, None, None, None] * np.ones((8, 8, 3), "uint8")
    return Split(images, labels)


def test_subsets_are_nested_and_keep_the_class_proportions(uneven):
    found = nested_subsets(uneven, [3, 10, 30, 60, 90], seed=1)
    names = [set(split.names) for split in found.values()]
    assert [len(each) for each in names] == [3, 10, 30, 60, 90]
    assert all(small < large for small, large in pairwise(names))
    for size, split in found.items():
        counts = np.array([np.sum(split.labels == label) for label in (0, 1, 4)])
        assert counts.min() >= 1
        assert np.abs(counts - size * np.array([60, 27, 3]) / 90).max() <= 2
        assert (split.images[:, 0, 0, 0] == split.names.astype(int)).all(), "each image keeps its own name"


def test_the_subsets_depend_only_on_the_seed(uneven):
    one, same, other = (set(nested_subsets(uneven, [30], seed=seed)[30].names) for seed in (1, 1, 2))
    assert one == same != other


def test_impossible_sizes_and_missing_labels_are_refused(uneven):
    for size in (2, 91):
        with pytest.raises(DataError, match="from 3 to 90"):
            nested_subsets(uneven, [size])
    with pytest.raises(NoLabelsError):
        nested_subsets(uneven.unlabelled(), [10])


def test_accuracies_and_their_interval_stay_within_0_and_1():
    labels, accuracies = measured(3, 0.05, np.random.default_rng(0))
    law = fit_power_law(labels, np.clip(accuracies, 0, 1))
    low, high = law.interval(np.geomspace(0.01, 1e6, 50))
    assert min(low) == 0
    assert max(high) <= 1
    assert law.accuracy(0.01) == 0


def test_resampled_curves_give_the_law_and_an_interval_that_covers_it():
    rng = np.random.default_rng(3)
    shared, own = rng.normal(0, 0.02, (200, 1)), rng.normal(0, 0.004, (200, len(SIZES)))
    law = fit_resampled(SIZES, np.vstack([truth(SIZES), truth(SIZES) + shared + own]))
    assert (law.scale, law.exponent, law.limit) == pytest.approx((SCALE, EXPONENT, LIMIT), abs=1e-3)
    assert law.draws.shape == (200, 3)
    low, high = law.interval(320)
    assert low < truth(320) < high
    assert high - low > 0.05, "the errors that all sizes share are part of the uncertainty"


def test_resampled_curves_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"shape \(6,\).*at least 4 sizes and 2 resamples"):
        fit_resampled(SIZES, truth(SIZES))
    with pytest.raises(DataError, match="ascending"):
        fit_resampled(SIZES[::-1], np.tile(truth(SIZES), (5, 1)))
