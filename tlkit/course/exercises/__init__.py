"""The exercises of the lessons: one file a lesson, one `Exercise` a task."""

import importlib
import pkgutil

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.errors import UnknownNameError

__all__ = ["Exercise", "Mistake", "all_exercises", "exercise"]


def all_exercises() -> dict[str, Exercise]:
    """Return every exercise of the series by its name, in the order of the lessons.

    >>> list(all_exercises())[:3]
    ['00.1', '00.2', '00.3']
    """
    files = sorted(each.name for each in pkgutil.iter_modules(__path__) if each.name.startswith("lesson_"))
    tables = (importlib.import_module(f"{__name__}.{name}").EXERCISES for name in files)
    return {each.name: each for table in tables for each in table}


def exercise(name: str) -> Exercise:
    """Return the exercise of a name such as `"02.2"`.

    Raises:
        UnknownNameError: there is no such exercise.
    """
    known = all_exercises()
    if name not in known:
        raise UnknownNameError("exercise", str(name), known)
    return known[name]
