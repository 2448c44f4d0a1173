"""Train the arms of lesson 06 on digits: adaptation of a whole network, from random weights.

    .venv/bin/python benchmarks/end_to_end.py                  # about 20 minutes; it uses one core
    .venv/bin/python benchmarks/end_to_end.py --arms MMD DANN  # only these arms

The source is 1,000 optical digits with labels, the target 1,000 MNIST digits without. Every arm trains the
same LeNet with batch normalisation on 16-pixel images, for 400 steps of 50 source images (and 50 target
images). Each method has the default weight of tlkit. Nothing is chosen here, but the pair is also part of
`domain_adaptation.py`, on which the defaults were tried. The test images are those of MNIST. For the trap
of the lesson, some arms have 500 target images: of all classes, or of the digits 0 to 4 only. A source of
the digits 0 to 4 has 541 images, and 396 steps.

The script appends to the table of lesson 06 as it goes, and skips what the table has. Delete the table to
start again. The columns are:

    arm, seed                   the arm, and the seed of weights and batches
    discriminator               accuracy of the domain discriminator in the last epoch, if there is one
    source-accuracy, entropy,   scores that need no target labels (`VALIDATORS`), on the source's test images
    snd, a-distance             and the target training images; higher is better
    test                        the predicted class of each test image, a digit each, ordered by class; the
                                row "labels" has the true classes
"""

import argparse
import csv
import os
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import keras
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

import tlkit
from tlkit.techniques import domain_adaptation as da
from tlkit.techniques.domain_adaptation.methods import VALIDATORS

TABLE = Path(__file__).parents[1] / "tlkit" / "course" / "results" / "end_to_end-digits-optical.csv"
SIZE, IMAGES, BATCH, STEPS, RATE, SEEDS = 16, 1000, 50, 400, 2e-3, range(5)
SCORES = ("source-accuracy", "entropy", "snd", "a-distance")
COLUMNS = ("arm", "seed", "discriminator", *SCORES, "test")
# The method, or None; and what differs from all images of both domains.
ARMS: dict[str, dict[str, Any]] = {
    "source only": {"method": None},
    "statistics only": {"method": da.Alignment},
    "MMD": {"method": da.MMD},
    "DANN": {"method": da.DANN},
    "self-training": {"method": da.MinimumEntropy},
    "target labels": {"method": None, "labels_of": "target"},
    "DANN, 500 of all classes": {"method": da.DANN, "target": 500},
    "statistics only, 500 of 0 to 4": {"method": da.Alignment, "target": 500, "target_classes": range(5)},
    "DANN, 500 of 0 to 4": {"method": da.DANN, "target": 500, "target_classes": range(5)},
    "source only, 0 to 4": {"method": None, "source_classes": range(5)},
    "DANN, both 0 to 4": {
        "method": da.DANN,
        "target": 500,
        "target_classes": range(5),
        "source_classes": range(5),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[*ARMS])
    data = {
        "source": tlkit.load("digits/optical", image_size=SIZE),
        "target": tlkit.load("digits/mnist", image_size=SIZE),
    }
    order = np.argsort(data["target"].test.labels, kind="stable")
    if not TABLE.exists():
        append(dict(zip(COLUMNS, COLUMNS, strict=True)))
        append({"arm": "labels", "test": digits(np.sort(data["target"].test.labels))})
    for name in parser.parse_args().arms:
        arm = Arm(data, **ARMS[name])
        done = set(pd.read_csv(TABLE, usecols=["arm", "seed"]).query("arm == @name")["seed"])
        for seed in tqdm([each for each in SEEDS if each not in done], desc=name):
            row = arm.run(seed)
            append({"arm": name, "seed": seed, **row, "test": digits(row["test"][order])})


def append(row: dict[str, Any]) -> None:
    with TABLE.open("a", newline="") as file:
        csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)


def digits(classes: np.ndarray) -> str:
    return "".join(map(str, classes))


def some(split: tlkit.data.Split, count: int, classes: Any = None) -> tlkit.data.Split:
    """Return the first images of a random order that belong to these classes, or to any."""
    rows = np.random.default_rng(0).permutation(len(split))
    return split.subset(rows[np.isin(split.labels[rows], range(10) if classes is None else classes)][:count])


class Arm:
    """One network, compiled once and trained again for each seed."""

    def __init__(
        self,
        data: dict[str, Any],
        *,
        method: Any,
        labels_of: str = "source",
        target: int = IMAGES,
        target_classes: Any = None,
        source_classes: Any = None,
    ) -> None:
        self.labelled = some(data[labels_of].train, IMAGES, source_classes)
        self.target = some(data["target"].train, target, target_classes).images
        self.source_test, self.test = data["source"].test, data["target"].test.images
        classifier = tlkit.build_classifier("LeNetBN", 10, weights=None, image_size=SIZE, dropout=0.0)
        self.model = classifier if method is None else da.DomainAdapter(classifier, method())
        self.model.compile(
            keras.optimizers.Adam(RATE), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
        )

    def run(self, seed: int) -> dict[str, Any]:
        """Train with one seed; return the scores and the predicted classes of the test images."""
        keras.utils.set_random_seed(seed)
        tlkit.reinitialize(self.model)
        images, labels = self.labelled.images, self.labelled.labels
        per_epoch = -(-max(len(labels), len(self.target)) // BATCH)
        options = {"epochs": STEPS // per_epoch, "verbose": 0}
        if not isinstance(self.model, da.DomainAdapter):
            self.model.fit(images, labels, batch_size=BATCH, **options)
            return {"test": self.predicted(self.model)}
        pairs = da.pair((images, labels), self.target, batch_size=BATCH, seed=seed)
        history = self.model.fit(pairs, **options).history
        source = self.model.source_outputs(self.source_test.images)._replace(labels=self.source_test.labels)
        target = self.model.target_outputs(self.target)
        row: dict[str, Any] = {name: round(VALIDATORS.find(name).build(source, target), 3) for name in SCORES}
        if "discriminator_accuracy" in history:
            row["discriminator"] = round(history["discriminator_accuracy"][-1], 3)
        return row | {"test": self.predicted(self.model.classifier)}

    def predicted(self, classifier: keras.Model) -> np.ndarray:
        return classifier.predict(self.test, batch_size=256, verbose=0).argmax(axis=1)


if __name__ == "__main__":
    main()
