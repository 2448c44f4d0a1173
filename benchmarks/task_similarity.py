"""Measure what eight sources are worth for one target: the evidence of lesson 08.

    .venv/bin/python benchmarks/task_similarity.py                            # the target digits/mnist
    .venv/bin/python benchmarks/task_similarity.py --dataset digits/optical   # another target

There are four domains with two questions each: the classes of the images, and a property of their pixels in
five equal groups. A LeNet of random weights learns one question with 300 steps of 32 images. Then it meets
five labelled images per class of the target, drawn by the seed, in three ways:

    frozen          a logistic regression on standardised features, with its own C by cross-validation
    fixed head      the same on features of length 1, with C = 10
    whole network   a new head, and 150 steps of 20 images for all layers, with the best of three rates

"mnist-m" holds the digits of "mnist", over photographs. So the labelled images come from the first 1,500
training images, and the sources of mnist-m learn from the others. The arm "random" has no source. The
learning rates are chosen per arm by the validation images, with other seeds.

The script appends to the table of the lesson as it goes, and skips what the table has. The columns are:

    arm, use, rate, seed   the source, one of the three ways, the learning rate and the seed
    known                  accuracy on validation images of the source
    predicted              cross-validated accuracy on the labelled images of the target
    cka                    linear CKA with the random weights of the same seed, on 300 images of the target
    validation             accuracy on validation images of the target; only in rows for choosing a rate
    test                   the predicted class of each test image, a digit each. The images are ordered by
                           class, so that the table tells the class of no image; the row "labels" has the true
                           classes
"""

import argparse
import csv
import os
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from tqdm.auto import tqdm

import tlkit
from tlkit.challenges.task_similarity import linear_cka
from tlkit.data import Dataset
from tlkit.techniques import few_shot
from tlkit.techniques.logistic_regression import solve

FOLDER = Path(__file__).parents[1] / "tlkit" / "course" / "results"
SIZE, PER_CLASS, RATES, CHOOSING = 14, 5, (1e-3, 3e-3, 1e-2), (100, 101)
SPLIT_AT = 1500  # of the training images, which mnist and mnist-m share
SOURCES = {
    "mnist": ("digits/mnist", "digit", "light"),
    "optical": ("digits/optical", "digit", "light"),
    "mnist-m": ("digits/mnist-m", "digit", "colour"),
    "twemoji": ("emoji/twemoji", "thing", "colour"),
    "line": ("emoji/line", "thing", "light"),
}
COLUMNS = ("arm", "use", "rate", "seed", "known", "predicted", "cka", "validation", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits/mnist")
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()
    Experiment(options.dataset).run(options.seeds)


def fifths(images: np.ndarray, limits: np.ndarray, question: str) -> np.ndarray:
    values = pixel_property(images, question)
    return np.searchsorted(np.quantile(pixel_property(limits, question), [0.2, 0.4, 0.6, 0.8]), values)


def pixel_property(images: np.ndarray, question: str) -> np.ndarray:
    x = images.astype("float32")
    return (x.max(axis=3) - x.min(axis=3) if question == "colour" else x).reshape(len(x), -1).mean(axis=1)


class Experiment:
    """One target, and a network that is compiled once."""

    def __init__(self, name: str) -> None:
        self.table = FOLDER / f"task_similarity-{name.replace('/', '-')}.csv"
        self.target = tlkit.load(name, image_size=SIZE)
        self.order = np.argsort(self.target.test.labels, kind="stable")
        self.model = tlkit.build_classifier("LeNet", 12, weights=None, image_size=SIZE, dropout=0.0)
        self.model.compile("adam", loss="sparse_categorical_crossentropy", steps_per_execution=50)
        self.backbone = self.model.get_layer("LeNet")
        self.sources: dict[str, tuple[Dataset, str] | None] = {"random": None}
        for short, (data, *questions) in SOURCES.items():
            if data != name:
                self.sources |= {
                    f"{short} {each}": (tlkit.load(data, image_size=SIZE), each) for each in questions
                }
        if not self.table.exists():
            with self.table.open("w") as file:
                csv.writer(file, lineterminator="\n").writerow(COLUMNS)
            self.append({"arm": "labels", "test": self.coded(self.target.test.labels)})

    def run(self, seeds: int) -> None:
        for seed in tqdm((*CHOOSING, *range(seeds)), unit="seed"):
            done = pd.read_csv(self.table, usecols=["arm", "seed"]).query("seed == @seed")["arm"]
            for arm in self.sources:
                if arm not in set(done):
                    for row in self.rows(arm, seed):
                        self.append({"arm": arm, "seed": seed} | row)

    def rows(self, arm: str, seed: int) -> list[dict[str, Any]]:
        """Return the rows of one source and one seed."""
        few = self.target.train.subset(slice(SPLIT_AT)).few(PER_CLASS, seed=seed)
        keras.utils.set_random_seed(seed)
        tlkit.reinitialize(self.model)
        probe_images = self.target.train.images[:300]
        before, known = self.features(probe_images), np.nan
        if self.sources[arm]:
            known = self.learn(*self.sources[arm])
        weights = self.backbone.get_weights()
        if seed in CHOOSING:
            images, labels = self.target.validation.images, self.target.validation.labels
            return [
                {"use": "whole network", "rate": rate}
                | {
                    "validation": round(
                        float(np.mean(self.tune(weights, few, rate, seed, images) == labels)), 4
                    )
                }
                for rate in RATES
            ]
        x, x_test = self.features(few.images), self.features(self.target.test.images)
        shared = {
            "known": round(float(known), 4),
            "cka": round(linear_cka(before, self.features(probe_images)), 4),
        }
        head = solve(x, few.labels, 10)
        right = np.mean(head.held_out.argmax(axis=1) == few.labels)
        frozen = {
            "use": "frozen",
            "predicted": right,
            "test": self.coded(head.predict(x_test).argmax(axis=1)),
        }
        fixed = few_shot.head("logistic regression")
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        right = np.mean(cross_val_predict(fixed, x, few.labels, cv=folds) == few.labels)
        predicted = self.coded(fixed.fit(x, few.labels).predict(x_test))
        rate = self.best_rate(arm)
        whole = self.coded(self.tune(weights, few, rate, seed, self.target.test.images))
        return [
            shared | frozen,
            shared | {"use": "fixed head", "predicted": right, "test": predicted},
            shared | {"use": "whole network", "rate": rate, "test": whole},
        ]

    def learn(self, data: Dataset, question: str) -> float:
        """Train on a question, and return the accuracy on validation images."""
        train = data.train.subset(slice(SPLIT_AT, None)) if data.card.name == "digits/mnist-m" else data.train
        x, held_out, labels, truth = (
            train.images,
            data.validation.images,
            train.labels,
            data.validation.labels,
        )
        if question in ("light", "colour"):
            labels, truth = (fifths(each, x, question) for each in (x, held_out))
        self.train(x, labels, 2e-3, steps=300, batch=32)
        return float(np.mean(self.model.predict_on_batch(held_out).argmax(axis=1) == truth))

    def tune(
        self, weights: list[np.ndarray], few: Any, rate: float, seed: int, images: np.ndarray
    ) -> np.ndarray:
        keras.utils.set_random_seed(seed)
        tlkit.reinitialize(self.model)
        self.backbone.set_weights(weights)
        self.train(few.images, few.labels, rate, steps=150, batch=20)
        return self.model.predict_on_batch(images).argmax(axis=1)

    def train(self, x: np.ndarray, labels: np.ndarray, rate: float, steps: int, batch: int) -> None:
        """Train the compiled model for a number of steps; every epoch has a new random order."""
        epochs = 1 + steps * batch // len(x)
        rows = np.concatenate([np.random.permutation(len(x)) for _ in range(epochs)])[: steps * batch]  # noqa: NPY002
        self.model.optimizer.learning_rate = rate
        self.model.fit(x[rows], labels[rows], batch_size=batch, shuffle=False, verbose=0)

    def best_rate(self, arm: str) -> float:
        found = pd.read_csv(self.table).query("arm == @arm and validation == validation")
        return float(found.groupby("rate")["validation"].mean().idxmax())

    def features(self, images: np.ndarray) -> np.ndarray:
        return self.backbone.predict_on_batch(images)

    def coded(self, classes: np.ndarray) -> str:
        return "".join(np.base_repr(each, 36).lower() for each in classes[self.order])

    def append(self, row: dict[str, Any]) -> None:
        with self.table.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)


if __name__ == "__main__":
    main()
