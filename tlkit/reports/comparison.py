"""The result of comparing arms over seeds: their values, and the differences from a control."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlkit import plots
from tlkit.reports.document import Document, Section, Table
from tlkit.reports.figures import figure
from tlkit.reports.result import Result
from tlkit.reports.statistics import paired, summary
from tlkit.reports.words import counted, listed


@dataclass
class Comparison(Result):
    """The results of arms over seeds and settings.

    Attributes:
        table: one row for each arm, setting and seed: `arm`, the settings, `seed`, the results, `seconds`.
        settings: the columns that were varied, beside arm and seed.
        control: the arm that the report compares the others with: the first one, unless another is chosen.
        value: the column that the report is about: the first result that is a number, unless another is
            chosen.
        seconds: how long it took: total.
    """

    table: pd.DataFrame
    settings: list[str] = field(default_factory=list)
    control: str = ""
    value: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.control = self.control or str(self.table["arm"].iloc[0])
        known = {"arm", "seed", "seconds", *self.settings}
        numbers = self.table.select_dtypes("number")
        self.value = self.value or next((name for name in numbers if name not in known), "seconds")

    def summary(self, by: str | Sequence[str] = ("arm",)) -> pd.DataFrame:
        """Return mean and spread of `value` in each group; see `tlkit.summary`."""
        return summary(self.table, self.value, by)

    def paired(self, **options: Any) -> pd.DataFrame:
        """Return the difference of each arm from the control, seed by seed; see `tlkit.paired`."""
        return paired(self.table, self.control, self.value, **options)

    @property
    def answer(self) -> str:
        """Which differences from the control are certain, in a sentence."""
        if self._alone():
            return f"{self.control}: mean {self.value} {self.table[self.value].mean():.3g}"
        differences = self.paired(by=self.settings)
        count, decided = len(differences), int(excludes_zero(differences).sum())
        if count == 1:
            row, arm = differences.iloc[0], differences.index.get_level_values("arm")[0]
            known = (
                f", 95 % interval {row['low']:.3g} to {row['high']:.3g}" if np.isfinite(row["low"]) else ""
            )
            unsure = "" if decided else ": these seeds cannot tell"
            return f"{self.value} of {arm} minus {self.control}: {row['difference']:+.3g}{known}{unsure}"
        if decided == count:
            return f"All {count} differences from {self.control} exclude zero"
        if not decided:
            return f"None of {count} differences from {self.control} excludes zero: these seeds cannot tell"
        verb = "excludes" if decided == 1 else "exclude"
        return (
            f"{decided} of {count} differences from {self.control} {verb} zero; for the rest these seeds "
            "cannot tell"
        )

    def metrics(self) -> dict[str, Any]:
        """Return every row of the table, the means, and the differences from the control."""
        return {
            "results": self.table,
            "value": self.value,
            "control": self.control,
            "summary": self.summary([*self.settings, "arm"]).reset_index(),
            "differences": None if self._alone() else self.paired(by=self.settings).reset_index(),
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: the value of each arm, and the difference from the control with its interval."""
        seeds = self.table["seed"].nunique()
        values = {str(arm): rows[self.value].tolist() for arm, rows in self.table.groupby("arm", sort=False)}
        averages = [f"{name} {np.mean(each):.3g}" for name, each in values.items()]
        drawn = figure(
            lambda ax: plots.compare_arms(values, ax, quantity=self.value),
            (6.4, 0.8 + 0.55 * len(values)),
            f"Mean {self.value} of each arm: {'; '.join(averages)}.",
            "Each point is one run.",
        )
        means = self.summary([*self.settings, "arm"]).reset_index()
        found = [Section(f"{self.value} of each arm", [drawn, Table(means)])]
        if not self._alone():
            differences = self.paired(by=self.settings)
            verdict = excludes_zero(differences).map({True: "differs", False: "cannot tell"})
            table = Table(differences.assign(verdict=verdict).reset_index())
            found.append(Section(f"Difference from {self.control}", [table]))
        return Document(
            f"{self.value} of {listed(list(values))}",
            self.answer,
            f"{counted(seeds, 'seed')}.",
            [] if seeds > 1 else ["One seed: the spread is unknown. Run at least three seeds."],
            found,
        )

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the table."""
        return {"results.csv": partial(self.table.to_csv, index=False)}

    def _alone(self) -> bool:
        return self.table["arm"].nunique() < 2


def excludes_zero(differences: pd.DataFrame) -> pd.Series:
    """Return which differences of `tlkit.paired` have an interval that excludes zero, bool `(n,)`."""
    return (differences["low"] > 0) | (differences["high"] < 0)
