"""A right answer to every exercise, plausible wrong ones, and the facts that the lesson would give."""

import numpy as np


def weighted(start, end, mix):
    return [(1 - mix) * one + mix * other for one, other in zip(start, end, strict=True)]


ANSWERS = {
    "02.1": {"right": 299, "wrong": [298, 95, 300, 29900, "many", 1.5]},
    "02.2": {
        "right": weighted,
        "wrong": [
            lambda start, end, mix: weighted(end, start, mix),
            lambda start, end, mix: weighted(start, end, 0.5),
            lambda start, end, mix: start,
            lambda start, end, mix: end,
            lambda start, end, mix: [one + mix * other for one, other in zip(start, end, strict=True)],
            lambda start, end, mix: weighted(start, end, mix)[:1],
            lambda start, end, mix: (1 - mix) * start[0] + mix * end[0],
            lambda start, end, mix: [array.mean() for array in weighted(start, end, mix)],
            lambda start, end, mix: [np.where(mix < 0.5, *pair) for pair in zip(start, end, strict=True)],
            lambda start, end, mix: None,
            lambda start, end: start,
        ],
    },
    "02.3": {"right": False, "wrong": [True, "frozen", 0.5]},
}
