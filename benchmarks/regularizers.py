"""Fine-tune on 96 labels with different regularisers: what lesson 09 reads.

    .venv/bin/python benchmarks/regularizers.py
    .venv/bin/python benchmarks/regularizers.py --dataset emoji/twemoji

Block 7 and all above it learn, at 96 pixels, from 96 training images that a seed draws (stratified). Every
arm has the same images, order, random head, batch size of 16, 32 epochs, and Adam with a constant learning
rate; BatchNormalization is frozen. The frozen part below runs once. The control has random weights instead
of those of ImageNet, and statistics of BatchNormalization that were measured on its training images. In
L2-SP, the penalty that pulls the head to zero always has the strength 0.01.

Each strength, and the learning rates of "plain" and "random weights", were chosen twice with one seed that
serves nothing else: by the validation loss after the last epoch, and by that after the best epoch. The
regularised arms have the learning rate of "plain" at its best epoch. The script appends to the table, and
skips what the table has. Delete the table to start again. The columns are:

    arm, strength      the regulariser, and its strength; for "plain" and "random weights" the learning rate
    seed               empty for the rows that served to choose a strength
    stop, epoch        "last", or "best": the epoch with the lowest validation loss among the measured ones
    train, validation  log loss in nats: the mean over the training and over the validation images
    test               the predicted class of each test image, a digit each, images ordered by class
    loss               the log loss of each test image in hundredths of a nat, two digits of base 36 each
"""

import argparse
import csv
import os
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import keras
import numpy as np
import pandas as pd

import tlkit
from tlkit.challenges.dataset_size import nested_indices
from tlkit.challenges.overfitting import keep_near_start
from tlkit.techniques.domain_adaptation.adabn import adapt_statistics
from tlkit.techniques.frozen_trunk import cut

FOLDER = Path(__file__).parents[1] / "tlkit" / "course" / "results"
BACKBONE, SIZE, LABELS, BATCH, STAGE = "EfficientNetLite0", 96, 96, 16, "block7"
SEEDS, CHOOSING = range(4), 100
EPOCHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # after these the network is evaluated
ARMS: dict[str, tuple[float, ...]] = {  # the strengths from which one is chosen
    "plain": (1e-4, 3e-4, 1e-3, 3e-3),
    "weight decay": (1, 10, 20, 30, 100),
    "L2-SP": (0.01, 0.1, 1, 10, 100, 1000),
    "label smoothing": (0.1, 0.2, 0.4),
    "random weights": (1e-4, 3e-4, 1e-3),
}
COLUMNS = ("arm", "strength", "seed", "stop", "epoch", "train", "validation", "test", "loss")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="solar")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[*ARMS])
    options = parser.parse_args()
    Study(options.dataset).run(options.arms)


class Study:
    """All trainings on one data set."""

    def __init__(self, dataset: str) -> None:
        self.data = tlkit.load(dataset, image_size=SIZE)
        self.classes = len(self.data.class_names)
        self.table = FOLDER / f"regularizers-{dataset.replace('/', '-')}.csv"
        order = np.argsort(self.data.test.labels, kind="stable")  # the table tells the class of no image
        self.test = self.data.test.subset(order)
        if not self.table.exists():
            with self.table.open("w") as file:
                csv.writer(file, lineterminator="\n").writerow(COLUMNS)
            self.append([{"arm": "labels", "test": digits(self.test.labels)}])

    def run(self, arms: list[str]) -> None:
        for arm in arms:
            strengths = ARMS[arm]
            for strength in strengths:
                if self.finished(arm, strength, None).empty:
                    rows = self.train(arm, strength, CHOOSING)
                    self.append([row | {"seed": ""} for row in rows])
            for stop, seed in product(("last", "best"), SEEDS):
                strength = self.chosen(arm, stop)
                if stop not in set(self.finished(arm, strength, seed)["stop"]):
                    rows = self.train(arm, strength, seed)
                    self.append([row for row in rows if self.chosen(arm, row["stop"]) == strength])

    def chosen(self, arm: str, stop: str) -> float:
        """Return the strength with the lowest validation loss after the `"last"` or the `"best"` epoch."""
        rows = self.read().query("arm == @arm and seed != seed and stop == @stop")
        return float(rows.set_index("strength")["validation"].idxmin())

    def read(self) -> pd.DataFrame:
        return pd.read_csv(self.table, usecols=list(COLUMNS[:7]))

    def finished(self, arm: str, strength: float, seed: int | None) -> pd.DataFrame:
        rows = self.read().query("arm == @arm and strength == @strength")
        return rows[rows["seed"].isna()] if seed is None else rows[rows["seed"] == seed]

    def append(self, rows: list[dict[str, Any]]) -> None:
        with self.table.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS, lineterminator="\n").writerows(rows)

    @cached_property
    def pretrained(self) -> "Network":
        return Network(self, "imagenet")

    def train(self, arm: str, strength: float, seed: int) -> list[dict[str, Any]]:
        """Train one network, and return the rows of its best and its last epoch."""
        keras.utils.set_random_seed(seed)
        few = self.data.train.subset(nested_indices(self.data.train.labels, [LABELS], seed=seed)[LABELS])
        network = self.pretrained if arm != "random weights" else Network(self, None, few.images)
        known, rows = network.begin(few.images, seed), []
        y = np.eye(self.classes, dtype="float32")[few.labels]
        rate = strength if arm in ("plain", "random weights") else self.chosen("plain", "best")
        optimizer = keras.optimizers.Adam(rate)
        if arm == "weight decay":
            optimizer = keras.optimizers.AdamW(rate, weight_decay=strength)
        if arm == "L2-SP":
            keep_near_start(network.model, strength, 0.01)
        smoothing = strength if arm == "label smoothing" else 0.0
        network.rest.compile(optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=smoothing))
        rng, weights = np.random.default_rng(seed), {}
        for epoch in range(1, EPOCHS[-1] + 1):
            order = rng.permutation(LABELS)
            network.rest.fit(known[order], y[order], batch_size=BATCH, shuffle=False, verbose=0)
            if epoch in EPOCHS:
                p = network.rest.predict(np.concatenate([known, network.validation]), 256, verbose=0)
                losses = log_loss(p, np.concatenate([few.labels, self.data.validation.labels]))
                own, chosen = (round(float(each.mean()), 4) for each in np.split(losses, [LABELS]))
                rows.append({"arm": arm, "strength": strength, "seed": seed, "epoch": epoch})
                rows[-1] |= {"train": own, "validation": chosen}
                weights[epoch] = network.rest.get_weights()
        print(arm, strength, seed, *(f"{row['epoch']}: {row['validation']:.2f}" for row in rows), flush=True)
        best = min(rows, key=lambda row: row["validation"])
        found = [best | {"stop": "best"}, rows[-1] | {"stop": "last"}]
        for row in found if seed != CHOOSING else ():
            network.rest.set_weights(weights[row["epoch"]])
            p = network.rest.predict(network.test, 256, verbose=0)
            row |= {"test": digits(p.argmax(axis=1)), "loss": pairs(log_loss(p, self.test.labels))}
        return found


class Network:
    """A network, its two halves, and the activations of the validation and test images between them."""

    def __init__(self, study: Study, weights: str | None, images: np.ndarray | None = None) -> None:
        self.model = tlkit.build_classifier(
            BACKBONE, study.classes, weights=weights, image_size=SIZE, dropout=0.0
        )
        tlkit.unfreeze(self.model, from_stage=STAGE)
        if images is not None:
            adapt_statistics(self.model, images.astype("float32"), LABELS)
        self.trunk, self.rest = cut(self.model)
        self.start = self.rest.get_weights()
        self.validation, self.test = (
            self.trunk.predict(split.images, 256, verbose=0) for split in (study.data.validation, study.test)
        )

    def begin(self, images: np.ndarray, seed: int) -> np.ndarray:
        """Set the weights of the start and a new random head; return the activations of the images."""
        self.rest.set_weights(self.start)
        for variable in self.model.weights:
            variable.regularizer = None
        *_, kernel, bias = self.rest.trainable_variables
        kernel.assign(keras.initializers.GlorotUniform(seed)(kernel.shape))
        bias.assign(keras.ops.zeros(bias.shape))
        return self.trunk.predict(images, 256, verbose=0)


def log_loss(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(p[np.arange(len(labels)), labels], 1e-7))


def digits(classes: np.ndarray) -> str:
    return "".join(np.base_repr(each, 36).lower() for each in classes)


def pairs(losses: np.ndarray) -> str:
    """Return each loss in hundredths, at most 12.95, as two digits of base 36."""
    return "".join(
        np.base_repr(min(round(100 * each), 1295), 36).lower().zfill(2) for each in losses.tolist()
    )


if __name__ == "__main__":
    main()
