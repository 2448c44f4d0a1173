"""01 Inductive transfer."""

from typing import Any

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, by_name, letters, several


def plain_lwf(kept: Any, seed: int) -> dict[str, float]:
    """Return what the separate heads of LwF had for a seed, on old and new digits, not told which."""
    row = kept[(kept["arm"] == "LwF") & (kept["seed"] == seed)].iloc[0]
    return {which: float(row[f"{which} digits, not told"]) for which in ("old", "new")}


EXERCISES = [
    Exercise(
        "03.1",
        takes=letters("abcd"),
        hint="Two questions for each: does the task change? Has the target any labels?",
        shows="Inductive means: another task, and some labels for it. Whether the images change "
        "does not matter.",
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
                "One is missing. The same images may be asked another question.",
                lambda answer: answer != {"b", "d"},
            ),
        ],
    ),
    Exercise(
        "03.2",
        takes=by_name(("old", "new"), accuracy()),
        hint="LearningWithoutForgetting(..., separate=False), compiled as in the lesson, then "
        "stay(learner)(SEED).",
        shows="One softmax lets new classes win where they could not before; the old ones pay for it.",
        mistakes=[
            Mistake(
                "separate=False is forgotten, so nothing changes",
                "The new digits gain nothing over the LwF of the lesson. Do new and old classes share "
                "one softmax?",
                lambda answer, kept, seed: answer["new"] <= plain_lwf(kept, seed)["new"],
            ),
            Mistake(
                "the two numbers are read where the model is told which half is asked for",
                "The old digits should pay for it. Read the columns 'not told'.",
                lambda answer, kept, seed: answer["old"] >= plain_lwf(kept, seed)["old"],
            ),
        ],
    ),
    Exercise(
        "03.3",
        takes=several(2, accuracy()),
        hint="np.stack([x[labels == label].mean(axis=0) ...]), then the squared distance of each "
        "query to each mean.",
        shows="Raw features differ in length, and length says little about the class.",
        mistakes=[
            Mistake(
                "labels and features do not belong together",
                "One of them is near chance, or above what any head reached. Check which labels "
                "belong to which rows.",
                lambda answer: not 0.2 < min(answer) <= max(answer) < 0.9,
            ),
            Mistake(
                "only the examples are scaled, and not the queries; or the two are swapped",
                "Scaled comes first. Did you scale the test features as well, and take all ten seeds?",
                lambda answer: answer[0] <= answer[1],
            ),
        ],
    ),
]
