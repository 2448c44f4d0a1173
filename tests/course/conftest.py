"""A small table of exercises, so that tests of the machinery do not depend on what a lesson asks."""

import pytest

from tlkit.course import exercises, progress_tables
from tlkit.course.exercises import Exercise, Mistake
from tlkit.course.exercises.expected import function, number, truth, whole_number

OWN = (
    Exercise(
        "02.1",
        takes=whole_number(),
        hint="Count.",
        shows="Two and two is four.",
        mistakes=[Mistake("another number", "Count again.", lambda answer: answer != 4)],
    ),
    Exercise(
        "02.2",
        takes=number(0, 1, "a learning rate"),
        hint="Try one.",
        shows="It learns.",
        mistakes=[Mistake("too large", "Smaller.", lambda rate, train, large: train(rate) > large)],
    ),
    Exercise(
        "02.3",
        takes=truth(),
        hint="Toss a coin.",
        shows="It is false.",
        mistakes=[Mistake("true", "Think again.", lambda answer: answer)],
    ),
    Exercise(
        "03.1",
        takes=function("x"),
        hint="Write one.",
        shows="It works.",
        mistakes=[Mistake("another value", "It should return 1.", lambda answer: answer(0) != 1)],
    ),
)


@pytest.fixture
def own_exercises(monkeypatch):
    """Replace the exercises of the course by four small ones."""
    table = {each.name: each for each in OWN}
    for module in (exercises, progress_tables):
        monkeypatch.setattr(module, "all_exercises", lambda: table)
