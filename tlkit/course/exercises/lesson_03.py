"""03 Inductive transfer."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import function, letters

Weights = list[np.ndarray]


def tried(start: Callable[..., Any]) -> list[tuple[Any, Weights, Weights]]:
    """Return the start weights, those of the source and the new ones, for three networks of random depth."""
    found = []
    for seed, depth in enumerate((2, 4, 6)):
        rng = np.random.default_rng(seed)
        shapes = [tuple(rng.integers(2, 5, size=2)) for _ in range(depth)]
        old = [rng.normal(size=shape) for shape in [*shapes, (4, 3), (3,)]]
        new = [rng.normal(size=shape) for shape in [*shapes, (4, 5), (5,)]]
        found.append((start(list(old), list(new)), old, new))
    return found


def same(given: Any, expected: Weights) -> bool:
    """Return whether two lists hold the same arrays."""
    if not isinstance(given, list | tuple) or len(given) != len(expected):
        return False
    return all(np.array_equal(one, other) for one, other in zip(given, expected, strict=True))


def at_random_points(gap: Callable[..., Any]) -> list[tuple[np.ndarray, float, float]]:
    """Return the gap and the errors with and without a source; the source hurts in two of four cases."""
    found: list[tuple[np.ndarray, float, float]] = []
    for seed, (right_with, right_without) in enumerate([(0.9, 0.5), (0.3, 0.8), (0.7, 0.6), (0.5, 0.6)]):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 5, 40)
        arms = [
            np.where(rng.uniform(size=(3, 40)) < right, labels, rng.integers(0, 5, (3, 40)))
            for right in (right_with, right_without)
        ]
        with_source, without = (float(np.mean(arm != labels)) for arm in arms)
        found.append((np.asarray(gap(*arms, labels), float), with_source, without))
    return found


EXERCISES = [
    Exercise(
        "03.1",
        takes=letters("abcd"),
        hint="Two questions for each: does the task change? Does the target have any labels?",
        shows="Inductive means: another task, and some target labels. Whether the domain changes does not "
        "matter.",
        mistakes=[
            Mistake(
                "a shift of the domain is taken for a new task",
                "In a the task stays and the target has no labels: that is transductive.",
                lambda answer: "a" in answer,
            ),
            Mistake(
                "a new task without labels is taken for inductive",
                "In c the target has no label, so there is nothing to induce from.",
                lambda answer: "c" in answer,
            ),
            Mistake(
                "a case is missing, often the one with the same photographs",
                "At least one is missing. Ask of each case: is the task another, and are there any target "
                "labels?",
                lambda answer: answer != {"b", "d"},
            ),
        ],
    ),
    Exercise(
        "03.2",
        takes=function("old", "new"),
        hint="Slice both lists. How many arrays at the end belong to the head?",
        shows="The backbone comes from the source. The head is new, because it answers a new question.",
        measure=tried,
        mistakes=[
            Mistake(
                "the head is copied too",
                "The head of the source answers the old question, with the old number of classes.",
                lambda found: all(same(start, old) for start, old, _ in found),
            ),
            Mistake(
                "nothing is copied",
                "This is the control: nothing comes from the source.",
                lambda found: all(same(start, new) for start, _, new in found),
            ),
            Mistake(
                "backbone and head are exchanged",
                "The wrong part comes from the source: which part holds what was learned about images?",
                lambda found: all(same(start, [*new[:-2], *old[-2:]]) for start, old, new in found),
            ),
            Mistake(
                "only the bias of the head is new, or only its kernel",
                "A head has a kernel and a bias. Both of the source's answer the old question.",
                lambda found: all(
                    same(start, [*old[:-1], new[-1]]) or same(start, [*old[:-2], new[-2], old[-1]])
                    for start, old, new in found
                ),
            ),
            Mistake(
                "it holds for one depth only, or is no list of arrays",
                "Return one array for each array of `new`, in the same order, for a network of any depth.",
                lambda found: not all(same(start, [*old[:-2], *new[-2:]]) for start, old, new in found),
            ),
        ],
    ),
    Exercise(
        "03.3",
        takes=function("with_source", "target_only", "labels"),
        hint="An error is the fraction of wrong predictions, over all seeds and test images. Which one is "
        "subtracted?",
        shows="The gap is minus the gain. A gap whose interval lies above zero shows negative transfer.",
        measure=at_random_points,
        mistakes=[
            Mistake(
                "the difference has the sign of a gain",
                "Check the sign: where the source makes the error larger, the gap is positive.",
                lambda found: all(np.allclose(gap, without - with_) for gap, with_, without in found),
            ),
            Mistake(
                "the sign is lost",
                "A source can also help. Then the gap has another sign.",
                lambda found: all(np.allclose(gap, abs(with_ - without)) for gap, with_, without in found),
            ),
            Mistake(
                "the error with the source is not compared",
                "That is the error of one arm. A gap compares two.",
                lambda found: (
                    all(np.allclose(gap, with_) for gap, with_, _ in found)
                    or all(np.allclose(gap, without) for gap, _, without in found)
                ),
            ),
            Mistake(
                "another number",
                "Compute two errors, each the fraction of wrong predictions, and return one number.",
                lambda found: not all(np.allclose(gap, with_ - without) for gap, with_, without in found),
            ),
        ],
    ),
]
