"""A right answer to every exercise, plausible wrong ones, and the facts that the lesson would give."""

import numpy as np

from tlkit._internal.intervals import wilson

LOW, HIGH = wilson(45, 50)


def near(train, test, bits):
    return np.bitwise_count(test[:, None] ^ train[None, :]) <= bits


ANSWERS = {
    "12.1": {
        "right": 100 * (HIGH - LOW),
        "wrong": [HIGH - LOW, 50 * (HIGH - LOW), 2 * 1.96 * 100 * (0.9 * 0.1 / 50) ** 0.5, "wide", 200],
    },
    "12.2": {
        "right": lambda train, test, bits: near(train, test, bits).any(axis=1).mean(),
        "wrong": [
            lambda train, test, bits: near(train, test, bits).sum() / len(test),
            lambda train, test, bits: near(train, test, bits).any(axis=0).mean(),
            lambda train, test, bits: near(train, test, bits - 1).any(axis=1).mean() if bits < 64 else 1.0,
            lambda train, test, bits: float(bits > 0),
            lambda train, test: 0.5,
            0.5,
        ],
    },
    "12.3": {"right": False, "wrong": [True, "no", 0.5]},
}
