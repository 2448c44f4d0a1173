"""12 Your own images."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, function, one_of, several
from tlkit.experiments.audit.pairs import pairs

POINTS, CELLS = 8, 400  # random costs, and random probabilities for each


def problems() -> list[tuple[np.ndarray, float, float, float]]:
    """Return probabilities `(n,)` and the costs of a miss, a false alarm and a question, at random."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(POINTS):
        miss, false_alarm = rng.uniform(0.5, 30), rng.uniform(0.5, 5)
        most = miss * false_alarm / (miss + false_alarm)  # a question that costs more is never worth it
        found.append((rng.uniform(size=CELLS), miss, false_alarm, rng.uniform(0.3, 1.6) * most))
    return found


def decided(decide: Callable[..., Any]) -> dict[str, bool]:
    """Return which properties the decisions have at several random costs."""
    names = ("shape", "values", "right", "confidence", "swapped", "never", "half", "ratio", "worst", "dear")
    found = dict.fromkeys(names, True)
    for p, miss, false_alarm, ask in problems():
        result = np.asarray(decide(p.copy(), miss, false_alarm, ask))
        if result.shape != p.shape:
            return found | {"shape": False}
        question = np.full(len(p), ask)
        best = np.stack([p * miss, (1 - p) * false_alarm, question]).argmin(axis=0)
        alternatives = {
            "right": best,
            "swapped": np.stack([(1 - p) * miss, p * false_alarm, question]).argmin(axis=0),
            "never": (p * miss > (1 - p) * false_alarm).astype(int),
            "half": np.where(np.minimum(p * miss, (1 - p) * false_alarm) > ask, 2, p > 0.5),
            "worst": np.stack([p * miss, (1 - p) * false_alarm, question]).argmax(axis=0),
            "ratio": np.where(np.minimum(p * miss, (1 - p) * false_alarm) > ask, 2, p > false_alarm / miss),
        }
        found["values"] &= bool(np.isin(result, (0, 1, 2)).all())
        for name, other in alternatives.items():
            found[name] &= bool(np.array_equal(result, other))
        dear = np.asarray(decide(p.copy(), miss, false_alarm, 2 * miss))
        found["dear"] &= not np.any(dear == 2)
    return found


def cell(name: str) -> str:
    """Return the number of the cell that a file shows.

    >>> cell("intact/0012-copy.jpg")
    '0012'
    """
    return PurePosixPath(name).stem.split("-")[0]


def of_one_cell(answer: float, images: pd.DataFrame) -> dict[str, float]:
    """Return the answer, and the fraction of the pairs that show one cell, at two limits of the colours."""
    found = {"answer": answer}
    for colour in (1, 12):
        table = pairs(images, colour=colour)
        one, other = (table[side].map(cell).to_numpy() for side in ("one", "other"))
        found[f"colour {colour}"] = float(np.mean(one == other)) if len(table) else float("nan")
    return found


def apart(found: dict[str, float]) -> float:
    """Return how far the answer is from the fraction at the default limit."""
    return abs(found["answer"] - found["colour 12"])


EXERCISES = [
    Exercise(
        "12.1",
        takes=several(3, one_of("raises", "lowers", "leaves")),
        hint="Take one test image with the flaw. Is the model's answer more often equal to its label than "
        "without the flaw? Is the image in the test at all?",
        shows="Flaws can act against each other: a plausible accuracy does not show that a folder is clean.",
        mistakes=[
            Mistake(
                "a leak is not seen to help",
                "(a): the model has learned the label of almost the same image.",
                lambda answer: answer[0] != "raises",
            ),
            Mistake(
                "an answer that is true but differs from the label is not counted as wrong",
                "(b): accuracy compares the answer with the label, not with the truth.",
                lambda answer: answer[1] != "lowers",
            ),
            Mistake(
                "a file that is skipped is thought to count",
                "(c): an image that is not loaded is neither trained on nor tested.",
                lambda answer: answer[2] != "leaves",
            ),
        ],
    ),
    Exercise(
        "12.2",
        takes=function("p", "miss", "false_alarm", "ask"),
        hint="Write down the expected cost of each of the three decisions for one cell; then for all cells.",
        shows="The model decides where it is cheap to be wrong, and asks where a human costs less.",
        measure=decided,
        mistakes=[
            Mistake(
                "one number for all cells, or costs instead of decisions",
                "Return one decision for each cell: an array of the shape of p.",
                lambda found: not found["shape"],
            ),
            Mistake(
                "costs, truth values or probabilities are returned",
                "A decision is 0, 1 or 2. Some of your values are not.",
                lambda found: not found["values"],
            ),
            Mistake(
                "the model never asks",
                "This is the rule of two decisions. A question has a cost, too: compare all three.",
                lambda found: found["never"],
            ),
            Mistake(
                "p and 1 - p are swapped",
                "p is the probability of a defect. Which decision is wrong if the cell has a defect?",
                lambda found: found["swapped"],
            ),
            Mistake(
                "the largest cost is chosen",
                "These are the most expensive decisions.",
                lambda found: found["worst"],
            ),
            Mistake(
                "it asks rightly, and decides the others by a threshold of one half",
                "You ask for the right cells. The others are decided as if both errors cost the same.",
                lambda found: found["half"] and not found["right"],
            ),
            Mistake(
                "it asks rightly, and decides the others by the ratio of the costs",
                "You ask for the right cells. For the others, compare two expected costs: both depend on p.",
                lambda found: found["ratio"] and not found["right"],
            ),
            Mistake(
                "the model asks at any price",
                "A question that costs more than a miss is never worth it, but you still ask.",
                lambda found: not found["dear"],
            ),
            Mistake(
                "another rule",
                "At random costs, some decisions are not the cheapest. Compute p = 0.2, miss = 10, "
                "false_alarm = 1, ask = 0.5 by hand.",
                lambda found: not found["right"],
            ),
        ],
    ),
    Exercise(
        "12.3",
        takes=accuracy("a fraction"),
        hint="The pairs of an audit have the columns one and other: names of files. Apply cell_of to both.",
        shows="What counts as similar depends on the images. Look at pairs before you remove any.",
        measure=of_one_cell,
        mistakes=[
            Mistake(
                "the audit of the lesson, with colour=1, is used",
                "That is the fraction with colour=1. Audit again with the default.",
                lambda found, images: abs(found["answer"] - found["colour 1"]) < 0.006 < apart(found),
            ),
            Mistake(
                "the other pairs are counted",
                "That is the fraction of pairs of different cells.",
                lambda found, images: abs(1 - found["answer"] - found["colour 12"]) < 0.006 < apart(found),
            ),
            Mistake(
                "another number",
                "This is another number. Divide the number of pairs of one cell by the number of all pairs.",
                lambda found, images: not apart(found) <= 0.006,
            ),
        ],
    ),
]
