"""The first picture of README: solar cells, classified by a network from scratch, frozen and fine-tuned.

    .venv/bin/python benchmarks/solar_cells.py   # draws the picture; trains what is not stored

The three networks have the same architecture, the same images of 96 pixels and the same three folds. Each
cell is predicted by a network that was trained on the two other folds. `frozen` and `fine-tuned` are the
arms "frozen" and "from block4" of lesson 02, whose predictions `benchmarks/fine_tuning.py` stored. This
script adds `scratch`: all weights start at random, and all of them learn, in as many steps, on the same
mirrored images and with the same class weights as the fine-tuned network. As there, the statistics of
BatchNormalization are measured again after the training. The learning rate is one of the three of
`fine_tuning.py`: the one with the highest balanced accuracy on the validation images after a quarter of the
steps.

Scratch has one seed, because a training takes minutes on one core. So all three arms are compared for this
seed, and on the folds that were trained. The 95 % intervals cover the test images, but not other seeds: the
bootstrap draws cells with replacement within each class. The script skips the trainings that
`solar_cells.csv` holds. Its columns are the peak learning rate, the steps, the fold, the balanced accuracy
on the validation images, and the predicted class of each image of the fold, a digit each. The script writes
the scores into `solar_cells.json` and draws `solar_cells.png`, with cells that it chooses at random.

The images are from the ELPV data set (Deitsch et al. 2019), CC BY-NC-SA 4.0, and so is the picture.
"""

import json
import os
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from fine_tuning import BACKBONE, FOLDS, RATES, SIZE, Arm, certain_cells, flipped
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold

import tlkit
from tlkit import plots
from tlkit.course.results import stored_results

HERE = Path(__file__)
TABLE, SEED, STEPS = HERE.with_suffix(".csv"), 0, 320
RESAMPLES, COLUMNS_SHOWN, SHOWN = 2000, 6, 0
SAID = {
    "scratch": "from scratch:\nrandom weights",
    "frozen": "frozen: ImageNet\nfeatures, new head",
    "fine-tuned": "fine-tuned: upper\nlayers learn too",
}


class Scratch(Arm):
    """The arm whose network starts from random weights, all of which learn."""

    def __init__(self, cells: Any) -> None:
        self.pool, self.validation = cells
        self.mixes, self.batch_norm, self.flips = (1,), True, True
        self.network = self.build()
        self.views = np.stack(flipped(self.pool.images), axis=1)
        self.held_out = self.validation.images

    def build(self) -> keras.Model:
        model = tlkit.build_classifier(BACKBONE, 2, image_size=SIZE, weights=None)
        tlkit.unfreeze(model, batch_norm=True)
        return model

    def begin(self, known: np.ndarray, seed: int) -> None:
        """Set new random weights, and empty Adam's memory."""
        keras.utils.set_random_seed(seed)
        start = self.build().get_weights()
        if not self.network.compiled:
            self.network.compile("adam", loss="sparse_categorical_crossentropy")
            self.network.optimizer.build(self.network.trainable_variables)
        for variable in self.network.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))
        self.network.set_weights(start)

    def run(self, rate: float, steps: int, fold: int, *, test: bool) -> None:
        """Train on the two other folds, and store what the network predicts for this one."""
        self.steps = steps
        known, new = self.folds()[fold]
        for statistics, _ in self.train(known, rate, SEED):
            if statistics == "measured":
                predicted = self.predict(self.held_out)
                score = balanced_accuracy_score(self.validation.labels, predicted)
                digits = "".join(map(str, self.predict(self.views[new, 0]))) if test else ""
                with TABLE.open("a") as file:
                    file.write(f"{rate:g},{steps},{fold},{score:.4f},{digits}\n")

    def folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the images of two folds and of the third, for each fold; the folds of `fine_tuning.py`."""
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
        return list(folds.split(self.pool.labels, self.pool.labels))


def stored() -> pd.DataFrame:
    """Return what was trained so far."""
    return pd.read_csv(TABLE, dtype={"test": str})


def train(cells: Any) -> None:
    """Choose the learning rate, and train for each fold; skip what is stored."""
    if not TABLE.exists():
        TABLE.write_text("rate,steps,fold,validation,test\n")
    arm, trial = Scratch(cells), STEPS // 4
    for rate in RATES:
        if stored().query("steps == @trial and rate == @rate").empty:
            arm.run(rate, trial, 0, test=False)
    best = float(stored().query("steps == @trial").set_index("rate")["validation"].idxmax())
    for fold in range(FOLDS):
        if stored().query("steps == @STEPS and fold == @fold").empty:
            arm.run(best, STEPS, fold, test=True)


def predictions(cells: Any) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return the predicted classes by arm, the true classes and the images of all folds that are stored."""
    images, labels = cells[0].images, cells[0].labels
    others = stored_results("fine_tuning", "solar")
    tested = others[others["seed"] == SEED].set_index(["arm", "statistics", "mix"])["test"]
    place = np.argsort(np.argsort(labels, kind="stable"))  # of an image in the table, ordered by class
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(labels, labels)
    parts = {fold: new for fold, (_, new) in enumerate(folds)}
    known = stored().query("steps == @STEPS").sort_values("fold")
    rows = np.concatenate([parts[fold] for fold in known["fold"]])
    found = {
        "scratch": np.array([int(digit) for digit in "".join(known["test"])]),
        "frozen": tested[("frozen", "source", 0)][place[rows]],
        "fine-tuned": tested[("from block4", "measured", 1)][place[rows]],
    }
    return found, labels[rows], images[rows]


def scores(found: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Return balanced accuracies and their differences, in percent, with 95 % intervals over the cells."""
    rng = np.random.default_rng(0)
    of_class = [np.flatnonzero(labels == label) for label in (0, 1)]
    drawn = [[rng.choice(each, len(each)) for each in of_class] for _ in range(RESAMPLES)]

    def balanced(right: np.ndarray) -> np.ndarray:
        return np.array(
            [100 * np.mean([right[part].mean() for part in parts]) for parts in (of_class, *drawn)]
        )

    of_arm = {arm: balanced(predicted == labels) for arm, predicted in found.items()}
    of_arm |= {
        f"{arm} minus {other}": of_arm[arm] - of_arm[other]
        for arm, other in (("frozen", "scratch"), ("fine-tuned", "frozen"), ("fine-tuned", "scratch"))
    }
    return {name: interval(values) for name, values in of_arm.items()}


def interval(values: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(values[1:], (2.5, 97.5))
    return {"mean": round(values[0], 2), "low": round(low, 2), "high": round(high, 2)}


def draw(
    found: dict[str, np.ndarray],
    labels: np.ndarray,
    images: np.ndarray,
    measured: dict[str, dict[str, float]],
) -> None:
    """Draw random cells with the prediction of each network, above the balanced accuracies."""
    figure = plt.figure(figsize=(7.4, 5.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(3, 2.45))
    rng = np.random.default_rng(SHOWN)
    axes = upper.subplots(2, COLUMNS_SHOWN)
    figure.get_layout_engine().set(h_pad=0.02, hspace=0)
    for label, row in ((1, axes[0]), (0, axes[1])):
        chosen = rng.choice(np.flatnonzero(labels == label), len(row), replace=False)
        for ax, cell in zip(row, chosen, strict=True):
            ax.imshow(images[cell])
            ax.set(xticks=[], yticks=[], xlim=(-0.5, SIZE - 0.5), ylim=(SIZE + 22, -0.5))
            ax.spines[:].set_visible(False)
            for place, (arm, predicted) in enumerate(found.items()):
                right, x = predicted[cell] == label, SIZE * (0.22 + 0.28 * place)
                color = plots.arm_colors([arm])[arm]
                ax.plot(x, SIZE + 11, "o", color=color if right else "white", mec=color, mew=2, ms=12)
                ax.text(
                    x,
                    SIZE + 11.5,
                    "✓" if right else "✗",
                    color="white" if right else color,
                    ha="center",
                    va="center",
                    fontsize=9,
                    fontweight="bold",
                )
        row[0].set_ylabel(("intact", "defective")[label], fontsize=13)
    scale(lower.subplots(), measured, list(found))
    figure.savefig(HERE.with_suffix(".png"), dpi=150)


def scale(ax: Any, measured: dict[str, dict[str, float]], arms: list[str]) -> None:
    """Draw the balanced accuracy of each arm with its interval."""
    for place, arm in enumerate(arms):
        color, own = plots.arm_colors([arm])[arm], measured[arm]
        ax.plot([50, own["mean"]], [place] * 2, color=color, linewidth=16, solid_capstyle="butt", alpha=0.25)
        ax.plot([own["low"], own["high"]], [place] * 2, color=color, linewidth=4, solid_capstyle="butt")
        ax.plot(own["mean"], place, "o", color=color, markersize=12)
        ax.text(
            own["high"] + 0.8,
            place,
            f"{own['mean']:.0f} %",
            va="center",
            fontsize=15,
            color=color,
            fontweight="bold",
        )
    ax.set_yticks(range(len(arms)), [SAID[arm] for arm in arms], fontsize=12.5)
    ax.set(xlim=(50, 100), ylim=(len(arms) - 0.4, -0.6))
    ax.set_xticks([50, 60, 70, 80, 90, 100], ["50 %\nchance", "60", "70", "80", "90", "100 %"], fontsize=12)
    ax.set_xlabel("balanced accuracy on cells that were not trained on", fontsize=12)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


if __name__ == "__main__":
    certain = certain_cells()
    train(certain)
    networks, truth, pixels = predictions(certain)
    result = {"cells": len(truth), "scores": scores(networks, truth)}
    HERE.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    draw(networks, truth, pixels, result["scores"])
