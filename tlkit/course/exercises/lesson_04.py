"""02 Transductive transfer."""

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import accuracy, by_name, number, one_of, several

EXERCISES = [
    Exercise(
        "04.1",
        takes=several(3, one_of("inductive", "transductive", "unsupervised")),
        hint="Where are labels: in the source, in the target, in both, in none?",
        shows="The labels decide: in the target, only in the source, or nowhere.",
        mistakes=[
            Mistake(
                "a new task is taken for a new domain",
                "(a): the question changes, from animals to illness, and the X-rays have labels.",
                lambda answer: answer[0] != "inductive",
            ),
            Mistake(
                "a shift of the domain is taken for a new task",
                "(b): the question stays, the texts are of another kind, and those have no labels.",
                lambda answer: answer[1] != "transductive",
            ),
            Mistake(
                "missing labels in the target and missing labels everywhere are mixed up",
                "(c): neither side has labels.",
                lambda answer: answer[2] != "unsupervised",
            ),
        ],
    ),
    Exercise(
        "04.2",
        takes=accuracy(),
        hint="Standardise xs by its own mean and spread; multiply by the spread of xt and add its "
        "mean. Then learn.",
        shows="Most of CORAL's gain is in the mean and spread of single features, which AdaBN uses as well.",
        mistakes=[
            Mistake(
                "the target's features are moved instead of the source's, or nothing is",
                "No gain over the source alone. Remove the source's mean and spread, then put in "
                "those of xt.",
                lambda answer, low, high: answer <= low,
            ),
            Mistake(
                "target labels are used",
                "Above the ceiling: did target labels slip in?",
                lambda answer, low, high: answer >= high,
            ),
        ],
    ),
    Exercise(
        "04.3",
        takes=by_name(("A-distance", "accuracy"), number()),
        hint="extract the features of openmoji; da.proxy_a_distance for one number, "
        "head.set_weights(kept[SEED]) for the other.",
        shows="Both targets can be told from the source; that alone does not say that the classes "
        "fall apart.",
        mistakes=[
            Mistake(
                "an error rate or a percentage is given",
                "The A-distance lies between 0 and 2, and the accuracy between 0 and 1.",
                lambda answer, low: not (0 <= answer["A-distance"] <= 2 and 0 <= answer["accuracy"] <= 1),
            ),
            Mistake(
                "the head of another seed or of an adapted network is used, or line art is measured again",
                "That is the accuracy of line art. Use the source-only head kept[SEED] on openmoji's "
                "test features.",
                lambda answer, low: answer["accuracy"] <= low + 0.1,
            ),
        ],
    ),
]
