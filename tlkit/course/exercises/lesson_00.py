"""00 Start here."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import softmax

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import function, text, whole_number


def into_the_head(model: Any) -> int:
    """Return how many features go into the head of a classifier."""
    return int(model.get_layer("head").input_shape[-1])


def fractions(predicted: np.ndarray, data: Any) -> dict[str, float]:
    """Return the fraction of correct predictions in each class of the validation split, 0 to 1."""
    truth = data.validation.labels
    return {name: float(np.mean(predicted[truth == i] == i)) for i, name in enumerate(data.class_names)}


def at_random_points(head: Callable[..., Any]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the output of a head, its logits and its logits without the bias, at three random points."""
    found = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, kernel, bias = (rng.normal(size=size) for size in ((5, 4), (4, 3), (3,)))
        found.append((np.asarray(head(x, kernel, bias), float), x @ kernel + bias, x @ kernel))
    return found


def rows_sum_to_one(output: np.ndarray) -> bool:
    """Return whether the output is a matrix whose rows sum to 1."""
    return output.shape == (5, 3) and np.allclose(output.sum(axis=1), 1.0)


EXERCISES = [
    Exercise(
        "00.1",
        takes=whole_number(),
        hint="tlkit.extract(model.get_layer(BACKBONE), data.validation) returns one row for each image.",
        shows="An image of thousands of pixels has become a list of features that the head can tell apart.",
        mistakes=[
            Mistake(
                "the outputs of the head are counted",
                "That is the number of classes. Count what goes into the head, not what comes out.",
                lambda answer, model: answer == model.output_shape[-1] != into_the_head(model),
            ),
            Mistake(
                "pixels or parameters are counted",
                "Not the pixels, the parameters or the whole feature map: how long is one row of the "
                "features?",
                lambda answer, model: answer != into_the_head(model),
            ),
        ],
    ),
    Exercise(
        "00.2",
        takes=text("the name of a class"),
        hint="Take the validation images of one class at a time. Which fraction of them is correct?",
        shows="One accuracy for all classes hides that some classes are easy and others are guessed.",
        mistakes=[
            Mistake(
                "not a class name",
                "There is no class of this name: see data.class_names.",
                lambda answer, predicted, data: answer not in data.class_names,
            ),
            Mistake(
                "the class that is predicted most often is taken",
                "Another class has a larger fraction of correct predictions. Divide by the number of images "
                "of the class, not by the number of predictions.",
                lambda answer, predicted, data: (
                    fractions(predicted, data)[answer] < max(fractions(predicted, data).values())
                ),
            ),
        ],
    ),
    Exercise(
        "00.3",
        takes=function("features", "W", "b"),
        hint="Two steps: the logits, one row for each image, then the softmax. Which shape must the sum "
        "have?",
        shows="A head is a logistic regression on the features: two lines of NumPy.",
        measure=at_random_points,
        mistakes=[
            Mistake(
                "the logits are returned, or the softmax runs over the images",
                "Probabilities of the classes are positive, and those of each image sum to 1: divide by the "
                "sum over the classes.",
                lambda found: not all(rows_sum_to_one(output) and (output > 0).all() for output, *_ in found),
            ),
            Mistake(
                "the bias is left out",
                "The bias does not change your output. Add it before the softmax.",
                lambda found: all(np.allclose(output, softmax(bare, axis=1)) for output, _, bare in found),
            ),
            Mistake(
                "the rows sum to 1, but another function is used",
                "The rows sum to 1, but they are not the softmax of the logits: is each logit the exponent?",
                lambda found: (
                    not all(np.allclose(output, softmax(logits, axis=1)) for output, logits, _ in found)
                ),
            ),
        ],
    ),
]
