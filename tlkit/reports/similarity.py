"""The report of comparing data sets: which are similar, and when not to believe it."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tlkit import plots
from tlkit.challenges.task_similarity.measures import Measure
from tlkit.reports.document import Block, Section, Table, Text
from tlkit.reports.figures import figure

FEW = 50  # images on a side below which a distance is mostly chance
SATURATED = 0.95  # fraction of a bounded measure's range from which it no longer orders anything
SHOWN = 8  # images of each data set


def answer(table: pd.DataFrame) -> str:
    """Say which two data sets are the most similar, and which is the most similar to the first.

    >>> table = pd.DataFrame([[0.0, 1, 2], [1, 0.1, 3], [2, 3, 0]], index=[*"abc"], columns=[*"abc"])
    >>> table.attrs = {"measure": "mmd"}
    >>> answer(table)
    'a and b are the most similar (mmd 1).'
    """
    names, values = list(table.index), table.to_numpy()
    halves = np.diag(values).max()
    if len(names) == 2:
        apart = "farther apart than" if values[0, 1] > halves else "no farther apart than"
        return (
            f"{names[0]} and {names[1]} are {apart} two halves of one of them: {table.attrs['measure']} "
            f"{_number(values[0, 1])}, halves at most {_number(halves)}."
        )
    one, other = min(itertools.combinations(range(len(names)), 2), key=lambda pair: values[pair])
    said = f"{names[one]} and {names[other]} are the most similar ({table.attrs['measure']} "
    said += f"{_number(values[one, other])})"
    if one == 0:
        return f"{said}."
    nearest = 1 + int(values[0, 1:].argmin())
    return f"{said}; the most similar to {names[0]} is {names[nearest]} ({_number(values[0, nearest])})."


def cautions(table: pd.DataFrame, measure: Measure, notes: Sequence[str], random: bool) -> list[str]:
    """Return why the answer may be wrong: chance, saturation, a bias, a network that has learned nothing.

    Args:
        table: of `tlkit.challenges.task_similarity.distances`.
        measure: its measure.
        notes: warnings of the measure.
        random: the network has random weights.
    """
    values, halves = table.to_numpy()[np.triu_indices(len(table), 1)], np.diag(table.to_numpy())
    found = []
    if table.attrs["examples"] < FEW:
        found.append(
            f"{table.attrs['examples']} images on each side are few: another sample of the same images may "
            "change the order. The smallest data set decides this number; leave it out, or add images to it."
        )
    if (unsure := values[values <= halves.max()]).size:
        found.append(
            f"{len(unsure)} of {len(values)} distances are no larger than the distance of two halves of one "
            f"data set ({_number(halves.max())}): these data sets cannot be told apart here."
        )
    reach = measure.same + SATURATED * (measure.most - measure.same)
    if np.isfinite(measure.most) and len(values) > 1 and (full := int((values >= reach).sum())) > 1:
        found.append(
            f"{full} of {len(values)} distances are at the end of the scale, {measure.most:g}: these data "
            "sets are told apart without error, and the measure does not say which are farther apart. Use "
            "mmd."
        )
    if random:
        found.append(
            "The network has random weights. It responds to brightness, colours and coarse shapes, not to "
            "objects."
        )
    return [*found, *(f"{measure.name}: {note}" for note in notes)]


def sections(
    tables: Mapping[str, pd.DataFrame],
    measure: str,
    images: Mapping[str, np.ndarray],
    counts: Mapping[str, int],
    transfer: pd.DataFrame | None,
) -> list[Section]:
    """Return the sections of the report.

    Args:
        tables: of `distances`, by the name of the measure.
        measure: the one of the figures.
        images: the sample of each data set, uint8 `(n, height, width, 3)`.
        counts: how many images each data set has.
        transfer: accuracy of a probe from the row's data set to the column's, or None.
    """
    found = [_distances(tables[measure], measure)]
    if len(tables) > 1:
        found.append(_all_measures(tables))
    if transfer is not None:
        found.append(_transfer(transfer))
    return [*found, _samples(images, counts)]


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"


def _distances(table: pd.DataFrame, measure: str) -> Section:
    n = len(table)
    found: list[Block] = [
        Text("A distance between data sets does not use labels."),
        figure(
            lambda ax: plots.similarity_map(table, ax),
            (min(9.0, 3.4 + 0.7 * n), min(7.0, 1.9 + 0.5 * n)),
            f"Table of {measure} between each two data sets.",
            "Dark is far apart. The diagonal is the distance of two random halves of the same data set: it "
            "shows what no difference looks like with so many images.",
        ),
    ]
    if n > 2:
        found.append(
            figure(
                lambda ax: plots.similarity_embedding(table, ax),
                (6.5, 5),
                f"The data sets as points on a plane, as far apart as {measure} says.",
                "The same distances on a plane. Directions mean nothing. Stress says how well the plane "
                "represents them: 0 is exact; above 0.2 the plane misleads.",
            )
        )
    return Section("The distances", found)


def _all_measures(tables: Mapping[str, pd.DataFrame]) -> Section:
    rows: dict[str, Any] = {
        name: {
            f"{one} – {other}": each.loc[one, other] for one, other in itertools.combinations(each.index, 2)
        }
        for name, each in tables.items()
    }
    table = pd.DataFrame(rows)
    table.loc["halves of one, at most"] = [np.diag(each.to_numpy()).max() for each in tables.values()]
    explained = (
        "a-distance: 0 to 2. auc: 0.5 to 1. Both end where a linear classifier tells the data sets apart "
        "without error. mmd and frechet are squared distances; frechet has no end, and it is too large where "
        "there are fewer images than features."
    )
    return Section("Every measure", [Text(explained), Table(table.rename_axis("pair").reset_index())])


def _transfer(transfer: pd.DataFrame) -> Section:
    shown = transfer.dropna(how="all").dropna(how="all", axis=1)
    explained = (
        "Some data sets have the same classes. A linear probe learns from the labels of the data set on the "
        "left and is tested on the data set at the top; on the diagonal it is cross-validated. This needs "
        "the labels of both. No distance predicts it: two domains may be similar with their classes "
        "interchanged."
    )
    return Section(
        "Do labels transfer?", [Text(explained), Table(shown.rename_axis("accuracy").reset_index())]
    )


def _samples(images: Mapping[str, np.ndarray], counts: Mapping[str, int]) -> Section:
    count = min(SHOWN, *(len(each) for each in images.values()))
    rows = {name: each[np.linspace(0, len(each) - 1, count).astype(int)] for name, each in images.items()}
    drawn = figure(
        lambda axes: plots.image_rows(rows, axes),
        (1.0 * count + 2.0, 1.05 * len(rows)),
        "A row of images of each data set.",
        "; ".join(f"{name}: {len(each)} of {counts[name]}" for name, each in images.items()) + ".",
        rows=len(rows),
        columns=count,
    )
    return Section("What was compared", [drawn])
