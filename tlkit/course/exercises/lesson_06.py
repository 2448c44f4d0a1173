"""06 Domain adaptation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import function, one_of, several, subclass

TERMS = ("source error", "distance", "best classifier")


def reversal(reverse: Callable[[Any, Any], Any]) -> dict[str, bool]:
    """Return which properties of a gradient reversal hold at several random points and strengths."""
    from keras import ops

    from tlkit.plots.saliency import gradient

    rng = np.random.default_rng(0)
    forward, backward = [], []
    for _ in range(4):
        strength = float(rng.uniform(0.2, 3.0))
        x, arriving = (ops.convert_to_tensor(rng.normal(size=(3, 2)).astype("float32")) for _ in range(2))

        def arrives(x: Any, strength: float = strength, arriving: Any = arriving) -> Any:
            return ops.sum(arriving * reverse(x, strength))

        forward.append(np.abs(ops.convert_to_numpy(reverse(x, strength)) - x).max())
        leaving = gradient(arrives, x)
        leaving = np.zeros((3, 2)) if leaving is None else ops.convert_to_numpy(leaving)
        backward.append((strength, ops.convert_to_numpy(arriving), leaving))
    return {
        "forward": max(forward) < 1e-4,
        "no gradient": all(np.abs(out).max() < 1e-6 for _, _, out in backward),
        "not reversed": all(np.sum(arriving * out) > 0 for _, arriving, out in backward),
        "without strength": all(np.allclose(out, -arriving, atol=1e-4) for _, arriving, out in backward),
        "backward": all(np.allclose(out, -s * arriving, atol=1e-4) for s, arriving, out in backward),
    }


def divergences(method: type) -> dict[str, bool]:
    """Return which properties of the squared distance of two means hold at several random points."""
    from keras import ops

    from tlkit.techniques.domain_adaptation import Domain

    rng, found = np.random.default_rng(0), []
    for _ in range(4):
        here, there = rng.normal(size=(5, 3)), rng.normal(size=(7, 3)) + rng.normal(size=3)
        strength = float(rng.uniform(0.2, 3.0))

        def loss(one: np.ndarray, other: np.ndarray, strength: float = strength) -> float:
            domains = (Domain(None, ops.convert_to_tensor(x.astype("float32")), None) for x in (one, other))
            return float(method().loss(*domains, strength))

        value = np.sum((here.mean(axis=0) - there.mean(axis=0)) ** 2)
        reordered = here[::-1]
        found.append((loss(here, there), loss(here, reordered), loss(here, there, 0.0), strength, value))
    return {
        "constant": all(abs(value) < 1e-6 for value, *_ in found),
        "equal": all(abs(equal) < 1e-4 for _, equal, *_ in found),
        "without strength": all(
            np.isclose(value, true, rtol=1e-3) or abs(off) > 1e-6 for value, _, off, _, true in found
        ),
        "value": all(np.isclose(value, s * true, rtol=1e-3) for value, _, _, s, true in found),
    }


EXERCISES = [
    Exercise(
        "06.1",
        takes=several(3, one_of(*TERMS)),
        hint="Ask of each: does it concern the source alone, only the images of both domains, or their labels?",
        shows="Labels of the source lower its error, alignment lowers the distance, and a class that means "
        "something else leaves no classifier that fits both domains.",
        mistakes=[
            Mistake(
                "labels of the source are not connected with its error",
                "(a): these labels say nothing about the target.",
                lambda answer: answer[0] != "source error",
            ),
            Mistake(
                "the reversal is not connected with the distance",
                "(b): the discriminator uses images of both domains, and no labels.",
                lambda answer: answer[1] != "distance",
            ),
            Mistake(
                "a change of labels is taken for a change of images",
                "(c): the images stay as they are. Could one classifier be right on both domains?",
                lambda answer: answer[2] != "best classifier",
            ),
        ],
    ),
    Exercise(
        "06.2",
        takes=function("x", "strength"),
        hint="Begin with a line whose gradient is right: -strength * x. By how much is its value wrong? Add "
        "that amount without a gradient.",
        shows="The value is the identity, and the gradient changes its sign: the features learn what misleads "
        "the discriminator.",
        measure=reversal,
        mistakes=[
            Mistake(
                "only -strength * x",
                "On the way forward, reverse must return x itself.",
                lambda found: not found["forward"],
            ),
            Mistake(
                "everything inside stop_gradient",
                "No gradient arrives at x. A part of the line must stay outside stop_gradient.",
                lambda found: found["no gradient"],
            ),
            Mistake(
                "the identity without stop_gradient",
                "The value is right, but the gradient keeps its sign.",
                lambda found: found["not reversed"],
            ),
            Mistake(
                "the strength is not used",
                "The gradient changes its sign, but the strength has no effect on it.",
                lambda found: not found["backward"] and found["without strength"],
            ),
            Mistake(
                "another factor",
                "At some points the gradient is not -strength times the gradient that arrives.",
                lambda found: not found["backward"],
            ),
        ],
    ),
    Exercise(
        "06.3",
        takes=subclass("da.Alignment", "loss"),
        hint="ops.mean(source.features, axis=0) is the source's mean feature. The target's is computed alike.",
        shows="It is the squared MMD with a linear kernel: it sees the means and nothing else.",
        measure=divergences,
        mistakes=[
            Mistake(
                "means over all axes that cancel, or a constant",
                "The loss is 0 for domains whose means differ. Average over the images only.",
                lambda found: found["constant"],
            ),
            Mistake(
                "a distance of single rows instead of means",
                "Two domains with the same images in another order should have the distance 0.",
                lambda found: not found["equal"],
            ),
            Mistake(
                "the strength is not used",
                "The loss should be multiplied by the strength.",
                lambda found: not found["value"] and found["without strength"],
            ),
            Mistake(
                "absolute differences, the mean over features, or squared after the sum",
                "The loss is not the squared distance: square the differences of the means, then sum over the "
                "features.",
                lambda found: not found["value"],
            ),
        ],
    ),
]
