"""Means and differences of pairs, with intervals that hold what they promise."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tlkit._internal.intervals import mean_interval
from tlkit.errors import TlkitError, TlkitWarning, UnknownNameError
from tlkit.reports.statistics import fraction_interval, paired, summary


def two_arms(differences, noise=5.0, labels=None):
    """A table in which seeds differ far more than the arms do."""
    rng = np.random.default_rng(0)
    rows = []
    for seed, difference in enumerate(differences):
        base = rng.normal(0, noise)
        rows += [("control", seed, base), ("arm", seed, base + difference)]
    table = pd.DataFrame(rows, columns=["arm", "seed", "accuracy"])
    return table if labels is None else table.assign(labels=labels)


def test_a_summary_is_over_the_seeds_of_each_group():
    rows = [("b", n, seed, n + seed) for n in (10, 1) for seed in (0, 1, 2)]
    rows += [("a", n, seed, 0) for n in (10, 1) for seed in (0, 1, 2)]
    table = pd.DataFrame(rows, columns=["arm", "labels", "seed", "accuracy"])
    by_both = summary(table, by=("arm", "labels"))
    assert by_both.index.tolist() == [("b", 10), ("b", 1), ("a", 10), ("a", 1)]
    assert by_both.loc[("b", 10)].tolist() == [11, 1, 10, 12, 3]
    assert summary(table).index.tolist() == ["b", "a"]
    assert summary(table, by="labels").loc[1, "mean"] == pytest.approx(np.mean([1, 2, 3, 0, 0, 0]))


def test_one_seed_has_a_mean_and_no_spread():
    one = summary(two_arms([0.1])).loc["arm"]
    assert np.isnan(one["std"])
    assert one["seeds"] == 1


@pytest.mark.parametrize("other", ["imagenet", 0.5])
def test_a_setting_that_is_none_is_a_group_like_any_other(other):
    rows = [
        {"arm": arm, "setting": setting, "seed": seed, "accuracy": seed + gain * (arm == "arm")}
        for setting, gain in ((None, 0.1), (other, 0.2))
        for arm in ("control", "arm")
        for seed in (0, 1)
    ]
    table = pd.DataFrame(rows)
    assert summary(table, by=("setting", "arm"))["seeds"].tolist() == [2, 2, 2, 2]
    found = paired(table, control="control", by="setting")
    assert found["difference"].tolist() == pytest.approx([0.1, 0.2])
    assert found["pairs"].tolist() == [2, 2]


def test_what_a_seed_does_to_both_arms_cancels_out():
    found = paired(two_arms([0.1, 0.2, 0.3]), control="control").loc["arm"]
    assert found["difference"] == pytest.approx(0.2)
    margin = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert (found["low"], found["high"]) == pytest.approx((0.2 - margin, 0.2 + margin))
    assert (found["better"], found["pairs"]) == (1.0, 3)


def test_pairs_go_by_seed_and_not_by_row():
    table = two_arms([0.1, 0.2, 0.3])
    shuffled = table.sample(frac=1, random_state=1)
    shuffled["arm"] = pd.Categorical(shuffled["arm"], ["control", "arm"])
    found = paired(shuffled.astype({"arm": str}), control="control")
    pd.testing.assert_frame_equal(found, paired(table, control="control"))


def test_many_pairs_take_the_bootstrap():
    differences = np.random.default_rng(1).exponential(1.0, 30)
    found = paired(two_arms(differences), control="control").loc["arm"]
    expected = stats.bootstrap((differences,), np.mean, rng=0).confidence_interval
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected), abs=1e-6)
    assert found["high"] - found["difference"] > found["difference"] - found["low"], "it knows the long tail"


@pytest.mark.parametrize("pairs", [3, 5])
def test_intervals_of_few_seeds_hold_the_mean_as_often_as_they_say(pairs):
    drawn = np.random.default_rng(0).normal(0, 1, (300, pairs))
    held = [
        row["low"] <= 0 <= row["high"]
        for row in (paired(two_arms(each), control="control").loc["arm"] for each in drawn)
    ]
    assert 0.91 < np.mean(held) < 0.99


def test_a_higher_confidence_is_wider():
    table = two_arms([0.1, 0.2, 0.4])
    wide, narrow = (paired(table, "control", confidence=each).loc["arm"] for each in (0.99, 0.5))
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]


def test_groups_are_compared_apart():
    table = pd.concat([two_arms([0.1, 0.1], labels=5), two_arms([-0.3, -0.3], labels=1)])
    found = paired(table, control="control", by="labels")
    assert found.index.tolist() == [(5, "arm"), (1, "arm")]
    assert found["difference"].tolist() == pytest.approx([0.1, -0.3])
    assert found["better"].tolist() == [1, 0]
    with pytest.raises(TlkitError, match="several rows for the same seed"):
        paired(table, control="control")


def test_a_seed_that_one_arm_lacks_makes_no_pair():
    table = two_arms([0.1, 0.2, 0.3]).iloc[:-1]
    assert paired(table, control="control").loc["arm", "pairs"] == 2


def test_one_seed_has_a_difference_and_no_interval():
    with pytest.warns(TlkitWarning, match="spread is unknown"):
        found = paired(two_arms([0.1]), control="control").loc["arm"]
    assert found["difference"] == pytest.approx(0.1)
    assert np.isnan([found["low"], found["high"]]).all()


def test_equal_differences_need_no_spread():
    found = paired(two_arms([0.25] * 12, noise=0.0), control="control").loc["arm"]
    assert (found["low"], found["high"]) == (0.25, 0.25)


def test_unknown_and_lonely_arms_are_refused():
    table = two_arms([0.1, 0.2])
    with pytest.raises(UnknownNameError, match="Did you mean 'control'"):
        paired(table, control="contrl")
    with pytest.raises(TlkitError, match="has only the arm 'control'"):
        paired(table[table["arm"] == "control"], control="control")


def test_the_interval_of_fractions_stays_within_0_and_1_and_is_the_usual_one_elsewhere():
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = np.clip(rng.normal(rng.uniform(), rng.uniform(0, 0.3), rng.integers(2, 15)), 0, 1)
        low, high = fraction_interval(values)
        assert 0 <= low <= values.mean() + 1e-12
        assert values.mean() - 1e-12 <= high <= 1
    values = np.array([0.50, 0.505, 0.51])
    assert fraction_interval(values) == pytest.approx(mean_interval(values), abs=1e-3)
    assert np.isnan(fraction_interval([0.5])).all()
    assert fraction_interval([1.0, 1.0]) == (1, 1)
