"""What a learner types: `tlkit.check`, `tlkit.hint`; and in the solved lessons `tlkit.solution`."""

import os
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tlkit.course import progress
from tlkit.course.exercises import exercise
from tlkit.errors import WrongAnswerError

NOT_ATTEMPTED, WRONG, RIGHT, HINT = "not attempted", "wrong", "right", "hint"
SIGNS = {
    NOT_ATTEMPTED: ("○", "#767676"),
    WRONG: ("✗", "#d55e00"),
    RIGHT: ("✓", "#009e73"),
    HINT: ("?", "#0072b2"),
}


@dataclass(frozen=True)
class Result:
    """What there is to say about an answer; true if it is right.

    Attributes:
        exercise: its name, such as `"05.2"`.
        state: `"not attempted"`, `"wrong"`, `"right"` or, from `hint`, `"hint"`.
        message: what is wrong, what the right answer shows, or what to do.
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


def check(name: str, answer: Any, **facts: Any) -> Result:
    """Say whether an answer to an exercise is right, and keep it for the learner's progress.

    With `TLKIT_STRICT=1` in the environment a wrong answer raises, for tests and marking.

    Args:
        name: of the exercise, such as `"05.2"`.
        answer: the learner's; None while it is not attempted.
        **facts: what the lesson computed and the check needs; the lesson's cell names them.

    Raises:
        UnknownNameError: there is no such exercise.
        WrongAnswerError: the answer is wrong, and `TLKIT_STRICT` is 1.

    >>> check("05.3", None).state, bool(check("05.3", False))
    ('not attempted', True)
    """
    task = exercise(name)
    if answer is None:
        how = f'Replace None by {task.takes.description}. tlkit.hint("{name}") tells the first step.'
        return Result(name, NOT_ATTEMPTED, how)
    fault = task.fault(answer, facts)
    result = Result(name, WRONG if fault else RIGHT, fault or task.shows)
    progress.note("check", exercise=name, state=result.state, answer=repr(answer)[:200])
    if fault and os.environ.get("TLKIT_STRICT") == "1":
        raise WrongAnswerError(f"{name}: {fault}")
    return result


def hint(name: str) -> Result:
    """Give the first step of an exercise, and count that it was asked for.

    >>> hint("05.3").state
    'hint'
    """
    task = exercise(name)
    progress.note("hint", exercise=name)
    return Result(name, HINT, task.hint)


def solution(name: str, answer: Any, **facts: Any) -> Result:
    """Check the answer of a solved lesson; it does not count as the learner's.

    Raises:
        WrongAnswerError: it is wrong, so the lesson and its check do not agree.
    """
    task = exercise(name)
    if fault := "there is no answer" if answer is None else task.fault(answer, facts):
        raise WrongAnswerError(f"The solution of {name} does not pass its check: {fault}")
    progress.note("solution", exercise=name)
    return Result(name, RIGHT, task.shows)
