"""03 Unsupervised transfer."""

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, by_name, number, one_of, several

EXERCISES = [
    Exercise(
        "05.1",
        takes=several(3, one_of("flip", "turn", "colour")),
        hint="Apply each change to one image of the class. When is it an image of another class?",
        shows="Views tell the network what does not matter. What your classes differ by must stay.",
        mistakes=[
            Mistake(
                "letters: only rotations are thought of",
                "(a): which change makes a d of a b?",
                lambda answer: answer[0] != "flip",
            ),
            Mistake(
                "tomatoes: the shape is thought of",
                "(b): by what do you see that a tomato is ripe?",
                lambda answer: answer[1] != "colour",
            ),
            Mistake(
                "clocks: a mirrored clock is noticed, a turned one is not",
                "(c): which change makes another time of it?",
                lambda answer: answer[2] != "turn",
            ),
        ],
    ),
    Exercise(
        "05.2",
        takes=accuracy(),
        hint="model.predict(pool) gives probabilities: keep rows whose largest is above 0.8, with "
        "argmax as label.",
        shows="The surest images are the easy ones, so the gain is small. Where answers are poor, "
        "it learns errors.",
        mistakes=[
            Mistake(
                "the pseudo-labels replace the true ones",
                "Lower than the frozen network with ten labels a class. Keep the true labels with the "
                "new ones.",
                lambda answer, frozen, ceiling: answer <= frozen,
            ),
            Mistake(
                "the true labels of the pool are used",
                "Above the ceiling: did true labels of the pool slip in?",
                lambda answer, frozen, ceiling: answer >= ceiling,
            ),
        ],
    ),
    Exercise(
        "05.3",
        takes=by_name(("partners", "strangers"), number(0, 4)),
        hint="Two calls of views give two views of each image; np.roll of one side makes strangers "
        "of partners.",
        shows="In a collapse strangers are as near as partners, and uniformity, which looks at all "
        "pairs, is 0.",
        mistakes=[
            Mistake(
                "rows of one side are not shifted, so that strangers are partners",
                "Strangers should be much farther apart than partners: shift one side by some rows.",
                lambda answer: answer["strangers"] <= 2 * answer["partners"],
            ),
            Mistake(
                "the same view is taken twice",
                "Partners at distance 0 are the same view twice. Call views once for each side.",
                lambda answer: answer["partners"] < 1e-6,
            ),
        ],
    ),
]
