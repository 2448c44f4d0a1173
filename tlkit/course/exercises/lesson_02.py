"""02 Fine-tuning."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import function, truth, whole_number

FEWEST = 299  # the smallest k with 0.99^k < 0.05
Weights = list[np.ndarray]


def mixed(between: Callable[..., Any]) -> list[tuple[Any, Weights, Weights, float]]:
    """Return mixtures of random weights, with the weights and the mix, for networks of several depths."""
    found = []
    for seed, (depth, mix) in enumerate([(1, 0.3), (3, 0.0), (4, 1.0), (2, 0.75)]):
        rng = np.random.default_rng(seed)
        shapes = [tuple(rng.integers(2, 5, size=1 + each % 2)) for each in range(depth)]
        start, end = ([rng.normal(size=shape) for shape in shapes] for _ in range(2))
        copies = ([array.copy() for array in arrays] for arrays in (start, end))
        found.append((between(*copies, mix), start, end, mix))
    return found


def same(given: Any, start: Weights, end: Weights, mix: float) -> bool:
    """Return whether the arrays are (1 - mix) start + mix end."""
    expected = [(1 - mix) * one + mix * other for one, other in zip(start, end, strict=True)]
    if not isinstance(given, list | tuple) or len(given) != len(expected):
        return False
    shapes = all(np.shape(one) == other.shape for one, other in zip(given, expected, strict=True))
    return shapes and all(np.allclose(one, other) for one, other in zip(given, expected, strict=True))


EXERCISES = [
    Exercise(
        "02.1",
        takes=whole_number(),
        hint="After k steps, the fraction 0.99^k remains. Take logarithms, or count up in a loop.",
        shows="Short fine-tuning ends long before the default momentum has replaced the old statistics.",
        mistakes=[
            Mistake(
                "the statistics are thought to lose one hundredth of the original in each step",
                "Each step removes one hundredth of what is left, and not one hundredth of the whole.",
                lambda answer: answer in (94, 95, 96),
            ),
            Mistake(
                "the last step is missing",
                "After 298 steps, slightly more than 5 % remains.",
                lambda answer: answer == FEWEST - 1,
            ),
            Mistake(
                "another number",
                "Put your number into 0.99^k. The result should be just below 0.05.",
                lambda answer: answer != FEWEST,
            ),
        ],
    ),
    Exercise(
        "02.2",
        takes=function("start", "end", "mix"),
        hint="zip(start, end) yields pairs of arrays. Apply the equation to each pair.",
        shows="A mix of 0 is exactly the frozen network, so the best mix on validation images is never worse "
        "there.",
        measure=mixed,
        mistakes=[
            Mistake(
                "start and end are exchanged",
                "Check a mix of 0: it should return the weights of `start`.",
                lambda found: all(same(given, end, start, mix) for given, start, end, mix in found),
            ),
            Mistake(
                "the mix is ignored",
                "Check a mix of 1: it should return the weights of `end`.",
                lambda found: (
                    all(same(given, start, end, 0.5) for given, start, end, _ in found)
                    or all(same(given, start, end, 0.0) for given, start, end, _ in found)
                ),
            ),
            Mistake(
                "the weights of `start` are not reduced",
                "At a mix of 1, nothing of `start` should be left.",
                lambda found: all(
                    same(given, start, [one + other for one, other in zip(start, end, strict=True)], mix)
                    for given, start, end, mix in found
                ),
            ),
            Mistake(
                "it holds for one number of arrays only, or is no list of arrays",
                "Return a list with one array for each array of `start`, of the same shape.",
                lambda found: not all(same(given, start, end, mix) for given, start, end, mix in found),
            ),
        ],
    ),
    Exercise(
        "02.3",
        takes=truth(),
        hint="Call mean_moves(trainable) twice: once with True, once with False.",
        shows="In Keras, a frozen BatchNormalization runs in inference mode, even where training=True.",
        mistakes=[
            Mistake(
                "what holds in PyTorch is taken for granted: there, a layer without gradients still updates "
                "its statistics",
                "Call mean_moves for a frozen layer, and look at its answer.",
                lambda moves: moves,
            ),
        ],
    ),
]
