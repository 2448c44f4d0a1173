"""Fine-tune LeNet on digits at every depth, learning rate and number of labels, with five seeds.

    .venv/bin/python benchmarks/fine_tuning_grid.py

LeNet at 20 pixels is trained on the optical digits and then fine-tuned on few MNIST digits. The head is
trained first, on frozen features: 48 steps of 10 images at a learning rate of 3e-3. Then all
stages from the chosen one upwards learn for 48 more steps, at the learning rate of the cell. Settings with
few labels repeat the same images more often. The control has 96 steps from random weights, at the best of
three learning rates for each number of labels. That rate is chosen on the validation images of the new
digits, whose labels would not exist in practice; this favours the control. Accuracy is measured on the test
images of the new digits, and on those of the old digits with the head that had learned them. All cells of a
seed have the same images (smaller sets lie in larger ones), the same order and the same head. The script
writes `fine_tuning_grid.csv` beside this file after each cell and skips the cells in it; delete it to start
again. It also writes `tlkit/plots/fine_tuning_grid.json`, which `tlkit.plots.explorer` shows, and the figure
`fine_tuning_grid.png`.
"""

import json
import os
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# small steps: two threads would wait for each other, and sum in another order each time
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
TABLE = Path(__file__).with_suffix(".csv")
RESULTS = Path(__file__).parents[1] / "tlkit" / "plots" / "fine_tuning_grid.json"
BACKBONE, SIZE, LOSS = "LeNet", 20, "sparse_categorical_crossentropy"
DEPTHS = {"head only": "head", "from dense": "dense", "from conv2": "conv2", "all layers": "conv1"}
RATES, LABELS, SEEDS = (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2), (1, 2, 3, 5, 10, 20), range(5)
BATCH, STEPS, HEAD_RATE, SCRATCH_RATES = 10, 48, 3e-3, (1e-3, 3e-3, 1e-2)
START, SCRATCH = "head first", "from scratch"


def main() -> None:
    import pandas as pd

    import tlkit

    run = partial(tlkit.compare, seeds=SEEDS, keep=TABLE, progress=True)
    found = [
        run({START: started}, settings={"labels": LABELS}),
        run({SCRATCH: scratch}, settings={"labels": LABELS, "rate": SCRATCH_RATES}),
        run(
            {name: partial(tuned, stage) for name, stage in DEPTHS.items()},
            settings={"labels": LABELS, "rate": RATES},
        ),
    ]
    results = summed_up(pd.concat(each.table for each in found))
    RESULTS.write_text(json.dumps(results) + "\n")
    draw(results)


def started(seed: int, labels: int) -> dict[str, float]:
    """Measure where all cells start: the trained head on the frozen backbone."""
    model = classifier("head")
    model.set_weights(head_first(seed, labels))
    return scores(model)


def tuned(stage: str, seed: int, labels: int, rate: float) -> dict[str, float]:
    """Go on from the trained head with all from `stage` upwards."""
    return scores(trained(stage, head_first(seed, labels), seed, labels, rate, STEPS))


def scratch(seed: int, labels: int, rate: float) -> dict[str, float]:
    """Train the same network from random weights, with the steps of both phases."""
    import keras

    keras.utils.set_random_seed(seed)
    return scores(trained("conv1", new_classifier().get_weights(), seed, labels, rate, 2 * STEPS))


@cache
def head_first(seed: int, labels: int) -> list[Any]:
    import keras

    keras.utils.set_random_seed(seed)
    model = new_classifier()
    model.get_layer(BACKBONE).set_weights(source().get_layer(BACKBONE).get_weights())
    return trained("head", model.get_weights(), seed, labels, HEAD_RATE, STEPS).get_weights()


def trained(stage: str, weights: list[Any], seed: int, labels: int, rate: float, steps: int) -> Any:
    """Return a classifier that started from these weights; the order of the images is that of the seed."""
    import keras

    import tlkit

    model = classifier(stage)
    tlkit.reinitialize(model)  # for Adam's memory
    model.set_weights(weights)
    model.optimizer.learning_rate = rate
    few = chosen(seed, labels, steps)
    keras.utils.set_random_seed(seed)
    model.fit(few.images, few.labels, batch_size=BATCH, verbose=0)
    return model


def chosen(seed: int, labels: int, steps: int) -> Any:
    """Return the images of all steps: so many of each digit, again and again, each digit equally often."""
    import numpy as np

    train = digits("mnist").train
    rng = np.random.default_rng(seed)
    of_digit = [rng.permutation(np.flatnonzero(train.labels == digit)) for digit in range(10)]
    rounds = np.stack([rows[:labels] for rows in of_digit], axis=1)
    return train.subset(np.resize(rounds, steps * BATCH))


@cache
def classifier(stage: str) -> Any:
    """Return the one classifier, with its graph, in which all from this stage upwards learns."""
    import tlkit

    model = new_classifier()
    tlkit.freeze(model) if stage == "head" else tlkit.unfreeze(model, from_stage=stage)
    model.compile("adam", loss=LOSS, metrics=["accuracy"])
    return model


def new_classifier() -> Any:
    import tlkit

    return tlkit.build_classifier(BACKBONE, classes=10, weights=None, image_size=SIZE)


@cache
def source() -> Any:
    """Return the network that has learned the old digits."""
    import keras

    keras.utils.set_random_seed(0)
    model, old = new_classifier(), digits("optical").train
    model.compile("adam", loss=LOSS, metrics=["accuracy"])
    model.fit(old.images, old.labels, epochs=5, batch_size=32, verbose=0)
    return model


@cache
def source_again() -> Any:
    """Return a copy of it, to try its head on other backbones."""
    model = new_classifier()
    model.set_weights(source().get_weights())
    model.compile(loss=LOSS, metrics=["accuracy"])
    return model


@cache
def digits(name: str) -> Any:
    import tlkit

    return tlkit.load(f"digits/{name}", image_size=SIZE)


def scores(model: Any) -> dict[str, float]:
    """Measure accuracy, 0 to 1, on new digits, and of the old head on this backbone on old digits."""
    copy, new = source_again(), digits("mnist")
    copy.get_layer(BACKBONE).set_weights(model.get_layer(BACKBONE).get_weights())
    asked = {
        "new": (model, new.test),
        "validation": (model, new.validation),
        "old": (copy, digits("optical").test),
    }
    return {
        name: network.evaluate(split.images, split.labels, 500, verbose=0)[1]
        for name, (network, split) in asked.items()
    }


def summed_up(table: Any) -> dict[str, Any]:
    """Return means and standard deviations over the seeds: by depth, learning rate and number of labels."""
    found = table.groupby(["arm", "labels", "rate"], dropna=False)[["new", "validation", "old"]]
    mean, std = found.mean(), found.std()
    best = {labels: mean.loc[SCRATCH, labels]["validation"].idxmax() for labels in LABELS}

    def grid(values: Any, column: str) -> list[Any]:
        cells = [
            [[values.loc[(arm, labels, rate), column] for labels in LABELS] for rate in RATES]
            for arm in DEPTHS
        ]
        return [[[round(cell, 4) for cell in row] for row in plane] for plane in cells]

    def line(values: Any, arm: str, column: str) -> list[float]:
        rows = values.loc[arm][column]
        return [
            round(rows[labels].loc[best[labels]] if arm == SCRATCH else rows[labels].item(), 4)
            for labels in LABELS
        ]

    return {
        "depths": list(DEPTHS),
        "rates": list(RATES),
        "labels": list(LABELS),
        "new": {"mean": grid(mean, "new"), "std": grid(std, "new")},
        "old": {"mean": grid(mean, "old"), "std": grid(std, "old")},
        "start": {"mean": line(mean, START, "new"), "std": line(std, START, "new")},
        "scratch": {
            "mean": line(mean, SCRATCH, "new"),
            "std": line(std, SCRATCH, "new"),
            "rates": [best[labels] for labels in LABELS],
        },
        "before": round(mean.loc[START]["old"].mean(), 4),
        "seeds": len(SEEDS),
        "steps": STEPS,
        "versions": {name: version(name) for name in ("tlkit", "keras", "tensorflow", "numpy")},
    }


def draw(results: dict[str, Any]) -> None:
    from tlkit.plots.explorer import static_figure

    static_figure(results).savefig(TABLE.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
