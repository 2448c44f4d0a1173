"""The page of a study of dataset size: curves, the forecast, and whether forecasts could be trusted here."""

import math
from typing import Any

import pandas as pd

from tlkit import plots
from tlkit.challenges.dataset_size import Needed, PowerLaw, fit_power_law, forecast_check
from tlkit.data import Dataset
from tlkit.errors import DataError
from tlkit.findings.page import Findings, Part, captioned
from tlkit.study import paired, summary

CONTROL = "scratch"
IN_WORDS = {
    "scratch": "Training from scratch",
    "feature-extraction": "Feature extraction",
    "fine-tuning": "Fine-tuning",
}


def findings(
    table: pd.DataFrame,
    data: Dataset,
    *,
    backbone: str,
    aim: float = 0.9,
    held_out: int = 2,
    seconds: float = 0.0,
) -> Findings:
    """Say what a table of `tlkit.study.label_counts` shows, and how many labels `aim` would take.

    Args:
        table: one row for each technique, size and seed.
        aim: the accuracy that is wished for, above 0 and below 1.
        held_out: largest sizes that the check of the forecast does not see.
    """
    seeds = table["seed"].nunique()
    best = str(table[table["labels"] == table["labels"].max()].groupby("arm")["accuracy"].mean().idxmax())
    own = table[table["arm"] == best]
    law, check = _fitted(own), _checked(own, held_out)
    found = Findings(
        f"{data.card.title}: accuracy against the number of labels with {backbone}",
        _answer(own, best, law, aim),
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, {len(data.test or ())} test pictures, none for "
        "validation.",
        seconds=seconds,
    )
    if seeds == 1:
        found.cautions.append(
            "One seed: the spread is unknown. Run at least three before you believe a difference."
        )
    if check is not None and not check["measured"].between(check["low"], check["high"]).all():
        found.cautions.append(
            "The forecast was wrong where it could be checked: from the smaller sizes, the largest came out "
            "otherwise than its interval says. Do not rely on it further out."
        )
    found.parts.append(Part("Accuracy by labels", figures=[_curves(table)], table=_means(table)))
    if seeds > 1 and CONTROL in set(table["arm"]) and table["arm"].nunique() > 1:
        found.parts.append(_gains(table))
    if law is not None:
        found.parts.append(_forecast(own, best, law, aim, check))
    found.numbers = {
        "data": data.card.name,
        "backbone": backbone,
        "aim": aim,
        "best": best,
        "results": table,
        "forecast": None if law is None else _numbers(law, aim),
        "check": check,
    }
    return found


def _fitted(own: pd.DataFrame) -> PowerLaw | None:
    return fit_power_law(own["labels"], own["accuracy"]) if own["labels"].nunique() >= 4 else None


def _checked(own: pd.DataFrame, held_out: int) -> pd.DataFrame | None:
    try:
        return forecast_check(own["labels"], own["accuracy"], held_out=held_out)
    except DataError:  # too few sizes to hold any out
        return None


def _answer(own: pd.DataFrame, best: str, law: PowerLaw | None, aim: float) -> str:
    most = int(own["labels"].max())
    reached = own[own["labels"] == most]["accuracy"].mean()
    said = f"{IN_WORDS.get(best, best)} reaches {reached:.0%} with {most} labels"
    if law is None:
        return f"{said}. For a forecast measure at least four sizes."
    needed = law.needed(aim)
    if needed.labels <= most:
        return f"{said}; for {aim:.0%} about {rounded(needed.labels)} are enough."
    if math.isinf(needed.labels):
        return f"{said}; the curve levels off below {aim:.0%}: more labels alone will not get there."
    more = rounded(needed.labels - most)
    return f"{said}; for {aim:.0%} it would take about {more} more ({_between(needed)})."


def _between(needed: Needed) -> str:
    high = "without end" if math.isinf(needed.high) else rounded(needed.high)
    return f"95 % interval of the total: {rounded(needed.low)} to {high}"


def rounded(labels: float) -> str:
    """Write a number with the two digits that a forecast has.

    >>> rounded(1234.5), rounded(57)
    ('1,200', '57')
    """
    return f"{float(f'{labels:.2g}'):,.0f}"


def _curves(table: pd.DataFrame) -> dict[str, str]:
    return captioned(
        lambda ax: plots.curves(table, "labels", ax=ax, quantity="test accuracy"),
        (8, 4),
        f"Test accuracy from {table['labels'].min()} to {table['labels'].max()} labels for each technique.",
        "A point is one seed, the line their mean, the band one standard deviation. Smaller sets lie in "
        "larger ones, so that a curve shows labels and not luck.",
    )


def _means(table: pd.DataFrame) -> pd.DataFrame:
    means = summary(table, by=("labels", "arm"))
    written = means.apply(
        lambda row: f"{row['mean']:.3f}" + (f" ± {row['std']:.3f}" if row["seeds"] > 1 else ""), axis=1
    )
    return written.unstack("arm").reindex(columns=list(dict.fromkeys(table["arm"]))).reset_index()


def _gains(table: pd.DataFrame) -> Part:
    compared = paired(table, control=CONTROL, by="labels")
    return Part(
        "What transfer is worth",
        "The difference in accuracy between pretrained and random weights, for the same seed and labels.",
        [
            captioned(
                lambda ax: plots.differences(
                    compared, ax, quantity="difference in test accuracy from scratch"
                ),
                (8, 3.5),
                "Difference from scratch for each technique and number of labels.",
                "Bars are 95 % intervals over the seeds. A mark is filled where the interval leaves zero "
                "out: elsewhere these seeds do not decide.",
            )
        ],
    )


def _forecast(own: pd.DataFrame, best: str, law: PowerLaw, aim: float, check: pd.DataFrame | None) -> Part:
    figures = [
        captioned(
            lambda ax: plots.forecast(own, law, ax, aim=aim, setting="labels"),
            (8, 4),
            f"The power law through all sizes of {best}, and its forecast.",
            f"Fitted to all sizes: the error is {law.limit:.3f} + {law.scale:.3g} times n to the power of "
            f"-{law.exponent:.2f}. The forecast supposes that the curve goes on as it is.",
        )
    ]
    if check is not None:
        known = own["labels"][own["labels"] < check["labels"].min()]
        part = fit_power_law(known, own["accuracy"][known.index])
        figures.append(
            captioned(
                lambda ax: plots.forecast(own, part, ax, seen=known.max(), setting="labels"),
                (8, 4),
                "The same with the largest sizes held out.",
                "The check: a forecast from the smaller sizes alone, and what was measured then. Trust the "
                "figure above as far as this one is right.",
            )
        )
    return Part("How many labels would be needed", "", figures, check)


def _numbers(law: PowerLaw, aim: float) -> dict[str, Any]:
    needed = law.needed(aim)
    return {
        "scale": law.scale,
        "exponent": law.exponent,
        "limit": law.limit,
        "labels_for_aim": needed.labels,
        "low": needed.low,
        "high": needed.high,
    }
