"""04 Transductive transfer."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, function, one_of, several

POINTS, D = 5, 4  # random pairs of domains, features


def domains(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features `(60, d)` and `(50, d)` of two domains with means and covariances of their own."""
    rng = np.random.default_rng(seed)
    source, target = (
        rng.normal(size=(n, D)) @ rng.normal(size=(D, D)) + 3 * rng.normal(size=D) for n in (60, 50)
    )
    return source, target


def recoloured(answer: Callable[..., Any]) -> dict[str, bool]:
    """Return which properties the answer has at several random pairs of domains."""
    found = dict.fromkeys(("rows", "moved", "mean", "variance", "covariance", "map"), True)
    for seed in range(POINTS):
        source, target = domains(seed)
        result = answer(source.copy(), target.copy())
        if np.shape(result) != source.shape:
            return found | {"rows": False}
        means, spreads = result.mean(axis=0), np.cov(result, rowvar=False)
        wanted = np.cov(target, rowvar=False)
        affine = np.column_stack([source, np.ones(len(source))])
        fitted = affine @ np.linalg.lstsq(affine, result, rcond=None)[0]
        found["moved"] &= not np.allclose(result, source)
        found["mean"] &= np.allclose(means, target.mean(axis=0), atol=1e-3)
        found["variance"] &= np.allclose(np.diag(spreads), np.diag(wanted), rtol=0.02)
        found["covariance"] &= np.allclose(spreads, wanted, atol=0.02 * np.trace(wanted))
        found["map"] &= np.allclose(fitted, result, atol=1e-3)
    return found


def corrected(
    answer: float, heads: Sequence[Any], features: np.ndarray, labels: np.ndarray, known: np.ndarray
) -> dict[str, float]:
    """Return the answer, the mean accuracy of corrected heads, and how far it is from the balanced one."""
    fractions = np.bincount(known) / len(known)
    predicted = [(each.predict(features) * fractions).argmax(axis=1) for each in heads]
    balanced = float(np.mean([balanced_accuracy_score(labels, each) for each in predicted]))
    accuracy = float(np.mean([each == labels for each in predicted]))
    return {"answer": answer, "accuracy": accuracy, "apart": abs(answer - balanced)}


EXERCISES = [
    Exercise(
        "04.1",
        takes=several(3, one_of("label shift", "covariate shift", "new task")),
        hint="Ask what changes: the fractions of the classes, the images, or the question?",
        shows="Label shift changes P(Y), covariate shift changes P(X), and a new task changes Y itself.",
        mistakes=[
            Mistake(
                "a change of the class fractions is not recognised",
                "(a): the images of each class look as before. What changes is how many there are of each.",
                lambda answer: answer[0] != "label shift",
            ),
            Mistake(
                "a change of the images is not recognised",
                "(b): the mix of images changes. Images that look alike keep their label.",
                lambda answer: answer[1] != "covariate shift",
            ),
            Mistake(
                "a change of the question is taken for a change of the domain",
                "(c): the images stay. Do the old labels answer the new question?",
                lambda answer: answer[2] != "new task",
            ),
        ],
    ),
    Exercise(
        "04.2",
        takes=function("source", "target"),
        hint="Whitened features have variance 1 in each direction and covariance 0 between them. Which "
        "power of "
        "whose covariance does that?",
        shows="The recoloured source has the target's mean and covariance, and each row keeps its label.",
        measure=recoloured,
        mistakes=[
            Mistake(
                "the target is moved instead of the source",
                "The result must have one row for each row of the source, whose labels the head learns from.",
                lambda found: not found["rows"],
            ),
            Mistake(
                "the source is returned as it is",
                "Those are the features of the source, unchanged.",
                lambda found: not found["moved"],
            ),
            Mistake(
                "rows of the target are returned",
                "Map the source linearly. Rows of other images do not belong to the source's labels.",
                lambda found: not found["map"],
            ),
            Mistake(
                "the means are forgotten, or subtracted at the wrong place",
                "The mean of the result is not that of the target.",
                lambda found: not found["mean"],
            ),
            Mistake(
                "each feature is standardised on its own",
                "Each variance fits, but the covariances between different features do not.",
                lambda found: found["variance"] and not found["covariance"],
            ),
            Mistake(
                "the powers are swapped, or multiplied in the wrong order",
                "The covariance is not that of the target. Which covariance is left after whitening?",
                lambda found: not found["covariance"],
            ),
        ],
    ),
    Exercise(
        "04.3",
        takes=accuracy("a balanced accuracy"),
        hint="For each head: da.reweighted(each.predict(xt_test), uniform, expert).argmax(axis=1), with two "
        "arrays of class fractions. Then tlkit.Evidence with balanced=True.",
        shows="The right class fractions help little or not at all: they only move a threshold, and the "
        "images of each class have changed.",
        measure=corrected,
        mistakes=[
            Mistake(
                "the accuracy is given",
                "That is the accuracy. Score by balanced accuracy: tlkit.Evidence(..., balanced=True).",
                lambda found, heads, features, labels, known: (
                    abs(found["answer"] - found["accuracy"]) < 0.006 < found["apart"]
                ),
            ),
            Mistake(
                "another arm, other images or other fractions are scored",
                "This is another value. Correct each head in plain on xt_test, from equal fractions to the "
                "expert's, and give the mean balanced accuracy.",
                lambda found, heads, features, labels, known: found["apart"] > 0.006,
            ),
        ],
    ),
]
