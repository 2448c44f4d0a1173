"""00 Start here."""

from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, text, whole_number


def into_the_head(model: Any) -> int:
    """Return how many features go into the head of a classifier."""
    return int(model.get_layer("head").input_shape[-1])


def fractions(predicted: np.ndarray, data: Any) -> dict[str, float]:
    """Return the fraction of right answers in each class, 0 to 1, on the test split."""
    truth = data.test.labels
    return {name: float(np.mean(predicted[truth == i] == i)) for i, name in enumerate(data.class_names)}


def on_openmoji(model: Any) -> float:
    """Return the accuracy on the test images of `emoji/openmoji`."""
    from tlkit.data import load

    other = load("emoji/openmoji", image_size=model.input_shape[1]).splits["test"]
    return float(np.mean(model.predict(other.images, verbose=0).argmax(axis=1) == other.labels))


EXERCISES = [
    Exercise(
        "00.1",
        takes=whole_number(),
        hint="tlkit.extract(model.get_layer(BACKBONE), data.test) gives an array. Its rows are images.",
        shows="An image of thousands of pixels has become a list of features that the head can tell apart.",
        mistakes=[
            Mistake(
                "the answers of the head are counted",
                "That is how many classes there are. Look at what goes into the head, not at what comes out.",
                lambda answer, model: answer == model.output_shape[-1] != into_the_head(model),
            ),
            Mistake(
                "pixels or parameters are counted",
                "These are not the pixels, nor the parameters: how long is one row of the features?",
                lambda answer, model: answer != into_the_head(model),
            ),
        ],
    ),
    Exercise(
        "00.2",
        takes=text("the name of a class"),
        hint="Take the test images of each class alone. What fraction of them is named right?",
        shows="One accuracy for all classes hides that some are easy and some are guessed.",
        mistakes=[
            Mistake(
                "not a class name",
                "There is no class of this name: see data.class_names.",
                lambda answer, predicted, data: answer not in data.class_names,
            ),
            Mistake(
                "the class that is answered most often is taken",
                "Another class is named right more often. Divide by the images of the class, not by "
                "the answers.",
                lambda answer, predicted, data: (
                    fractions(predicted, data)[answer] < max(fractions(predicted, data).values())
                ),
            ),
        ],
    ),
    Exercise(
        "00.3",
        takes=accuracy(),
        hint="Load it as the task says, take .test, and compare model.predict(...).argmax(axis=1) "
        "with the labels.",
        shows="The task is the same, the hand is another: some of what was learned holds, some does not.",
        measure=lambda answer, model: (answer, on_openmoji(model), model.output_shape[-1]),
        mistakes=[
            Mistake(
                "images and labels come from two data sets",
                "That is about chance. Are images and labels of the same split?",
                lambda found, model: (
                    found[0] < 1.5 / found[2] and not np.isclose(found[0], found[1], atol=0.005)
                ),
            ),
            Mistake(
                "the accuracy on Twemoji, or on another split, is given",
                "This is not the accuracy on the test split of emoji/openmoji at the size of the model.",
                lambda found, model: not np.isclose(found[0], found[1], atol=0.005),
            ),
        ],
    ),
]
