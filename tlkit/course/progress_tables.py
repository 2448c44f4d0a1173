"""Tables of a learner's progress: exercises, hints, and predictions with their measured values."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tlkit.course.exercises import all_exercises

PASSED, SHOWN, TRIED, OPEN = "passed", "solution shown", "tried", "open"


def exercise_table(events: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return a table with one row for each exercise of the course.

    An exercise whose solution was shown before the first right answer does not count as passed.

    Args:
        events: the recorded events, from `tlkit.course.progress.events`.

    Returns:
        Table with columns `exercise`, `lesson`, `state` (passed, solution shown, tried, open), `tries`
        (number of answers up to the first right one) and `hints`.
    """
    states, tries, hints = dict[str, str](), Counter[str](), Counter[str]()
    for event in events:
        name = event.get("exercise", "")
        if event["kind"] == "hint":
            hints[name] += 1
        elif event["kind"] == "solution":
            states.setdefault(name, SHOWN)
            states[name] = PASSED if states[name] == PASSED else SHOWN
        elif event["kind"] == "check" and states.get(name) not in (PASSED, SHOWN):
            tries[name] += 1
            states[name] = PASSED if event["state"] == "right" else TRIED
    rows = [
        (name, name.split(".")[0], states.get(name, OPEN), tries[name], hints[name])
        for name in all_exercises()
    ]
    return pd.DataFrame(rows, columns=["exercise", "lesson", "state", "tries", "hints"])


def latest_records(events: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the latest record of each lesson, by its number.

    A record holds `predicted` (for each arm, the predicted and the measured value), `quantity` and `figure`.
    """
    return {event["lesson"]: event for event in events if event["kind"] == "record"}


def prediction_table(events: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return a table with one row for each prediction in the latest run of each lesson.

    Args:
        events: the recorded events, from `tlkit.course.progress.events`.

    Returns:
        Table with columns `lesson`, `arm` (what was compared, such as a technique), `quantity` (such as
        accuracy), `predicted`, `measured` and `error` (measured minus predicted).
    """
    rows = [
        (number, arm, record["quantity"], predicted, measured, measured - predicted)
        for number, record in sorted(latest_records(events).items())
        for arm, (predicted, measured) in record["predicted"].items()
    ]
    return pd.DataFrame(rows, columns=["lesson", "arm", "quantity", "predicted", "measured", "error"])
