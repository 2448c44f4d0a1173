"""13 Forgetting."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, function, several, whole_number

PROBABILITIES = (0.40, 0.05, 0.20, 0.35)  # of 13.1; classes 0 and 1 are old, and the image shows class 2
CLOSE = 0.003  # the answer has three decimals


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def slopes(loss: Callable[[Any, Any], Any], teacher: Any, student: Any) -> list[np.ndarray | None]:
    """Return the gradients of a loss at the teacher's and the student's logits, None where there is none."""
    from keras import ops

    from tlkit.plots.saliency import gradient

    found: list[np.ndarray | None] = []
    for of, at in ((lambda x: loss(x, student), teacher), (lambda x: loss(teacher, x), student)):
        try:
            slope = gradient(of, at)
        except Exception:  # NumPy cannot follow a tensor that is watched
            slope = None
        found.append(None if slope is None else ops.convert_to_numpy(slope))
    return found


def distilled(answer: Callable[..., Any]) -> dict[str, bool]:
    """Return which gradients the answer has, at several random logits and temperatures."""
    from keras import ops

    cases = ["right", "no T", "no factor", "factor T", "multiplied", "one softened", "sign", "swapped"]
    cases += ["sum", "mean of classes", "labels"]
    matches, found = dict.fromkeys(cases, True), {"scalar": True, "teacher": False, "constant": True}
    for seed, (n, k) in enumerate([(5, 3), (4, 6), (7, 4), (3, 5)]):
        rng = np.random.default_rng(seed)
        temperature = float(rng.uniform(1.5, 4))
        logits = [rng.normal(0, 3, (n, k)).astype("float32") for _ in range(2)]
        teacher, student = (ops.convert_to_tensor(each) for each in logits)

        def loss(one: Any, other: Any, temperature: float = temperature) -> Any:
            return answer(one, other, temperature)

        if np.shape(loss(teacher, student)) != ():
            return found | matches | {"scalar": False}
        of_teacher, of_student = slopes(loss, teacher, student)
        found["teacher"] |= of_teacher is not None and np.abs(of_teacher).max() > 1e-6
        found["constant"] &= of_student is None or np.abs(of_student).max() < 1e-6
        (p, q), (p1, q1) = ([softmax(x / t) for x in logits] for t in (temperature, 1))
        wide = [softmax(x * temperature) for x in logits]
        log_ratio = np.log(q) - np.log(p)
        reversed_kl = temperature * q * (log_ratio - (q * log_ratio).sum(axis=1, keepdims=True)) / n
        reversed_ce = temperature * q * ((q * np.log(p)).sum(axis=1, keepdims=True) - np.log(p)) / n
        wanted = {
            "right": [temperature * (q - p) / n],
            "no T": [(q1 - p1) / n, temperature**2 * (q1 - p1) / n],
            "no factor": [(q - p) / n / temperature],
            "factor T": [(q - p) / n],
            "multiplied": [temperature**power * (wide[1] - wide[0]) / n for power in (-1, 1, 3)],
            "one softened": [temperature * (q - p1) / n, temperature**2 * (q1 - p) / n],
            "sign": [-temperature * (q - p) / n],
            "swapped": [reversed_kl, reversed_ce],
            "sum": [temperature * (q - p)],
            "mean of classes": [temperature * (q - p) / (n * k)],
            "labels": [temperature * (q - np.eye(k)[p.argmax(axis=1)]) / n],
        }
        for name in cases:
            matches[name] &= of_student is not None and any(
                np.allclose(of_student, slope, atol=2e-4) for slope in wanted[name]
            )
    return found | matches


def corrected(
    answer: float,
    probabilities: Sequence[np.ndarray],
    labels: np.ndarray,
    stream: np.ndarray,
    rest: np.ndarray,
    is_new: np.ndarray,
) -> dict[str, float]:
    """Return the answer, and the accuracies with the right offset and with those of typical mistakes.

    An offset chosen with the labels of the stream can have nearly the same accuracy: then it is accepted.
    """
    found = {"answer": answer, "right": 0.0, "none": 0.0, "sign": 0.0, "all": 0.0}
    for log in (np.log(np.maximum(each, 1e-30)) for each in probabilities):
        lead = log[:, ~is_new].max(axis=1) - log[:, is_new].max(axis=1)
        offset = np.median(lead[stream])
        for name, added in (("right", offset), ("none", 0), ("sign", -offset), ("all", offset)):
            correct = (log + np.where(is_new, added, 0)).argmax(axis=1) == labels
            of = slice(None) if name == "all" else rest
            found[name] += float(correct[of].mean()) / len(probabilities)
    return found


def near(found: dict[str, Any], case: str) -> bool:
    """Return whether the answer is the result of this mistake, and not the right one."""
    return abs(found["answer"] - found[case]) < CLOSE / 3 < abs(found["answer"] - found["right"])


EXERCISES = [
    Exercise(
        "13.1",
        takes=several(2, whole_number()),
        hint="Told: cover the outputs of the other group, and take the largest of the rest.",
        shows="Only when not told do old and new classes compete. The same outputs can give two answers.",
        mistakes=[
            Mistake(
                "the two ways are swapped",
                "You have exchanged them: which of the two compares all four outputs?",
                lambda answer: answer == [0, 3],
            ),
            Mistake(
                "the true class is given",
                "You have given the class that the image shows. What does the network predict?",
                lambda answer: 2 in answer,
            ),
            Mistake(
                "told: the wrong group",
                "(a): the image is of a new class. Which outputs are in that group?",
                lambda answer: answer[0] != 3,
            ),
            Mistake(
                "not told: a group only",
                "(b): nobody tells the group, so all outputs compete.",
                lambda answer: answer[1] != 0,
            ),
        ],
    ),
    Exercise(
        "13.2",
        takes=function("teacher", "student", "temperature"),
        hint="First write the two softened distributions, and ask which of them is a constant in training. "
        "keras.ops has softmax, log_softmax and stop_gradient.",
        shows="The student's gradient is T (s - t) / n: zero for equal predictions, and of a similar size at "
        "every T. None reaches the teacher.",
        measure=distilled,
        mistakes=[
            Mistake(
                "one loss for each image, or for each output",
                "The result must be one number for the whole batch.",
                lambda found: not found["scalar"],
            ),
            Mistake(
                "stop_gradient around the student, or NumPy",
                "No gradient reaches the student, so it learns nothing. Use keras.ops, and stop the gradient "
                "only where it must not flow.",
                lambda found: found["constant"],
            ),
            Mistake(
                "stop_gradient is missing",
                "A gradient reaches the teacher. Its predictions are targets, and must be constants.",
                lambda found: found["teacher"],
            ),
            Mistake(
                "the temperature softens nothing",
                "The temperature does not soften the two distributions.",
                lambda found: found["no T"],
            ),
            Mistake(
                "the factor in front is missing or not squared",
                "The direction is right, but the gradient depends on the temperature in another way. Compare "
                "the factor in front with the equation.",
                lambda found: found["no factor"] or found["factor T"],
            ),
            Mistake(
                "the logits are multiplied by the temperature",
                "A larger temperature must make the distributions softer. Yours become sharper.",
                lambda found: found["multiplied"],
            ),
            Mistake(
                "only one of the two is softened",
                "Only one of the two distributions is softened, so equal logits still have a gradient.",
                lambda found: found["one softened"],
            ),
            Mistake(
                "the sign",
                "The student is pushed away from the teacher.",
                lambda found: found["sign"],
            ),
            Mistake(
                "teacher and student are swapped",
                "Teacher and student have exchanged their roles. Whose probabilities weight the logarithms?",
                lambda found: found["swapped"],
            ),
            Mistake(
                "the sum over the images, or the mean over the classes",
                "The direction is right, but the size depends on the number of images or classes in another "
                "way. Over what does the equation sum, and over what does it average?",
                lambda found: found["sum"] or found["mean of classes"],
            ),
            Mistake(
                "only the teacher's first choice",
                "The target is only the teacher's most likely class. Keep all its probabilities.",
                lambda found: found["labels"],
            ),
            Mistake(
                "another loss",
                "At some points the student's gradient is not that of the equation.",
                lambda found: not found["right"],
            ),
        ],
    ),
    Exercise(
        "13.3",
        takes=accuracy(),
        hint="Take one image of the stream. Which offset is just large enough to make its prediction new?",
        shows="On the stream the fraction of new predictions is right now, yet many digits are still "
        "misread: a right fraction does not prove a good classifier.",
        measure=corrected,
        mistakes=[
            Mistake(
                "no offset",
                "That is the accuracy without an offset.",
                lambda found, **facts: near(found, "none"),
            ),
            Mistake(
                "the offset has the other sign",
                "That moves the fraction the other way. Count the predictions of new classes before and "
                "after.",
                lambda found, **facts: near(found, "sign"),
            ),
            Mistake(
                "the stream is scored too",
                "That accuracy includes the images on which you chose the offset.",
                lambda found, **facts: near(found, "all"),
            ),
            Mistake(
                "another offset, other images or another arm",
                "This is another value. For each seed, add the offset to the logarithms of the new "
                "probabilities only, and choose it on the stream. Give the mean accuracy on the rest, to "
                "three decimals.",
                lambda found, **facts: abs(found["answer"] - found["right"]) > CLOSE,
            ),
        ],
    ),
]
