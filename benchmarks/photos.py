"""Transfer learning on real photos: solar cells and clothes, with scikit-learn as the control.

    .venv/bin/python benchmarks/photos.py

The data are `solar` (defective or intact), `clothing` (with the splits of its source) and `clothing/few` (20
training and 10 validation labels per class), all at 128 pixels. For each seed, the test split of `solar` is a
random quarter, stratified by type and grade; Deitsch et al. 2019 also test on a quarter. The labels of
`clothing/few` are drawn for each seed. There are five seeds, and three for `clothing`. The network is
EfficientNetLite0. The first comparison has four arms:

- `scikit-learn`: features of the frozen network, standardised, and a logistic regression with cross-validated
  regularisation. It learns from the training and the validation labels, since it needs no validation split.
- `frozen` and `fine-tuned`: `tlkit.train` with its defaults.
- `scratch`: the same network from random weights, for 25 to 60 epochs (`EPOCHS`); the epoch with the
  best validation accuracy counts.

The published results on solar cells are those of Deitsch et al. 2019: a support vector machine and a
fine-tuned VGG19 at 300 pixels, with another random quarter for testing.

The second comparison measures what bfloat16 features change: the accuracy of a linear probe on `solar`,
`emoji` and `clothing`, each split 50 times at random into three quarters for training and one quarter for
testing. The features are in float32, in bfloat16, or in bfloat16 for training and in float32 for testing.
`tlkit.train` does the last on processors with bfloat16 units. The third comparison is the number of images
per second in each precision.

If `TLKIT_DATA` does not name a folder with `clothing`, the photos are downloaded. The script appends each run
(one arm, data set and seed) to `photos.csv` and skips the runs in it; delete the file to start again. It
writes all results to `photos.json` and draws `photos.png`.
"""

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
HERE = Path(__file__)
PROBES, SIZE, BACKBONE = 50, 128, "EfficientNetLite0"
SEEDS = {"clothing/few": range(5), "solar": range(5), "clothing": range(3)}
PUBLISHED = {"SVM, published": 0.824, "VGG19, published": 0.884}  # accuracy on solar cells
CONTROL = "scikit-learn"
EPOCHS = {"clothing/few": 60, "solar": 30, "clothing": 25}  # from scratch
PRECISIONS = {
    "bfloat16": ("bfloat16", "bfloat16"),
    "bfloat16, tested in float32": ("bfloat16", "float32"),
}  # of the training and of the test features


def main() -> None:
    import pandas as pd

    import tlkit

    arms = {name: partial(cell, name) for name in (CONTROL, "frozen", "fine-tuned", "scratch")}
    keep: dict[str, Any] = {"keep": HERE.with_suffix(".csv"), "workers": 2, "progress": True}
    tables = [
        tlkit.compare(arms, seeds=seeds, settings={"data": [name]}, **keep).table
        for name, seeds in SEEDS.items()
    ]
    table, cost, speed = pd.concat(tables), precision_cost(), precision_speed()
    HERE.with_suffix(".json").write_text(json.dumps(numbers(table, cost, speed), indent=1) + "\n")
    draw(table, cost)


def cell(name: str, seed: int, data: str) -> dict[str, float]:
    """Train one arm on the data of a seed, and return its measures on the test images."""
    import tlkit
    from tlkit.reports.measures import point_measures

    loaded, began = tlkit.load(data, image_size=SIZE, seed=seed), time.perf_counter()
    if name == CONTROL:
        predicted = of_scikit_learn(loaded)
    else:
        predicted = trained(name, loaded, seed, EPOCHS[data]).probabilities["test"].argmax(axis=1)
    return point_measures(loaded.test.labels, predicted) | {"minutes": (time.perf_counter() - began) / 60}


def of_scikit_learn(data: Any) -> Any:
    """Return what a logistic regression on standardised features predicts for the test images."""
    import numpy as np
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = features(data)
    probe = make_pipeline(
        StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-5, 0, 6), cv=5, max_iter=1000, random_state=0)
    )
    labels = np.concatenate([data.train.labels, data.validation.labels])
    return probe.fit(np.concatenate([x["train"], x["validation"]]), labels).predict(x["test"])


def features(data: Any, precision: str = "float32") -> dict[str, Any]:
    """Return the features of each split, by its name."""
    import tlkit
    from tlkit.techniques.feature_extraction import extract_splits

    return extract_splits(tlkit.load_backbone(BACKBONE, image_size=SIZE), data.splits, precision=precision)


def trained(name: str, data: Any, seed: int, epochs: int) -> Any:
    """Return the result of `tlkit.train` for an arm."""
    import keras

    import tlkit

    if name == "scratch":
        best = keras.callbacks.EarlyStopping("val_accuracy", patience=epochs, restore_best_weights=True)
        return tlkit.train(
            data, technique="scratch", backbone=BACKBONE, epochs=epochs, seed=seed, callbacks=[best]
        )
    technique = {"frozen": "feature-extraction", "fine-tuned": "fine-tuning"}[name]
    return tlkit.train(data, technique=technique, backbone=BACKBONE, seed=seed)


def precision_cost() -> Any:
    """Return the accuracy of a linear probe by data set, seed and precision of the features."""
    import numpy as np
    import pandas as pd
    from sklearn.model_selection import StratifiedShuffleSplit
    from threadpoolctl import threadpool_limits
    from tqdm import tqdm

    import tlkit
    from tlkit.techniques.few_shot import head

    rows = []
    for name in tqdm(("solar", "emoji", "clothing"), "precision", unit="data set"):
        data = tlkit.load(name, image_size=SIZE)
        labels = np.concatenate([split.labels for split in data.splits.values()])
        x = {each: np.concatenate([*features(data, each).values()]) for each in ("float32", "bfloat16")}
        splits = StratifiedShuffleSplit(PROBES, test_size=0.25, random_state=0)
        for seed, (train, test) in enumerate(splits.split(labels, labels)):
            for arm, (known, new) in {"float32": ("float32", "float32"), **PRECISIONS}.items():
                with threadpool_limits(1):  # more threads would wait for each other
                    probe = head("logistic regression").fit(x[known][train], labels[train])
                accuracy = probe.score(x[new][test], labels[test])
                rows.append({"data": name, "seed": seed, "arm": arm, "accuracy": accuracy})
    return pd.DataFrame(rows)


def precision_speed(rounds: int = 5) -> dict[str, list[float]]:
    """Return the images per second in both precisions, measured alternately."""
    import numpy as np

    import tlkit
    from tlkit.backbones.engines import fingerprint, infer
    from tlkit.models import pooled

    network = pooled(tlkit.load_backbone(BACKBONE, image_size=SIZE))
    images = np.random.default_rng(0).integers(0, 256, (512, SIZE, SIZE, 3), dtype="uint8")
    key, found = fingerprint(network), {"float32": [], "bfloat16": []}
    for turn in range(rounds + 1):
        for precision, values in found.items():
            start = time.perf_counter()
            infer(network, images, precision=precision, key=key)
            if turn:  # the first one warms up
                values.append(len(images) / (time.perf_counter() - start))
    return found


def numbers(table: Any, cost: Any, speed: dict[str, list[float]]) -> dict[str, Any]:
    """Return everything that the tables and the figure show, rounded."""
    from statistics import median

    import tlkit

    measures = ("accuracy", "balanced_accuracy", "macro_f1")
    means = {
        measure: tlkit.summary(table, measure, by=("data", "arm"))["mean"].unstack("arm").round(4).T.to_dict()
        for measure in measures
    }
    gains = {
        measure: tlkit.paired(table, CONTROL, measure, by="data").round(4).reset_index().to_dict("records")
        for measure in measures
    }
    costs = tlkit.paired(cost, "float32", by="data").round(4).reset_index().to_dict("records")
    return {
        "published": PUBLISHED,
        "means": means,
        "compared with scikit-learn": gains,
        "accuracy minus that in float32": costs,
        "images per second": {name: round(median(values)) for name, values in speed.items()},
        "times as fast": round(median(speed["bfloat16"]) / median(speed["float32"]), 2),
    }


def draw(table: Any, cost: Any) -> None:
    """Draw the measures of each arm, and what bfloat16 changes in points of accuracy."""
    import matplotlib.pyplot as plt

    import tlkit
    from tlkit import plots

    figure, axes = plt.subplot_mosaic("AB;CD;EE", figsize=(11, 9), layout="constrained")
    panels = {
        "A": ("solar", "accuracy", "Solar cells: defective or intact"),
        "B": ("solar", "balanced_accuracy", "Solar cells: defective or intact"),
        "C": ("clothing", "balanced_accuracy", "Clothes, all labels"),
        "D": ("clothing/few", "balanced_accuracy", "Clothes, 20 training labels per class"),
    }
    for panel, (name, measure, title) in panels.items():
        rows = table[table["data"] == name]
        arms = {arm: part[measure].to_list() for arm, part in rows.groupby("arm", sort=False)}
        plots.compare_arms(arms, axes[panel], quantity=f"{measure.replace('_', ' ')} on the test images")
        axes[panel].set_title(title, loc="left", fontsize=10)
    for (name, value), line in zip(PUBLISHED.items(), ("--", ":"), strict=True):
        axes["A"].axvline(value, color="grey", linestyle=line, label=name)
    axes["A"].legend(loc="lower right", fontsize=8)
    compared = tlkit.paired(cost.assign(points=100 * cost["accuracy"]), "float32", "points", by="data")
    rows = compared.reset_index().assign(arm=lambda each: each["data"] + ": " + each["arm"]).set_index("arm")
    plots.differences(
        rows, axes["E"], quantity="accuracy of a linear probe, minus that in float32, in points"
    )
    axes["E"].set_title("Features in bfloat16 instead of float32", loc="left", fontsize=10)
    figure.savefig(HERE.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
