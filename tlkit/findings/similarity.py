"""The page of a comparison of data sets: which lie near each other, and when not to believe it."""

import itertools
from typing import Any

import numpy as np
import pandas as pd

from tlkit import plots
from tlkit.challenges.task_similarity.measures import Measure, find
from tlkit.findings.page import Findings, Part, captioned
from tlkit.similarity import Sample, Similarity

FEW = 50  # images on a side below which a distance is mostly chance
NEAR_MOST = 0.95  # share of a bounded measure's range from which it no longer orders anything
SHOWN = 8  # pictures of each data set


def findings(result: Similarity, measure: str = "mmd") -> Findings:
    """Say which data sets lie near each other.

    Args:
        result: of `tlkit.similarity.compare`, with this measure among its tables.
        measure: the one that the answer, the map and the plane are about.
    """
    chosen, table = find(measure), result.tables[find(measure).name]
    names = list(table.index)
    network = f"{result.backbone} ({result.weights or 'random weights'})"
    size = next(iter(result.samples.values())).images.shape[1]
    found = Findings(
        f"How far apart are {in_a_row(names)}?",
        answer(table),
        f"Measure: {chosen.name}, {chosen.does} ({chosen.paper}). Seen by {network} at {size} pixels; "
        f"{table.attrs['examples']} images on each side of a comparison.",
        seconds=result.seconds,
        cautions=cautions(result, chosen),
    )
    found.parts.append(_distances(result, table, chosen))
    if len(result.tables) > 1:
        found.parts.append(_all_measures(result))
    if result.carried is not None:
        found.parts.append(_carried(result.carried))
    found.parts.append(_pictures(result.samples))
    found.numbers = {
        "measure": chosen.name,
        "backbone": result.backbone,
        "weights": result.weights,
        "image_size": size,
        "seed": result.seed,
        "examples": table.attrs["examples"],
        "data": [
            {"name": name, "images": len(each.images), "of": each.of, "classes": each.class_names}
            for name, each in result.samples.items()
        ],
        "distances": {name: each.to_dict() for name, each in result.tables.items()},
        "notes": result.notes,
        "carried_over": None if result.carried is None else result.carried.T.to_dict(),
    }
    return found


def answer(table: pd.DataFrame) -> str:
    """Say which two lie nearest, and what is nearest to the first.

    >>> table = pd.DataFrame([[0.0, 1, 2], [1, 0.1, 3], [2, 3, 0]], index=[*"abc"], columns=[*"abc"])
    >>> table.attrs = {"measure": "mmd"}
    >>> answer(table)
    'a and b lie nearest to each other (mmd 1).'
    """
    names, values = list(table.index), table.to_numpy()
    halves = np.diag(values).max()
    if len(names) == 2:
        times = "farther apart than" if values[0, 1] > halves else "no farther apart than"
        return (
            f"{names[0]} and {names[1]} are {times} two halves of one of them: {table.attrs['measure']} "
            f"{_number(values[0, 1])}, halves at most {_number(halves)}."
        )
    one, other = min(itertools.combinations(range(len(names)), 2), key=lambda pair: values[pair])
    said = f"{names[one]} and {names[other]} lie nearest to each other ({table.attrs['measure']} "
    said += f"{_number(values[one, other])})"
    if one == 0:
        return f"{said}."
    nearest = 1 + int(values[0, 1:].argmin())
    return f"{said}; nearest to {names[0]} is {names[nearest]} ({_number(values[0, nearest])})."


def cautions(result: Similarity, measure: Measure) -> list[str]:
    """Return why the answer may be wrong: chance, saturation, a bias, a network that has learned nothing."""
    table = result.tables[measure.name]
    values, halves = pairs(table), np.diag(table.to_numpy())
    said = []
    if table.attrs["examples"] < FEW:
        said.append(
            f"{table.attrs['examples']} images on each side are few: the same images drawn anew may change "
            "the order. The smallest data set decides this number; leave it out, or add images to it."
        )
    if (unsure := values[values <= halves.max()]).size:
        said.append(
            f"{len(unsure)} of {len(values)} distances are no larger than what two halves of one data set "
            f"get ({_number(halves.max())}): these data sets cannot be told apart here."
        )
    reach = measure.same + NEAR_MOST * (measure.most - measure.same)
    if np.isfinite(measure.most) and len(values) > 1 and (full := int((values >= reach).sum())) > 1:
        said.append(
            f"{full} of {len(values)} distances are at the end of the scale, {measure.most:g}. Such data "
            "sets are all told apart without an error; which are farther, this measure does not say. Look at "
            "mmd."
        )
    if result.weights is None:
        said.append(
            "The network has random weights. It sees brightness, colours and coarse shapes, and no objects."
        )
    return [*said, *(f"Of {measure.name}: {note}" for note in result.notes.get(measure.name, ()))]


def pairs(table: pd.DataFrame) -> np.ndarray:
    """Return the values above the diagonal `(n (n - 1) / 2,)`: each pair once."""
    return table.to_numpy()[np.triu_indices(len(table), 1)]


def in_a_row(names: list[str]) -> str:
    """Join names as one says them.

    >>> in_a_row(["a", "b", "c"])
    'a, b and c'
    """
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"


def _distances(result: Similarity, table: pd.DataFrame, chosen: Measure) -> Part:
    n = len(table)
    figures = [
        captioned(
            lambda ax: plots.similarity_map(table, ax),
            (min(9.0, 3.4 + 0.7 * n), min(7.0, 1.9 + 0.5 * n)),
            f"Table of {chosen.name} between each two data sets.",
            "Dark is far. On the diagonal stands what two random halves of the same data set get: that is "
            "what no distance looks like with so many images.",
        )
    ]
    if n > 2:
        figures.append(
            captioned(
                lambda ax: plots.similarity_embedding(table, ax),
                (6.5, 5),
                f"The data sets as points on a plane, as far apart as {chosen.name} says.",
                "The same distances on a plane. Directions mean nothing. Stress says how well the plane "
                "holds them: 0 exactly, above 0.2 it misleads.",
            )
        )
    return Part("The distances", "A distance between data sets knows no labels.", figures)


def _all_measures(result: Similarity) -> Part:
    rows: dict[str, Any] = {
        name: {f"{one} – {other}": each.loc[one, other] for one, other in _couples(each)}
        for name, each in result.tables.items()
    }
    table = pd.DataFrame(rows)
    table.loc["halves of one, at most"] = [np.diag(each.to_numpy()).max() for each in result.tables.values()]
    return Part(
        "Every measure",
        "a-distance: 0 to 2. auc: 0.5 to 1. Both end where a line tells the data sets apart without an "
        "error. mmd and frechet are squared distances and go on; frechet is too large where there "
        "are fewer images than features.",
        table=table.rename_axis("pair").reset_index(),
    )


def _couples(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(itertools.combinations(table.index, 2))


def _carried(carried: pd.DataFrame) -> Part:
    shown = carried.dropna(how="all").dropna(how="all", axis=1)
    return Part(
        "Do labels carry over?",
        "Some have the same classes. A linear probe learns from the labels of the data set at the left and "
        "is tested on that at the top; on the diagonal it is cross-validated at home. This needs the "
        "labels of both, and no distance can foretell it: domains may lie near each other with their "
        "classes interchanged.",
        table=shown.rename_axis("accuracy").reset_index(),
    )


def _pictures(samples: dict[str, Sample]) -> Part:
    count = min(SHOWN, *(len(each.images) for each in samples.values()))
    rows = {
        name: each.images[np.linspace(0, len(each.images) - 1, count).astype(int)]
        for name, each in samples.items()
    }
    return Part(
        "What was compared",
        figures=[
            captioned(
                lambda axes: plots.image_rows(rows, axes),
                (1.0 * count + 2.0, 1.05 * len(rows)),
                "A row of pictures of each data set.",
                "; ".join(f"{name}: {len(each.images)} of {each.of}" for name, each in samples.items()) + ".",
                rows=len(rows),
                columns=count,
            )
        ],
    )
