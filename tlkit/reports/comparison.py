"""The report of arms that were run over seeds: their values, and the differences from a control."""

import pandas as pd

from tlkit import plots
from tlkit.reports.document import Section, Table
from tlkit.reports.figures import figure


def value_section(table: pd.DataFrame, means: pd.DataFrame, value: str) -> Section:
    """Return the section with the value of each arm over the seeds.

    Args:
        table: one row for each arm and seed.
        means: of `tlkit.summary`.
        value: the column of the result.
    """
    values = {str(arm): rows[value].tolist() for arm, rows in table.groupby("arm", sort=False)}
    drawn = figure(
        lambda ax: plots.compare(values, ax, quantity=value),
        (6.4, 0.8 + 0.55 * len(values)),
        f"{value} of {', '.join(values)}.",
        "A point is one seed.",
    )
    return Section(f"{value} of each arm", [drawn, Table(means.reset_index())])


def difference_section(differences: pd.DataFrame, control: str) -> Section:
    """Return the section with the differences from a control, seed by seed; see `tlkit.paired`."""
    decided = (differences["low"] > 0) | (differences["high"] < 0)
    verdict = decided.map({True: "differs", False: "cannot tell"})
    return Section(f"Difference from {control}", [Table(differences.assign(verdict=verdict).reset_index())])
