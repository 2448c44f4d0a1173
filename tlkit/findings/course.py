"""The card of a learner: exercises, predictions, own figures."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from tlkit.course.lessons import lessons
from tlkit.course.standing import (
    OPEN,
    PASSED,
    SHOWN,
    TRIED,
    exercise_table,
    latest_records,
    prediction_table,
)
from tlkit.findings.page import Findings, Part, captioned, counted
from tlkit.plots import PALETTE

MARKS = {PASSED: ("o", "green"), SHOWN: ("s", "orange"), TRIED: ("X", "vermillion"), OPEN: (".", "grey")}


def findings(events: Sequence[dict[str, Any]], name: str = "") -> Findings:
    """Say where a learner stands.

    Args:
        events: of `tlkit.course.progress.events`.
        name: of the learner, for the title.
    """
    table, predicted = exercise_table(events), prediction_table(events)
    passed, shown = ((table["state"] == state).sum() for state in (PASSED, SHOWN))
    hints = int(table["hints"].sum())
    topics = {each.number: each.topic for each in lessons()}
    found = Findings(
        f"Transfer learning: the course of {name}" if name else "Transfer learning: your course",
        f"{passed} of {len(table)} exercises passed; {predicted['lesson'].nunique()} of {len(topics)} "
        "lessons run with a prediction.",
        f"{counted(hints, 'hint')} used, {counted(shown, 'solution')} looked at before passing. Everything "
        "here was kept on this machine alone.",
        numbers={"exercises": table, "predictions": predicted},
    )
    if not events:
        found.cautions.append(
            "Nothing was kept yet. Run a lesson, or name the folder of your progress by TLKIT_PROGRESS."
        )
    exercises = captioned(
        lambda ax: draw_exercises(table, ax),
        (8, 0.32 * len(topics) + 1.2),
        "; ".join(f"{row.exercise} {row.state}" for row in table.itertuples()),
        "A row is a lesson, a mark an exercise. ? beside it: hints were used.",
    )
    by_lesson = table.groupby("lesson").agg(
        passed=("state", lambda states: int((states == PASSED).sum())),
        exercises=("state", "size"),
        tries=("tries", "sum"),
        hints=("hints", "sum"),
    )
    by_lesson.index = pd.Index([f"{number} {topics.get(number, '')}" for number in by_lesson.index])
    found.parts.append(Part("Exercises", figures=[exercises], table=by_lesson.reset_index(names="lesson")))
    found.parts += own_results(events, predicted, topics)
    return found


def own_results(
    events: Sequence[dict[str, Any]], predicted: pd.DataFrame, topics: dict[str, str]
) -> list[Part]:
    """Return a section on the predictions, and one for each lesson that was run, with its figure."""
    shares = predicted[predicted["quantity"] == "accuracy"]
    parts = []
    if len(shares):
        figure = captioned(
            lambda ax: draw_predictions(shares, ax),
            (5.5, 5),
            f"{len(shares)} accuracies as predicted and as measured; mean distance "
            f"{shares['off by'].abs().mean():.2f}.",
            "Each point is an accuracy: as you predicted it and as it came out. On the line you were right; "
            "below it you expected too much.",
        )
        off = shares["off by"]
        text = f"Of {len(shares)} accuracies you were off by {off.abs().mean():.2f} on average"
        text += f", and expected too {'little' if off.mean() > 0 else 'much'} by {abs(off.mean()):.2f}."
        parts.append(Part("Predicted against measured", text, [figure]))
    for number, record in sorted(latest_records(events).items()):
        rows = predicted[predicted["lesson"] == number].drop(columns="lesson")
        shown = []
        if record["figure"]:
            source, alt = "data:image/png;base64," + record["figure"], f"Your figure of lesson {number}"
            shown = [{"src": source, "alt": alt, "caption": f"From your run of {record['time'][:10]}."}]
        parts.append(Part(f"{number} {topics.get(number, '')}", figures=shown, table=rows))
    return parts


def draw_exercises(table: pd.DataFrame, ax: Axes) -> None:
    """Draw a mark for each exercise, a row a lesson."""
    order = list(dict.fromkeys(table["lesson"]))
    place = table["exercise"].str.split(".").str[1].astype(int)
    for state, (mark, color) in MARKS.items():
        rows = table["state"] == state
        heights = table.loc[rows, "lesson"].map(order.index)
        ax.scatter(place[rows], heights, marker=mark, s=90, color=PALETTE[color], label=state)
    for row, x in zip(table.itertuples(), place, strict=True):
        if row.hints:
            ax.annotate("?", (x, order.index(row.lesson)), (9, -4), textcoords="offset points")
    ax.set(xticks=sorted(set(place)), xlabel="exercise", yticks=range(len(order)), yticklabels=order)
    ax.set(ylabel="lesson", xlim=(0.5, max(place) + 0.7))
    ax.invert_yaxis()
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def draw_predictions(shares: pd.DataFrame, ax: Axes) -> None:
    """Draw measured over predicted accuracies, a colour a lesson."""
    ax.plot([0, 1], [0, 1], color=PALETTE["grey"], linewidth=1)
    colors = [color for name, color in PALETTE.items() if name != "grey"]
    for place, (number, rows) in enumerate(shares.groupby("lesson")):
        color = colors[place % len(colors)]
        marker = "os^DvP"[place // len(colors) % 6]
        ax.scatter(rows["predicted"], rows["measured"], color=color, marker=marker, label=number)
    ax.set(xlabel="predicted accuracy", ylabel="measured accuracy", xlim=(0, 1), ylim=(0, 1))
    ax.set_aspect("equal")
    ax.legend(title="lesson", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
