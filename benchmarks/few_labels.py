"""Few labels: tlkit, scikit-learn, the recipe of the Keras guide, and fastai, on the same images.

    make peers PEERS=fastai
    .venv/bin/python benchmarks/few_labels.py [--seeds 5] [--arms scikit-learn,auto] [--data solar,clothing]

For each data set and seed, a number of images per class is drawn at random for training, and up to 600 of the
others for testing. Each method is an arm of the comparison. All arms except `scratch` start from the same
ImageNet weights of EfficientNetLite0:

- `scikit-learn`: features of the frozen network, standardised, and `LogisticRegressionCV`.
- `Keras guide`: 20 epochs with a frozen backbone, then 10 epochs of the whole network at 1e-5, as in
  https://keras.io/guides/transfer_learning/. BatchNormalization stays frozen, as the guide intends; it is
  frozen explicitly, because in Keras 3.15 `fit` overrides the guide's `training=False` in a functional model.
  The number of epochs is fixed, so with few images there are far fewer steps than in fastai and tlkit.
- `fastai`: `fine_tune` in PyTorch (`few_labels_fastai.py`), for at least 20 epochs and 200 steps.
- `frozen`, `fine-tuned`, `auto`: `tlkit.train`. `auto` is the default, with at most 5 minutes of fine-tuning.
  `fine-tuned` has no limit. To save hours, it is run only where `auto` had no time to fine-tune; elsewhere it
  takes over the row of `auto`, even if the limit cut steps or folds. Both may keep the frozen network.
- `scratch`: the same network from random weights, without a time limit; only for the largest number of labels
  of each set and not at 224 pixels, to save hours.

The settings of the fine-tuning were chosen on `clothing`, `solar` and `emoji/twemoji` at 128 pixels, with 5
to 100 labels per class, using other random draws from the same images. So the results on these three may be
optimistic. `solar at 224` has the images of `solar`. No setting was chosen on the others.

Each arm has five seeds by default. The committed `few_labels.csv` has five seeds for `scikit-learn` and
`frozen` (three at 224 pixels), three for `auto`, two for `Keras guide`, and one for `fastai` and `scratch`.
By its seconds, all five seeds of all arms take about twelve hours on two cores; other jobs were running, so
this is an upper estimate. Differences use only the seeds common to both arms.

The photos of `clothing` are read from the folder that `TLKIT_DATA` names, or downloaded if it is not set. The
script appends each run to `few_labels.csv` and skips runs that are already recorded. It draws
`few_labels.png`. If all arms and data sets were run, it writes `few_labels.json`.
"""

import json
import os
import subprocess
import time
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
HERE = Path(__file__)
FASTAI = HERE.parent.parent / ".peers/fastai/bin/python"
BACKBONE, MOST_TESTED = "EfficientNetLite0", 600
SETTINGS = {
    "clothing": (128, [5, 10, 20, 50, 100]),
    "solar": (128, [5, 10, 20, 50, 100]),
    "solar at 224": (224, [20, 100]),
    "emoji/twemoji": (128, [5, 10]),
    "emoji/line": (128, [5, 10]),
    "emoji/openmoji": (128, [5, 10]),
    "digits/mnist": (64, [5, 10, 20, 50, 100]),
}  # image size in pixels, and labels of each class
TUNED_ON = {"clothing", "solar", "emoji/twemoji"}
CONTROL, TUNED, SCRATCH = "scikit-learn", "fine-tuned", "scratch"
TLKIT = ("frozen", TUNED, "auto", SCRATCH)
ARMS = (CONTROL, "Keras guide", "fastai", *TLKIT)


def main(seeds: int, chosen: list[str], data_sets: list[str]) -> None:
    import pandas as pd

    import tlkit

    def run(arms: list[str], data: str, labels: list[int]) -> pd.DataFrame:
        return tlkit.compare(
            {name: partial(cell, name) for name in arms},
            seeds=range(seeds),
            settings={"data": [data], "labels": labels},
            keep=HERE.with_suffix(".csv"),
            workers=2,
            progress=True,
        ).table

    quick = [arm for arm in chosen if arm != SCRATCH]
    tables = [run(quick, name, SETTINGS[name][1]) for name in data_sets if quick]
    if SCRATCH in chosen:
        small = [name for name in data_sets if SETTINGS[name][0] < 224]
        tables += [run([SCRATCH], name, SETTINGS[name][1][-1:]) for name in small]
    if "auto" in chosen and TUNED not in chosen:
        auto = pd.concat(tables).query("arm == 'auto'")
        tables.append(auto[auto["steps"] > 0].assign(arm=TUNED))
        for (data, labels), rows in auto[auto["steps"] == 0].groupby(["data", "labels"]):
            again = run([TUNED], data, [labels])
            tables.append(again[again["seed"].isin(rows["seed"])])
    if not tables:
        raise SystemExit("scratch is not run at 224 pixels. Choose another data set or other arms.")
    write(pd.concat(tables))


def write(table: Any) -> None:
    """Draw the figure and, if all arms and data sets were run, write the numbers."""
    from tlkit.reports.result import plain

    if set(ARMS) <= set(table["arm"]) and set(SETTINGS) <= set(table["data"]):
        found = json.dumps(plain(numbers(table)), indent=1, allow_nan=False)
        HERE.with_suffix(".json").write_text(found + "\n")
    draw(table)


def cell(name: str, seed: int, data: str, labels: int) -> dict[str, float]:
    """Train one arm on the labels of a seed, and return its measures on the test images."""
    import numpy as np

    drawn, began = subset(data, labels, seed), time.perf_counter()
    probabilities, more = ARM_OF[name](drawn, seed), {"steps": 0, "mix": 0.0}
    if name in TLKIT:
        tuning, probabilities = probabilities.tuning, probabilities.probabilities["test"]
        more = {"steps": tuning.steps, "mix": tuning.mix} if tuning else more
    seconds = {"seconds": time.perf_counter() - began}
    return measured(np.asarray(probabilities, "float64"), drawn.test.labels) | more | seconds


def measured(probabilities: Any, truth: Any) -> dict[str, float]:
    """Return accuracy and balanced accuracy (0 to 1), log loss (nats) and calibration error (0 to 1)."""
    import numpy as np

    from tlkit.challenges.overfitting import expected_calibration_error
    from tlkit.reports.measures import point_measures

    right = np.clip(probabilities[np.arange(len(truth)), truth], 1e-7, 1)
    return point_measures(truth, probabilities.argmax(axis=1)) | {
        "log_loss": float(-np.log(right).mean()),
        "calibration_error": float(expected_calibration_error(probabilities, truth)),
    }


def subset(name: str, labels: int, seed: int) -> Any:
    """Return a data set with so many training images of each class, and other images for testing."""
    from dataclasses import replace

    import numpy as np

    import tlkit
    from tlkit.data import Split

    size, _ = SETTINGS[name]
    data = tlkit.load(name.removesuffix(" at 224"), image_size=size)
    images = np.concatenate([np.asarray(split.images) for split in data.splits.values()])
    truth = np.concatenate([split.labels for split in data.splits.values()])
    order = np.random.default_rng(seed).permutation(len(truth))
    chosen = [order[truth[order] == label][:labels] for label in range(len(data.class_names))]
    train = np.concatenate(chosen)
    test = order[~np.isin(order, train)][:MOST_TESTED]
    parts = {part: Split(images[rows], truth[rows]) for part, rows in (("train", train), ("test", test))}
    return replace(data, **parts, validation=None)


def of_scikit_learn(data: Any, seed: int) -> Any:
    """Return the probabilities of a logistic regression on standardised features."""
    import numpy as np
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    import tlkit
    from tlkit.techniques.feature_extraction import extract_splits

    x = extract_splits(tlkit.load_backbone(BACKBONE, image_size=data.image_size), data.splits)
    probe = make_pipeline(
        StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-5, 1, 7), cv=5, max_iter=1000, random_state=0)
    )
    with threadpool_limits(1):
        return probe.fit(x["train"], data.train.labels).predict_proba(x["test"])


def of_keras_guide(data: Any, seed: int) -> Any:
    """Return the probabilities after the recipe of the Keras guide."""
    import keras

    import tlkit
    from tlkit.models import normalizations

    backbone = tlkit.load_backbone(BACKBONE, image_size=data.image_size)
    backbone.trainable = False
    layers = [keras.layers.RandomFlip("horizontal")] if mirrors(data) else []
    inputs = x = keras.Input(backbone.inputs[0].shape[1:])
    for layer in [*layers, keras.layers.RandomRotation(0.1)]:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(backbone(x, training=False))
    x = keras.layers.Dropout(0.2)(x)
    outputs = keras.layers.Dense(len(data.class_names), activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    examples = data.train.images, data.train.labels
    for rate, epochs in ((1e-3, 20), (1e-5, 10)):
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        model.fit(*examples, epochs=epochs, batch_size=32, verbose=0)
        backbone.trainable = True
        for layer in normalizations(backbone):
            layer.trainable = False
    return model.predict(data.test.images, verbose=0)


def of_fastai(data: Any, seed: int) -> Any:
    """Return the probabilities after fastai's `fine_tune`, in its own environment."""
    import numpy as np

    with TemporaryDirectory() as folder:
        given, written = Path(folder, "images.npz"), Path(folder, "probabilities.npy")
        part, classes = data.train, len(data.class_names)
        np.savez(
            given, train=part.images, labels=part.labels, test=data.test.images, classes=np.array(classes)
        )
        script = [str(HERE.with_name("few_labels_fastai.py")), str(given), str(seed)]
        command = [str(FASTAI), *script, str(int(mirrors(data))), str(written)]
        subprocess.run(command, check=True, capture_output=True)
        return np.load(written)


def of_tlkit(technique: str, data: Any, seed: int, **options: Any) -> Any:
    """Return the result of `tlkit.train`."""
    import tlkit

    return tlkit.train(data, technique=technique, backbone=BACKBONE, seed=seed, **options)


def mirrors(data: Any) -> bool:
    """Whether mirrored images keep their class."""
    from tlkit.experiments.phases import mirrors as keeps

    return bool(keeps(data))


ARM_OF = {
    CONTROL: of_scikit_learn,
    "Keras guide": of_keras_guide,
    "fastai": of_fastai,
    "frozen": partial(of_tlkit, "feature-extraction"),
    "fine-tuned": partial(of_tlkit, "fine-tuning", minutes=None),
    "auto": partial(of_tlkit, "auto"),
    SCRATCH: partial(of_tlkit, "scratch", minutes=None),
}


def numbers(table: Any) -> dict[str, Any]:
    """Return everything that README says about this benchmark, rounded."""
    import tlkit

    by = ["data", "labels"]
    measures = ("accuracy", "balanced_accuracy", "log_loss", "calibration_error", "seconds")
    means = {
        measure: table.groupby([*by, "arm"])[measure].mean().unstack("arm").round(4).reset_index()
        for measure in measures
    }
    gains = table.assign(setting=table["data"] + ", " + table["labels"].astype(str))
    compared = {
        control: tlkit.paired(gains, control, by="setting").round(4).reset_index().to_dict("records")
        for control in (CONTROL, "frozen")
    }
    return {
        "tuned on": sorted(TUNED_ON),
        "means": {measure: each.to_dict("records") for measure, each in means.items()},
        "points": {measure: points(table, measure) for measure in ("accuracy", "balanced_accuracy")},
        "paired differences of accuracy": compared,
    }


def points(table: Any, measure: str) -> dict[str, Any]:
    """Return how far `auto` and `fine-tuned` are above the other arms, in percentage points."""
    found: dict[str, Any] = {}
    for arm in ARMS:
        if arm not in ("auto", TUNED):
            above = differences(table, "auto", arm, measure)
            found[f"auto minus {arm}"] = {
                "all settings": mean_with_interval(above),
                "without digits": mean_with_interval(above.drop("digits/mnist", level="data")),
                "worst": {", ".join(map(str, above.idxmin())): round(float(above.min()), 2)},
            }
    tuned = differences(table, TUNED, "frozen", measure)
    enough = tuned[tuned.index.get_level_values("labels") >= 10]
    return found | {"fine-tuned minus frozen, from 10 labels": mean_with_interval(enough)}


def differences(table: Any, arm: str, other: str, measure: str) -> Any:
    """Return the mean difference of two arms in each setting, over the seeds that both have, in points."""
    cells = table.pivot_table(index=["data", "labels", "seed"], columns="arm", values=measure)
    return (100 * (cells[arm] - cells[other])).dropna().groupby(["data", "labels"]).mean()


def mean_with_interval(by_setting: Any) -> dict[str, float]:
    """Return the mean over all settings with its 95 % interval, and the number of settings."""
    from tlkit.reports.statistics import mean_interval

    low, high = mean_interval(by_setting.to_numpy())
    mean = float(by_setting.mean())
    return {"mean": round(mean, 2), "low": round(low, 2), "high": round(high, 2), "settings": len(by_setting)}


def draw(table: Any) -> None:
    """Draw accuracy by the number of labels, with one panel for each data set."""
    import matplotlib.pyplot as plt
    import pandas as pd

    from tlkit import plots

    names = [name for name in SETTINGS if name in set(table["data"])]
    figure, axes = plt.subplots(2, 4, figsize=(15, 7.5), layout="constrained")
    shown = [arm for arm in ARMS if arm != TUNED]  # it would cover "auto"
    table = table[table["arm"].isin(shown)]
    table = table.assign(arm=pd.Categorical(table["arm"], shown))
    handles: dict[str, Any] = {}
    for name, ax in zip(names, axes.flat, strict=False):
        rows = table[table["data"] == name]
        plots.curves(rows, "labels", "accuracy", ax, setting="labels per class")
        ax.set_title(
            f"{name}{' (settings chosen here)' if name in TUNED_ON else ''}", loc="left", fontsize=10
        )
        drawn, arms = ax.get_legend_handles_labels()
        handles |= dict(zip(arms, drawn, strict=True))
        ax.get_legend().remove()
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    order = [arm for arm in shown if arm in handles]
    axes.flat[-1].legend([handles[arm] for arm in order], order, loc="center", fontsize=12, frameon=False)
    figure.savefig(HERE.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    parser = ArgumentParser(description="Compare tlkit with its peers on few labels.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", default=",".join(arm for arm in ARMS if arm != TUNED))
    parser.add_argument("--data", default=",".join(SETTINGS))
    given = parser.parse_args()
    main(given.seeds, given.arms.split(","), given.data.split(","))
