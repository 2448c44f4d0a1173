"""Check the answers to exercises: `tlkit.check`, `tlkit.hint`, and `tlkit.solution` in solved lessons."""

import os
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tlkit.course import progress
from tlkit.course.exercises import exercise
from tlkit.course.exercises.expected import Unfinished
from tlkit.errors import WrongAnswerError

NOT_ATTEMPTED, WRONG, RIGHT, HINT = "not attempted", "wrong", "right", "hint"
SIGNS = {
    NOT_ATTEMPTED: ("○", "#767676"),
    WRONG: ("✗", "#d55e00"),
    RIGHT: ("✓", "#009e73"),
    HINT: ("?", "#0072b2"),
}


@dataclass(frozen=True)
class Feedback:
    """The feedback on an answer; it counts as True if the answer is right.

    Attributes:
        exercise: name of the exercise, such as `"02.2"`.
        state: `"not attempted"`, `"wrong"`, `"right"` or, from `hint`, `"hint"`.
        message: what is wrong, what the right answer shows, or what to do next.
    """

    exercise: str
    state: str
    message: str

    def __bool__(self) -> bool:
        return self.state == RIGHT

    def __repr__(self) -> str:
        return f"{SIGNS[self.state][0]} {self.exercise} {self.state}: {self.message}"

    def _repr_html_(self) -> str:
        sign, color = SIGNS[self.state]
        return Markup(
            '<p style="border-left: 4px solid {}; padding-left: 0.8em"><strong>{} {} {}.</strong> {}</p>'
        ).format(color, sign, self.exercise, self.state, self.message)


def check(name: str, answer: Any, **facts: Any) -> Feedback:
    """Check the answer to an exercise, and record it in the learner's progress.

    With `TLKIT_STRICT=1` in the environment, a wrong answer raises an error. This is for tests and grading.

    Args:
        name: of the exercise, such as `"02.2"`.
        answer: the learner's answer; None, or a function that returns None, while the exercise is not
            attempted.
        **facts: values that the lesson computed and the check needs; the cell in the lesson names them.

    Raises:
        UnknownNameError: there is no such exercise.
        WrongAnswerError: the answer is wrong, and `TLKIT_STRICT` is 1.

    >>> check("02.3", None).state, bool(check("02.3", False))
    ('not attempted', True)
    """
    chosen = exercise(name)
    if answer is None:
        advice = f'Replace None with {chosen.takes.description}. tlkit.hint("{name}") shows the first step.'
        return Feedback(name, NOT_ATTEMPTED, advice)
    try:
        fault = chosen.fault(answer, facts)
    except Unfinished:
        advice = (
            f'Write the missing line: the function returns None. tlkit.hint("{name}") shows the first step.'
        )
        return Feedback(name, NOT_ATTEMPTED, advice)
    feedback = Feedback(name, WRONG if fault else RIGHT, fault or chosen.shows)
    progress.note("check", exercise=name, state=feedback.state, answer=repr(answer)[:200])
    if fault and os.environ.get("TLKIT_STRICT") == "1":
        raise WrongAnswerError(f"{name}: {fault}")
    return feedback


def hint(name: str) -> Feedback:
    """Show the first step of an exercise, and record that a hint was used.

    Raises:
        UnknownNameError: there is no such exercise.

    >>> hint("02.3").state
    'hint'
    """
    chosen = exercise(name)
    progress.note("hint", exercise=name)
    return Feedback(name, HINT, chosen.hint)


def solution(name: str, answer: Any, **facts: Any) -> Feedback:
    """Check the answer of a solved lesson, without counting it as an answer of the learner.

    Args:
        name: of the exercise, such as `"02.2"`.
        answer: the answer of the solved lesson.
        **facts: values that the lesson computed and the check needs, as for `check`.

    Raises:
        UnknownNameError: there is no such exercise.
        WrongAnswerError: the answer is wrong, so the lesson and its check do not agree.
    """
    chosen = exercise(name)
    try:
        fault = "there is no answer" if answer is None else chosen.fault(answer, facts)
    except Unfinished:
        fault = "the function returns None"
    if fault:
        raise WrongAnswerError(f"The solution of {name} does not pass its check: {fault}")
    progress.note("solution", exercise=name)
    return Feedback(name, RIGHT, chosen.shows)
