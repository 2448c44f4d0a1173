"""The report of accuracy against the number of labels: curves, a forecast, and a check of the forecast."""

import math

import pandas as pd

from tlkit import plots
from tlkit.challenges.dataset_size import Needed, PowerLaw, fit_power_law
from tlkit.reports.document import Block, Section, Table, Text
from tlkit.reports.figures import figure

TECHNIQUES = {
    "scratch": "Training from scratch",
    "feature-extraction": "Feature extraction",
    "fine-tuning": "Fine-tuning",
}


def answer(best: str, rows: pd.DataFrame, law: PowerLaw | None, target_accuracy: float) -> str:
    """Return how accurate the best technique is, and how many labels the target accuracy would need.

    Args:
        best: the technique.
        rows: its rows, with the columns `labels` and `accuracy`.
        law: fitted to these rows; None with too few sizes.
        target_accuracy: above 0 and below 1.
    """
    most = int(rows["labels"].max())
    reached = rows[rows["labels"] == most]["accuracy"].mean()
    said = f"{TECHNIQUES.get(best, best)} reaches {reached:.0%} with {most} labels"
    if law is None:
        return f"{said}. For a forecast measure at least four sizes."
    needed = law.needed(target_accuracy)
    if needed.labels <= most:
        return f"{said}; for {target_accuracy:.0%} about {rounded(needed.labels)} are enough."
    if math.isinf(needed.labels):
        return f"{said}; the curve levels off below {target_accuracy:.0%}: more labels alone are not enough."
    more = rounded(needed.labels - most)
    return f"{said}; for {target_accuracy:.0%} about {more} more are needed ({_bounds(needed)})."


def _bounds(needed: Needed) -> str:
    high = "infinity" if math.isinf(needed.high) else rounded(needed.high)
    return f"95 % interval of the total: {rounded(needed.low)} to {high}"


def rounded(labels: float) -> str:
    """Write a number of labels with two significant digits, which is what a forecast is worth.

    >>> rounded(1234.5), rounded(57)
    ('1,200', '57')
    """
    return f"{float(f'{labels:.2g}'):,.0f}"


def cautions(seeds: int, check: pd.DataFrame | None) -> list[str]:
    """Return why the curves or the forecast may be wrong."""
    found = []
    if seeds == 1:
        found.append("One seed: the spread is unknown. Run at least three before you believe a difference.")
    if check is not None and not check["measured"].between(check["low"], check["high"]).all():
        found.append(
            "The forecast failed where it could be checked: the accuracy at the largest sizes is outside the "
            "interval that the smaller sizes predicted. Do not rely on it further out."
        )
    return found


def curve_section(table: pd.DataFrame, means: pd.DataFrame) -> Section:
    """Return the section with the curves.

    Args:
        table: of `LabelCounts`.
        means: of `tlkit.summary` by labels and arm.
    """
    written = means.apply(
        lambda row: f"{row['mean']:.3f}" + (f" ± {row['std']:.3f}" if row["seeds"] > 1 else ""), axis=1
    )
    by_size = written.unstack("arm").reindex(columns=list(dict.fromkeys(table["arm"]))).reset_index()
    drawn = figure(
        lambda ax: plots.curves(table, "labels", ax=ax, quantity="test accuracy"),
        (8, 4),
        f"Test accuracy from {table['labels'].min()} to {table['labels'].max()} labels for each technique.",
        "A point is one seed, the line the mean, the band one standard deviation. Each smaller set is part "
        "of the larger sets, so that the curve shows the effect of labels and not of luck.",
    )
    return Section("Accuracy by number of labels", [drawn, Table(by_size)])


def gain_section(compared: pd.DataFrame) -> Section:
    """Return the section on the gain over training from scratch.

    Args:
        compared: of `tlkit.paired` with training from scratch as the control, by labels.
    """
    drawn = figure(
        lambda ax: plots.differences(compared, ax, quantity="difference in test accuracy from scratch"),
        (8, 3.5),
        "Difference from scratch for each technique and number of labels.",
        "Bars are 95 % intervals over the seeds. A mark is filled where the interval excludes zero; "
        "elsewhere these seeds cannot tell.",
    )
    said = "The difference in accuracy between pretrained and random weights, for the same seed and labels."
    return Section("The value of transfer", [Text(said), drawn])


def forecast_section(
    best: str, rows: pd.DataFrame, law: PowerLaw, target_accuracy: float, check: pd.DataFrame | None
) -> Section:
    """Return the section with the forecast and its check; for the arguments see `answer`.

    Args:
        check: of `tlkit.challenges.dataset_size.forecast_check`, or None.
    """
    found: list[Block] = [
        figure(
            lambda ax: plots.forecast(rows, law, ax, aim=target_accuracy, setting="labels"),
            (8, 4),
            f"The power law through all sizes of {best}, and its forecast.",
            f"Fitted to all sizes: the error is {law.limit:.3f} + {law.scale:.3g} n^-{law.exponent:.2f}. The "
            "forecast assumes that the curve continues like this.",
        )
    ]
    if check is not None:
        known = rows["labels"][rows["labels"] < check["labels"].min()]
        part = fit_power_law(known, rows["accuracy"][known.index])
        found += [
            figure(
                lambda ax: plots.forecast(rows, part, ax, seen=known.max(), setting="labels"),
                (8, 4),
                "The same with the largest sizes held out.",
                "The check: a forecast from the smaller sizes alone, and what was measured then. Trust the "
                "figure above as far as this one is right.",
            ),
            Table(check),
        ]
    return Section("How many labels are needed", found)
