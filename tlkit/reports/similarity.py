"""The result of comparing data sets: which are similar, and when not to believe it."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlkit import plots
from tlkit.challenges.task_similarity.measures import MEASURES
from tlkit.reports.document import Block, Document, Section, Table, Text
from tlkit.reports.figures import figure
from tlkit.reports.measures import MEASURE_NAMES
from tlkit.reports.result import Result
from tlkit.reports.words import listed

FEW = 50  # images on a side below which a distance is mostly chance
SATURATED = 0.95  # fraction of a bounded measure's range from which it no longer orders anything
SHOWN = 8  # images of each data set


@dataclass
class Sample:
    """Some images of a data set.

    Attributes:
        images: uint8 `(n, size, size, 3)`, chosen at random.
        labels: the name of each image's class `(n,)`; None where they are unknown.
        class_names: of the whole data set.
        of: how many images the data set has.
    """

    images: np.ndarray
    labels: np.ndarray | None
    class_names: list[str]
    of: int


@dataclass
class Similarity(Result):
    """How far apart some data sets are.

    Attributes:
        samples: the images that were compared, by the name of the data set.
        tables: of `tlkit.challenges.task_similarity.distances`, by the name of the measure.
        transfer: accuracy, balanced accuracy and macro F1, 0 to 1, by name, of a probe trained on labels of
            the row's data set and tested on the column's; cross-validated on the diagonal. NaN where the
            classes differ; empty where no two data sets have the same classes.
        measure: the measure of the answer and the figures.
        backbone, weights: the network of the features.
        seed: of the samples, their halves, the folds, and of random weights.
        notes: warnings of each measure.
        precision: in which the features were computed, "bfloat16" or "float32".
        seconds: how long it took: total.
    """

    samples: dict[str, Sample]
    tables: dict[str, pd.DataFrame]
    transfer: dict[str, pd.DataFrame]
    measure: str
    backbone: str
    weights: str | None
    seed: int
    notes: dict[str, list[str]] = field(default_factory=dict)
    precision: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """The distances by the chosen measure."""
        return self.tables[self.measure]

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return next(iter(self.samples.values())).images.shape[1]

    @property
    def answer(self) -> str:
        """The two most similar data sets, and the most similar to the first, in a sentence."""
        names, values = list(self.table.index), self.table.to_numpy()
        halves = np.diag(values).max()
        if len(names) == 2:
            apart = "farther apart than" if values[0, 1] > halves else "no farther apart than"
            return (
                f"{names[0]} and {names[1]} are {apart} two halves of one of them: {self.measure} "
                f"{_number(values[0, 1])}, halves at most {_number(halves)}."
            )
        one, other = min(itertools.combinations(range(len(names)), 2), key=lambda pair: values[pair])
        said = f"{names[one]} and {names[other]} are the most similar ({self.measure} "
        said += f"{_number(values[one, other])})"
        if one == 0:
            return f"{said}."
        nearest = 1 + int(values[0, 1:].argmin())
        return f"{said}; the most similar to {names[0]} is {names[nearest]} ({_number(values[0, nearest])})."

    @property
    def cautions(self) -> list[str]:
        """Why the answer may be wrong: chance, saturation, a bias, a network that has learned nothing."""
        table, measure = self.table, MEASURES.find(self.measure)
        values, halves = table.to_numpy()[np.triu_indices(len(table), 1)], np.diag(table.to_numpy())
        found = []
        if table.attrs["examples"] < FEW:
            found.append(
                f"{table.attrs['examples']} images on each side are few: another sample of the same images "
                "may change the order. The smallest data set decides this number; leave it out, or add "
                "images to it."
            )
        if (unsure := values[values <= halves.max()]).size:
            found.append(
                f"{len(unsure)} of {len(values)} distances are no larger than the distance of two halves of "
                f"one data set ({_number(halves.max())}): these data sets cannot be told apart here."
            )
        reach = measure.same + SATURATED * (measure.maximum - measure.same)
        if np.isfinite(measure.maximum) and len(values) > 1 and (full := int((values >= reach).sum())) > 1:
            found.append(
                f"{full} of {len(values)} distances are at the end of the scale, {measure.maximum:g}: these "
                "data sets are told apart without error, and the measure does not say which are farther "
                "apart. Use mmd."
            )
        if self.weights is None:
            found.append(
                "The network has random weights. It responds to brightness, colours and coarse shapes, not "
                "to objects."
            )
        return [*found, *(f"{measure.name}: {note}" for note in self.notes.get(measure.name, ()))]

    def metrics(self) -> dict[str, Any]:
        """Return every distance, and the settings."""
        return {
            "measure": self.measure,
            "backbone": self.backbone,
            "weights": self.weights,
            "image_size": self.image_size,
            "seed": self.seed,
            "examples": self.table.attrs["examples"],
            "data": [
                {"name": name, "images": len(each.images), "of": each.of, "classes": each.class_names}
                for name, each in self.samples.items()
            ],
            "distances": {name: each.to_dict() for name, each in self.tables.items()},
            "notes": self.notes,
            "feature_precision": self.precision,
            "transfer": self.transfer["accuracy"].T.to_dict() if self.transfer else None,
            "transfer_measures": {name: each.T.to_dict() for name, each in self.transfer.items()},
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: the distances, every measure, and images of each data set."""
        measure = MEASURES.find(self.measure)
        found = [self._distances()]
        if len(self.tables) > 1:
            found.append(self._all_measures())
        if self.transfer:
            found.append(_transfer(self.transfer))
        return Document(
            f"How far apart are {listed(list(self.table.index))}?",
            self.answer,
            f"Measure: {measure.name}, {measure.summary} ({measure.paper}). Features of {self.backbone} "
            f"({self.weights or 'random weights'}) at {self.image_size} pixels; "
            f"{self.table.attrs['examples']} images on each side of a comparison.",
            self.cautions,
            [*found, self._samples()],
        )

    def _distances(self) -> Section:
        n = len(self.table)
        found: list[Block] = [
            Text("A distance between data sets does not use labels."),
            figure(
                lambda ax: plots.similarity_map(self.table, ax),
                (min(9.0, 3.4 + 0.7 * n), min(7.0, 1.9 + 0.5 * n)),
                f"Table of {self.measure} between each two data sets.",
                "Dark is far apart. The diagonal is the distance of two random halves of the same data set: "
                "it shows what no difference looks like with so many images.",
            ),
        ]
        if n > 2:
            found.append(
                figure(
                    lambda ax: plots.similarity_embedding(self.table, ax),
                    (6.5, 5),
                    f"The data sets as points on a plane, as far apart as {self.measure} says.",
                    "The same distances on a plane. Directions mean nothing. Stress says how well the plane "
                    "represents them: 0 is exact; above 0.2 the plane misleads.",
                )
            )
        return Section("The distances", found)

    def _all_measures(self) -> Section:
        couples = list(itertools.combinations(self.table.index, 2))
        rows: dict[str, Any] = {
            name: {f"{one} – {other}": each.loc[one, other] for one, other in couples}
            for name, each in self.tables.items()
        }
        table = pd.DataFrame(rows)
        table.loc["halves of one, at most"] = [
            np.diag(each.to_numpy()).max() for each in self.tables.values()
        ]
        explained = (
            "a-distance: 0 to 2. auc: 0.5 to 1. Both end where a linear classifier tells the data sets apart "
            "without error. mmd and frechet are squared distances; frechet has no end, and it is too large "
            "where there are fewer images than features."
        )
        return Section("Every measure", [Text(explained), Table(table.rename_axis("pair").reset_index())])

    def _samples(self) -> Section:
        count = min(SHOWN, *(len(each.images) for each in self.samples.values()))
        rows = {
            name: each.images[np.linspace(0, len(each.images) - 1, count).astype(int)]
            for name, each in self.samples.items()
        }
        drawn = figure(
            lambda axes: plots.image_rows(rows, axes),
            (1.0 * count + 2.0, 1.05 * len(rows)),
            "A row of images of each data set.",
            "; ".join(f"{name}: {len(each.images)} of {each.of}" for name, each in self.samples.items())
            + ".",
            rows=len(rows),
            columns=count,
        )
        return Section("What was compared", [drawn])


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"


def _transfer(transfer: Mapping[str, pd.DataFrame]) -> Section:
    explained = (
        "Some data sets have the same classes. A linear probe learns from the labels of the data set on the "
        "left and is tested on the data set at the top; on the diagonal it is cross-validated. This needs "
        "the labels of both. No distance predicts it: two domains may be similar with their classes "
        "interchanged."
    )
    tables = [
        Table(shown.rename_axis(MEASURE_NAMES[measure]).reset_index())
        for measure, each in transfer.items()
        if not (shown := each.dropna(how="all").dropna(how="all", axis=1)).empty
    ]
    return Section("Do labels transfer?", [Text(explained), *tables])
