"""Where a learner stands: exercises passed, hints used, predictions beside what was measured."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tlkit.course.exercises import all_exercises

PASSED, SHOWN, TRIED, OPEN = "passed", "solution shown", "tried", "open"


def exercise_table(events: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return a row for each exercise of the series.

    Args:
        events: of `tlkit.course.progress.events`.

    Returns:
        Table with columns `exercise`, `lesson`, `state` (passed, solution shown, tried, open), `tries`
        (answers up to the first right one) and `hints`. Whoever saw the solution first has not passed.
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
    """Return the last record of each lesson: `predicted` (guess and measured value by arm) and `figure`."""
    return {event["lesson"]: event for event in events if event["kind"] == "record"}


def prediction_table(events: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return a row for each prediction of each lesson's last run.

    Returns:
        Table with columns `lesson`, `arm`, `quantity` (such as accuracy), `predicted`, `measured` and
        `off by` (measured less predicted).
    """
    rows = [
        (number, arm, record["quantity"], guess, value, value - guess)
        for number, record in sorted(latest_records(events).items())
        for arm, (guess, value) in record["predicted"].items()
    ]
    return pd.DataFrame(rows, columns=["lesson", "arm", "quantity", "predicted", "measured", "off by"])
