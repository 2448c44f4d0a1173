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
from tlkit.reports.unseen_domains import CONTROL, FROZEN, Outcome, mean_of_means, verdict
from tlkit.reports.words import counted, duration, listed, percent

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

    def scores(self, method: str) -> list[np.ndarray]:
        """Return the values of the images of each domain that was left out; their mean is the measure."""
        return [each.scores(self.measure) for each in self.of(method)]

    def mean(self, method: str, measure: str | None = None) -> float:
        """Return the mean over the domains that were left out, 0 to 1, by default of the compared measure."""
        return float(np.mean([each.scores(measure or self.measure).mean() for each in self.of(method)]))

    def held_out(self, method: str) -> float | None:
        """Return the mean measure on held-out images of the domains that were learned from, 0 to 1."""
        found = [each.held_out for each in self.of(method) if each.held_out is not None]
        return float(np.mean(found)) if len(found) == len(self.of(method)) else None

    @property
    def best(self) -> str:
        """The method with the highest mean on the domains that were left out."""
        return max(self.methods, key=self.mean)

    def differences(self) -> dict[str, tuple[float, float, float]]:
        """Return the measure of each method minus that of `"erm"`, with its 95 % interval, by name."""
        if CONTROL not in self.methods:
            return {}
        control = self.scores(CONTROL)
        return {
            method: mean_of_means([a - b for a, b in zip(self.scores(method), control, strict=True)])
            for method in self.methods
            if method != CONTROL
        }

    def selected_by_held_out(self) -> tuple[list[str], float] | None:
        """Return the method that held-out images choose in each round, and the mean measure of this choice.

        Only images of the domains that were learned from choose. Gulrajani & Lopez-Paz 2021, "In Search of
        Lost Domain Generalization".
        """
        if any(self.held_out(method) is None for method in self.methods):
            return None
        rounds = zip(*(self.of(method) for method in self.methods), strict=True)
        chosen = [max(each, key=lambda one: one.held_out or 0.0) for each in rounds]
        return [each.method for each in chosen], float(
            np.mean([each.scores(self.measure).mean() for each in chosen])
        )

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
            else {"methods": selected[0], self.measure: selected[1]},
            "chosen": self.chosen,
            "headline": self.measure,
            "accuracy": {method: self.mean(method, "accuracy") for method in self.methods if measured},
            "interval": None,  # no image evaluates the model that learned from all domains
            "per_class": [],
            "runs": [],
            "interrupted": self.interrupted,
        }

    @property
    def _measure(self) -> str:
        return MEASURE_NAMES[self.measure]

    def _of(self, method: str, difference: tuple[float, float, float] | None) -> dict[str, Any]:
        mean, low, high = mean_of_means(self.scores(method))
        by_domain = {
            self.domains[each.left_out]: each.scores(self.measure).mean() for each in self.of(method)
        }
        return {
            "name": method,
            self.measure: mean,
            "low": low,
            "high": high,
            "by_domain": by_domain,
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
        """Return the report: the accuracy of each method on unseen domains, and how the model was trained."""
        sections = [self._comparison()] if self.of(self.methods[0]) else []
        sections += [self._model(), self._data()]
        if not self.frozen.empty:
            sections.append(classifier.frozen_section(self.frozen))
        return Document(
            f"{listed(self.domains)}: domain generalization with {self.backbone}",
            self.answer,
            classifier.chance(self.class_names),
            [INTERRUPTED] if self.interrupted else [],
            sections,
        )

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the model, which Keras opens without tlkit."""
        return {"model.keras": self.model.save}

    def _comparison(self) -> Section:
        values = {method: [each.mean() for each in self.scores(method)] for method in self.methods}
        bounds = {method: mean_of_means(self.scores(method))[1:] for method in self.methods}
        said = "; ".join(f"{method} {np.mean(each):.1%}" for method, each in values.items())
        rows = [self._row(method) for method in self.methods]
        found: list[Block] = [
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
            found.append(
                Text(
                    "Held-out images of the domains that were learned from would have chosen "
                    f"{listed(list(dict.fromkeys(selected[0])))}; this choice reaches "
                    f"{percent(selected[1])} % on the unseen domains. The best method on known domains is "
                    "not always the best on an unseen one.",
                    "soft",
                )
            )
        return Section(f"{self._measure.capitalize()} on unseen domains", found)

    def _row(self, method: str) -> dict[str, Any]:
        held_out = self.held_out(method)
        row: dict[str, Any] = {"method": method}
        for each, scores in zip(self.of(method), self.scores(method), strict=True):
            row[f"{self.domains[each.left_out]} left out"] = scores.mean()
        row |= {"mean": self.mean(method)}
        row |= {} if held_out is None else {"held-out images of known domains": held_out}
        return row | {"time": duration(sum(each.seconds for each in self.of(method)))}

    def _model(self) -> Section:
        said = (
            f"model.keras was trained on all domains by {self.chosen}, the method with the highest mean "
            f"{self._measure} on the domains that were left out. No image is left to evaluate it. Expect "
            f"about the {self._measure} of this method above on a new domain that differs from these as much "
            "as they differ from each other. The method was chosen by these values, so its own is a little "
            "too high."
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
