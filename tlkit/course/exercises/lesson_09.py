"""09 Overfitting."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import function, number

START, MOVED = np.array([1.0, 1.0]), np.array([1.0, 3.0])


def penalties(penalty: Callable[..., Any]) -> dict[str, float]:
    """Return a penalty at the start and two away from it, at strengths of a half and of one."""
    return {
        "start": float(penalty(START, START, 0.5)),
        "moved": float(penalty(MOVED, START, 0.5)),
        "stronger": float(penalty(MOVED, START, 1.0)),
    }


EXERCISES = [
    Exercise(
        "09.1",
        takes=number(0, 1),
        hint="Each bin has a confidence and an accuracy. Take the gap of each bin, then the mean gap.",
        shows="A network may be right half of the time and still be honest about it; this one is not.",
        mistakes=[
            Mistake(
                "one bin's gap is given",
                "Average the gaps, one for each bin.",
                lambda answer: np.isclose(answer, [0.1, 0.4], atol=1e-3).any(),
            ),
            Mistake(
                "the gaps are added, or the accuracy is given",
                "Weigh each bin's gap by its fraction of the images: here half and half.",
                lambda answer: np.isclose(answer, 0.5, atol=1e-3),
            ),
            Mistake(
                "another number",
                "In both bins half are right: compare with 0.9 and 0.6.",
                lambda answer: not np.isclose(answer, 0.25, atol=1e-3),
            ),
        ],
    ),
    Exercise(
        "09.2",
        takes=function("w", "start", "strength"),
        hint="The squared distance is np.sum((w - start) ** 2). What stands before it?",
        shows="Weight decay is the same with 0 for the start: it pulls away from what was learned.",
        measure=penalties,
        mistakes=[
            Mistake(
                "it is weight decay: the distance to 0",
                "At the start it costs nothing.",
                lambda found: abs(found["start"]) > 1e-9,
            ),
            Mistake(
                "the strength is not used",
                "Twice the strength should cost twice as much.",
                lambda found: not np.isclose(found["stronger"], 2 * found["moved"]),
            ),
            Mistake(
                "the half, or the square, is forgotten",
                "Half of the strength times the squared distance, summed over the weights.",
                lambda found: not np.isclose(found["moved"], 1),
            ),
        ],
    ),
    Exercise(
        "09.3",
        takes=number(-100, 100, "a number of percentage points"),
        hint="Take the mean over the seeds of measured(...)['test'] with 6 labels, less that of "
        "plain, times 100.",
        shows="More labels beat remedies. Whoever has labels to spare learns from them.",
        mistakes=[
            Mistake(
                "a fraction is given instead of points",
                "That is less than a point. Is it a fraction? Give percentage points.",
                lambda answer, best: answer < 1,
            ),
            Mistake(
                "only one seed is taken, or the number of labels is the same",
                "Twice the labels are worth more than that here: 6 labels a class instead of 3, over "
                "all seeds.",
                lambda answer, best: answer <= best,
            ),
        ],
    ),
]
