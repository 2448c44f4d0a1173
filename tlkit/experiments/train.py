"""Train a classifier on a data set by one technique of transfer learning."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tlkit.data import Dataset
from tlkit.experiments import phases
from tlkit.experiments.fitting import fit_classifier
from tlkit.reports import classifier
from tlkit.reports.data import cautions, class_terms, data_metrics, data_section, problem_sections
from tlkit.reports.document import Document, Section, Table
from tlkit.reports.figures import accuracies
from tlkit.reports.result import Result
from tlkit.reports.words import duration, interval, percent
from tlkit.techniques import TECHNIQUES


@dataclass
class Training(Result):
    """A trained classifier with its data, its learning curves and its predictions.

    Attributes:
        model: raw images to class probabilities.
        data: the data set with its splits.
        technique: a name of `tlkit.techniques.TECHNIQUES`.
        backbone: its name.
        seed: of the weights, the order of the images and the augmentation.
        history: Keras's history (loss, accuracy, val_loss, val_accuracy by epoch) of each phase, by name.
        probabilities: float32 `(n, classes)` for each split of the data, by name.
        seconds: how long the parts took: features, training, total.
        frozen: what was frozen in the last phase; see `tlkit.frozen_table`.
        interrupted: Ctrl-C stopped the training; the model is the best one until then.
        others: trainings on the same data, which the report compares with this one.
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
    interrupted: bool = False
    others: Sequence["Training"] = ()

    @property
    def evaluated(self) -> str | None:
        """The split that the accuracy is reported for: test, else validation, else train."""
        return phases.last_split(self.data)

    def accuracy(self, split: str) -> float:
        """Return the fraction of right answers on one split, 0 to 1."""
        return phases.accuracy_of(self.probabilities[split], self.data.splits[split].labels)

    def metrics(self) -> dict[str, Any]:
        """Return the accuracy of each split with its interval, the figures of each class, and the settings.

        `interval` is that of the split that is reported. Precision, recall and F1 are fractions, 0 to 1.
        """
        split, names = self.evaluated, self.data.class_names
        return {
            **self._summary(),
            **data_metrics(self.data),
            "classes": len(names),
            "class_names": list(names),
            "per_class": []
            if split is None
            else classifier.class_metrics(self.data.splits[split].labels, self.probabilities[split], names),
            "runs": [each._summary() for each in self.others],
            "interrupted": self.interrupted,
        }

    def _summary(self) -> dict[str, Any]:
        labelled = [name for name, split in self.data.splits.items() if split.labelled and len(split)]
        split = self.evaluated
        return {
            "technique": self.technique,
            "backbone": self.backbone,
            "seed": self.seed,
            "accuracy": {
                name: self.accuracy(name) if name in labelled else None
                for name in ("train", "validation", "test")
            },
            "interval": None
            if split is None
            else classifier.accuracy_interval(self.accuracy(split), split, len(self.data.splits[split])),
            "seconds": self.seconds,
        }

    def report(self, folder: Path = Path()) -> Document:
        """Return the report: accuracy, data, curves, confusions, mistakes and heat maps."""
        split, names = self.evaluated, self.data.class_names
        samples = classifier.samples(self.data.train, names)
        document = Document(
            f"{self.data.card.title}: {self.technique} with {self.backbone}",
            self._answer(),
            f"{len(names)} classes; chance is about {percent(1 / len(names))} %.",
            cautions(split, self.interrupted),
        )
        if self.others:
            document.sections.append(self._comparison())
        document.sections.append(data_section(self.data, class_terms(names), samples))
        if self.history:
            document.sections.append(classifier.training_section(self.history))
        if split is not None:
            part, found = self.data.splits[split], self.probabilities[split]
            document.sections += classifier.answer_sections(part, split, found, names, self.model)
        if not self.frozen.empty:
            document.sections.append(classifier.frozen_section(self.frozen))
        document.sections += problem_sections(self.data)
        return document

    def _answer(self) -> str:
        split = self.evaluated
        if split is None:
            return "Trained; there are no labelled images to evaluate it on."
        images = len(self.data.splits[split])
        bounds = classifier.accuracy_interval(self.accuracy(split), split, images)
        return (
            f"{percent(self.accuracy(split))} % of {images:,} {split} images right, 95 % interval "
            f"{interval(bounds)}"
        )

    def _comparison(self) -> Section:
        """Return the section on the other trainings, each named by what distinguishes it."""
        runs = [each._summary() for each in (self, *self.others)]
        keys = ["technique", *(key for key in ("backbone", "seed") if len({run[key] for run in runs}) > 1)]
        named = {", ".join(str(run[key]) for key in keys): run for run in runs}
        known = {name: run["interval"] for name, run in named.items() if run["interval"]}
        values = {name: named[name]["accuracy"][bounds["split"]] for name, bounds in known.items()}
        drawn = accuracies(
            values,
            "Accuracy of each technique",
            "A point is one run, its bar the 95 % interval from the number of images. Where bars overlap "
            "widely, these images cannot tell which is better; another seed may change the order as well.",
            intervals={name: (bounds["low"], bounds["high"]) for name, bounds in known.items()},
        )
        rows = [
            {
                "run": name,
                "accuracy": f"{percent(values[name])} %" if name in values else "–",
                "95 % interval": interval(run["interval"]),
                "images": f"{run['interval']['images']} {run['interval']['split']}" if name in known else "–",
                "training": duration(run["seconds"].get("training")),
                "total": duration(run["seconds"].get("total")),
            }
            for name, run in named.items()
        ]
        return Section("Compared with other techniques", [drawn, Table(pd.DataFrame(rows))])

    def files(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the writer of the model, which Keras opens without tlkit."""
        return {"model.keras": self.model.save}


def train(
    data: Dataset,
    *,
    technique: str = "feature-extraction",
    backbone: str | keras.Model = "EfficientNetLite0",
    weights: str | None = "imagenet",
    epochs: int | None = None,
    head_epochs: int = phases.HEAD_EPOCHS,
    augment: bool = True,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | str = 0,
    **options: Any,
) -> Training:
    """Train a classifier, keep its best epoch on the validation split, and predict all splits.

    Args:
        data: a labelled data set.
        technique: `"feature-extraction"` (freeze the backbone and train a head), `"fine-tuning"` (then train
            its upper layers as well) or `"scratch"` (train the same network from random weights: the
            control).
        backbone: a name of `tlkit.list_backbones()`; or a model from raw images to features, such as
            `tlkit.load_backbone` returns, of KerasHub, or your own. From scratch, a copy with new random
            weights is trained.
        weights: `"imagenet"` or a weights file, for a name; ignored from scratch.
        epochs: at most; of the head for feature extraction (50 by default), else of the network (8).
        head_epochs: epochs of the head before fine-tuning.
        augment: random flips, shifts, rotations and zooms in training; digits are not mirrored.
        seed: of the weights, the order of the images and the augmentation.
        callbacks: Keras callbacks for every phase.
        verbose: as for Keras's `fit`: 0 is silent, 1 shows progress bars, 2 prints a line for each epoch.
        options: of `tlkit.fine_tune`, for fine-tuning and training from scratch. By default `fraction=0.7`,
            `learning_rate=1e-3` and `depth_decay=0.7`.

    Returns:
        The trained model with its figures. `tlkit.write_report(training, "runs/mine")` writes them.

    Raises:
        UnknownNameError: there is no such technique or backbone.
        DataError: images or labels do not fit.

    >>> import tlkit
    >>> data = tlkit.load("digits/optical")
    >>> training = train(data, technique="scratch", backbone="LeNet", epochs=1)
    >>> training.probabilities["test"].shape
    (359, 10)
    """
    technique = TECHNIQUES.find(technique).name
    fitted = fit_classifier(
        data,
        technique,
        backbone=backbone,
        weights=weights,
        epochs=epochs,
        head_epochs=head_epochs,
        augment=augment,
        seed=seed,
        callbacks=callbacks,
        verbose=verbose,
        **options,
    )
    return Training(data=data, technique=technique, seed=seed, **vars(fitted))
