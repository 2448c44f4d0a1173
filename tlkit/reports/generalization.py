"""The result of domain generalization: what each method reached on the domains that were left out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit import plots
from tlkit.data import Dataset
from tlkit.reports import classifier
from tlkit.reports.data import INTERRUPTED
from tlkit.reports.document import Block, Document, Section, Table, Text
from tlkit.reports.figures import figure
from tlkit.reports.measures import MEASURE_NAMES
from tlkit.reports.result import Result
from tlkit.reports.unseen_domains import CONTROL, FROZEN, Outcome, domain_mean, mean_of_domains, verdict
from tlkit.reports.words import counted, duration, listed, percent

OF_RIGHT, OF_DIFFERENCE = 0.25, 0.5  # variance of right answers, and of their difference between two methods
CAPTION = (
    "Each point is a domain that was left out, the tick is their mean, and the bar its 95 % interval. The "
    "interval covers the chance of which images were evaluated. It does not cover another training or "
    "another domain."
)


@dataclass
class Generalization(Result):
    """A classifier for an unseen domain, and the comparison of methods that chose how it was trained.

    Attributes:
        model: raw images to class probabilities.
        domains: the name of each domain.
        data: the data set of each domain.
        methods: the names of the methods.
        backbone: its name.
        seed: of the weights and the order of the images.
        measure: what is compared: `"accuracy"`, or `"balanced_accuracy"` if the classes are unbalanced.
        pretrained: whether the weights of the backbone were learned on other images.
        outcomes: of each method on each domain that was left out.
        chosen: the method that trained `model` on all domains.
        frozen: what was frozen; see `tlkit.frozen_table`.
        seconds: how long it took.
        interrupted: Ctrl-C stopped it.
    """

    model: keras.Model
    domains: list[str]
    data: list[Dataset]
    methods: list[str]
    backbone: str
    seed: int
    measure: str = "accuracy"
    pretrained: bool = True
    outcomes: list[Outcome] = field(default_factory=list)
    chosen: str = CONTROL
    frozen: pd.DataFrame = field(default_factory=pd.DataFrame)
    seconds: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False

    def of(self, method: str) -> list[Outcome]:
        """Return the outcomes of a method, one for each domain in which all methods were evaluated."""
        counts = [sum(each.left_out == index for each in self.outcomes) for index in range(len(self.domains))]
        return [
            each
            for each in self.outcomes
            if each.method == method and counts[each.left_out] == len(self.methods)
        ]

    @property
    def complete(self) -> bool:
        """Whether each domain was left out by each method."""
        return len(self.outcomes) == len(self.methods) * len(self.domains)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes."""
        return self.data[0].class_names

    def by_domain(self, method: str) -> list[tuple[float, float]]:
        """Return the measure on each domain that was left out, 0 to 1, and the variance of this estimate."""
        return [self._on_domain(each) for each in self.of(method)]

    def mean(self, method: str) -> float:
        """Return the mean of the measure over the domains that were left out, 0 to 1."""
        return mean_of_domains(self.by_domain(method))[0]

    def held_out(self, method: str) -> float | None:
        """Return the mean of the measure on held-out images of the domains that were learned from, 0 to 1."""
        found = [each.held_out for each in self.of(method) if each.held_out is not None]
        return float(np.mean(found)) if len(found) == len(self.of(method)) else None

    @property
    def best(self) -> str:
        """The method with the highest mean of the measure on the domains that were left out."""
        return max(self.methods, key=self.mean)

    def differences(self) -> dict[str, tuple[float, float, float]]:
        """Return the measure of each method minus that of `"erm"`, with its 95 % interval, by name."""
        if CONTROL not in self.methods:
            return {}
        return {
            method: mean_of_domains(
                [
                    domain_mean(a.right - b.right, a.labels, self.measure, OF_DIFFERENCE)
                    for a, b in zip(self.of(method), self.of(CONTROL), strict=True)
                ]
            )
            for method in self.methods
            if method != CONTROL
        }

    def selected_by_held_out(self) -> tuple[list[str], float] | None:
        """Return the method that held-out images choose in each round, and what this choice reaches.

        Only images of the domains that were learned from choose. Gulrajani & Lopez-Paz 2021, "In Search of
        Lost Domain Generalization".
        """
        if any(self.held_out(method) is None for method in self.methods):
            return None
        rounds = zip(*(self.of(method) for method in self.methods), strict=True)
        chosen = [max(each, key=lambda one: one.held_out or 0.0) for each in rounds]
        return [each.method for each in chosen], float(np.mean([self._on_domain(each)[0] for each in chosen]))

    def metrics(self) -> dict[str, Any]:
        """Return the measure of each method on each domain that was left out, and the differences to ERM."""
        measured = bool(self.of(self.methods[0]))
        selected = self.selected_by_held_out() if measured else None
        differences = self.differences() if measured else {}
        return {
            "technique": "domain generalization",
            "backbone": self.backbone,
            "seed": self.seed,
            "data": " + ".join(self.domains),
            "domains": [
                {"name": name, "splits": {part: len(each) for part, each in data.splits.items()}}
                for name, data in zip(self.domains, self.data, strict=True)
            ],
            "splits": {
                "train": sum(
                    len(part) for each in self.data for part in (each.train, each.validation) if part
                ),
                "validation": None,
                "test": sum(len(each.labels) for each in self.of(self.methods[0])),
            },
            "skipped": {"count": sum(len(each.skipped) for each in self.data)},
            "duplicates": {"count": sum(len(each.duplicates) for each in self.data)},
            "image_size": self.data[0].image_size,
            "classes": len(self.class_names),
            "class_names": list(self.class_names),
            "methods": [self._of(method, differences.get(method)) for method in self.methods if measured],
            "selected_by_held_out": None
            if selected is None
            else {"methods": selected[0], "mean": selected[1]},
            "chosen": self.chosen,
            "headline": self.measure,
            "accuracy": {method: self._accuracy(method) for method in self.methods if measured},
            "interval": None,  # no image evaluates the model that learned from all domains
            "per_class": [],
            "runs": [],
            "interrupted": self.interrupted,
        }

    @property
    def _measure(self) -> str:
        return MEASURE_NAMES[self.measure]

    def _on_domain(self, outcome: Outcome) -> tuple[float, float]:
        return domain_mean(outcome.right, outcome.labels, self.measure, OF_RIGHT)

    def _accuracy(self, method: str) -> float:
        return float(np.mean([each.right.mean() for each in self.of(method)]))

    def _of(self, method: str, difference: tuple[float, float, float] | None) -> dict[str, Any]:
        found = self.by_domain(method)
        mean, low, high = mean_of_domains(found)
        names = [self.domains[each.left_out] for each in self.of(method)]
        return {
            "name": method,
            "accuracy": self._accuracy(method),
            "mean": mean,
            "low": low,
            "high": high,
            "by_domain": {name: value for name, (value, _) in zip(names, found, strict=True)},
            "held_out": self.held_out(method),
            "difference": None
            if difference is None
            else dict(zip(("mean", "low", "high"), difference, strict=True)),
            "steps": [each.steps for each in self.of(method)],
            "seconds": sum(each.seconds for each in self.of(method)),
        }

    @property
    def answer(self) -> str:
        """Which method is the best on the domains that were left out, and whether it is better than ERM."""
        if not self.of(self.methods[0]):
            return "No domain was evaluated."
        best = self.best
        said = (
            f"{best} has the highest mean {self._measure} on unseen domains: {percent(self.mean(best))} % on "
            f"average over {counted(len(self.of(best)), 'domain')}"
        )
        difference = self.differences().get(best)
        if difference is None:
            return said
        return f"{said}. {verdict(best, *difference)}"

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: the measure of each method on unseen domains, and how the model was trained."""
        sections = [self._comparison()] if self.of(self.methods[0]) else []
        sections += [self._model(), self._data()]
        if not self.frozen.empty:
            sections.append(classifier.frozen_section(self.frozen))
        labels = [each.labels for each in self.of(self.methods[0])]
        return Document(
            f"{listed(self.domains)}: domain generalization with {self.backbone}",
            self.answer,
            classifier.chance(self.class_names, np.concatenate(labels) if labels else None, self.measure),
            [INTERRUPTED] if self.interrupted else [],
            sections,
        )

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the model, which Keras opens without tlkit."""
        return {"model.keras": self.model.save}

    def _comparison(self) -> Section:
        found = {method: self.by_domain(method) for method in self.methods}
        values = {method: [value for value, _ in each] for method, each in found.items()}
        bounds = {method: mean_of_domains(each)[1:] for method, each in found.items()}
        said = "; ".join(f"{method} {np.mean(each):.1%}" for method, each in values.items())
        rows = [self._row(method) for method in self.methods]
        blocks: list[Block] = [
            Text(
                "Each domain was left out once. Each method learned from the other domains, and was then "
                "evaluated on the domain that was left out. No image of this domain was used in training."
            ),
            figure(
                lambda ax: plots.compare_arms(
                    values, ax, intervals=bounds, quantity=f"{self._measure} on the domain that was left out"
                ),
                (6.4, 0.8 + 0.55 * len(values)),
                f"Mean {self._measure} on unseen domains: {said}.",
                CAPTION,
            ),
            Table(pd.DataFrame(rows)),
            *[Text(verdict(method, *each)) for method, each in self.differences().items()],
        ]
        if selected := self.selected_by_held_out():
            blocks.append(
                Text(
                    "Held-out images of the domains that were learned from would have chosen "
                    f"{listed(list(dict.fromkeys(selected[0])))}; this choice reaches "
                    f"{percent(selected[1])} % on the unseen domains. The best method on known domains is "
                    "not always the best on an unseen one.",
                    "soft",
                )
            )
        return Section(f"{self._measure.capitalize()} on unseen domains", blocks)

    def _row(self, method: str) -> dict[str, Any]:
        held_out = self.held_out(method)
        row: dict[str, Any] = {"method": method}
        for each, (value, _) in zip(self.of(method), self.by_domain(method), strict=True):
            row[f"{self.domains[each.left_out]} left out"] = value
        row |= {"mean": self.mean(method)}
        row |= {} if held_out is None else {"held-out images of known domains": held_out}
        return row | {"time": duration(sum(each.seconds for each in self.of(method)))}

    def _model(self) -> Section:
        said = (
            f"model.keras was trained on all domains by {self.chosen}, the method with the highest mean "
            f"{self._measure} on the domains that were left out. No image is left to evaluate it. On a new "
            "domain that differs from these as much as they differ from each other, expect about the "
            f"{self._measure} that this method reaches above. The method was chosen by these values, so its "
            "value is a little too high."
        )
        if self.complete and self.interrupted:
            said = (
                f"The last training, by {self.chosen} on all domains, was interrupted. model.keras holds the "
                "weights that it had reached."
            )
        if not self.complete:
            said = (
                "The comparison was interrupted, so model.keras is the head that was solved on the frozen "
                "features of all domains."
                if self.chosen == FROZEN
                else "The comparison was interrupted. model.keras holds the weights of the last training, "
                "which did not see all domains or was not finished."
            )
        return Section("The classifier", [Text(said)])

    def _data(self) -> Section:
        table = pd.DataFrame({"domain": self.domains})
        for part in ("train", "validation", "test"):
            table[part] = [len(each.splits[part]) if part in each.splits else None for each in self.data]
        remark = (
            "A domain that is left out is evaluated on its test split, or on all its images if it has none."
        )
        return Section("The data", [Table(table), Text(remark, "soft")])
