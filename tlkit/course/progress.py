"""Record the learner's answers, predictions and results, on this machine only."""

import base64
import io
import json
import os
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import platformdirs

from tlkit.course.lessons import lesson
from tlkit.errors import TlkitWarning
from tlkit.reports.words import counted

EVENTS = "events.jsonl"


def progress_folder() -> Path:
    """Return the folder of the progress records: `TLKIT_PROGRESS`, or by default the user's data folder."""
    configured = os.environ.get("TLKIT_PROGRESS")
    return Path(configured) if configured else Path(platformdirs.user_data_dir("tlkit")) / "progress"


def note(kind: str, **details: Any) -> None:
    """Append an event to the progress records.

    An event is one line of the file, so two lessons can write at the same time.

    Args:
        kind: such as `"check"`, `"hint"`, `"solution"` or `"record"`.
        **details: values that JSON can hold.

    Warns:
        TlkitWarning: the event could not be written. The lesson continues.
    """
    event = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "kind": kind} | details
    try:
        progress_folder().mkdir(parents=True, exist_ok=True)
        with (progress_folder() / EVENTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=False) + "\n")
    except OSError as error:
        warnings.warn(
            f"Your progress was not saved: {error}. Set TLKIT_PROGRESS to a writable folder with free space.",
            TlkitWarning,
            stacklevel=3,
        )


def events() -> list[dict[str, Any]]:
    """Return the recorded events, oldest first.

    Warns:
        TlkitWarning: some lines of the file cannot be read; they are left out.
    """
    path = progress_folder() / EVENTS
    if not path.is_file():
        return []
    found, broken = [], 0
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            broken += 1
    if broken:
        warnings.warn(f"Left out {counted(broken, 'unreadable line')} of {path}.", TlkitWarning, stacklevel=2)
    return found


def record(number: str, predicted: Mapping[Any, Any], measured: Any, *, quantity: str = "accuracy") -> None:
    """Record the learner's predictions, the measured values, and the current figure of matplotlib.

    An arm is one of the alternatives that a lesson compares, such as a technique.

    Args:
        number: of the lesson, such as `"02"`.
        predicted: the predicted numbers, by the name of the arm, or by arm and setting; None where nothing
            was predicted.
        measured: the measured numbers in the same form: a dictionary, a pandas series, or a table with one
            column for each arm. The mean is recorded if there are several, such as one for each seed. Arms
            without a prediction are left out.
        quantity: what the numbers are. The progress report draws `"accuracy"` (0 to 1) of all lessons in one
            figure.

    Raises:
        UnknownNameError: there is no lesson with this number.

    Warns:
        TlkitWarning: some predictions have no measured value, and are not recorded.
    """
    lesson(number)
    predictions, values = flat(predicted), flat(measured)
    rows = {name: [value, values[name]] for name, value in predictions.items() if name in values}
    if missing := [name for name in predictions if name not in values]:
        warnings.warn(
            f"Nothing was measured for {', '.join(missing)}, so these predictions are not recorded. "
            f"Measured: {', '.join(values)}.",
            TlkitWarning,
            stacklevel=2,
        )
    figure = ""
    if plt.get_fignums():  # without an open figure, savefig would save an empty one
        png = io.BytesIO()
        plt.savefig(png, format="png", dpi=90)
        figure = base64.b64encode(png.getvalue()).decode()
    note("record", lesson=number, quantity=quantity, predicted=rows, figure=figure)


def flat(numbers: Any) -> dict[str, float]:
    """Flatten numbers into one dictionary, by arm or by "arm, setting"; several values become their mean.

    None is left out.

    >>> flat({"scratch": {1: 0.3, 30: 0.8}, "frozen": [0.5, 0.7]})
    {'scratch, 1': 0.3, 'scratch, 30': 0.8, 'frozen': 0.6}
    """
    numbers = numbers.to_dict() if hasattr(numbers, "to_dict") else numbers
    found: dict[str, float] = {}
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            found |= flat({f"{name}, {setting}": each for setting, each in value.items()})
        elif value is not None:
            found[str(name)] = float(np.mean(value))
    return found
