"""10 Dataset size."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import function, number, several

POINTS, D, LABELS = 5, 6, np.array([2, 5, 9])  # random tasks, features, class labels


def task(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features `(n, d)` with labels `(n,)`, and new features `(m, d)`, of three classes."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(LABELS, [3, 6, 12]))
    centres, spreads = rng.normal(size=(3, D)) + 0.5, np.array([0.3, 0.8, 1.5])
    lengths = np.exp(rng.normal(size=(200 + len(labels), 1)))

    def drawn(classes: np.ndarray) -> np.ndarray:
        return centres[classes] + spreads[classes, None] * rng.normal(size=(len(classes), D))

    few, new = drawn(np.searchsorted(LABELS, labels)), drawn(rng.integers(0, 3, 200))
    return few * lengths[: len(few)], labels, new * lengths[len(few) :]


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def distances(few: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the distance of each new vector from each class mean, `(m, classes)`."""
    means = np.stack([few[labels == each].mean(axis=0) for each in LABELS])
    return np.linalg.norm(new[:, None] - means, axis=2)


def variants(few: np.ndarray, labels: np.ndarray, new: np.ndarray) -> dict[str, np.ndarray]:
    """Return the predictions `(m,)` of the nearest class mean, and of what is easily taken for it."""
    scaled, asked = unit(few), unit(new)
    means = np.stack([scaled[labels == each].mean(axis=0) for each in LABELS])
    right = distances(scaled, labels, asked)
    nearest = np.linalg.norm(asked[:, None] - scaled, axis=2).argmin(axis=1)
    return {
        "right": LABELS[right.argmin(axis=1)],
        "positions": right.argmin(axis=1),
        "farthest": LABELS[right.argmax(axis=1)],
        "not scaled": LABELS[distances(few, labels, new).argmin(axis=1)],
        "new not scaled": LABELS[distances(scaled, labels, new).argmin(axis=1)],
        "few not scaled": LABELS[distances(few, labels, asked).argmin(axis=1)],
        "product": LABELS[(asked @ means.T).argmax(axis=1)],
        "cosine": LABELS[(asked @ unit(means).T).argmax(axis=1)],
        "neighbour": labels[nearest],
    }


def predicted(answer: Callable[..., Any]) -> str:
    """Return the variant that the answer equals at all of several random tasks, or `"shape"` or `"other"`."""
    equal: set[str] | None = None
    for seed in range(POINTS):
        few, labels, new = task(seed)
        result = np.asarray(answer(few.copy(), labels.copy(), new.copy()))
        if result.shape != (len(new),):
            return "shape"
        known = variants(few, labels, new)
        same = {name for name, each in known.items() if np.array_equal(result, each)}
        equal = same if equal is None else equal & same
    return next(iter(equal or ()), "other")


def optimism(answer: float, projects: Callable[[int], np.ndarray]) -> dict[str, float]:
    """Return how far the answer is from the optimism with 80 test images, and from other values."""
    small, runs = projects(40).mean(axis=0), projects(80)
    large = runs.mean(axis=0)
    return {
        "apart": abs(answer - large[0]),
        "unchanged": abs(answer - small[0]),
        "fixed": abs(answer - large[1]),
        "shuffled": abs(answer - large[3]),
        "median": abs(answer - np.median(runs[:, 0])),
    }


NEAR = 0.006

EXERCISES = [
    Exercise(
        "10.1",
        takes=several(2, number(0, 10)),
        hint="(a) Write a (4n)^-b over a n^-b. (b) Which part of the law does not depend on n?",
        shows="The part a n^-b shrinks by the same factor whenever n is multiplied by four; c stays.",
        mistakes=[
            Mistake(
                "the factor is turned upside down",
                "(a): more labels leave less of this part.",
                lambda answer: answer[0] > 1,
            ),
            Mistake(
                "the exponent is taken to be 1",
                "(a): that would be the factor for b = 1.",
                lambda answer: np.isclose(answer[0], 0.25),
            ),
            Mistake(
                "one doubling instead of two",
                "(a): that is the factor of one doubling. Four times is two doublings.",
                lambda answer: np.isclose(answer[0], 0.5**0.5, atol=0.01),
            ),
            Mistake(
                "the limit is kept in the factor, or another value",
                "(a): divide a (4n)^-b by a n^-b. Nothing but b is left.",
                lambda answer: not np.isclose(answer[0], 0.5, atol=0.005),
            ),
            Mistake(
                "the whole error is taken to vanish",
                "(b): only the part a n^-b goes to zero.",
                lambda answer: answer[1] == 0,
            ),
            Mistake(
                "an accuracy is given",
                "(b): that is the accuracy. The question is about the error.",
                lambda answer: np.isclose(answer[1], 0.8),
            ),
            Mistake(
                "another part of the law is taken for the limit",
                "(b): let n grow without end, and see which term stays.",
                lambda answer: not np.isclose(answer[1], 0.2),
            ),
        ],
    ),
    Exercise(
        "10.2",
        takes=function("few", "few_labels", "new"),
        hint="few_labels == each selects the images of one class. Scale them, and average them. Then compare "
        "each new vector with each mean.",
        shows="One mean per class, nothing to train and nothing to tune.",
        measure=predicted,
        mistakes=[
            Mistake(
                "one distance, or one row per class, is returned",
                "Return one label for each new image, an array of shape (m,).",
                lambda found: found == "shape",
            ),
            Mistake(
                "positions of the classes are returned",
                "These are positions 0, 1, 2. The labels of the classes can be other numbers.",
                lambda found: found == "positions",
            ),
            Mistake(
                "the farthest mean is taken",
                "This predicts the class whose mean is farthest.",
                lambda found: found == "farthest",
            ),
            Mistake(
                "nothing is scaled",
                "The features have their original lengths. Scale the few and the new ones.",
                lambda found: found == "not scaled",
            ),
            Mistake(
                "only the few features are scaled",
                "The new features have their original lengths.",
                lambda found: found == "new not scaled",
            ),
            Mistake(
                "only the new features are scaled",
                "The means are those of features with their original lengths.",
                lambda found: found == "few not scaled",
            ),
            Mistake(
                "the largest inner product is taken",
                "A mean of unit vectors is shorter than 1, by another amount in each class. The largest "
                "inner product is then not the smallest distance.",
                lambda found: found == "product",
            ),
            Mistake(
                "the means are scaled to length 1, too",
                "That is the cosine head: it also scales the means. Here, only the features are scaled.",
                lambda found: found == "cosine",
            ),
            Mistake(
                "the nearest example decides",
                "That is the nearest neighbour: it compares with single images, not with class means.",
                lambda found: found == "neighbour",
            ),
            Mistake(
                "another rule",
                "On random features, some predictions differ from those of the nearest class mean.",
                lambda found: found != "right",
            ),
        ],
    ),
    Exercise(
        "10.3",
        takes=number(-1, 1),
        hint="What does `result[:, 0].mean()` give? `result` is `projects(40)`.",
        shows="On solar cells, more test images leave less optimism. Report how many there were, and how "
        "many heads you tried.",
        measure=optimism,
        mistakes=[
            Mistake(
                "the optimism with 40 images is given",
                "That is the optimism with 40 test images.",
                lambda found, projects: found["unchanged"] < NEAR < found["apart"],
            ),
            Mistake(
                "the column of the head fixed in advance is taken",
                "That is the optimism of the head fixed in advance. Take the column of the best of 13.",
                lambda found, projects: found["fixed"] < NEAR < found["apart"],
            ),
            Mistake(
                "the shuffled labels, or the median",
                "Take the mean of the first column: the best of 13, true labels.",
                lambda found, projects: min(found["shuffled"], found["median"]) < 1e-6,
            ),
            Mistake(
                "another column or another number of images",
                "This is another value. Take the mean over the draws of the first column, with 80 images.",
                lambda found, projects: found["apart"] > NEAR,
            ),
        ],
    ),
]
