"""07 Multi-task learning."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import function, subclass, whole_number

A, B = np.array([2.0, 0.0]), np.array([-1.0, 1.0])  # two gradients in conflict
LOSSES = np.array([1.0, 10_000.0], "float32")


def operated(surgery: Callable[..., Any]) -> dict[str, np.ndarray]:
    """Return what gradient surgery makes of two gradients that agree, and of two in conflict."""
    return {"agree": np.asarray(surgery(A, -B)), "conflict": np.asarray(surgery(A, B))}


def weighted_losses(rule: type) -> np.ndarray:
    """Return the losses 1 and 10,000 times the weights that a rule gives them, `(2,)`."""
    return np.asarray(rule().weigh(LOSSES)) * LOSSES


EXERCISES = [
    Exercise(
        "07.1",
        takes=whole_number(),
        hint="The head is one dense layer. On which layer does it stand, and how many units has that?",
        shows="A further task costs a head, some thousands of parameters; a further network would "
        "cost millions.",
        mistakes=[
            Mistake(
                "the biases are left out",
                "Each class has a bias, too.",
                lambda answer, shared: answer == shared * 24,
            ),
            Mistake(
                "the head is put on the backbone",
                "The head stands on the shared layer, not on the backbone.",
                lambda answer, shared: answer == (1280 + 1) * 24,
            ),
            Mistake(
                "another number",
                "A weight for each pair of shared unit and class, a bias for each class.",
                lambda answer, shared: answer != (shared + 1) * 24,
            ),
        ],
    ),
    Exercise(
        "07.2",
        takes=function("a", "b"),
        hint="The part of a along b is (a @ b) / (b @ b) * b. Take it away only where a @ b is negative.",
        shows="This is PCGrad: after surgery no task's step undoes another's.",
        measure=operated,
        mistakes=[
            Mistake(
                "gradients that agree are changed, too",
                "Without a conflict nothing changes.",
                lambda found: not np.allclose(found["agree"], A - B),
            ),
            Mistake(
                "nothing is changed",
                "The gradients (2, 0) and (-1, 1) are in conflict, and your function only adds them.",
                lambda found: np.allclose(found["conflict"], A + B),
            ),
            Mistake(
                "only one gradient loses its part, or the length is not squared",
                "Both lose their part along the other; divide by the squared length of the other.",
                lambda found: not np.allclose(found["conflict"], [1.0, 2.0]),
            ),
        ],
    ),
    Exercise(
        "07.3",
        takes=subclass("mt.Balancing", "weigh"),
        hint="weigh(self, losses, products=None) returns a weight for each loss.",
        shows="Loss over loss is the constant 1: without stop_gradient there would be no gradient left.",
        measure=weighted_losses,
        mistakes=[
            Mistake(
                "equal weights are returned",
                "These are equal weights: the second task still has 10,000 times the loss.",
                lambda found: np.allclose(found / found[0], LOSSES),
            ),
            Mistake(
                "the weights are the losses, or are made to add up to one",
                "Each weighted loss has to be 1.",
                lambda found: not np.allclose(found, 1, rtol=0.01),
            ),
        ],
    ),
]
