"""11 Model selection."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, by_name, function, number

Z, Y = np.array([0, 0, 1, 1]), np.array([5, 5, 5, 6])


def entropies(nce: Callable[..., Any]) -> dict[str, float]:
    """Return the score of source labels that tell half of the labels, and of some that tell all."""
    return {"half": float(nce(Z, Y)), "all": float(nce(Y, Y))}


EXERCISES = [
    Exercise(
        "11.1",
        takes=number(),
        hint="If the source's answer says nothing, what is the best guess of the label's probability?",
        shows="What is left is how often each digit occurs. That is LEEP's floor for ten balanced classes.",
        mistakes=[
            Mistake(
                "the sign is forgotten",
                "It is the mean of log probabilities, in nats.",
                lambda answer: answer >= 0,
            ),
            Mistake(
                "log to base 2 or 10, or the probabilities of the source head are used",
                "All that is left is how often each digit occurs: its natural logarithm.",
                lambda answer: not np.isclose(answer, -np.log(10), atol=0.01),
            ),
        ],
    ),
    Exercise(
        "11.2",
        takes=function("z", "y"),
        hint="pd.crosstab(z, y) / len(y) is p(y, z); its row sums are p(z). Leave out the cells that are 0.",
        shows="NCE takes the source's first answer alone; LEEP takes all of its probabilities.",
        measure=entropies,
        mistakes=[
            Mistake(
                "the sign is forgotten",
                "Mind the sign: it is minus an entropy.",
                lambda found: found["half"] > 0,
            ),
            Mistake(
                "cells of 0 give nan, or p(y, z) is not divided",
                "Where z tells y, nothing is left open: the score is 0.",
                lambda found: not np.isclose(found["all"], 0),
            ),
            Mistake(
                "divided by the labels' probability",
                "Divide by p(z), not by p(y).",
                lambda found: not np.isclose(found["half"], 0.5 * np.log(0.5)),
            ),
        ],
    ),
    Exercise(
        "11.3",
        takes=by_name(("Lite0, ImageNet", "LeNet, MNIST"), accuracy()),
        hint="set_weights(pretrained[name]) first, since fine-tuning has moved them; then "
        "pooled(...), ms.linear_probe.",
        shows="No backbone is the best: the order turns with the data. So measure, on yours.",
        mistakes=[
            Mistake(
                "pixels are scaled, or the labels are those of the digits",
                "One of them is at chance or far above it: pixels 0 to 255? Labels of emoji?",
                lambda answer: not 0.1 < min(answer.values()) <= max(answer.values()) < 0.8,
            ),
            Mistake(
                "the two are swapped, or the weights that fine-tuning left are used",
                "The order is not that. Are these the weights in `pretrained`, each at its own image size?",
                lambda answer: answer["Lite0, ImageNet"] <= answer["LeNet, MNIST"],
            ),
        ],
    ),
]
