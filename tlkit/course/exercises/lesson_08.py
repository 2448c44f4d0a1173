"""08 Task similarity."""

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import number, one_of, several

EXERCISES = [
    Exercise(
        "08.1",
        takes=several(3, one_of("distance", "cka", "predicted gain")),
        hint="For each: is it about two sets of images, about two networks, or about a network and labels?",
        shows="How images look, what a network does and what a task gains are three questions with "
        "three numbers.",
        mistakes=[
            Mistake(
                "a gain is asked for where there are no labels",
                "(a): there are two sets of images, no labels, and no task.",
                lambda answer: answer[0] != "distance",
            ),
            Mistake(
                "two networks are compared by their images",
                "(b): the images are the same, the networks are not.",
                lambda answer: answer[1] != "cka",
            ),
            Mistake(
                "a distance is asked whether a task fits",
                "(c): you have labels, and want to know whether borrowing helps.",
                lambda answer: answer[2] != "predicted gain",
            ),
        ],
    ),
    Exercise(
        "08.2",
        takes=several(2, number()),
        hint="ts.distances(features, 'frechet').to_numpy(), then np.diag(table) and table[pairs].",
        shows="A data set is farther from itself than two others are from each other: with few "
        "examples it is biased.",
        mistakes=[
            Mistake(
                "the map of another distance is read",
                "These are no Fréchet distances of 1,280 features: they go into the hundreds.",
                lambda answer: max(answer) < 10,
            ),
            Mistake(
                "smallest and largest are swapped",
                "First the largest of np.diag(table), then the smallest of the cells above it. Look again.",
                lambda answer: answer[0] <= answer[1],
            ),
        ],
    ),
    Exercise(
        "08.3",
        takes=one_of("helps", "hurts", "unclear"),
        hint="learned(labels, SEED) trains a source. What are the labels for even or odd? Then "
        "foretell(...).verdict.",
        shows="Two classes are all that this network had to keep apart, so nothing made it keep 3 and "
        "5 apart.",
        mistakes=[
            Mistake(
                "the digit itself is taken as the label",
                "Labels are source.labels % 2. Did you take the digit itself?",
                lambda answer: answer == "helps",
            ),
        ],
    ),
]
