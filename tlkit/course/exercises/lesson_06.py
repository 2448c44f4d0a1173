"""06 Domain adaptation."""

from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import number, subclass


def divergence(method: type, shift: float, strength: float = 1.0) -> float:
    """Return the loss of an alignment between two domains, each of whose two features is `shift` apart."""
    from keras import ops

    from tlkit.techniques.domain_adaptation import Domain

    here, there = (Domain(None, ops.ones((4, 2)) + move, None) for move in (0.0, shift))
    return float(method().loss(here, there, strength))


def four_divergences(method: type) -> dict[str, Any]:
    """Return the loss for equal domains, for shifts of 1 and 2, and for half of the strength."""
    return {
        "equal": divergence(method, 0.0),
        "one": divergence(method, 1.0),
        "two": divergence(method, 2.0),
        "half": divergence(method, 2.0, 0.5),
    }


EXERCISES = [
    Exercise(
        "06.1",
        takes=number(),
        hint="Forward, reverse changes nothing. What arrives from above at the layer, and what does "
        "it do with it?",
        shows="Forward the identity, backward minus the strength: the features learn what confuses "
        "the discriminator.",
        mistakes=[
            Mistake(
                "the layer is taken for the identity in both directions",
                "What arrives at the layer leaves it with the other sign.",
                lambda answer: answer >= 0,
            ),
            Mistake(
                "the strength or the factor of the sum is forgotten",
                "Multiply what arrives by the strength. What arrives is the slope of the sum.",
                lambda answer: not np.isclose(answer, -1.5),
            ),
        ],
    ),
    Exercise(
        "06.2",
        takes=subclass("da.Alignment", "loss"),
        hint="ops.mean(source.features, axis=0) is the source's mean. Do the same for the target, "
        "subtract, square, sum.",
        shows="It is MMD with a linear kernel: it sees the means and nothing else.",
        measure=four_divergences,
        mistakes=[
            Mistake(
                "means over all axes, or a constant",
                "Domains that are 1 apart have no distance by this. Take the mean over the rows alone.",
                lambda found: found["one"] == 0,
            ),
            Mistake(
                "a distance of single rows instead of means",
                "Equal domains should have distance 0.",
                lambda found: abs(found["equal"]) > 1e-6,
            ),
            Mistake(
                "absolute differences, or squared after the sum",
                "Twice as far apart should be four times as much, summed over both features: square "
                "first, then sum.",
                lambda found: not np.isclose(found["two"], 8),
            ),
            Mistake(
                "the strength is not used",
                "Do not forget the strength: with half of it the loss is half.",
                lambda found: not np.isclose(found["half"], 4),
            ),
        ],
    ),
    Exercise(
        "06.3",
        takes=number(0, what="a weight"),
        hint="The formula divides by 4 times the squared width of the features. How large is that here?",
        shows="A method at its default is not the method at its best; but chosen by target labels it "
        "may not be reported.",
        measure=lambda weight, train, before: train(weight),
        mistakes=[
            Mistake(
                "the weight is doubled instead of multiplied by powers of ten",
                "Not clearly better than a weight of 1. Think in powers of ten.",
                lambda found, train, before: found <= before + 0.03,
            ),
        ],
    ),
]
