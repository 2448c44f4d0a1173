"""The result of pretraining without labels: neighbours, the pretext task, and measures of the features."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit import plots
from tlkit.data import Dataset, Split
from tlkit.errors import NoLabelsError
from tlkit.reports.classifier import accuracy_interval
from tlkit.reports.data import INTERRUPTED, SHOWN, data_metrics, data_section, problem_sections, tiles
from tlkit.reports.document import Block, Code, Document, Figure, Section, Table, Text, Tile
from tlkit.reports.figures import accuracies, figure
from tlkit.reports.measures import MEASURE_NAMES, headline, measures
from tlkit.reports.result import Result
from tlkit.reports.words import interval, percent
from tlkit.techniques.self_supervised import METHODS
from tlkit.techniques.self_supervised.quality import evaluation_split

QUERIES, NEIGHBOURS = 5, 7
MEASURES = {
    "knn_accuracy": "accuracy of 5 nearest neighbours",
    "effective_rank": "effective rank",
    "spread": "spread of the embeddings",
    "alignment": "alignment: distance of two views",
    "uniformity": "uniformity: lower is more even",
}
CAPTIONS = {
    "before": "Before: images in a frame, and to the right of each its nearest images by cosine similarity.",
    "after": "After: the same images. It is better if images of the same thing are nearer now, and worse if "
    "images of the same colour or place are.",
}


@dataclass
class Pretraining(Result):
    """A backbone that learned without labels, its pretext task, and measures of its features.

    Attributes:
        model: the backbone: raw images to features, without the method's own layers.
        data: what it learned from is the train split.
        evaluation: labelled images that its features are evaluated on, or None.
        method: a name of `tlkit.techniques.self_supervised.METHODS`, or the class of another objective.
        backbone: its name.
        seed: of the weights, the order of the images and the random views.
        batch_size: images in a step.
        history: Keras's history: the loss, `spread` and `effective_rank` by epoch, and what a method adds.
        before, after: measures of the features. `effective_rank` and `spread` (of the embeddings); with two
            views `alignment` and `uniformity`; with labels `knn_accuracy`, 0 to 1.
        sampled: indices of the images of the train split that were measured, at most 500.
        predicted: classes of the evaluated images by nearest neighbours, int `(n,)`, `before` and `after`;
            empty without labels.
        features: of these images, float32 `(n, d)`, `before` and `after`.
        shown: what the method makes of some images, uint8 `(n, height, width, 3)` by name.
        seconds: how long the parts took: training, total.
        interrupted: Ctrl-C stopped the training.
    """

    model: keras.Model
    data: Dataset
    evaluation: Dataset | None
    method: str
    backbone: str
    seed: int
    batch_size: int
    history: dict[str, list[float]] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    sampled: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    features: dict[str, np.ndarray] = field(default_factory=dict)
    predicted: dict[str, np.ndarray] = field(default_factory=dict)
    shown: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def interval(self) -> dict[str, Any] | None:
        """The 95 % interval of `knn_accuracy` after pretraining; None without labels."""
        split = evaluation_split(self.evaluation)
        if split is None or self.evaluation is None:
            return None
        return accuracy_interval(self.after["knn_accuracy"], split, len(self.evaluation.splits[split]))

    @property
    def evaluated(self) -> Split:
        """The labelled images on which the features are evaluated.

        Raises:
            NoLabelsError: there are none.
        """
        split = evaluation_split(self.evaluation)
        if split is None or self.evaluation is None:
            raise NoLabelsError("There are no labelled images to evaluate on. Pass evaluate=.")
        return self.evaluation.splits[split]

    @property
    def headline(self) -> str:
        """The measure to state first: accuracy, or balanced accuracy if the classes are unbalanced."""
        return headline(self.evaluated.labels) if self.predicted else "accuracy"

    def measures(self, when: str) -> dict[str, dict[str, float]] | None:
        """Return the measures of the nearest neighbours with intervals, "before" or "after"."""
        if when not in self.predicted:
            return None
        return measures(self.evaluated.labels, self.predicted[when])

    def metrics(self) -> dict[str, Any]:
        """Return the measures of the features before and after, the last loss, and the settings."""
        losses = self.history.get("loss")
        return {
            "technique": f"pretraining by {self.method}",
            "method": self.method,
            "backbone": self.backbone,
            "seed": self.seed,
            **data_metrics(self.data),
            "evaluate": None if self.evaluation is None else self.evaluation.card.name,
            "batch_size": self.batch_size,
            "epochs": len(losses or ()),
            "loss": losses[-1] if losses else None,
            **{name: self.after.get(name) for name in MEASURES},
            "before": {name: self.before.get(name) for name in MEASURES}
            | {"measures": self.measures("before")},
            "interval": self.interval,
            "headline": self.headline if self.predicted else None,
            "measures": self.measures("after"),
            "history": self.history,
            "interrupted": self.interrupted,
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: neighbours before and after, the pretext task, and how to continue."""
        answer, detail = self._answer()
        advice = (
            "Compare with the same command without --weights, or with the earlier weights: only then you "
            "know what pretraining was worth."
        )
        return Document(
            f"{self.data.card.title}: pretraining by {self.method} with {self.backbone}",
            answer,
            detail,
            self._cautions(),
            [
                self._neighbours(),
                self._task(),
                self._training(),
                data_section(self.data, {}, self._tiles()),
                Section("Train a classifier on it", [Code(self.next_command(folder)), Text(advice, "soft")]),
                *problem_sections(self.data),
            ],
        )

    def next_command(self, folder: Path) -> str:
        """Return the command that trains a classifier on the backbone in a folder."""
        labelled = "path/of/labelled" if self.evaluation is None else self.evaluation.card.name
        words = ["tlkit", "train", labelled, "--weights", str(folder / "backbone.keras")]
        words += ["--backbone", self.backbone, "--image-size", str(self.data.image_size)]
        return shlex.join([*words, "--technique", "fine-tuning", "--out", str(folder / "classifier")])

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the backbone, which Keras opens without tlkit."""
        return {"backbone.keras": self.model.save}

    def _tiles(self) -> list[Tile]:
        rows = np.linspace(0, len(self.data.train) - 1, min(SHOWN, len(self.data.train))).astype(int)
        return tiles(self.data.train, np.unique(rows), lambda place: [], "A training image, {name}")

    def _answer(self) -> tuple[str, str]:
        images, bounds = f"{len(self.data.train):,} images", self.interval
        if bounds is None or self.evaluation is None:
            return (
                f"Learned from {images} without labels",
                "There are no labels to evaluate it on: compare the neighbours below, or label a few dozen "
                "images and pass them with --evaluate.",
            )
        before, after = self._compared()
        said = f"{percent(after['value'])} % right by nearest neighbours"
        if self.headline != "accuracy":
            said = f"{percent(after['value'])} % {MEASURE_NAMES[self.headline]} by nearest neighbours"
        return (
            f"{said}; {percent(before['value'])} % before",
            f"{bounds['images']:,} {bounds['split']} images of {self.evaluation.card.name}, 95 % interval "
            f"{interval(after)}. The backbone was trained on {images} without labels.",
        )

    def _compared(self) -> list[dict[str, float]]:
        """Return the headline measure with its interval, before and after pretraining."""
        return [(self.measures(when) or {})[self.headline] for when in ("before", "after")]

    def _cautions(self) -> list[str]:
        found = [INTERRUPTED] if self.interrupted else []
        if self.interval is None:
            return found
        before, after = self._compared()
        if after["value"] <= before["value"]:
            found.append(
                "Pretraining gained nothing here. Start from the earlier weights, or try another method, "
                "more epochs or more images."
            )
        elif before["value"] >= after["low"]:
            found.append("The gain lies within the interval: with so few images we cannot tell.")
        return found

    def _neighbours(self) -> Section:
        found: list[Block] = []
        if (bounds := self.interval) is not None:
            sides = {f"{when} pretraining": self.measures(when) or {} for when in ("before", "after")}
            firsts = {name: each[self.headline] for name, each in sides.items()}
            quantity = MEASURE_NAMES[self.headline]
            found.append(
                accuracies(
                    {name: each["value"] for name, each in firsts.items()},
                    f"{quantity.capitalize()} of the nearest neighbours",
                    "The five nearest images of the train split vote for the class of each "
                    f"{bounds['split']} image; nothing is trained for it. The control is the same network "
                    "before pretraining.",
                    quantity=f"{quantity} of 5 nearest neighbours",
                    intervals={name: (each["low"], each["high"]) for name, each in firsts.items()},
                )
            )
            rows = [
                {"measure": MEASURE_NAMES[each]}
                | {
                    name: f"{percent(side[each]['value'])} % ({interval(side[each])})"
                    for name, side in sides.items()
                }
                for each in MEASURE_NAMES
            ]
            found.append(Table(pd.DataFrame(rows)))
        found += [self._nearest(when) for when in self.features]
        return Section("Which images are similar", found)

    def _nearest(self, when: str) -> Figure:
        images = self.data.train.subset(self.sampled)
        queries = np.unique(np.linspace(0, len(images) - 1, QUERIES + 2).astype(int)[1:-1])
        columns = min(NEIGHBOURS, len(images) - 1) + 1
        return figure(
            lambda axes: plots.neighbours(images, self.features[when], queries, count=NEIGHBOURS, axes=axes),
            (1.1 * columns, 1.1 * len(queries) + 0.3),
            f"{len(queries)} images, each with its nearest images to its right, {when} pretraining.",
            CAPTIONS[when],
            columns=columns,
            rows=len(queries),
        )

    def _task(self) -> Section:
        row = METHODS.find(self.method) if self.method in METHODS else None
        caption = "The input of the network."
        if "view 1" in self.shown:
            caption += (
                " The network learns to ignore whatever differs between the views: it must not be what you "
                "want to tell apart."
            )
        elif "reconstructed" in self.shown:
            caption = "The input of the network, and in the last row its output."
        columns, rows = len(self.shown["image"]), len(self.shown)
        drawn = figure(
            lambda axes: plots.image_rows(self.shown, axes),
            (1.1 * columns + 0.7, 1.15 * rows),
            f"{columns} images; below each of them: {', '.join(list(self.shown)[1:])}.",
            caption,
            columns=columns,
            rows=rows,
        )
        said = [] if row is None else [Text(f"{row.name}: {row.summary} ({row.paper}).")]
        return Section("The pretext task", [*said, drawn])

    def _training(self) -> Section:
        found: list[Block] = []
        if self.history:
            last = {name: values[-1] for name, values in self.history.items()}
            found.append(
                figure(
                    lambda axes: plots.pretraining_curves(self.history, axes),
                    (9, 2.7),
                    f"After {len(self.history['loss'])} epochs: loss {last['loss']:.3g}, spread "
                    f"{last['spread']:.2f}, effective rank {last['effective_rank']:.1f}.",
                    "Losses of different methods cannot be compared. Spread of the embeddings: 0 if all "
                    "images have the same embedding, which is collapse; 1 if they point in all directions. "
                    "Effective rank: the number of directions that the features use.",
                    columns=3,
                )
            )
        rows = [
            (title, self.before.get(name), self.after[name])
            for name, title in MEASURES.items()
            if name in self.after
        ]
        found.append(Table(pd.DataFrame(rows, columns=["features", "before", "after"])))
        return Section("Training", found)
