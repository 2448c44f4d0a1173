"""The result of a domain adaptation: what it gained, the features, and the answers on the target."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit import plots
from tlkit.data import Dataset, Split
from tlkit.reports import classifier
from tlkit.reports.data import INTERRUPTED, class_terms, data_metrics, data_section, problem_sections
from tlkit.reports.document import Block, Document, Section, Text
from tlkit.reports.domain_features import features_section
from tlkit.reports.figures import accuracies, figure
from tlkit.reports.measures import MEASURE_NAMES, headline, measures, point_measures
from tlkit.reports.result import Result
from tlkit.reports.sources import SourceAlone, source_metrics, sources_section
from tlkit.reports.votes import WITHOUT_VOTE, Candidate, frequency_cautions, vote_section

AUTO = "auto"  # the methods vote
BEST = {
    "epoch": "The best epoch is found with target labels, which are missing in practice. The gap to it is "
    "the cost of choosing without labels. Training on target labels shows about what is possible.",
    "vote": "In practice nobody knows these accuracies. They are shown to compare the result with each "
    "method. Training on target labels shows about what is possible.",
}
ARMS = {
    "source_only": "source only",
    "last": "adapted, last epoch",
    "selected": "adapted, epoch chosen without target labels",
    "oracle": "adapted, best epoch (needs target labels)",
    "ceiling": "trained on target labels",
}


@dataclass
class Adaptation(Result):
    """An adapted classifier, and what adaptation changed.

    Attributes:
        model: raw images to class probabilities.
        source: the labelled data set, of all sources if there are several; None if a trained classifier was
            adapted without its source.
        target: the target images that are evaluated, with labels where they are known.
        target_name: what the target is called.
        method: a name of `tlkit.techniques.domain_adaptation.METHODS`.
        validator: the score that chose the epoch, or None for the last epoch.
        backbone: its name.
        seed: of the weights and the order of the images.
        history: Keras's history of each phase, by name.
        probabilities: float32 `(n, classes)` of the source's `train` and `validation`, and of the `target`.
        before: probabilities of the network that learned from the source alone, on the target `(n, classes)`.
        accuracies: on the labelled target, 0 to 1, or None where there are no labels: `source_only`, `last`,
            `selected` (by the validator or the vote), `oracle` (the best epoch or the best candidate, which
            needs target labels), `ceiling` (trained on target labels).
        target_accuracy: the accuracy after each epoch, where there are labels.
        a_distance: proxy A-distance of the features, 0 to 2, `before` and `after`.
        features: `before` and `after`: features of some source and some target examples, float32 `(n, d)`.
        source_labels: int `(n,)` of these source examples.
        seconds: how long the parts took: features, training, total.
        frozen: what was frozen; see `tlkit.frozen_table`.
        precision: in which the features of the frozen backbone were computed, "bfloat16" or "float32"; None
            if they were not.
        choice: if several methods voted, where the classifier comes from: `"vote"`, `"matched features"` or
            `"source only"`; see `tlkit.techniques.domain_adaptation.voting`. From random weights, it is the
            method whose network agrees most with the vote. It is `"interrupted"` if Ctrl-C came before the
            vote was complete. None for a single method.
        candidates: `"source only"`, which does not vote, and all that voted.
        structure: see `tlkit.techniques.domain_adaptation.voting.structure`; None without a vote on features.
        sources: if there are several sources, each of them and all together; see
            `tlkit.reports.sources.SourceAlone`.
        target_frequencies: estimated class frequencies of the target, float64 `(classes,)`; empty without a
            vote.
        ceiling: the classes that a network predicts which was trained on target labels, int `(n,)`, or None.
        class_names: the names of the classes; by default those of the source.
        interrupted: Ctrl-C stopped the training.
    """

    model: keras.Model
    source: Dataset | None
    target: Split
    target_name: str
    method: str
    validator: str | None
    backbone: str
    seed: int
    history: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    before: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), "float32"))
    accuracies: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(ARMS))
    target_accuracy: list[float] = field(default_factory=list)
    a_distance: dict[str, float] = field(default_factory=dict)
    features: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    source_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    seconds: dict[str, float] = field(default_factory=dict)
    frozen: pd.DataFrame = field(default_factory=pd.DataFrame)
    precision: str | None = None
    choice: str | None = None
    candidates: list[Candidate] = field(default_factory=list)
    structure: float | None = None
    sources: list[SourceAlone] = field(default_factory=list)
    target_frequencies: np.ndarray = field(default_factory=lambda: np.zeros(0))
    ceiling: np.ndarray | None = None
    class_names: list[str] = field(default_factory=list)
    interrupted: bool = False

    def __post_init__(self) -> None:
        if self.source is not None:
            self.class_names = self.source.class_names

    @property
    def _by(self) -> str:
        return "vote" if self.method == AUTO else self.method

    @property
    def accuracy(self) -> float | None:
        """The fraction of right answers on the labelled target, 0 to 1; None without labels."""
        if not self.target.labelled:
            return None
        return classifier.accuracy(self.probabilities["target"], self.target.labels)

    def measure(self) -> None:
        """Set `accuracies` from the predictions for the labelled target, if there is one."""
        selected = self.accuracy
        if selected is None:
            return
        labels = self.target.labels
        by_epoch = self.target_accuracy or [selected]
        others = [each.accuracy(labels) for each in self.candidates]
        self.accuracies |= {
            "source_only": classifier.accuracy(self.before, labels),
            "last": None if self.choice else by_epoch[-1],
            "selected": selected if self.validator or self.candidates else None,
            "oracle": max(others or self.target_accuracy, default=None),
            "ceiling": None if self.ceiling is None else float(np.mean(self.ceiling == labels)),
        }

    def _of_model(self) -> dict[str, Any]:
        """Return the fields of `data_metrics` for a classifier that was adapted without its source."""
        return {
            "data": None,
            "image_size": self.model.inputs[0].shape[1],
            "skipped": {"count": 0, "files": []},
            "duplicates": {"count": 0, "pairs": []},
        }

    def metrics(self) -> dict[str, Any]:
        """Return the accuracies on the target with the 95 % interval, and the settings."""
        names, accuracy = self.class_names, self.accuracy
        labels = self.target.labels if self.target.labelled else None
        splits = {} if self.source is None else self.source.splits
        parts = {name: each for name, each in splits.items() if name != "test"}
        by_split = {
            name: classifier.accuracy(self.probabilities[name], each.labels) for name, each in parts.items()
        }
        missing = {"train": None, "validation": None}
        return {
            "technique": f"domain adaptation by {self._by}",
            "method": self.method,
            "validator": self.validator,
            "backbone": self.backbone,
            "seed": self.seed,
            "feature_precision": self.precision,
            **(self._of_model() if self.source is None else data_metrics(self.source)),
            "target": self.target_name,
            "splits": missing
            | {name: len(each) for name, each in parts.items()}
            | {"test": len(self.target)},
            "classes": len(names),
            "class_names": list(names),
            "accuracy": self.accuracies,
            "accuracy_by_split": missing | by_split | {"test": accuracy},
            "interval": None
            if accuracy is None
            else classifier.accuracy_interval(accuracy, "test", len(self.target)),
            **self._measures(),
            "target_accuracy": self.target_accuracy,
            "choice": self.choice,
            "structure": self.structure,
            "methods": [each.metrics(labels) for each in self.candidates],
            "sources": source_metrics(self.sources, labels),
            "target_frequencies": self.target_frequencies.tolist(),
            "a_distance": self.a_distance,
            "per_class": []
            if accuracy is None
            else classifier.class_metrics(self.target.labels, self.probabilities["target"], names),
            "runs": [],  # of other techniques, as `tlkit.train` lists them
            "interrupted": self.interrupted,
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: what adaptation gained, the features, the data, and the target answers."""
        names, source = self.class_names, self.source
        labels = self.target.labels if self.target.labelled else None
        found = [self._gains()]
        if self.choice:
            measured, measure = self._arms() if self.target.labelled else ({}, "")
            selected = measured.get("adapted (the result)")
            found.append(vote_section(self.choice, self.candidates, measured, measure, selected))
        if self.sources:
            found.append(sources_section(self.sources, labels))
        if source is not None:
            samples = classifier.samples(source.train, names)
            shown = features_section(self.features, self.a_distance, self.source_labels, self.history)
            found += [shown, data_section(source, class_terms(names), samples)]
        if self.history:
            found.append(classifier.training_section(self.history))
        chance = classifier.chance(names)
        answer = "Trained; there are no labelled target images to evaluate it on."
        if self.accuracy is not None:
            target = self.probabilities["target"]
            first = headline(self.target.labels)
            answer = classifier.answer(self.target.labels, target, "target", first)
            chance = classifier.chance(names, self.target.labels, first)
            found += classifier.answer_sections(self.target, "target", target, names, self.model)
        if not self.frozen.empty:
            found.append(classifier.frozen_section(self.frozen))
        return Document(
            f"{self.target_name if source is None else source.card.title}: domain adaptation by {self._by} "
            f"with {self.backbone}",
            answer,
            chance,
            [INTERRUPTED] if self.interrupted else [],
            found + ([] if source is None else problem_sections(source)),
        )

    def _measures(self) -> dict[str, Any]:
        """Return the measures on the labelled target, after adaptation and of the source alone (`before`)."""
        if not self.target.labelled:
            return {"headline": None, "measures": None, "before": None}
        labels = self.target.labels
        after = classifier.measure_metrics(labels, self.probabilities["target"], headline(labels))
        return after | {"before": measures(labels, self.before.argmax(axis=1))}

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the model, which Keras opens without tlkit."""
        return {"model.keras": self.model.save}

    def _gains(self) -> Section:
        source, names = self.source, self.class_names
        said = (
            f"A trained classifier was adapted to {self.target_name} without source images or target labels."
            if source is None
            else f"The labels are those of {source.card.name}; {self.target_name} has none in training."
        )
        if self.choice and source is not None:
            found: list[Block] = [Text(said)]
            if self.choice not in WITHOUT_VOTE:
                found += frequency_cautions(
                    np.bincount(source.train.labels, minlength=len(names)) / len(source.train),
                    self.target_frequencies,
                    names,
                )
        elif self.validator:
            epoch = f"The epoch was chosen by the validator {self.validator}, which needs no target labels."
            found = [Text(f"{said} {epoch}")]
        else:
            trained = bool(self.history.get("adaptation"))
            found = [Text(f"{said} The last epoch was kept." if trained else said)]
        if not self.target.labelled:
            advice = (
                "There are no labelled target images, so nothing here says how good the network is on the "
                "target. Label a few dozen and pass them with --evaluate."
            )
            return Section("What adaptation gained", [*found, Text(advice, "caution")])
        measured, measure = self._arms()
        before, after = self.before.argmax(axis=1), self.probabilities["target"].argmax(axis=1)
        found += [
            accuracies(
                measured,
                f"{measure.capitalize()} on the target",
                f"All on the same {len(self.target):,} target images; training did not use their labels. "
                + (BEST["vote" if self.choice else "epoch"] if self.accuracies["oracle"] else ""),
                quantity=f"{measure} on the target",
            ),
            figure(
                lambda ax: plots.class_gains(self.target.labels, before, after, names, ax),
                (6.4, 1.0 + 0.26 * len(names)),
                "The gain or loss of each class by adaptation.",
                "Compared with the network that learned from the source alone. A class left of zero "
                "became worse (negative transfer).",
            ),
        ]
        return Section("What adaptation gained", found)

    def _arms(self) -> tuple[dict[str, float], str]:
        """Return what each arm reached on the labelled target, and the name of the measure.

        Where the classes are unbalanced, the measure is the balanced accuracy.
        """
        if not self.choice:
            return {
                ARMS[arm]: value for arm, value in self.accuracies.items() if value is not None
            }, "accuracy"
        first, labels = headline(self.target.labels), self.target.labels
        predicted = {each.name: each.predicted for each in self.candidates}
        result = "adapted (the result)" if self.candidates else "source only"  # Ctrl-C before a vote
        predicted[result] = self.probabilities["target"].argmax(axis=1)
        if self.ceiling is not None:
            predicted[ARMS["ceiling"]] = self.ceiling
        found = {name: point_measures(labels, each)[first] for name, each in predicted.items()}
        return found, MEASURE_NAMES[first]
