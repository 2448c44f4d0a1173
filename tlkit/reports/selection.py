"""The report of choosing a backbone: accuracy against cost, every score, and what was left out."""

from collections.abc import Mapping, Sequence

import pandas as pd

from tlkit import plots
from tlkit.challenges.model_selection import PROBE, SPEED
from tlkit.reports.document import Figure, Section, Table, Text
from tlkit.reports.figures import figure

COSTS = ["backbone", "parameters", "megabytes", SPEED]


def answer(table: pd.DataFrame, recommended: str, standard_error: float, images: int) -> str:
    """Return the recommendation in a sentence, with the best backbone if that is another one.

    Args:
        table: of `Selection`.
        recommended: a backbone of the table.
        standard_error: of the best accuracy of the linear probe.
        images: number of labelled images that it was measured on.
    """
    rows = table.set_index("backbone")
    best = str(rows[PROBE].idxmax())
    own, top = rows.loc[recommended], rows.loc[best]
    said = f"Take {recommended}: a linear head on it is right for {own[PROBE]:.1%}"
    if recommended == best:
        close = rows[~rows["random"]][PROBE] >= top[PROBE] - standard_error
        if close.sum() < 2:
            return f"{said}, and no other comes within one standard error."
        return f"{said}, the best, and the fastest of {close.sum()} within one standard error."
    if top["random"]:
        return f"{said}; but {best} is right for {top[PROBE]:.1%}, with random weights."
    return (
        f"{said}, as good as {best} ({top[PROBE]:.1%}) within the standard error of {images} images, and "
        f"{own[SPEED] / top[SPEED]:.1f} times as fast."
    )


def cautions(
    table: pd.DataFrame, recommended: str, standard_error: float, left_out: Mapping[str, str]
) -> list[str]:
    """Return why the recommendation may be worth little: the control is as good, or much was left out."""
    rows = table.set_index("backbone")
    own, random = rows.loc[recommended], rows[rows["random"]]
    found = []
    if own["random"]:
        found.append(
            "Only random weights were measured. Name pretrained backbones: tlkit backbones lists them."
        )
    elif random.empty:
        found.append(
            "No random weights were measured, so the value of pretraining here is unknown. Add a control: "
            f"{recommended.partition(':')[0]}:none."
        )
    elif (close := random[random[PROBE] >= own[PROBE] - standard_error])[PROBE].size:
        found.append(
            f"The recommendation is not better than random weights ({close[PROBE].idxmax()}, "
            f"{close[PROBE].max():.1%}): frozen features of these networks say little about these images. "
            "Fine-tune, take larger images, or look for weights that were trained on similar images."
        )
    if left_out:
        found.append(f"{len(left_out)} left out, and perhaps better: see below.")
    return found


def sections(
    table: pd.DataFrame,
    score_seconds: pd.DataFrame,
    scores: Sequence[str],
    recommended: str,
    standard_error: float,
    left_out: Mapping[str, str],
) -> list[Section]:
    """Return the sections of the report; for the arguments see `answer` and `Selection`."""
    pareto = table[[*COSTS, PROBE]].assign(optimal=table["optimal"].map({True: "yes", False: ""}))
    values = table.set_index("backbone")[[*scores]].T
    values.insert(0, "seconds", score_seconds[[*scores]].median())
    found = [
        Section(
            "Accuracy against cost",
            [
                Text(f"In the order of {PROBE}. Megabytes are those of float32 weights."),
                _figure(table, recommended, standard_error),
                Table(pareto),
            ],
        ),
        Section(
            "Every score",
            [
                Text(
                    "Higher is better; compare within a row only. A dash: the score needs the classifier of "
                    "the source, and there is none. The seconds are the median over the backbones. The "
                    "command tlkit select --list explains each score."
                ),
                Table(values.rename_axis("score").reset_index()),
            ],
        ),
    ]
    if left_out:
        frame = pd.DataFrame(list(left_out.items()), columns=["backbone", "why"])
        found.append(Section("Left out", [Table(frame)]))
    return found


def _figure(table: pd.DataFrame, recommended: str, standard_error: float) -> Figure:
    return figure(
        lambda ax: plots.pareto(
            table,
            SPEED,
            PROBE,
            ax,
            standard_error=standard_error,
            recommended=recommended,
            quantity="accuracy of a linear head",
        ),
        (8, 4.2),
        "Cross-validated accuracy of a linear head on each backbone against its images per second.",
        "Higher is better, further right is faster. No backbone is both faster and better than those on the "
        "line. A cross has random weights: the control. Within the band, these images cannot tell which "
        "backbone is best.",
    )
