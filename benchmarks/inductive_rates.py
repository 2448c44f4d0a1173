"""Choose the learning rates of lesson 03 by validation images, on seeds that the lesson does not use.

    .venv/bin/python benchmarks/inductive_rates.py

Each arm trains for 100 steps on ten labelled images of each of the digits 5 to 9, with four learning rates.
The script writes `inductive_rates.csv`, one row per arm, rate and seed, with the accuracy on the validation
images, and prints the best rate of each arm.
"""

from pathlib import Path

import keras
import numpy as np
import pandas as pd

import tlkit

SEEDS, RATES = range(100, 110), (3e-4, 1e-3, 3e-3, 1e-2)


def train(
    model: keras.Model, x: np.ndarray, labels: np.ndarray, learning_rate: float, steps: int, batch: int = 20
) -> None:
    """Train a compiled model for a number of steps; every epoch has a new random order."""
    epochs = 1 + steps * batch // len(x)
    rows = np.concatenate([np.random.permutation(len(x)) for _ in range(epochs)])[: steps * batch]  # noqa: NPY002
    model.optimizer.learning_rate = learning_rate
    model.fit(x[rows], labels[rows], batch_size=batch, shuffle=False, verbose=0)


def main() -> None:
    """Train all arms with all rates, and write the table."""
    digits = tlkit.load("digits/mnist-m", image_size=14)
    source, target = digits.only(digits.class_names[:5]), digits.only(digits.class_names[5:])
    x, digit = source.train.images, source.train.labels
    light = x.mean(axis=(1, 2, 3))
    questions = {
        "which digit?": digit,
        "shuffled labels": np.random.default_rng(0).permutation(digit),
        "how light?": np.searchsorted(np.quantile(light, [0.2, 0.4, 0.6, 0.8]), light),
    }
    model = tlkit.build_classifier("LeNet", 5, weights=None, image_size=14, dropout=0.0)
    model.compile("adam", loss="sparse_categorical_crossentropy", steps_per_execution=50)
    backbone, rows = model.get_layer("LeNet"), []
    for seed in SEEDS:
        few = target.train.few(10, seed=seed)
        for arm in ("target only", *questions):
            learned = None
            if arm in questions:
                keras.utils.set_random_seed(seed)
                tlkit.reinitialize(model)
                train(model, x, questions[arm], 2e-3, steps=200)
                learned = backbone.get_weights()
            for rate in RATES:
                keras.utils.set_random_seed(seed)
                tlkit.reinitialize(model)
                if learned is not None:
                    backbone.set_weights(learned)
                train(model, few.images, few.labels, rate, steps=100)
                predicted = model.predict_on_batch(target.validation.images).argmax(axis=1)
                accuracy = np.mean(predicted == target.validation.labels)
                rows.append({"arm": arm, "rate": rate, "seed": seed, "accuracy": accuracy})
    table = pd.DataFrame(rows).round(4)
    table.to_csv(Path(__file__).with_suffix(".csv"), index=False)
    mean = table.pivot_table(index="arm", columns="rate", values="accuracy", sort=False)
    print(mean.round(3), mean.idxmax(axis=1), sep="\n")


if __name__ == "__main__":
    main()
