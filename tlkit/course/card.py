"""The progress report of a learner: exercises, predictions and figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from tlkit.course.lessons import lessons
from tlkit.course.progress_tables import (
    OPEN,
    PASSED,
    SHOWN,
    TRIED,
    exercise_table,
    latest_records,
    prediction_table,
)
from tlkit.plots import PALETTE
from tlkit.reports.document import Document, Figure, Section, Table, Text
from tlkit.reports.figures import figure
from tlkit.reports.result import Result
from tlkit.reports.words import counted

MARKS = {PASSED: ("o", "green"), SHOWN: ("s", "orange"), TRIED: ("X", "vermillion"), OPEN: (".", "grey")}


@dataclass
class ProgressCard(Result):
    """The progress of a learner in the course.

    Attributes:
        events: the recorded events, from `tlkit.course.progress.events`.
        name: of the learner, for the title.
        seconds: empty, because nothing is timed.
    """

    events: Sequence[dict[str, Any]]
    name: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        """The number of exercises passed and of lessons run, in one sentence."""
        table, predicted = exercise_table(self.events), prediction_table(self.events)
        return (
            f"{(table['state'] == PASSED).sum()} of {len(table)} exercises passed; "
            f"{predicted['lesson'].nunique()} of {len(lessons())} lessons run with a prediction."
        )

    def metrics(self) -> dict[str, Any]:
        """Return the state of every exercise, and every prediction with its measured value."""
        return {"exercises": exercise_table(self.events), "predictions": prediction_table(self.events)}

    def report(self, folder: Path = Path()) -> Document:
        """Return the progress report: exercises, predictions, and the figure of each lesson that was run."""
        table, predicted = exercise_table(self.events), prediction_table(self.events)
        topics = {each.number: each.topic for each in lessons()}
        shown = int((table["state"] == SHOWN).sum())
        document = Document(
            f"Transfer learning: {self.name}'s course" if self.name else "Transfer learning: your course",
            self.answer,
            f"{counted(int(table['hints'].sum()), 'hint')} used, {counted(shown, 'solution')} shown before "
            "passing. Progress is recorded on this machine only.",
        )
        if not self.events:
            document.cautions.append(
                "Nothing is recorded yet. Run a lesson, or set TLKIT_PROGRESS to the folder of your progress."
            )
        document.sections = [_exercises(table, topics), *own_results(self.events, predicted, topics)]
        return document


def _exercises(table: pd.DataFrame, topics: dict[str, str]) -> Section:
    drawn = figure(
        lambda ax: draw_exercises(table, ax),
        (8, 0.32 * len(topics) + 1.2),
        "; ".join(f"{row.exercise} {row.state}" for row in table.itertuples()),
        "Each row is a lesson, and each mark an exercise. A question mark means that hints were used.",
    )
    by_lesson = table.groupby("lesson").agg(
        passed=("state", lambda states: int((states == PASSED).sum())),
        exercises=("state", "size"),
        tries=("tries", "sum"),
        hints=("hints", "sum"),
    )
    by_lesson.index = pd.Index([f"{number} {topics.get(number, '')}" for number in by_lesson.index])
    return Section("Exercises", [drawn, Table(by_lesson.reset_index(names="lesson"))])


def own_results(
    events: Sequence[dict[str, Any]], predicted: pd.DataFrame, topics: dict[str, str]
) -> list[Section]:
    """Return a section on all predicted accuracies, and one with a figure for each lesson that was run."""
    accuracies = predicted[predicted["quantity"] == "accuracy"]
    sections = []
    if len(accuracies):
        count, error = counted(len(accuracies), "prediction"), accuracies["error"]
        typical = f"mean absolute error {error.abs().mean():.2f}"
        drawn = figure(
            lambda ax: draw_predictions(accuracies, ax),
            (5.5, 5),
            f"Measured against predicted accuracy; {count}, {typical}.",
            "Each point compares a predicted accuracy with the measured one. On the line, the prediction was "
            "exact; below the line, it was too high.",
        )
        direction = "low" if error.mean() > 0 else "high"
        text = f"{count} of accuracy: {typical}, on average {abs(error.mean()):.2f} too {direction}."
        sections.append(Section("Predicted and measured accuracy", [Text(text), drawn]))
    for number, record in sorted(latest_records(events).items()):
        rows = predicted[predicted["lesson"] == number].drop(columns="lesson")
        shown = []
        if record["figure"]:
            source, alt = "data:image/png;base64," + record["figure"], f"Your figure of lesson {number}"
            shown = [Figure(source, alt, f"From your run of {record['time'][:10]}.")]
        sections.append(Section(f"{number} {topics.get(number, '')}", [*shown, Table(rows)]))
    return sections


def draw_exercises(table: pd.DataFrame, ax: Axes) -> None:
    """Draw a mark for each exercise, one row per lesson."""
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


def draw_predictions(accuracies: pd.DataFrame, ax: Axes) -> None:
    """Draw measured against predicted accuracies, one colour per lesson."""
    ax.plot([0, 1], [0, 1], color=PALETTE["grey"], linewidth=1)
    colors = [color for name, color in PALETTE.items() if name != "grey"]
    for place, (number, rows) in enumerate(accuracies.groupby("lesson")):
        color = colors[place % len(colors)]
        marker = "os^DvP"[place // len(colors) % 6]
        ax.scatter(rows["predicted"], rows["measured"], color=color, marker=marker, label=number)
    ax.set(xlabel="predicted accuracy", ylabel="measured accuracy", xlim=(0, 1), ylim=(0, 1))
    ax.set_aspect("equal")
    ax.legend(title="lesson", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
