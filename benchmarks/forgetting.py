"""Choose the settings of lesson 13: a learning rate for each arm, and the strength of the distillation.

    .venv/bin/python benchmarks/forgetting.py

A LeNet learns the digits 0 to 4 of MNIST-M. Then each arm adds the digits 5 to 9, in the same number of
steps, with every learning rate and strength. The script scores validation images only. Its seeds are not
those of the lesson.

The script appends to the table of lesson 13 as it goes, and skips what the table has. Delete the
table to start again. The columns are:

    arm, rate, strength, seed    the arm and its settings
    told, not told               accuracy on the validation images of all ten digits: within the half to which
                                 the digit belongs, and among all digits
    test                         empty, except in the row "labels": the digits of the test images, in order
"""

import csv
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import keras
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

import tlkit
from tlkit.techniques.continual_learning import LearningWithoutForgetting, add_classes, rehearse

DATASET = "digits/mnist-m"
TABLE = Path(__file__).parents[1] / "tlkit" / "course" / "results" / "forgetting-digits-mnist-m.csv"
COLUMNS = ("arm", "rate", "strength", "seed", "told", "not told", "test")
SEEDS, SIZE, OLD, CLASSES, MEMORY, EPOCHS = (100, 101, 102), 16, 5, 10, 20, 4
RATES, STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1), (0.1, 0.3, 1.0, 3.0)


def main() -> None:
    data = tlkit.load(DATASET, image_size=SIZE)
    if not TABLE.exists():
        labels = "".join(map(str, sorted(data.test.labels)))
        pd.DataFrame([{"arm": "labels", "test": labels}], columns=COLUMNS).to_csv(TABLE, index=False)
    known, new = (data.train.subset(np.flatnonzero((data.train.labels < OLD) == half)) for half in (1, 0))
    network = tlkit.build_classifier("LeNet", OLD, image_size=SIZE, weights=None)
    network.compile(keras.optimizers.Adam(2e-3), loss="sparse_categorical_crossentropy")
    learners = arms(network)
    for seed in SEEDS:
        table = pd.read_csv(TABLE)
        of_seed = table[table["seed"] == seed][["arm", "strength", "rate"]]
        done = set(of_seed.itertuples(index=False, name=None))
        open_runs = [(*each, rate) for each in learners for rate in RATES if (*each, rate) not in done]
        if not open_runs:
            continue
        restart(network, seed)
        train(network, known, epochs=EPOCHS)
        start = add_classes(network, CLASSES - OLD).get_weights()
        both = rehearse(new, known.few(MEMORY, seed=seed), seed=seed)
        examples = {"rehearsal": both, "ceiling": data.train}
        for arm, strength, rate in tqdm(open_runs, desc=f"seed {seed}"):
            learner = learners[arm, strength]
            restart(learner, seed)
            learner.classifier.set_weights(start)
            learner.teacher.set_weights(network.get_weights())
            learner.optimizer.learning_rate = rate
            images, epochs = examples.get(arm, new), EPOCHS // (2 if arm in examples else 1)
            train(learner, images, epochs)
            scores = [round(each, 3) for each in accuracies(learner.classifier, data.validation)]
            with TABLE.open("a", newline="") as file:
                csv.writer(file, lineterminator="\n").writerow([arm, rate, strength, seed, *scores, ""])


def arms(network: keras.Model) -> dict[tuple[str, float], LearningWithoutForgetting]:
    """Return a compiled learner for each arm and strength."""
    settings = {
        ("frozen body", 0.0): {"separate": True},
        ("fine-tuned", 0.0): {"separate": False},
        ("own softmax", 0.0): {"separate": True},
        **{("LwF", strength): {"separate": True} for strength in STRENGTHS},
        ("rehearsal", 0.0): {"separate": False},
        ("ceiling", 0.0): {"separate": False},
    }
    found = {}
    for (arm, strength), options in settings.items():
        wide = add_classes(network, CLASSES - OLD)
        if arm == "frozen body":
            tlkit.freeze(wide)
        learner = LearningWithoutForgetting(wide, teacher=network, strength=strength, **options)
        learner.compile(keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
        found[arm, strength] = learner
    return found


def restart(model: keras.Model, seed: int) -> None:
    """Give a compiled model new random weights and a new optimizer."""
    keras.utils.set_random_seed(seed)
    tlkit.reinitialize(model)


def train(model: keras.Model, split: tlkit.data.Split, epochs: int) -> None:
    """Train a compiled model in place."""
    model.fit(split.images, split.labels, batch_size=32, epochs=epochs, verbose=0)


def accuracies(classifier: keras.Model, split: tlkit.data.Split) -> tuple[float, float]:
    """Return the accuracy on all classes, told and not told which half the class belongs to."""
    predicted = classifier.predict(split.images, batch_size=500, verbose=0)
    is_new = np.arange(CLASSES) >= OLD
    other = is_new != (split.labels >= OLD)[:, None]
    return tuple(
        float(np.mean(each.argmax(axis=1) == split.labels))
        for each in (np.where(other, -1, predicted), predicted)
    )


if __name__ == "__main__":
    main()
