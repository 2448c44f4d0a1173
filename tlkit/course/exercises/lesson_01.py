"""04 Feature extraction."""

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, by_name, whole_number


def copies(leaky: np.ndarray, test: np.ndarray) -> int:
    """Return how many rows of `test` have a copy in `leaky`."""
    nearest = [np.abs(leaky - row).max(axis=1).min() for row in test]
    return int(np.sum(np.array(nearest) < 1e-4))


EXERCISES = [
    Exercise(
        "01.1",
        takes=whole_number(),
        hint="The head is one dense layer: a weight for each pair of feature and class, and what else?",
        shows="The head has well under one percent of the network's parameters.",
        mistakes=[
            Mistake(
                "the biases are left out",
                "Each class has a bias, too.",
                lambda answer, features, classes: answer == features * classes,
            ),
            Mistake(
                "another number",
                "A weight for each pair of feature and class, a bias for each class.",
                lambda answer, features, classes: answer != (features + 1) * classes,
            ),
        ],
    ),
    Exercise(
        "01.2",
        takes=whole_number(),
        hint="For each test row, the distance to its nearest row of leaky. A copy has distance (almost) 0.",
        shows="A leak makes a number better without making the model better. Look for copies before "
        "you believe it.",
        measure=lambda answer, leaky, test: (answer, copies(leaky, test)),
        mistakes=[
            Mistake(
                "near neighbours are taken for copies",
                "Not that many: a near neighbour is not a copy. A copy has distance (almost) 0.",
                lambda found, leaky, test: found[0] > found[1],
            ),
            Mistake(
                "exact equality of rounded floats is asked for, or pairs are counted",
                "Some are missing. Count test images, each once, with a small tolerance.",
                lambda found, leaky, test: found[0] < found[1],
            ),
        ],
    ),
    Exercise(
        "01.3",
        takes=by_name(("pixels", "features"), accuracy()),
        hint="nearest(queries, examples, count=1)[:, 0] gives the row of the nearest example; its "
        "label is the answer.",
        shows="Here pixels win: two centred digits of one class share their outline, and none is like "
        "a photograph.",
        mistakes=[
            Mistake(
                "rows of train are looked up in the labels of test",
                "One of them is near chance: check which labels you look up, and that pixels go from "
                "0 to 255.",
                lambda answer: min(answer.values()) < 0.4,
            ),
            Mistake(
                "the two views are swapped, or pixels are shrunk first",
                "Check which is which: one nearest digit, at 32 pixels, by flat and by the features "
                "of small_backbone.",
                lambda answer: answer["features"] >= answer["pixels"],
            ),
        ],
    ),
]
