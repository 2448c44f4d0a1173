"""Train the arms of lesson 02 on solar cells: which stages, which learning rate, in which order.

    .venv/bin/python benchmarks/fine_tuning.py                    # hours; it uses one core
    .venv/bin/python benchmarks/fine_tuning.py --arms "no flips"  # only these arms

Every arm classifies 96-pixel images of solar cells that the experts called certainly intact or certainly
defective. For each seed, the training and test images together are divided at random into three folds. Each
image is predicted by a network that was trained on the two other folds. The validation images are for
choosing: an arm with several learning rates first trains on two folds of the first seed with each of them.
It then keeps the best one.

Every training has a warm-up, a cosine decay and balanced class weights, and the same number of steps of 64
images unless the arm says otherwise. The frozen stages run once on each flipped image. Depthwise convolutions
stay frozen, because TensorFlow computes their gradients slowly on a CPU.

The script appends to the table of lesson 02 as it goes, and skips what the table has. Delete the table to
start again. The columns are:

    arm, rate, seed    the arm, its peak learning rate, and the seed; without a seed, the row is for choosing
    statistics         of BatchNormalization: "moving", as `fit` left them; "measured" again on all training
                       images; or "source", from ImageNet
    mix                the weights are (1 - mix) start + mix end: 0 for the frozen, 1 for the trained network
    validation         balanced accuracy on the validation images, the mean of the trained networks
    test, shifted      the predicted class of each training and test image when its fold was held out, a digit
                       each; "shifted" images have less contrast. The images are ordered by class, so that the
                       table tells the class of no image; the row "labels" has the true classes
"""

import argparse
import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# two threads would wait for each other; run two processes with different arms instead
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from tqdm.auto import tqdm

import tlkit
from tlkit.data import Split
from tlkit.data.corruptions import corrupt
from tlkit.optimizers import warmup_cosine
from tlkit.techniques.domain_adaptation.adabn import adapt_statistics
from tlkit.techniques.frozen_trunk import cut
from tlkit.techniques.interpolation import interpolated
from tlkit.techniques.training import class_weights

TABLE = Path(__file__).parents[1] / "tlkit" / "course" / "results" / "fine_tuning-solar.csv"
BACKBONE, SIZE, BATCH, FOLDS, SEEDS = "EfficientNetLite0", 96, 64, 3, range(3)
RATES, MIXES = (1e-3, 3e-3, 1e-2), (0.25, 0.5, 0.75)
# What differs from "from block4".
ARMS: dict[str, dict[str, Any]] = {
    "frozen": {"rates": (0.0,), "mixes": (0,)},
    "frozen, flips": {"rates": (0.0,), "mixes": (0,), "head_flips": True},
    "from block4": {"mixes": (*MIXES, 1)},
    "from block4, 0.001": {"rates": (1e-3,)},
    "random head, 0.01": {"random_head": True, "rates": (1e-2,)},  # the best rate of "from block4"
    "random head, 0.001": {"random_head": True, "rates": (1e-3,)},
    "from block6": {"stage": "block6"},
    "from block7": {"stage": "block7"},
    "no flips": {"flips": False, "rates": (1e-2,)},  # the best rate of "from block4"
    "BatchNorm frozen": {"batch_norm": False, "rates": (3e-4, 1e-3, 3e-3)},
    "60 steps": {"stage": "block7", "steps": 60, "rates": (3e-3,)},
}
COLUMNS = ("arm", "rate", "seed", "statistics", "mix", "validation", "test", "shifted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[*ARMS])
    arms, cells = parser.parse_args().arms, certain_cells()
    if not TABLE.exists():
        with TABLE.open("w") as file:
            csv.writer(file, lineterminator="\n").writerow(COLUMNS)
        append([{"arm": "labels", "test": "".join(map(str, sorted(cells[0].labels)))}])
    for name in arms:
        arm = Arm(name, cells, **ARMS[name])
        for rate in arm.rates if len(arm.rates) > 1 else ():
            if finished(name).query("rate == @rate and seed != seed").empty:
                append(arm.cross_validate(rate, None))
        for seed in SEEDS:
            if finished(name).query("seed == @seed").empty:
                append(arm.cross_validate(best_rate(name) if len(arm.rates) > 1 else arm.rates[0], seed))


def append(rows: list[dict[str, Any]]) -> None:
    with TABLE.open("a", newline="") as file:
        csv.DictWriter(file, COLUMNS, lineterminator="\n").writerows(rows)


def certain_cells() -> tuple[Split, Split]:
    """Return two splits of the cells on which the experts were certain: for the folds, and for choosing."""
    splits = tlkit.load("solar", image_size=SIZE).splits
    certain = {name: np.isin(split.attributes["probability"], (0, 1)) for name, split in splits.items()}
    train, validation, test = (splits[name].subset(np.flatnonzero(certain[name])) for name in splits)
    images = np.concatenate([train.images, test.images])
    return Split(images, np.concatenate([train.labels, test.labels])), validation


def finished(arm: str) -> pd.DataFrame:
    """Return the rows of an arm that the table has."""
    return pd.read_csv(TABLE, usecols=list(COLUMNS[:6])).query("arm == @arm")


def best_rate(arm: str) -> float:
    """Return the learning rate with the highest validation accuracy."""
    rows = finished(arm).query("seed != seed and statistics != 'moving' and mix == 1")
    return float(rows.set_index("rate")["validation"].idxmax())


def flipped(images: np.ndarray) -> list[np.ndarray]:
    """Return the images as they are, mirrored left to right, top to bottom, and both."""
    return [images, images[:, :, ::-1], images[:, ::-1], images[:, ::-1, ::-1]]


class Arm:
    """One network, compiled once and trained again for each learning rate, seed and fold."""

    def __init__(
        self,
        name: str,
        cells: tuple[Split, Split],
        *,
        stage: str = "block4",
        steps: int = 320,
        rates: Sequence[float] = RATES,
        mixes: Sequence[float] = (1,),
        random_head: bool = False,
        batch_norm: bool = True,
        flips: bool = True,
        head_flips: bool = False,
    ) -> None:
        self.name, (self.pool, self.validation) = name, cells
        self.order = np.argsort(self.pool.labels, kind="stable")
        self.rates, self.mixes, self.steps = rates, mixes, steps
        self.stage, self.random_head, self.batch_norm = stage, random_head, batch_norm
        self.flips, self.head_flips = flips, head_flips
        self.model = tlkit.build_classifier(BACKBONE, 2, image_size=SIZE)
        self.unfreeze()
        trunk, self.network = cut(self.model)

        def run(images: np.ndarray) -> np.ndarray:
            return trunk.predict(images, batch_size=BATCH, verbose=0)

        self.views = np.stack([run(each) for each in flipped(self.pool.images)], axis=1)
        self.shifted = run(corrupt(self.pool.images, "contrast", severity=1))
        self.held_out = run(self.validation.images)
        self.start = self.network.get_weights()

    def unfreeze(self) -> None:
        """Let the stages of the arm learn."""
        tlkit.unfreeze(self.model, from_stage=self.stage, batch_norm=self.batch_norm)
        for layer in self.model._flatten_layers():
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                layer.trainable = False

    def cross_validate(self, rate: float, seed: int | None) -> list[dict[str, Any]]:
        """Train once per fold, and return a row for each way to use the trained networks.

        Args:
            rate: the peak learning rate.
            seed: None trains on the first fold of the first seed only, and predicts only validation images.
        """
        found: dict[tuple[str, float], dict[str, Any]] = {}
        used_seed = SEEDS[0] if seed is None else seed
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=used_seed)
        parts = list(folds.split(self.pool.labels, self.pool.labels))[: 1 if seed is None else FOLDS]
        for known, new in tqdm(parts, desc=f"{self.name}, {rate:g}, seed {seed}", unit="fold"):
            for key in self.train(known, rate, used_seed):
                row = found.setdefault(key, {"validation": [], "test": {}, "shifted": {}})
                predicted = self.predict(self.held_out)
                row["validation"].append(balanced_accuracy_score(self.validation.labels, predicted))
                if seed is not None:
                    row["test"] |= dict(zip(new, self.predict(self.views[new, 0]), strict=True))
                    row["shifted"] |= dict(zip(new, self.predict(self.shifted[new]), strict=True))
        return [
            {"arm": self.name, "rate": rate, "seed": "" if seed is None else seed}
            | {
                "statistics": statistics,
                "mix": mix,
                "validation": round(float(np.mean(row["validation"])), 4),
            }
            | {
                name: "".join(str(row[name][i]) for i in self.order if i in row[name])
                for name in COLUMNS[-2:]
            }
            for (statistics, mix), row in found.items()
        ]

    def train(self, known: np.ndarray, rate: float, seed: int) -> Iterator[tuple[str, float]]:
        """Train on some images; set the weights for each way to use the result, and yield its name."""
        self.begin(known, seed)
        start = self.network.get_weights()
        if rate:
            self.fit(known, rate, np.random.default_rng(seed))
            if self.batch_norm:
                yield "moving", 1
        end = self.network.get_weights()
        for mix in self.mixes:
            self.network.set_weights(interpolated(start, end, mix))
            if self.batch_norm and mix:
                adapt_statistics(self.network, self.views[known, 0], 2 * BATCH, frozen=False)
            yield "measured" if self.batch_norm and mix else "source", mix

    def begin(self, known: np.ndarray, seed: int) -> None:
        """Set the weights from which a training starts, and empty Adam's memory."""
        keras.utils.set_random_seed(seed)
        if not self.network.compiled:
            self.network.compile("adam", loss="sparse_categorical_crossentropy")
            self.network.optimizer.build(self.network.trainable_variables)
        for variable in self.network.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        self.network.set_weights(self.start)
        if self.random_head:
            head = self.network.get_layer("head").layers[-1]
            head.kernel.assign(keras.initializers.GlorotUniform(seed)(head.kernel.shape))
            head.bias.assign(keras.ops.zeros_like(head.bias))
        else:
            images, labels = self.pool.images[known], self.pool.labels[known]
            if self.head_flips:
                images, labels = np.concatenate(flipped(images)), np.tile(labels, 4)
            tlkit.solve_head(self.model, Split(images, labels), class_weight="balanced")
            self.unfreeze()  # solving the head has frozen the backbone

    def fit(self, known: np.ndarray, rate: float, rng: np.random.Generator) -> None:
        """Train for the steps of the arm."""
        epochs = 1 + self.steps * BATCH // len(known)
        rows = np.concatenate([rng.permutation(known) for _ in range(epochs)])[: self.steps * BATCH]
        view = rng.integers(0, 4, len(rows)) if self.flips else 0
        schedule = warmup_cosine(rate, self.steps)

        def set_rate(batch: int, logs: Any = None) -> None:
            self.network.optimizer.learning_rate = float(schedule(batch + 1))

        labels = self.pool.labels
        self.network.fit(
            self.views[rows, view],
            labels[rows],
            batch_size=BATCH,
            shuffle=False,
            class_weight=class_weights("balanced", labels[known]),
            callbacks=[keras.callbacks.LambdaCallback(on_train_batch_begin=set_rate)],
            verbose=0,
        )

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return the predicted classes."""
        return self.network.predict(inputs, batch_size=BATCH, verbose=0).argmax(axis=1)


if __name__ == "__main__":
    main()
