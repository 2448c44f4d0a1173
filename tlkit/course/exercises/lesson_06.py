"""06 Domain adaptation."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import function, one_of, several, subclass

TERMS = ("distance", "best classifier", "source error")


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

    from tlkit.techniques.domain_adaptation import Alignment, Domain

    if not issubclass(method, Alignment):
        return {"no alignment": True}
    rng, found = np.random.default_rng(0), dict.fromkeys(("equal", "strength", "value", "gradient"), True)
    found |= {"no alignment": False, "constant": True}
    for _ in range(4):
        here, there = rng.normal(size=(5, 3)), rng.normal(size=(7, 3)) + rng.normal(size=3)
        here, there = (x.astype("float32") for x in (here, there))
        strength = float(rng.uniform(0.2, 3.0))

        def loss(one: Any, other: Any, strength: float = strength) -> Any:
            domains = (Domain(None, ops.convert_to_tensor(x), None) for x in (one, other))
            return method().loss(*domains, strength)

        apart = here.mean(axis=0) - there.mean(axis=0)
        value = float(loss(here, there))
        found["constant"] &= abs(value) < 1e-6
        found["equal"] &= abs(float(loss(here, here[::-1]))) < 1e-4
        found["strength"] &= abs(float(loss(here, there, 0.0))) < 1e-6
        found["value"] &= bool(np.isclose(value, strength * np.sum(apart**2), rtol=1e-3))
        wanted = 2 * strength * apart
        slopes = slope_of(partial(loss, other=there), here), slope_of(partial(loss, here), there)
        for slope, factor in zip(slopes, (1 / len(here), -1 / len(there)), strict=True):
            found["gradient"] &= slope is not None and np.allclose(slope, factor * wanted, atol=1e-4)
    return found


def slope_of(loss: Callable[[Any], Any], features: np.ndarray) -> np.ndarray | None:
    """Return the gradient of a loss at some features, or None where there is none."""
    from keras import ops

    from tlkit.plots.saliency import gradient

    try:
        slope = gradient(loss, ops.convert_to_tensor(features))
    except Exception:  # NumPy cannot follow a tensor that is watched
        return None
    return None if slope is None else ops.convert_to_numpy(slope)


EXERCISES = [
    Exercise(
        "06.1",
        takes=several(3, one_of(*TERMS)),
        hint="Ask of each: does it concern the images of both domains, their labels, or the source alone?",
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
        hint="First write an expression whose gradient is right, whatever its value is. What must you add "
        "so that the value is x?",
        shows="The value stays, and the gradient changes its sign: the features learn what misleads the "
        "discriminator.",
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
        hint="ops.mean(source.features, axis=0) is the mean of the source's features.",
        shows="It is the squared MMD with a linear kernel: it sees the means and nothing else.",
        measure=divergences,
        mistakes=[
            Mistake(
                "another class",
                "The class is not a subclass of da.Alignment.",
                lambda found: found["no alignment"],
            ),
            Mistake(
                "a constant",
                "The loss is 0 for domains whose means differ.",
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
                lambda found: not found["strength"],
            ),
            Mistake(
                "absolute differences, the mean over features, or squared after the sum",
                "The loss is not the squared distance: average over the images only, square the differences, "
                "then sum over the features.",
                lambda found: not found["value"],
            ),
            Mistake(
                "NumPy, or a stopped gradient",
                "The value is right, but its gradient does not reach the features of both domains. Compute "
                "with keras.ops alone, and stop no gradient.",
                lambda found: not found["gradient"],
            ),
        ],
    ),
]
