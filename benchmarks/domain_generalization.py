"""Domain generalization: every method on domains that were left out, compared with ERM on the same ones.

    .venv/bin/python benchmarks/domain_generalization.py [--seeds 5] [--data digits,emoji]

Each domain is left out once. A network learns from the other two by each method of `tlkit generalize`, and is
evaluated on the one that was left out:

- Digits (mnist, mnist-m, optical): LeNetBN from random weights, 1,000 training images per domain, 6 epochs
  (378 steps). Evaluated on the test split.
- Emoji (twemoji, openmoji, line): EfficientNetLite0 at 128 pixels from ImageNet weights, 297 training images
  per domain, the top 30 % of the layers fine-tuned for 4 epochs (152 steps) from the solved head, with 4
  views of each image. Evaluated on the validation and test splits, whose emoji no other domain trains on.

All methods of a task have the same start, steps and order of the images. No setting was chosen on these
tasks, and the last step counts. The seed sets the start, the order and the augmentation. `held_out` is the
mean accuracy on validation images of the domains that were learned from.

The committed `domain_generalization.csv` has three seeds of the digits; the emoji were not run yet.

The script appends each run to `domain_generalization.csv` and skips runs that are already recorded. It draws
`domain_generalization.png`, and prints the mean difference of each method from ERM with its 95 % interval
over the seeds; the difference of a seed is the mean over the three domains.
"""

import os
from argparse import ArgumentParser
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
HERE = Path(__file__)
CONTROL, FROZEN = "erm", "frozen"
METHODS = (CONTROL, "averaging", "mixstyle", "group-dro")
DOMAINS = {"digits": ("mnist", "mnist-m", "optical"), "emoji": ("twemoji", "openmoji", "line")}
EPOCHS = {"digits": 6, "emoji": 4}
IMAGES, HELD_OUT = 1_000, 200  # of a domain of digits


def main(seeds: int, families: list[str]) -> None:
    import pandas as pd

    import tlkit

    tables = []
    for seed in range(seeds):
        for family in families:
            arms = [*METHODS, *([FROZEN] if family == "emoji" else [])]
            tables.append(
                tlkit.compare(
                    {name: partial(cell, name) for name in arms},
                    seeds=[seed],
                    settings={"data": [family], "left_out": DOMAINS[family]},
                    keep=HERE.with_suffix(".csv"),
                    progress=True,
                ).table
            )
    table = pd.concat(tables)
    print(table.groupby(["data", "left_out", "arm"], sort=False)["accuracy"].mean().unstack().round(3))
    print(differences(table).round(4))
    draw(table)


def cell(method: str, seed: int, data: str, left_out: str) -> dict[str, float]:
    """Train by one method on all domains but one, and return the accuracies."""
    import numpy as np

    from tlkit.experiments.adaptation_arms import predicted_by

    trainings = prepared(data, seed)
    known = [index for index, name in enumerate(DOMAINS[data]) if name != left_out]
    trainings.fit(method, known)

    def accuracy(split: Any) -> float:
        return float(np.mean(predicted_by(trainings.model, split).argmax(axis=1) == split.labels))

    held_out = np.mean([accuracy(trainings.domains[index].validation) for index in known])
    return {"accuracy": accuracy(tested(data, left_out)), "held_out": float(held_out)}


@lru_cache(maxsize=1)
def prepared(data: str, seed: int) -> Any:
    """Return the trainings of a family of domains, which share the start and the stored activations."""
    import tlkit
    from tlkit.experiments.domain_trainings import DomainTrainings
    from tlkit.techniques.repeated_training import Recipe

    pretrained = data == "emoji"
    network = tlkit.load_backbone(
        "EfficientNetLite0" if pretrained else "LeNetBN",
        weights="imagenet" if pretrained else None,
        image_size=128 if pretrained else None,
    )
    domains = [domain(data, name) for name in DOMAINS[data]]
    recipe = Recipe(fraction=0.3, views=4) if pretrained else None
    trainings = DomainTrainings(domains, network, pretrained, EPOCHS[data], None, seed, [], False, recipe)
    return trainings.__enter__()  # until the next one is prepared, or the script ends


@lru_cache
def domain(data: str, name: str) -> Any:
    from dataclasses import replace

    import tlkit

    loaded = tlkit.load(f"{data}/{name}")
    if data == "emoji":
        return loaded
    part, held_out = loaded.train.subset(slice(IMAGES)), loaded.validation.subset(slice(HELD_OUT))
    return replace(loaded, train=part, validation=held_out)


def tested(data: str, name: str) -> Any:
    """Return the images of a domain on which it is evaluated when it is left out."""
    from tlkit.experiments.domains import joined_splits

    found = domain(data, name)
    return found.test if data == "digits" else joined_splits([found.validation, found.test])


def differences(table: Any) -> Any:
    """Return the mean difference of each method from ERM over the domains, with the interval over seeds."""
    import tlkit

    means = table.groupby(["data", "arm", "seed"], sort=False)["accuracy"].mean().reset_index()
    return tlkit.paired(means, CONTROL, by="data").dropna(subset=["difference"])


def draw(table: Any) -> None:
    """Draw the accuracy of each method on each domain that was left out, with one point for each seed."""
    import matplotlib.pyplot as plt

    from tlkit import plots

    families = [family for family in DOMAINS if family in set(table["data"])]
    size = (13, 3.5 * len(families))
    figure, axes = plt.subplots(len(families), 3, figsize=size, layout="constrained", squeeze=False)
    for row, family in zip(axes, families, strict=True):
        for ax, name in zip(row, DOMAINS[family], strict=True):
            rows = table[(table["data"] == family) & (table["left_out"] == name)]
            plots.compare_arms(rows, ax, quantity=f"accuracy on {name}")
            ax.set_title(f"{family}: {name} is unseen", loc="left", fontsize=10)
    figure.savefig(HERE.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    parser = ArgumentParser(description="Compare methods of domain generalization.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", default=",".join(DOMAINS))
    given = parser.parse_args()
    main(given.seeds, given.data.split(","))
