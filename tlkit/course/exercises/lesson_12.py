"""12 Your own images."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit._internal.intervals import wilson
from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import function, number, truth

RIGHT, OF = 45, 50
TRAIN = np.array([0b0000, 0b0001, 0b1111_0000], "uint64")
TEST = np.array([0b0011, 0b1111_1111, 0b1111_0001, 0b1111_1111_1111], "uint64")


def width() -> float:
    """Return how many points wide the 95 % interval of 45 right of 50 is."""
    low, high = wilson(RIGHT, OF)
    return 100 * (high - low)


def fractions(leaked: Callable[..., Any]) -> dict[str, float]:
    """Return what the function says of four test images and three of training."""
    return {name: float(leaked(TRAIN, TEST, bits)) for name, bits in (("none", 0), ("near", 1), ("all", 64))}


EXERCISES = [
    Exercise(
        "12.1",
        takes=number(0, 100, "a number of percentage points"),
        hint="scipy.stats.binomtest(right, of).proportion_ci(method='wilson') gives both ends, 0 to 1.",
        shows="With 50 test images two models must be far apart before you can tell which is better.",
        mistakes=[
            Mistake(
                "the width as a fraction",
                "That is below one point. Multiply a fraction by 100 to get points.",
                lambda points: points < 1,
            ),
            Mistake(
                "half of the interval",
                "That is from the middle to one end: the whole interval was asked for.",
                lambda points: abs(points - width() / 2) < 0.4,
            ),
            Mistake(
                "the interval by the normal approximation, or another one",
                "Not Wilson's interval. Near 0 and 1 others are off.",
                lambda points: abs(points - width()) > 0.15,
            ),
        ],
    ),
    Exercise(
        "12.2",
        takes=function("train", "test", "bits"),
        hint="Compare every test hash with every train hash: test[:, None] ^ train[None, :] is a table.",
        shows="A leak is counted over the test images: each counts once, however many twins it has.",
        measure=lambda leaked: fractions(leaked),
        mistakes=[
            Mistake(
                "pairs are counted, and not test images",
                "With all 64 bits allowed every test image has a twin: a fraction of 1. Count each once.",
                lambda found: found["all"] != 1,
            ),
            Mistake(
                "the fraction of the train images",
                "Count over the test images: of which of them is there a twin in training?",
                lambda found: abs(found["near"] - 2 / 3) < 1e-6,
            ),
            Mistake(
                "fewer than bits, instead of at most",
                "A pair that differs by exactly that many bits is within them.",
                lambda found: found["near"] == 0,
            ),
            Mistake(
                "something else is counted",
                "Tried on four test images, the function gives another fraction. Try it yourself on "
                "np.array([0, 1]) and np.array([1, 7]).",
                lambda found: found != {"none": 0.0, "near": 0.5, "all": 1.0},
            ),
        ],
    ),
    Exercise(
        "12.3",
        takes=truth(),
        hint="The pairs of audit(clean) have columns one and other with the names of files.",
        shows="A perceptual hash is not blind to size and compression alone: it knows left from right. Such "
        "twins have to be known from where the images come.",
        mistakes=[
            Mistake(
                "taken for granted that a hash of what is shown finds every copy",
                "Look into the pairs for your file. Does its name stand there?",
                lambda found: found,
            ),
        ],
    ),
]
