"""The result of choosing a backbone: accuracy against cost, every score, and what was left out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tlkit import plots
from tlkit.challenges.model_selection import PROBE, SCORES, SPEED, clearly_faster, near_best
from tlkit.challenges.model_selection.choice import FASTEST, MULTIPLY_ADDS, PARAMETERS, SLOWEST
from tlkit.data import Dataset
from tlkit.reports.document import Document, Figure, Section, Table, Text
from tlkit.reports.figures import figure
from tlkit.reports.measures import MEASURE_NAMES, headline
from tlkit.reports.result import Result
from tlkit.reports.words import counted, interval, percent

COSTS = ["backbone", "parameters", "megabytes", MULTIPLY_ADDS, SPEED, SLOWEST, FASTEST]


@dataclass
class Selection(Result):
    """The candidates with their scores, and the backbone that is recommended.

    Attributes:
        data: what they were measured on.
        table: one row for each candidate, the best first: `backbone`, `parameters`, `megabytes` of its
            float32 weights, `multiply-adds` per image, `images per second` on this machine (the median, if
            timed repeatedly), `slowest timing` and `fastest timing` in images per second (NaN if timed once),
            `optimal` (no other is both faster and better), `random` (its weights), and a column for each
            score.
        score_seconds: what each score took, one row for each candidate.
        recommended: a backbone of the table, by the rule of `tlkit.challenges.model_selection.recommend`.
        standard_error: of the best accuracy of the linear probe.
        images: how many labelled images were scored.
        left_out: the reason for each candidate that was not measured.
        notes: warnings of the scores, and what is missing.
        measures: of the linear probe by backbone: `value`, `low` and `high` of each measure; see
            `tlkit.reports.measures.measures`.
        precision: in which the features of each backbone were computed, "bfloat16" or "float32".
        seconds: how long it took: total.
    """

    data: Dataset
    table: pd.DataFrame
    score_seconds: pd.DataFrame
    recommended: str
    standard_error: float
    images: int
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    measures: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    precision: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The measure to state first: accuracy, or balanced accuracy if the classes are unbalanced."""
        return headline(self.data.train.labels)

    @property
    def answer(self) -> str:
        """The recommendation in a sentence, with the best backbone if that is another one."""
        rows = self.table.set_index("backbone")
        best = str(rows[PROBE].idxmax())
        own, top = rows.loc[self.recommended], rows.loc[best]
        said = f"Take {self.recommended}: a linear head on it has an accuracy of {own[PROBE]:.1%}"
        if self.headline != "accuracy" and self.recommended in self.measures:
            first = self.measures[self.recommended][self.headline]["value"]
            quantity = MEASURE_NAMES[self.headline]
            said = f"Take {self.recommended}: a linear head on it has a {quantity} of {first:.1%}"
            said += f" (accuracy {own[PROBE]:.1%})"
        if self.recommended == best:
            close = near_best(self.table, self.standard_error).set_index("backbone").drop(best)
            if close.empty:
                return f"{said}. No other pretrained backbone is within one standard error of it."
            if all(clearly_faster(own, row) for row in close.to_dict("records")):
                why = f"the fastest of the {len(close) + 1} backbones within one standard error"
            else:
                why = f"none of the {len(close) + 1} backbones within one standard error is clearly faster"
            return f"{said}. It is the most accurate, and {why}."
        if top["random"]:
            return f"{said}; but {best}, with random weights, has {top[PROBE]:.1%}."
        return (
            f"{said}. Its accuracy is within one standard error of the best ({best}, {top[PROBE]:.1%}), and "
            f"{_cheaper(own, top)}."
        )

    @property
    def cautions(self) -> list[str]:
        """Why the recommendation may be worth little: the control is as good, or much was left out."""
        rows = self.table.set_index("backbone")
        own, random = rows.loc[self.recommended], rows[rows["random"]]
        found = []
        if own["random"]:
            found.append(
                "Only random weights were measured. Name pretrained backbones: tlkit backbones lists them."
            )
        elif random.empty:
            found.append(
                "No random weights were measured, so the value of pretraining here is unknown. Add a "
                f"control: {self.recommended.partition(':')[0]}:none."
            )
        elif (close := random[random[PROBE] >= own[PROBE] - self.standard_error])[PROBE].size:
            found.append(
                f"The recommendation is not better than random weights ({close[PROBE].idxmax()}, "
                f"{close[PROBE].max():.1%}): frozen features of these networks say little about these "
                "images. Fine-tune, take larger images, or look for weights that were trained on similar "
                "images."
            )
        if self.left_out:
            count = counted(len(self.left_out), "backbone")
            found.append(f"{count} not measured, which may be better: see Left out.")
        return [*found, *self.notes]

    def metrics(self) -> dict[str, Any]:
        """Return the table, the recommendation, and what was left out."""
        return {
            "data": self.data.card.name,
            "image_size": self.data.image_size,
            "images": self.images,
            "recommended": self.recommended,
            "ranked_by": PROBE,
            "standard_error": self.standard_error,
            "feature_precision": self.precision,
            "headline": self.headline,
            "measures": self.measures,
            "backbones": self.table,
            "score_seconds": self.score_seconds,
            "left_out": self.left_out,
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: accuracy against cost, every score, and what was left out."""
        pareto = self.table[[name for name in [*COSTS, PROBE] if name in self.table]].assign(
            optimal=self.table["optimal"].map({True: "yes", False: ""})
        )
        ranked = (
            f"In the order of {PROBE}. Megabytes are those of float32 weights, multiply-adds those of one "
            "image. Where speed decides, the backbones were timed in turn, several times: the images per "
            "second are the median, between the slowest and the fastest timing."
        )
        found = [
            Section(
                "Accuracy against cost", [Text(ranked), self._figure(), Table(pareto), *self._measures()]
            ),
            Section("Every score", self._scores()),
        ]
        if self.left_out:
            frame = pd.DataFrame(list(self.left_out.items()), columns=["backbone", "why"])
            found.append(Section("Left out", [Table(frame)]))
        return Document(
            f"{self.data.card.title}: which backbone to use",
            self.answer,
            f"Measured on {self.images:,} train images of {self.data.image_size} pixels; the test images "
            "were not used. Rule: of the pretrained backbones within one standard error "
            f"({self.standard_error:.3f}) of the best linear probe, leave out those that another one is "
            "clearly faster than (its slowest timing beats their fastest); of the rest, take the one with "
            "the fewest multiply-adds.",
            self.cautions,
            found,
        )

    def _measures(self) -> list[Table]:
        """Return the table of the measures of the linear probe on each backbone."""
        rows = [
            {"backbone": name}
            | {
                MEASURE_NAMES[each]: f"{percent(found[each]['value'])} % ({interval(found[each])})"
                for each in MEASURE_NAMES
            }
            for name, found in self.measures.items()
        ]
        return (
            [Table(pd.DataFrame(rows), folded="Measures of the linear head with 95 % intervals")]
            if rows
            else []
        )

    def _scores(self) -> tuple[Text, Table]:
        names = [score.name for score in SCORES if score.name in self.table]
        values = self.table.set_index("backbone")[names].T
        values.insert(0, "seconds", self.score_seconds[names].median())
        explained = (
            "Higher is better; compare within a row only. A dash: the score needs the classifier of the "
            "source, and there is none. The seconds are the median over the backbones. The command tlkit "
            "select --list explains each score; --scores all computes all of them."
        )
        return Text(explained), Table(values.rename_axis("score").reset_index())

    def _figure(self) -> Figure:
        return figure(
            lambda ax: plots.pareto(
                self.table,
                SPEED,
                PROBE,
                ax,
                spread=(SLOWEST, FASTEST) if SLOWEST in self.table else None,
                standard_error=self.standard_error,
                recommended=self.recommended,
                quantity="accuracy of a linear head",
            ),
            (8, 4.2),
            "Cross-validated accuracy of a linear head on each backbone against its images per second.",
            "Higher is better, further right is faster. No backbone is both faster and better than those on "
            "the line. A horizontal bar connects the slowest and the fastest timing. A cross has random "
            "weights: the control. Within the band, these images cannot tell "
            "which backbone is best.",
        )


def _cheaper(own: Any, top: Any) -> str:
    """Say why the recommended backbone is preferred to the best one, and claim no more than timings show."""
    if clearly_faster(own, top):
        return f"it is {own[SPEED] / top[SPEED]:.1f} times as fast"
    for cost in (MULTIPLY_ADDS, PARAMETERS):
        if own[cost] != top[cost]:
            break
    if own[cost] > top[cost]:
        return "no backbone is clearly faster than it, but one is clearly faster than the best"
    saved = f"{own[cost] / 1e6:,.1f} instead of {top[cost] / 1e6:,.1f} million {cost}"
    return f"it needs {saved}; the timings cannot tell which of the two is faster"
