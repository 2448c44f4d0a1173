"""A right answer to every exercise, plausible wrong ones, and the facts that the lesson would give."""

import numpy as np
import pandas as pd


def expected(p, miss, false_alarm, ask):
    return np.stack([p * miss, (1 - p) * false_alarm, np.full(len(p), ask)])


def decide(p, miss, false_alarm, ask):
    return expected(p, miss, false_alarm, ask).argmin(axis=0)


def by_cases(p, miss, false_alarm, ask):
    passing, alarm = p * miss, (1 - p) * false_alarm
    return np.where(np.minimum(passing, alarm) > ask, 2, (passing > alarm).astype(int))


def never_asks(p, miss, false_alarm, ask):
    return (p > false_alarm / (miss + false_alarm)).astype(int)


def swapped(p, miss, false_alarm, ask):
    return decide(1 - p, miss, false_alarm, ask)


def worst(p, miss, false_alarm, ask):
    return expected(p, miss, false_alarm, ask).argmax(axis=0)


def half(p, miss, false_alarm, ask):
    return np.where(expected(p, miss, false_alarm, ask)[:2].min(axis=0) > ask, 2, p > 0.5)


def ratio(p, miss, false_alarm, ask):
    return np.where(expected(p, miss, false_alarm, ask)[:2].min(axis=0) > ask, 2, p > false_alarm / miss)


def by_confidence(p, miss, false_alarm, ask):
    return np.where(np.maximum(p, 1 - p) < 0.95, 2, p > 0.5)


def without_chance(p, miss, false_alarm, ask):
    return np.full(len(p), np.argmin([miss, false_alarm, ask]))


def lowest_costs(p, miss, false_alarm, ask):
    return expected(p, miss, false_alarm, ask).min(axis=0)


def one_for_all(p, miss, false_alarm, ask):
    return int(expected(p, miss, false_alarm, ask).mean(axis=1).argmin())


def along_cells(p, miss, false_alarm, ask):
    return expected(p, miss, false_alarm, ask).argmin(axis=1)


# Two cells with a copy each; the colours of both cells differ by 5 levels, so the default finds 6 pairs.
IMAGES = pd.DataFrame(
    {
        "name": ["intact/0001.png", "intact/0001-copy.jpg", "intact/0002.png", "intact/0002-copy.jpg"],
        "class": "intact",
        "split": "train",
        "digest": ["a", "b", "c", "d"],
        "hash": np.zeros(4, "uint64"),
        "colours": [np.full(3, level, "uint8") for level in (10, 10, 15, 15)],
    }
)

ANSWERS = {
    "12.1": {
        "right": ["raises", "lowers", "leaves"],
        "wrong": [
            ["lowers", "raises", "leaves"],
            ["raises", "raises", "leaves"],
            ["raises", "leaves", "leaves"],
            ["raises", "lowers", "lowers"],
            ["raises", "lowers"],
            "raises",
        ],
    },
    "12.2": {
        "right": decide,
        "wrong": [
            never_asks,
            swapped,
            worst,
            half,
            ratio,
            by_confidence,
            without_chance,
            lowest_costs,
            one_for_all,
            along_cells,
            0.5,
        ],
    },
    "12.3": {"right": 2 / 6, "wrong": [1.0, 4 / 6, 0.5, 33, "few"], "facts": {"images": IMAGES}},
}
