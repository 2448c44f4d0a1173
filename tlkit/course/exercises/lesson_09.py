"""09 Overfitting."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, function, several, whole_number

POINTS, SHAPE = 5, (4, 3)  # random weights and starts, and their shape


def penalised(answer: Callable[..., Any]) -> dict[str, bool]:
    """Return which properties of the L2-SP penalty the answer has at several random points and strengths."""
    from keras import ops

    from tlkit.plots.saliency import gradient

    found = dict.fromkeys(("number", "start", "alpha", "square", "sum", "value", "gradient"), True)
    rng = np.random.default_rng(0)
    for alpha in rng.uniform(0.5, 3, POINTS).tolist():
        w, start, away = (rng.normal(size=SHAPE).astype("float32") for _ in range(3))

        def value(x: Any, strength: float = alpha, y: np.ndarray = start) -> Any:
            return answer(ops.convert_to_tensor(x), ops.convert_to_tensor(y), strength)

        if np.ndim(ops.convert_to_numpy(ops.convert_to_tensor(value(w)))) != 0:
            return found | {"number": False}
        wanted, one = alpha / 2 * np.sum((w - start) ** 2), float(value(start + away))
        others = [float(value(start + factor * away)) for factor in (2, -1)]
        found["start"] &= abs(float(value(start))) < 1e-5
        found["alpha"] &= bool(np.isclose(float(value(w, 2 * alpha)), 2 * float(value(w)), rtol=1e-3))
        found["square"] &= bool(np.allclose(others, [4 * one, one], rtol=1e-3))
        found["sum"] &= not np.isclose(float(value(w)) * w.size, wanted, rtol=1e-3)
        found["value"] &= bool(np.isclose(float(value(w)), wanted, rtol=1e-3))
        try:
            slope = gradient(value, ops.convert_to_tensor(w))
        except Exception:  # NumPy cannot follow a tensor that is watched
            slope = None
        if slope is not None:
            slope = ops.convert_to_numpy(slope)
        found["gradient"] &= slope is not None and np.allclose(slope, alpha * (w - start), atol=1e-3)
    return found


def cooled(answer: float, run: Any, labels: np.ndarray, test_labels: np.ndarray) -> dict[str, float]:
    """Return how far the answer is from the tempered confidence on test images, and from other values."""
    from tlkit.challenges.overfitting import temperature, tempered

    known, chosen, test = (np.asarray(each)[-1] for each in run)
    T = [temperature(p, labels) for p in chosen]

    def confidence(p: np.ndarray, strengths: Any) -> float:
        pairs = zip(p, strengths, strict=True)
        return float(np.mean([tempered(q, t).max(axis=-1).mean() for q, t in pairs]))

    values = {
        "apart": confidence(test, T),
        "plain": float(test.max(axis=-1).mean()),
        "training": confidence(known, T),
        "inverse": confidence(test, [1 / t for t in T]),
        "on test": confidence(test, [temperature(p, test_labels) for p in test]),
    }
    return {name: abs(answer - value) for name, value in values.items()}


NEAR = 0.006

EXERCISES = [
    Exercise(
        "09.1",
        takes=several(2, whole_number()),
        hint="Go from epoch to epoch, and count the epochs since the lowest loss so far. When does the count "
        "reach the patience?",
        shows="Too little patience can stop at a bump, before the lowest loss. More patience costs epochs.",
        mistakes=[
            Mistake(
                "the epoch at which the training ends is given",
                "5 and 7 are epochs at which the training ends. Which weights are kept then?",
                lambda answer: answer[0] == 5 or answer[1] == 7,
            ),
            Mistake(
                "the lowest loss of all is given for both",
                "(a): epoch 5 is lower than epoch 4, but not a new lowest loss.",
                lambda answer: answer[0] == 6,
            ),
            Mistake(
                "epochs are counted from 0",
                "The first epoch is epoch 1.",
                lambda answer: answer[0] == 2 or answer[1] == 5,
            ),
            Mistake(
                "two epochs without a new lowest loss end the training in (b)",
                "(b): a patience of 3 survives two epochs without a new lowest loss.",
                lambda answer: answer == [3, 3],
            ),
            Mistake(
                "another epoch",
                "Write down the lowest loss so far, epoch by epoch, until the patience ends the training.",
                lambda answer: answer != [3, 6],
            ),
        ],
    ),
    Exercise(
        "09.2",
        takes=function("w", "start", "alpha"),
        hint="Read the equation of section 5 from the inside out. What does the index i count?",
        shows="Zero at the start, and the gradient alpha (w - start) pulls each weight back in proportion to "
        "its distance.",
        measure=penalised,
        mistakes=[
            Mistake(
                "one value per weight is returned",
                "Return one number for the whole layer.",
                lambda found: not found["number"],
            ),
            Mistake(
                "it is weight decay, or the distance from another point",
                "At the pretrained weights, the penalty must be zero.",
                lambda found: not found["start"],
            ),
            Mistake(
                "alpha is not used, or squared",
                "Twice the alpha must give twice the penalty.",
                lambda found: not found["alpha"],
            ),
            Mistake(
                "the absolute distance, or the norm without its square",
                "At twice the distance from the start, or on its other side, the value is not what the "
                "equation gives.",
                lambda found: not found["square"],
            ),
            Mistake(
                "the mean over the weights",
                "That is the mean over the weights.",
                lambda found: not found["sum"],
            ),
            Mistake(
                "the factor is wrong, or some weights are left out",
                "It grows as it should, but its size is not that of the equation. Compare each factor.",
                lambda found: not found["value"],
            ),
            Mistake(
                "NumPy, or a stopped gradient",
                "The value is right, but its gradient with respect to w is missing or wrong. Keras must be "
                "able to follow each operation on w.",
                lambda found: not found["gradient"],
            ),
        ],
    ),
    Exercise(
        "09.3",
        takes=accuracy("a confidence"),
        hint="random_run has three arrays, as known, val and test in section 1. scaled() of section 6 takes "
        "the probabilities that choose T, their labels, and the probabilities to scale.",
        shows="Temperature scaling lowers the confidence of a network that learned random labels. It cannot "
        "make its predictions right.",
        measure=cooled,
        mistakes=[
            Mistake(
                "the confidence before the scaling is given",
                "That is the confidence without T.",
                lambda found, run, labels, test_labels: found["plain"] < NEAR < found["apart"],
            ),
            Mistake(
                "the training images are scaled",
                "That is the confidence on the training images.",
                lambda found, run, labels, test_labels: found["training"] < NEAR < found["apart"],
            ),
            Mistake(
                "the logits are multiplied by T",
                "T > 1 must lower the confidence.",
                lambda found, run, labels, test_labels: found["inverse"] < NEAR < found["apart"],
            ),
            Mistake(
                "T is chosen on the test images",
                "That T is chosen on the images on which you report. Choose it on the validation images.",
                lambda found, run, labels, test_labels: found["on test"] < min(1e-3, found["apart"]),
            ),
            Mistake(
                "another run, another epoch or other images",
                "This is another value. Take random_run after its last epoch, a T for each seed from the "
                "validation images, and the mean confidence on the test images.",
                lambda found, run, labels, test_labels: found["apart"] > NEAR,
            ),
        ],
    ),
]
