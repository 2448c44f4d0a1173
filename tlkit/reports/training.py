"""The result of training a classifier: accuracy, curves, confusions and mistakes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit._internal.intervals import mean_interval
from tlkit.data import Dataset
from tlkit.reports import classifier
from tlkit.reports.choice import choice_metrics, head_section, tuning_section
from tlkit.reports.data import SPLITS, cautions, class_terms, data_metrics, data_section, problem_sections
from tlkit.reports.document import Block, Document, Section, Table, Text
from tlkit.reports.figures import accuracies
from tlkit.reports.measures import MEASURE_NAMES, headline
from tlkit.reports.result import Result
from tlkit.reports.words import duration, interval, percent
from tlkit.techniques.robust_fine_tuning import RobustFineTuning


@dataclass
class Training(Result):
    """A trained classifier with its data, its learning curves and its predictions.

    Attributes:
        model: raw images to class probabilities.
        data: the data set with its splits.
        technique: the one that was taken, a name of `tlkit.techniques.TECHNIQUES`.
        backbone: its name.
        seed: of the weights, the order of the images and the augmentation.
        history: Keras's history of each training of the network, by name; empty if it stayed frozen.
        probabilities: float32 `(n, classes)` for each split of the data, by name. Those of the validation
            split come from models that did not learn from the image, except from scratch.
        seconds: how long the parts took: features, head, training, total.
        frozen: what was frozen in the last phase; see `tlkit.frozen_table`.
        precision: in which the features of the frozen backbone were computed, "bfloat16" or "float32"; None
            if they were not.
        head_losses: the cross-validated log loss of the head in nats, by C (the inverse of the strength of
            the regularisation); empty from scratch.
        tuning: how the network was fine-tuned, with the held-out log losses; None if it was not tried.
        asked: the technique that was asked for, which may be `"auto"`.
        mirrored_views: a prediction is the mean over an image and its mirror image.
        interrupted: Ctrl-C stopped the training. The model is the frozen network with its solved head; from
            scratch, it is the best epoch on the validation split, if there is one.
        others: trainings on the same data, which the report compares with this one; this one may be among
            them.
    """

    model: keras.Model
    data: Dataset
    technique: str
    backbone: str
    seed: int
    history: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    frozen: pd.DataFrame = field(default_factory=pd.DataFrame)
    precision: str | None = None
    head_losses: dict[float, float] = field(default_factory=dict)
    tuning: RobustFineTuning | None = None
    asked: str = ""
    mirrored_views: bool = False
    interrupted: bool = False
    others: Sequence["Training"] = ()

    @property
    def evaluated(self) -> str | None:
        """The split that is reported: test, else validation, else train; None without labels."""
        names = [name for name in self.data.splits if self._labelled(name)]
        return names[-1] if names else None

    @property
    def headline(self) -> str:
        """The measure to state first: accuracy, or balanced accuracy if the classes are unbalanced."""
        labels = [each.labels for each in self.data.splits.values() if each.labelled]
        return headline(np.concatenate(labels))

    def accuracy(self, split: str) -> float:
        """Return the fraction of right answers on one split, 0 to 1."""
        return classifier.accuracy(self.probabilities[split], self.data.splits[split].labels)

    def metrics(self) -> dict[str, Any]:
        """Return the accuracy of each split, the measures with intervals, those of each class, and settings.

        `interval` (of accuracy) and `measures` are those of the split that is reported; `headline` names the
        measure that comes first. Precision, recall and F1 are fractions, 0 to 1.
        """
        split, names = self.evaluated, self.data.class_names
        return {
            **self._summary(),
            **choice_metrics(self.head_losses, self.tuning, self.asked or self.technique),
            **data_metrics(self.data),
            "classes": len(names),
            "class_names": list(names),
            "per_class": []
            if split is None
            else classifier.class_metrics(self.data.splits[split].labels, self.probabilities[split], names),
            "runs": [each._summary() for each in self._compared()],
            "interrupted": self.interrupted,
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: accuracy, data, curves, confusions, mistakes and heat maps."""
        split, names = self.evaluated, self.data.class_names
        found = [self._comparison()] if self._compared() else []
        samples = classifier.samples(self.data.train, names)
        found.append(data_section(self.data, class_terms(names), samples))
        if self.tuning is not None:
            found.append(tuning_section(self.tuning))
        if self.head_losses:
            found.append(head_section(self.head_losses))
        if self.history:
            found.append(classifier.training_section(self.history))
        answer = "Trained; there are no labelled images to evaluate it on."
        if split is not None:
            part = self.data.splits[split]
            answer = classifier.answer(part.labels, self.probabilities[split], split, self.headline)
            found += classifier.answer_sections(part, split, self.probabilities[split], names, self.model)
        if not self.frozen.empty:
            found.append(classifier.frozen_section(self.frozen))
        return Document(
            f"{self.data.card.title}: {self.technique} with {self.backbone}",
            answer,
            classifier.chance(
                names, None if split is None else self.data.splits[split].labels, self.headline
            ),
            cautions(split, self.interrupted, cross_validated=bool(self.head_losses)),
            found + problem_sections(self.data),
        )

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writers of the model, which Keras opens without tlkit, and of all predictions."""
        table = classifier.predictions_table(self.data.splits, self.probabilities, self.data.class_names)
        return {
            "model.keras": self.model.save,
            "predictions.csv": partial(table.to_csv, index=False, errors="backslashreplace"),
        }

    def _labelled(self, split: str) -> bool:
        part = self.data.splits.get(split)
        known = split in self.probabilities
        return known and part is not None and part.labelled and len(part) > 0

    def _summary(self) -> dict[str, Any]:
        split, interval = self.evaluated, None
        measured: dict[str, Any] = {"headline": None, "measures": None}
        if split is not None:
            labels = self.data.splits[split].labels
            interval = classifier.accuracy_interval(self.accuracy(split), split, len(labels))
            measured = classifier.measure_metrics(labels, self.probabilities[split], self.headline)
        return {
            "technique": self.technique,
            "backbone": self.backbone,
            "seed": self.seed,
            "feature_precision": self.precision,
            "mirrored_views": self.mirrored_views,
            "accuracy": {name: self.accuracy(name) if self._labelled(name) else None for name in SPLITS},
            "interval": interval,
            **measured,
            "seconds": self.seconds,
        }

    def _compared(self) -> list["Training"]:
        return [each for each in self.others if each is not self]

    def _comparison(self) -> Section:
        """Return the section on the other trainings, each named by what distinguishes it."""
        runs = [each._summary() for each in (self, *self._compared())]
        keys = ["technique", *(key for key in ("backbone", "seed") if len({run[key] for run in runs}) > 1)]
        named = {", ".join(str(run[key]) for key in keys): run for run in runs}
        known = {name: run for name, run in named.items() if run["measures"]}
        first = next((run["headline"] for run in known.values()), "accuracy")
        quantity = MEASURE_NAMES[first]
        drawn = accuracies(
            {name: run["measures"][first]["value"] for name, run in known.items()},
            f"{quantity.capitalize()} of each technique",
            "A point is one run, its bar the 95 % interval from the number of images. Where bars overlap "
            "widely, these images cannot tell which is better; another seed may change the order as well.",
            quantity=quantity,
            intervals={
                name: (run["measures"][first]["low"], run["measures"][first]["high"])
                for name, run in known.items()
            },
        )
        rows = [
            {
                "run": name,
                **{
                    title: f"{percent(run['measures'][each]['value'])} % ({interval(run['measures'][each])})"
                    if run["measures"]
                    else "–"
                    for each, title in MEASURE_NAMES.items()
                },
                "images": f"{run['interval']['images']} {run['interval']['split']}" if name in known else "–",
                "training": duration(run["seconds"].get("training")),
                "total": duration(run["seconds"].get("total")),
            }
            for name, run in named.items()
        ]
        blocks: list[Block] = [drawn, Table(pd.DataFrame(rows))]
        return Section("Compared with other techniques", [*blocks, *map(self._difference, self._paired())])

    def _paired(self) -> list["Training"]:
        """Return the other trainings that were evaluated on the same images."""
        split = self.evaluated
        return [
            each
            for each in self._compared()
            if split is not None and each.evaluated == split and each.data is self.data
        ]

    def _name(self, other: "Training") -> str:
        """Return the technique, and what else distinguishes this training from another."""
        own, others = ((each.technique, each.backbone, f"seed {each.seed}") for each in (self, other))
        return ", ".join(own[:1] + tuple(a for a, b in zip(own[1:], others[1:], strict=True) if a != b))

    def _difference(self, other: "Training") -> Text:
        """Compare the accuracy with that of another training, image by image."""
        split = self.evaluated
        assert split is not None
        labels = self.data.splits[split].labels
        mine, others = (each.probabilities[split].argmax(axis=1) == labels for each in (self, other))
        gains = 100 * (mine.astype(float) - others)
        low, high = mean_interval(gains)
        told = "" if low > 0 or high < 0 else " The interval includes 0: neither is clearly more accurate."
        return Text(
            f"Difference in accuracy on the {split} images, {self._name(other)} minus {other._name(self)}: "
            f"{gains.mean():+.1f} percentage points (95 % interval {low:+.1f} to {high:+.1f}, paired by "
            f"image).{told}"
        )
