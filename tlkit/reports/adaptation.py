"""The result of a domain adaptation: what it gained and what it changed on the target."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit import plots
from tlkit.data import Dataset, Split
from tlkit.models import frozen_table
from tlkit.reports import classifier
from tlkit.reports.data import INTERRUPTED, class_terms, data_metrics, data_section, problem_sections, tiles
from tlkit.reports.document import Block, Document, Images, Section, Table, Text
from tlkit.reports.figures import accuracies, figure
from tlkit.reports.measures import MEASURE_NAMES, headline, measures, point_measures
from tlkit.reports.result import Result
from tlkit.reports.words import duration, percent
from tlkit.techniques.domain_adaptation.validators import proxy_a_distance

SOURCE_ONLY, ADAPTED, CEILING = "source only", "adapted", "trained on target labels"
SHOWN = 12  # images on which both classifiers differ
USED = 0.1  # a class is in use if it has this fraction of what it would have if all were equally frequent
FEATURES = {
    "before": "Before: a linear classifier separates the domains with a proxy A-distance of {:.2f} (0: not "
    "at all, 2: without error). On the right, colours show the classes of the source; the target is "
    "grey, because training does not know its labels.",
    "after": "After: a proxy A-distance of {:.2f}. Alignment should mix the domains and keep the classes "
    "apart.",
}


@dataclass(frozen=True)
class Compared:
    """What one method reached.

    Attributes:
        name: of the method.
        predicted: the classes that it predicts for the evaluated target images, int `(n,)`.
        scores: validators that need no target labels, by name; higher is better.
        seconds: of its training.
    """

    name: str
    predicted: np.ndarray
    scores: dict[str, float]
    seconds: float


@dataclass
class Adaptation(Result):
    """An adapted classifier, and what adaptation changed.

    Attributes:
        model: raw images to class probabilities.
        source: the labelled data set; None if a trained classifier was adapted without its source.
        target: the target images that are evaluated, with labels where they are known.
        target_name: what the target is called.
        method: a name of `tlkit.techniques.domain_adaptation.METHODS`.
        backbone: its name.
        seed: of the weights and the order of the images.
        history: Keras's history of the adaptation.
        probabilities: float32 `(n, classes)` of the `target`, and of the source's `train` split.
        before: probabilities of the classifier that learned from the source alone, on the target.
        ceiling: the classes that a classifier predicts which was trained on target labels, int `(n,)`, or
            None.
        compared: each method that was trained; the first one is the result.
        features: `before` and `after`: features of some source and some target examples, float32 `(n, d)`.
        source_labels: int `(n,)` of these source examples.
        precision: in which the features of the frozen backbone were computed, "bfloat16" or "float32"; None
            if they were not.
        class_names: the names of the classes; by default those of the source.
        interrupted: Ctrl-C stopped the training.
        seconds: how long the parts took: training, total.
        a_distance: proxy A-distance of the features, 0 to 2, `before` and `after`.
        frozen: what was frozen; see `tlkit.frozen_table`.
    """

    model: keras.Model
    source: Dataset | None
    target: Split
    target_name: str
    method: str
    backbone: str
    seed: int
    probabilities: dict[str, np.ndarray]
    before: np.ndarray
    history: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    ceiling: np.ndarray | None = None
    compared: list[Compared] = field(default_factory=list)
    features: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    source_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    precision: str | None = None
    class_names: list[str] = field(default_factory=list)
    interrupted: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.source is not None:
            self.class_names = self.source.class_names
        self.frozen = frozen_table(self.model)
        self.a_distance = {when: proxy_a_distance(*domains) for when, domains in self.features.items()}

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        """The classes that each classifier predicts for the evaluated target images, int `(n,)`, by name."""
        others = {row.name: row.predicted for row in self.compared[1:]}
        ceiling = {} if self.ceiling is None else {CEILING: self.ceiling}
        adapted = self.probabilities["target"].argmax(axis=1)
        return {SOURCE_ONLY: self.before.argmax(axis=1), ADAPTED: adapted, **others, **ceiling}

    @property
    def accuracies(self) -> dict[str, float]:
        """The fraction of right answers of each classifier, 0 to 1; empty without target labels."""
        if not self.target.labelled:
            return {}
        return {name: float(np.mean(rows == self.target.labels)) for name, rows in self.predictions.items()}

    @property
    def accuracy(self) -> float | None:
        """The fraction of right answers of the adapted classifier, 0 to 1; None without labels."""
        return self.accuracies.get(ADAPTED)

    @property
    def frequencies(self) -> dict[str, np.ndarray]:
        """How often each class is predicted on the target, float64 `(classes,)`, before and after."""
        count = len(self.class_names)
        both = {name: self.predictions[name] for name in (SOURCE_ONLY, ADAPTED)}
        return {name: np.bincount(rows, minlength=count) / len(rows) for name, rows in both.items()}

    @property
    def collapsed(self) -> bool:
        """Whether the adapted classifier uses at most half of the classes that source only uses."""
        least = USED / len(self.class_names)
        before, after = (int(np.sum(used >= least)) for used in self.frequencies.values())
        return 2 * after <= before

    def metrics(self) -> dict[str, Any]:
        """Return the accuracies on the target with the 95 % interval, and the settings."""
        names, accuracy = self.class_names, self.accuracy
        labels = self.target.labels if self.target.labelled else None
        train = {}
        if self.source is not None:
            train = {"train": classifier.accuracy(self.probabilities["train"], self.source.train.labels)}
        missing = {"train": None, "validation": None}
        sizes = {} if self.source is None else {"train": len(self.source.train)}
        of_measures: dict[str, Any] = {"headline": None, "measures": None, "before": None}
        if labels is not None:
            after = classifier.measure_metrics(labels, self.probabilities["target"], headline(labels))
            of_measures = after | {"before": measures(labels, self.before.argmax(axis=1))}
        return {
            "technique": f"domain adaptation by {self.method}",
            "method": self.method,
            "backbone": self.backbone,
            "seed": self.seed,
            "feature_precision": self.precision,
            **(self._of_model() if self.source is None else data_metrics(self.source)),
            "target": self.target_name,
            "splits": missing | sizes | {"test": len(self.target)},
            "classes": len(names),
            "class_names": list(names),
            "accuracy": self.accuracies,
            "accuracy_by_split": missing | train | {"test": accuracy},
            "interval": None
            if accuracy is None
            else classifier.accuracy_interval(accuracy, "test", len(self.target)),
            **of_measures,
            "methods": [
                {
                    "name": row.name,
                    "accuracy": None if labels is None else float(np.mean(row.predicted == labels)),
                    **row.scores,
                    "seconds": row.seconds,
                }
                for row in self.compared
            ],
            "predicted_frequencies": {name: row.tolist() for name, row in self.frequencies.items()},
            "collapsed": self.collapsed,
            "a_distance": self.a_distance,
            "per_class": []
            if labels is None
            else classifier.class_metrics(labels, self.probabilities["target"], names),
            "runs": [],  # of other techniques, as `tlkit.train` lists them
            "interrupted": self.interrupted,
        }

    def _of_model(self) -> dict[str, Any]:
        """Return the fields of `data_metrics` for a classifier that was adapted without its source."""
        return {
            "data": None,
            "image_size": self.model.inputs[0].shape[1],
            "skipped": {"count": 0, "files": []},
            "duplicates": {"count": 0, "pairs": []},
        }

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the model, which Keras opens without tlkit."""
        return {"model.keras": self.model.save}

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: the gain, what changed, the features, the data, and the target answers."""
        names, source = self.class_names, self.source
        sections = [self._gains(), self._changes()]
        if len(self.compared) > 1:
            sections.append(self._comparison())
        if self.features:
            sections.append(self._features())
        if source is not None:
            sections.append(data_section(source, class_terms(names), classifier.samples(source.train, names)))
        if self.history:
            sections.append(classifier.training_section(self.history))
        answer, chance = (
            "Trained; there are no labelled target images to evaluate it on.",
            classifier.chance(names),
        )
        if self.target.labelled:
            labels, probabilities = self.target.labels, self.probabilities["target"]
            answer = classifier.answer(labels, probabilities, "target", headline(labels))
            chance = classifier.chance(names, labels, headline(labels))
            sections += classifier.answer_sections(self.target, "target", probabilities, names, self.model)
        if not self.frozen.empty:
            sections.append(classifier.frozen_section(self.frozen))
        title = self.target_name if source is None else source.card.title
        return Document(
            f"{title}: domain adaptation by {self.method} with {self.backbone}",
            answer,
            chance,
            [INTERRUPTED] if self.interrupted else [],
            sections + ([] if source is None else problem_sections(source)),
        )

    def _gains(self) -> Section:
        said = (
            f"A trained classifier was adapted to {self.target_name} without source images or target labels."
            if self.source is None
            else f"The labels are those of {self.source.card.name}; {self.target_name} has none in training."
        )
        blocks: list[Block] = [Text(said)]
        if not self.target.labelled:
            advice = (
                "There are no labelled target images, so nothing here says how good the network is on the "
                "target. Label a few dozen and pass them with --evaluate."
            )
            return Section("What adaptation gained", [*blocks, Text(advice, "caution")])
        labels, quantity = self.target.labels, MEASURE_NAMES[headline(self.target.labels)]
        reached = {
            name: point_measures(labels, rows)[headline(labels)] for name, rows in self.predictions.items()
        }
        blocks += [
            accuracies(
                reached,
                f"{quantity.capitalize()} on the target",
                f"All on the same {len(self.target):,} target images; training did not use their labels. "
                "Source only learned from the source alone.",
                quantity=f"{quantity} on the target",
            ),
            figure(
                lambda ax: plots.class_gains(
                    labels, self.predictions[SOURCE_ONLY], self.predictions[ADAPTED], self.class_names, ax
                ),
                (6.4, 1.0 + 0.26 * len(self.class_names)),
                "The gain or loss of each class by adaptation.",
                "Compared with source only. A class left of zero became worse (negative transfer).",
            ),
        ]
        return Section("What adaptation gained", blocks)

    def _changes(self) -> Section:
        """Return the section on the images for which source only and the adapted classifier differ."""
        before, after = self.predictions[SOURCE_ONLY], self.predictions[ADAPTED]
        changed = np.flatnonzero(before != after)
        blocks: list[Block] = [
            Text(
                f"Adaptation changes the class of {len(changed):,} of {len(after):,} target images "
                f"({percent(len(changed) / len(after))} %)."
            )
        ]
        if self.collapsed:
            blocks.append(
                Text(
                    "The adapted classifier uses at most half of the classes that source only uses. This can "
                    "be a sign that adaptation failed. Compare both on a few labelled target images.",
                    "caution",
                )
            )
        shares = {name: [f"{percent(part)} %" for part in row] for name, row in self.frequencies.items()}
        blocks.append(Table(pd.DataFrame({"predicted class": self.class_names, **shares})))
        certainty = self.probabilities["target"].max(axis=1)
        shown = changed[np.argsort(-certainty[changed], kind="stable")][:SHOWN]
        if len(shown):

            def lines(place: int) -> list[tuple[str, str]]:
                old, new = (self.class_names[rows[shown[place]]] for rows in (before, after))
                return [
                    (f"before: {old}", ""),
                    (f"after: {new}", ""),
                    (self.target.names[shown[place]], "file"),
                ]

            said = (
                "Look at some of them. These are the images of which the adapted classifier is most certain."
            )
            images = tiles(self.target, shown, lines, "An image whose class changed, {name}")
            blocks += [Text(said), Images(images)]
        return Section("What adaptation changed", blocks)

    def _comparison(self) -> Section:
        rows = [
            {
                "method": row.name,
                **({"accuracy on the target": self.accuracies[name]} if self.accuracies else {}),
                **row.scores,
                "time": duration(row.seconds),
            }
            for name, row in zip(
                [ADAPTED, *(row.name for row in self.compared[1:])], self.compared, strict=True
            )
        ]
        remark = (
            "The scores entropy and snd are validators: they need no target labels, and higher is better. "
            "They do not reliably find the best method, so they decide nothing. "
            f"The result is that of {self.method}."
        )
        return Section("The methods compared", [Table(pd.DataFrame(rows)), Text(remark, "soft")])

    def _features(self) -> Section:
        blocks: list[Block] = [
            figure(
                partial(plots.domains, *domains, self.source_labels, None),
                (8, 3.6),
                f"Features of both domains {when} adaptation, by t-SNE.",
                FEATURES[when].format(self.a_distance[when]),
                columns=2,
            )
            for when, domains in self.features.items()
        ]
        adaptation = self.history.get("adaptation", {})
        if adaptation.get("discriminator_accuracy"):
            blocks.append(
                figure(
                    lambda ax: plots.discriminator(adaptation, ax),
                    (5, 3),
                    "Discriminator accuracy.",
                    "Near 0.5 the discriminator is at chance. Near 1 it separates the domains: the features "
                    "did not align.",
                )
            )
        return Section("The features", blocks)
