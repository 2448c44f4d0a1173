"""11 Model selection."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, function, number

POINTS = 5  # random source heads and labels


def answers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities `(40, 6)` of a source head and unbalanced labels `(40,)` of three classes."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(6), size=40), np.repeat([0, 1, 2], [25, 10, 5])[rng.permutation(40)]


def conditionals(answer: Callable[..., Any]) -> dict[str, bool]:
    """Return which properties the answer has for several random source heads."""
    found = dict.fromkeys(("shape", "sums", "not rows", "not joint", "soft", "right"), True)
    for seed in range(POINTS):
        theta, labels = answers(seed)
        result = np.asarray(answer(theta.copy(), labels.copy()), float)
        if result.shape != (3, 6):
            return found | {"shape": False}
        one_hot = np.eye(3)[labels]
        joint = one_hot.T @ theta
        named = one_hot.T @ np.eye(6)[theta.argmax(axis=1)]
        counted = named / np.maximum(named.sum(axis=0), 1)
        found["sums"] &= np.allclose(result.sum(axis=0), 1)
        found["not rows"] &= not np.allclose(result.sum(axis=1), 1)
        found["not joint"] &= not np.isclose(result.sum(), 1)
        found["soft"] &= not np.allclose(result, counted)
        found["right"] &= np.allclose(result, joint / joint.sum(axis=0))
    return found


def optimism(answer: float, correct: np.ndarray, draws: Sequence[np.ndarray]) -> dict[str, float]:
    """Return the answer, how far it is from the winner's mean optimism, and from the likely mistakes."""
    winners = [correct[correct[:, rows].mean(axis=1).argmax()] for rows in draws]
    on = np.mean([winner[rows].mean() for winner, rows in zip(winners, draws, strict=True)])
    others = [np.delete(winner, rows).mean() for winner, rows in zip(winners, draws, strict=True)]
    best = [np.delete(correct, rows, axis=1).mean(axis=1).max() for rows in draws]
    return {
        "answer": answer,
        "apart": abs(answer - (on - np.mean(others))),
        "from an accuracy": min(abs(answer - on), abs(answer - np.mean(others))),
        "from the best": abs(answer - (on - np.mean(best))),
        "from all": abs(answer - (on - np.mean([winner.mean() for winner in winners]))),
    }


EXERCISES = [
    Exercise(
        "11.1",
        takes=accuracy("a p-value"),
        hint="Suppose that the ranking is perfect. In how many orders could the four scores come by luck?",
        shows="Four candidates have 24 orders, and only one is perfect. With three, no result is below 0.05.",
        mistakes=[
            Mistake(
                "the usual threshold is given",
                "0.05 is a threshold that people choose. Count the orders instead.",
                lambda answer: np.isclose(answer, 0.05),
            ),
            Mistake(
                "both tails are counted",
                "One-sided: the reversed order does not count as good.",
                lambda answer: np.isclose(answer, 1 / 12, atol=4e-3),
            ),
            Mistake(
                "candidates are counted instead of orders",
                "That counts candidates. The test compares whole orders.",
                lambda answer: any(np.isclose(answer, 1 / n, atol=4e-3) for n in (4, 16)),
            ),
            Mistake(
                "the orders of three, or the pairs, are counted",
                "1/6 fits three candidates, or counts pairs. Count the orders of four.",
                lambda answer: np.isclose(answer, 1 / 6, atol=4e-3),
            ),
            Mistake(
                "another number of orders",
                "In how many orders can four scores come? The perfect one is one of them.",
                lambda answer: not np.isclose(answer, 1 / 24, atol=2e-3),
            ),
        ],
    ),
    Exercise(
        "11.2",
        takes=function("theta", "labels"),
        hint="First sum the probabilities of each source class over the images of each label: a matrix "
        "product of one_hot and theta. Which sum turns it into a distribution over the labels?",
        shows="P(y given z) weighs each image by the probability of z. LEEP predicts with it.",
        measure=conditionals,
        mistakes=[
            Mistake(
                "the axes are swapped, or an axis is lost",
                "The result must have a row for each class and a column for each source class.",
                lambda found: not found["shape"],
            ),
            Mistake(
                "the most probable source class is counted, as in NCE",
                "Only the most probable source class counts here. Use all probabilities.",
                lambda found: not found["soft"],
            ),
            Mistake(
                "the joint distribution is returned",
                "The whole matrix sums to 1: this is P(y, z). Condition it on z.",
                lambda found: not found["not joint"],
            ),
            Mistake(
                "normalised over the source classes",
                "Each row sums to 1: this is P(z given y). Which one is given?",
                lambda found: not found["not rows"],
            ),
            Mistake(
                "not normalised over the labels",
                "For each source class, the probabilities of the labels must sum to 1.",
                lambda found: not found["sums"],
            ),
            Mistake(
                "weighted in another way",
                "The columns sum to 1, but their values do not fit. An image counts for z with probability "
                "theta, and images of rare classes count like the others.",
                lambda found: not found["right"],
            ),
        ],
    ),
    Exercise(
        "11.3",
        takes=number(-1, 1, "a difference of accuracies"),
        hint="Do one draw first. Which row of correct has the highest mean over the columns of the draw? "
        "np.delete(row, columns) leaves the other images.",
        shows="The winner was chosen partly for its luck on these 40 images: the winner's curse. On other "
        "images the luck is gone.",
        measure=optimism,
        mistakes=[
            Mistake(
                "the sign is reversed",
                "Subtract the accuracy on the other images from the accuracy on the 40.",
                lambda found, correct, draws: found["answer"] < 0,
            ),
            Mistake(
                "an accuracy is given",
                "That is an accuracy of the winners. What is the difference of the two?",
                lambda found, correct, draws: found["from an accuracy"] < 0.002,
            ),
            Mistake(
                "the winner is chosen anew on the other images",
                "The winner of the 40 images must be scored on the others too, not the best one there.",
                lambda found, correct, draws: found["from the best"] < 0.002 < found["apart"],
            ),
            Mistake(
                "the 40 are among the other images",
                "The other images must not include the 40.",
                lambda found, correct, draws: found["from all"] < 0.001 < found["apart"],
            ),
            Mistake(
                "another candidate or other images are scored",
                "This is another value. For each draw choose on its 40 images, score the winner on these and "
                "on all others, and average the differences.",
                lambda found, correct, draws: found["apart"] > 0.002,
            ),
        ],
    ),
]
