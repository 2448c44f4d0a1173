"""A study: every arm with every setting and every seed, in one tidy table."""

import keras
import numpy as np
import pytest

from tlkit.errors import TlkitError
from tlkit.experiments.statistics import compare, summary


def test_every_arm_meets_every_combination_of_settings_and_every_seed():
    seen = []

    def arm(seed, labels, depth):
        seen.append((labels, depth, seed))
        return {"accuracy": labels + seed}

    table = compare({"one": arm, "two": arm}, seeds=[0, 1], settings={"labels": [1, 3], "depth": "ab"})
    assert seen[:8] == [(n, d, seed) for n in (1, 3) for d in "ab" for seed in (0, 1)]
    assert list(table) == ["arm", "labels", "depth", "seed", "accuracy", "seconds"]
    assert len(table) == 16
    assert (table["accuracy"] == table["labels"] + table["seed"]).all()


def test_without_settings_an_arm_takes_the_seed_alone():
    table = compare({"arm": lambda seed: {"accuracy": seed}}, seeds=iter([3, 4]))
    assert list(table) == ["arm", "seed", "accuracy", "seconds"]
    assert table["accuracy"].tolist() == [3, 4]


def test_every_cell_is_seeded_alike():
    def draw(seed, labels):
        return {"value": float(keras.random.uniform(()))}

    table = compare({"one": draw, "two": draw}, seeds=[0, 1], settings={"labels": [1, 3]})
    assert table.groupby("seed")["value"].nunique().tolist() == [1, 1]
    assert table["value"].nunique() == 2


def test_a_summary_is_over_the_seeds_of_each_group():
    arms = {"b": lambda seed, labels: {"accuracy": labels + seed}, "a": lambda seed, labels: {"accuracy": 0}}
    table = compare(arms, seeds=[0, 1, 2], settings={"labels": [10, 1]})
    by_both = summary(table, by=("arm", "labels"))
    assert by_both.index.tolist() == [("b", 10), ("b", 1), ("a", 10), ("a", 1)]
    assert by_both.loc[("b", 10)].tolist() == [11, 1, 10, 12, 3]
    assert summary(table).index.tolist() == ["b", "a"]
    assert summary(table, by="labels").loc[1, "mean"] == pytest.approx(np.mean([1, 2, 3, 0, 0, 0]))


def test_what_cannot_be_run_is_refused():
    arm = {"arm": lambda seed, **setting: {}}
    for options in ({"seeds": []}, {"settings": {"labels": []}}):
        with pytest.raises(TlkitError, match="at least one arm, one value of each setting and one seed"):
            compare(arm, **options)
    with pytest.raises(TlkitError, match="cannot be named 'seed'"):
        compare(arm, settings={"seed": [1]})
