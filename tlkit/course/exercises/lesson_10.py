"""10 Dataset size."""

from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import number, several, truth, whole_number


def euros(means: Any) -> Any:
    """Return what each doubling is worth less what its labels cost, in euros, by the number of labels."""
    return 4000 * means.diff() - 0.30 * means.index.to_series().diff()


def inside(curve: Any) -> list[bool]:
    """Return for each size that was held out whether the forecast's interval holds what was measured."""
    from tlkit.challenges.dataset_size import forecast_check

    found = forecast_check(curve["labels"], curve["accuracy"])
    return found["measured"].between(found["low"], found["high"]).to_list()


EXERCISES = [
    Exercise(
        "10.1",
        takes=number(0, 10),
        hint="Write a (2n)^-b over a n^-b. What is left of a and n?",
        shows="The same factor at every doubling: that is what a power law means.",
        mistakes=[
            Mistake(
                "the error is taken to be halved",
                "That would be an exponent of 1.",
                lambda answer, exponent: np.isclose(answer, 0.5) and not np.isclose(exponent, 1, atol=0.03),
            ),
            Mistake(
                "the fraction is turned upside down",
                "More labels leave less.",
                lambda answer, exponent: answer > 1,
            ),
            Mistake(
                "the offset of the law is kept, or labels are added instead of doubled",
                "Divide a (2n)^-b by a n^-b.",
                lambda answer, exponent: not np.isclose(answer, 2.0**-exponent, rtol=0.02),
            ),
        ],
    ),
    Exercise(
        "10.2",
        takes=whole_number(),
        hint="mean['fine-tuned'].diff() is what each doubling gained, as a fraction. How many labels did "
        "it cost?",
        shows="Each doubling costs twice as much and gains less: there is always a last one that pays.",
        mistakes=[
            Mistake(
                "a size that is not in the table",
                "Choose one of the sizes that a doubling leads to.",
                lambda answer, means: answer not in means.index[1:],
            ),
            Mistake(
                "all labels are counted as cheap as the first",
                "The last doubling to this size cost more than it was worth.",
                lambda answer, means: euros(means)[answer] <= 0,
            ),
            Mistake(
                "the most profitable doubling is taken for the last that pays",
                "A larger size still pays.",
                lambda answer, means: (euros(means)[means.index > answer] > 0).any(),
            ),
        ],
    ),
    Exercise(
        "10.3",
        takes=several(2, truth()),
        hint="ds.forecast_check takes labels and accuracies of the arm 'frozen': measured between low "
        "and high?",
        shows="An interval that holds what was measured is a forecast that you may plan by, one or "
        "two doublings ahead.",
        mistakes=[
            Mistake(
                "the curve of another arm is forecast, or the squares of the figure are read off",
                "Not so: forecast the arm 'frozen', and compare each measured value with low and high.",
                lambda answer, curve: answer != inside(curve),
            ),
        ],
    ),
]
