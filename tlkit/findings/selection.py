"""The page of a selection: accuracy against cost, every score, and what was left out."""

import pandas as pd

from tlkit import plots
from tlkit.challenges.model_selection import SCORES
from tlkit.data import Dataset
from tlkit.findings.page import Findings, Part, captioned
from tlkit.selection import PROBE, RANKED_BY, SPEED, Selection

COSTS = ("backbone", "parameters", "megabytes", SPEED)


def findings(selection: Selection, data: Dataset, *, seconds: float = 0.0) -> Findings:
    """Say which backbone the measurements recommend, and why they may be wrong.

    Args:
        selection: of `tlkit.selection.select`.
        data: that it was measured on.
        seconds: how long it took.
    """
    table, names = selection.table, [score.name for score in SCORES if score.name in selection.table]
    found = Findings(
        f"{data.card.title}: which backbone to borrow",
        answer(selection),
        f"Measured on {selection.images} train images of {data.image_size} pixels; the test images were not "
        "looked at. Rule: the fastest pretrained backbone within one standard error "
        f"({selection.standard_error:.3f}) of the best linear probe.",
        cautions=[*cautions(selection), *selection.notes],
        seconds=seconds,
    )
    found.parts = [
        Part(
            "Accuracy against cost",
            f"In the order of {RANKED_BY}. Megabytes are those of float32 weights.",
            [_figure(selection)],
            table[[*COSTS, PROBE]].assign(optimal=table["optimal"].map({True: "yes", False: ""})),
        ),
        Part(
            "Every score",
            "Higher is better; compare within a row only. A dash: the score needs the classifier of the "
            "source, and there is none. The seconds are the median over the backbones. The command "
            "tlkit select --list explains each.",
            table=_by_score(selection, names),
        ),
    ]
    if selection.left_out:
        rows = list(selection.left_out.items())
        found.parts.append(Part("Left out", table=pd.DataFrame(rows, columns=["backbone", "why"])))
    found.numbers = {
        "data": data.card.name,
        "image_size": data.image_size,
        "images": selection.images,
        "recommended": selection.recommended,
        "ranked_by": RANKED_BY,
        "standard_error": selection.standard_error,
        "backbones": table,
        "score_seconds": selection.seconds,
        "left_out": selection.left_out,
    }
    return found


def answer(selection: Selection) -> str:
    """Return the recommendation in a sentence, with the best one beside it where that is another."""
    rows = selection.table.set_index("backbone")
    taken, best = selection.recommended, str(rows[PROBE].idxmax())
    own, top = rows.loc[taken], rows.loc[best]
    said = f"Take {taken}: a linear head on it is right in {own[PROBE]:.1%}"
    if taken == best:
        close = rows[~rows["random"]][PROBE] >= top[PROBE] - selection.standard_error
        if close.sum() < 2:
            return f"{said}, and no other comes within one standard error."
        return f"{said}, the best, and the fastest of {close.sum()} that are as good within the error."
    if top["random"]:
        return f"{said}; but {best} is right in {top[PROBE]:.1%}, with random weights."
    return (
        f"{said}, as good as {best} ({top[PROBE]:.1%}) within the error of {selection.images} images, and "
        f"{own[SPEED] / top[SPEED]:.1f} times as fast."
    )


def cautions(selection: Selection) -> list[str]:
    """Return why the recommendation may be worth little: the control is as good, or nothing was left out."""
    rows = selection.table.set_index("backbone")
    own, random = rows.loc[selection.recommended], rows[rows["random"]]
    said = []
    if own["random"]:
        said.append(
            "Only random weights were measured. Give pretrained backbones: tlkit backbones lists them."
        )
    elif random.empty:
        said.append(
            "No random weights were measured, so what pretraining is worth here is unknown. Add one as a "
            f"control: {selection.recommended.partition(':')[0]}:none."
        )
    elif (close := random[random[PROBE] >= own[PROBE] - selection.standard_error])[PROBE].size:
        said.append(
            f"The recommendation is not better than random weights ({close[PROBE].idxmax()}, "
            f"{close[PROBE].max():.1%}): frozen features of these networks say little about these images. "
            "Fine-tune, take larger images, or look for weights that were trained on similar ones."
        )
    if selection.left_out:
        said.append(f"{len(selection.left_out)} left out, and perhaps better: see below.")
    return said


def _by_score(selection: Selection, names: list[str]) -> pd.DataFrame:
    values = selection.table.set_index("backbone")[names].T
    values.insert(0, "seconds", selection.seconds[names].median())
    return values.rename_axis("score").reset_index()


def _figure(selection: Selection) -> dict[str, str]:
    return captioned(
        lambda ax: plots.pareto(
            selection.table,
            SPEED,
            PROBE,
            ax,
            standard_error=selection.standard_error,
            recommended=selection.recommended,
            quantity="accuracy of a linear head",
        ),
        (8, 4.2),
        "Cross-validated accuracy of a linear head on each backbone against its images per second.",
        "Up is better, right is cheaper. No backbone is both faster and better than one on the line. A cross "
        "has random weights: the control. In the band, these images cannot tell which is best.",
    )
