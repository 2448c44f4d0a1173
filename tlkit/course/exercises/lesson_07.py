"""07 Multi-task learning."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import function, number, several

ALPHA_0, ALPHA_1 = [2.0, 2.0], [3.0, 1.0]


def inverse(answer: Callable[..., Any]) -> dict[str, bool]:
    """Return which properties the weights of a rule have at several random losses."""
    from keras import KerasTensor, ops

    from tlkit.plots.saliency import gradient

    rng = np.random.default_rng(0)
    found = dict.fromkeys(("shape", "graph", "constant", "equal", "grows", "scaled", "value"), True)
    for count in (2, 3, 3, 4):
        losses = np.exp(rng.normal(size=count) * 4).astype("float32")

        def total(losses: Any) -> Any:
            return ops.sum(answer(losses) * losses)

        try:
            answer(KerasTensor((count,)))  # as in a compiled step, where a tensor has no values yet
        except (AttributeError, NotImplementedError, TypeError, ValueError):
            return found | {"graph": False}
        weights = ops.convert_to_numpy(answer(ops.convert_to_tensor(losses)))
        if weights.shape != losses.shape:
            return found | {"shape": False}
        slope = gradient(total, ops.convert_to_tensor(losses))
        slope = np.zeros(count) if slope is None else ops.convert_to_numpy(slope)
        found["constant"] &= np.allclose(slope, weights, rtol=1e-3)
        found["equal"] &= not np.allclose(weights, weights[0], rtol=1e-3)
        found["grows"] &= not weights[losses.argmax()] > weights[losses.argmin()]
        products = weights * losses
        same = np.allclose(products, products[0], rtol=1e-3)
        found["scaled"] &= not same or bool(abs(products[0] - 1) < 1e-2)
        found["value"] &= np.allclose(products, 1, rtol=1e-2)
    return found


EXERCISES = [
    Exercise(
        "07.1",
        takes=number(),
        hint="Start with the target. How many of the four images count for its mean?",
        shows="Each task averages over its own labels. Only then do the weights act.",
        mistakes=[
            Mistake(
                "the missing labels are counted",
                "Two images have no label for the target. They must not count in its mean.",
                lambda answer: abs(answer - 3.4) < 1e-6,
            ),
            Mistake(
                "the weight of the helper is left out",
                "The tasks do not have the same weight.",
                lambda answer: abs(answer - 1.1) < 1e-6,
            ),
            Mistake(
                "losses are added instead of averaged",
                "Within a task, the loss is the mean over the images that have a label.",
                lambda answer: min(abs(answer - 13.6), abs(answer - 12.8), abs(answer - 4.6)) < 1e-6,
            ),
            Mistake(
                "the tasks are averaged, or another number",
                "Compute one mean for each task, and then the weighted sum of the two.",
                lambda answer: abs(answer - 3.8) > 1e-6,
            ),
        ],
    ),
    Exercise(
        "07.2",
        takes=function("losses"),
        hint="First write the weights as they should be in value. Then ask: what does the optimizer see of a "
        "loss that is multiplied by a weight which contains the same loss?",
        shows="Each weighted loss is 1, whatever its units. There is still something to learn only because "
        "the gradient treats the weights as constants.",
        measure=inverse,
        mistakes=[
            Mistake(
                "one number is returned for all tasks",
                "Return one weight for each loss: an array of the shape of `losses`.",
                lambda found: not found["shape"],
            ),
            Mistake(
                "NumPy is used, which needs values that a compiled step does not have",
                "Use only functions of keras.ops: others, such as NumPy's, fail in compiled steps or on "
                "other backends.",
                lambda found: not found["graph"],
            ),
            Mistake(
                "all tasks get the same weight",
                "These weights are equal, so the task with the largest numbers still takes over.",
                lambda found: not found["equal"],
            ),
            Mistake(
                "a larger loss gets a larger weight",
                "A task with a larger loss must get a smaller weight.",
                lambda found: not found["grows"],
            ),
            Mistake(
                "the weights have the right proportions and another size",
                "The proportions fit, but each weight must be exactly 1 over its loss.",
                lambda found: not found["scaled"],
            ),
            Mistake(
                "another power or function of the loss",
                "Multiply each weight by its loss: each product must be 1.",
                lambda found: not found["value"],
            ),
            Mistake(
                "the weights are not constants to the gradient, or stop_gradient is at the wrong place",
                "The values fit. But the gradient of the weighted sum does not equal the weights: the "
                "optimizer still differentiates through a weight.",
                lambda found: not found["constant"],
            ),
        ],
    ),
    Exercise(
        "07.3",
        takes=several(4, number(0)),
        hint="First compute the mean of the two lengths, and the mean of the two ratios.",
        shows="Only alpha = 0 makes the lengths equal. A larger alpha gives the task that trains more slowly "
        "a longer gradient.",
        mistakes=[
            Mistake(
                "the lengths stay as they are with alpha 0",
                "Alpha = 0: any positive number to the power 0 is 1.",
                lambda answer: not np.allclose(answer[:2], ALPHA_0, rtol=0.01),
            ),
            Mistake(
                "alpha is left out",
                "Alpha = 1: these lengths ignore the ratios.",
                lambda answer: np.allclose(answer[2:], ALPHA_0, rtol=0.01),
            ),
            Mistake(
                "the faster task gets the longer gradient",
                "Alpha = 1: which task has the larger part of its loss left, and so trains more slowly?",
                lambda answer: answer[2] < answer[3],
            ),
            Mistake(
                "the present length is used in place of the mean length",
                "Alpha = 1: r multiplies the mean of the two lengths, not the present length of its task.",
                lambda answer: np.allclose(answer[2:], [1.5, 1.5], rtol=0.01),
            ),
            Mistake(
                "the ratios are not divided by their mean",
                "Alpha = 1: r is relative to the mean of the ratios, so it is 1 on average.",
                lambda answer: not np.allclose(answer[2:], ALPHA_1, rtol=0.01),
            ),
        ],
    ),
]
