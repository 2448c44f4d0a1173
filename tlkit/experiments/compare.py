"""Compare arms over seeds and settings: the same experiment, run again and again, that can be resumed."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from tlkit.experiments.cells import run_cells
from tlkit.experiments.statistics import paired, summary
from tlkit.experiments.worker import Arm
from tlkit.reports import comparison
from tlkit.reports.document import Document
from tlkit.reports.result import Result
from tlkit.reports.words import counted, listed


@dataclass
class Comparison(Result):
    """The results of arms over seeds and settings.

    Attributes:
        table: one row for each arm, setting and seed: `arm`, the settings, `seed`, the results, `seconds`.
        settings: the columns that were varied, beside arm and seed.
        control: the arm that the report compares the others with: the first one, unless another is chosen.
        value: the column that the report is about: the first result, unless another is chosen.
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
        self.value = self.value or next((name for name in self.table if name not in known), "seconds")

    def summary(self, by: str | Sequence[str] = ("arm",)) -> pd.DataFrame:
        """Return mean and spread of `value` in each group; see `tlkit.summary`."""
        return summary(self.table, self.value, by)

    def paired(self, **options: Any) -> pd.DataFrame:
        """Return the difference of each arm from the control, seed by seed; see `tlkit.paired`."""
        return paired(self.table, self.control, self.value, **options)

    def metrics(self) -> dict[str, Any]:
        """Return every row of the table, the means, and the differences from the control."""
        return {
            "results": self.table,
            "value": self.value,
            "control": self.control,
            "summary": self.summary(self._groups()).reset_index(),
            "differences": None if self._alone() else self.paired(by=self.settings).reset_index(),
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: the value of each arm, and the difference from the control with its interval."""
        arms, seeds = list(dict.fromkeys(self.table["arm"])), self.table["seed"].nunique()
        means = self.table.groupby("arm", sort=False)[self.value].mean()
        cautions = [] if seeds > 1 else ["One seed: the spread is unknown. Run at least three seeds."]
        found = [comparison.value_section(self.table, self.summary(self._groups()), self.value)]
        answer = f"{arms[0]}: mean {self.value} {means.iloc[0]:.3g}"
        if not self._alone():
            differences = self.paired(by=self.settings)
            decided = int(((differences["low"] > 0) | (differences["high"] < 0)).sum())
            answer = (
                f"{decided} of {counted(len(differences), 'difference')} from {self.control} "
                f"{'excludes' if decided == 1 else 'exclude'} zero; for the rest we cannot tell"
            )
            found.append(comparison.difference_section(differences, self.control))
        title = f"{self.value} of {listed(arms)}"
        return Document(title, answer, f"{counted(seeds, 'seed')}.", cautions, found)

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the table."""
        return {"results.csv": partial(self.table.to_csv, index=False)}

    def _groups(self) -> list[str]:
        return [*self.settings, "arm"]

    def _alone(self) -> bool:
        return self.table["arm"].nunique() < 2


def compare(
    arms: Mapping[str, Arm],
    *,
    seeds: Iterable[int] = (0, 1, 2),
    settings: Mapping[str, Iterable[Any]] | None = None,
    keep: str | Path | None = None,
    workers: int | None = 1,
    progress: bool = False,
) -> Comparison:
    """Run every arm with every setting and every seed.

    Args:
        arms: what is compared: the name of each arm, and a function that takes the seed and returns named
            results, such as `{"accuracy": 0.8}`. Keras, NumPy and Python are seeded before each call.
        seeds: at least three show a spread.
        settings: what else is varied, by the name of the argument: with `{"labels": [1, 10]}` an arm is
            called as `arm(seed, labels=1)` and `arm(seed, labels=10)`. Of several settings, every combination
            is run.
        keep: a `.csv` or `.parquet` file that receives each row as soon as it is there. Called again,
            `compare` does not repeat the rows in it, even after a kill. It knows arms by their names alone:
            delete the file when you change what an arm does.
        workers: processes that run side by side, each on one core. They import what an arm needs again, so
            this pays for runs of half a minute or more. `None` takes as many as cores and memory allow, and
            one where there is a GPU.
        progress: show a progress bar with the time left.

    Returns:
        The comparison; its `table` has one row for each arm, setting and seed.

    Raises:
        TlkitError: there is nothing to run, or a setting or result has the name of another column.

    >>> found = compare({"coin": lambda seed: {"accuracy": 0.5}}, seeds=[0, 1])
    >>> found.table[["arm", "seed", "accuracy"]].values.tolist()
    [['coin', 0, 0.5], ['coin', 1, 0.5]]
    """
    start = time.perf_counter()
    varied = {name: list(values) for name, values in (settings or {}).items()}
    table = run_cells(arms, seeds=seeds, settings=varied, keep=keep, workers=workers, progress=progress)
    return Comparison(table, list(varied), seconds={"total": time.perf_counter() - start})
