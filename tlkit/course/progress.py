"""What a learner answered, predicted and measured: kept on this machine, sent nowhere."""

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

EVENTS = "events.jsonl"


def folder() -> Path:
    """Return where progress is kept: the user's data folder for tlkit, or what `TLKIT_PROGRESS` names."""
    given = os.environ.get("TLKIT_PROGRESS")
    return Path(given) if given else Path(platformdirs.user_data_dir("tlkit")) / "progress"


def note(kind: str, **what: Any) -> None:
    """Add an event; a line at a time, so that two lessons may write at once.

    A disk that takes nothing costs only the progress, and says so.
    """
    event = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "kind": kind} | what
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with (folder() / EVENTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=False) + "\n")
    except OSError as error:
        warnings.warn(
            f"Your progress is not kept: {error}. Set TLKIT_PROGRESS to a folder with room.",
            TlkitWarning,
            stacklevel=3,
        )


def events() -> list[dict[str, Any]]:
    """Return what was noted, oldest first; lines that cannot be read are left out, with a warning."""
    path = folder() / EVENTS
    if not path.is_file():
        return []
    found, broken = [], 0
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            broken += 1
    if broken:
        warnings.warn(
            f"{broken} lines of {path} cannot be read and are left out.", TlkitWarning, stacklevel=2
        )
    return found


def record(number: str, predicted: Mapping[Any, Any], measured: Any, *, quantity: str = "accuracy") -> None:
    """Keep what the learner predicted beside what came out, and the figure of the same cell.

    Args:
        number: of the lesson, such as `"05"`.
        predicted: numbers by the name of the arm, or by arm and setting.
        measured: the same of what was measured, as a dictionary, a pandas series, or a table with a
            column an arm; of several seeds the mean is kept. Arms that nobody predicted are left out.
        quantity: what the numbers are; `"accuracy"` (0 to 1) of several lessons goes into one figure.

    Raises:
        UnknownNameError: there is no such lesson.
    """
    lesson(number)
    guesses, values = flat(predicted), flat(measured)
    rows = {name: [guess, values[name]] for name, guess in guesses.items() if name in values}
    if missing := [name for name in guesses if name not in values]:
        warnings.warn(
            f"Nothing was measured for {', '.join(missing)}: these predictions are not kept. "
            f"Measured: {', '.join(values)}.",
            TlkitWarning,
            stacklevel=2,
        )
    picture = ""
    if plt.get_fignums():  # the current figure; none if the cell draws nothing
        drawn = io.BytesIO()
        plt.savefig(drawn, format="png", dpi=90)
        picture = base64.b64encode(drawn.getvalue()).decode()
    note("record", lesson=number, quantity=quantity, predicted=rows, figure=picture)


def flat(numbers: Any) -> dict[str, float]:
    """Return numbers by one name, those of arms and settings by both; of several their mean.

    >>> flat({"scratch": {1: 0.3, 30: 0.8}, "frozen": [0.5, 0.7]})
    {'scratch, 1': 0.3, 'scratch, 30': 0.8, 'frozen': 0.6}
    """
    numbers = numbers.to_dict() if hasattr(numbers, "to_dict") else numbers
    found: dict[str, float] = {}
    for name, value in numbers.items():
        if isinstance(value, Mapping):
            found |= {f"{name}, {setting}": float(np.mean(each)) for setting, each in value.items()}
        else:
            found[str(name)] = float(np.mean(value))
    return found
