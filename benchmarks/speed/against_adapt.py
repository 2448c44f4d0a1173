"""DANN and Deep CORAL: tlkit beside ADAPT 0.4.5, from 2,000 pictures of MNIST to 1,797 optical digits.

    python3.11 -m venv adapt-env && adapt-env/bin/pip install tensorflow-cpu==2.15.1 adapt==0.4.5
    .venv/bin/python benchmarks/against_adapt.py adapt-env/bin/python

ADAPT stopped working with Keras 3, so it has an environment of its own. The two take turns, each run in a new
process: the same network (LeNet of Ganin et al. 2016), images, epochs, batch and optimizer; each method as
its library sets it. Target labels only judge. A run's seconds are those of its fastest epoch: on two cores
TensorFlow falls to one of them for whole epochs, on both sides.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
SEEDS, EPOCHS, BATCH, STEP_SIZE = range(5), 15, 64, 1e-3
METHODS = {"DANN": "dann", "DeepCORAL": "coral"}


def main(adapt_python: str) -> None:
    from tqdm import tqdm

    sides = {"tlkit": sys.executable, "adapt": adapt_python}
    turns = [(method, seed, side) for method in METHODS for seed in SEEDS for side in sides]
    rows: dict[tuple[str, str], list[dict[str, float]]] = {(m, s): [] for m in METHODS for s in sides}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "digits.npz")
        write(data)
        for method, seed, side in tqdm(turns, unit="run"):
            command = [sides[side], __file__, side, method, str(seed), str(data)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows[method, side].append(json.loads(answer.splitlines()[-1]))
    for method in METHODS:
        print(f"{method}, {EPOCHS} epochs, {len(SEEDS)} seeds")
        for side in sides:
            accuracy = [100 * row["accuracy"] for row in rows[method, side]]
            seconds = [row["seconds"] for row in rows[method, side]]
            print(
                f"  {side:6} target accuracy {mean(accuracy):5.1f} ± {stdev(accuracy):4.1f} %   "
                f"{median(seconds):5.2f} s an epoch ({min(seconds):.2f} to {max(seconds):.2f})"
            )
        pairs = zip(rows[method, "tlkit"], rows[method, "adapt"], strict=True)
        ratios = [theirs["seconds"] / ours["seconds"] for ours, theirs in pairs]
        print(f"  ADAPT takes {median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})")


def write(path: Path) -> None:
    """Keep 2,000 labelled pictures of MNIST, and all 1,797 optical digits."""
    import numpy as np

    import tlkit

    source, target = tlkit.load("digits/mnist").train, tlkit.load("digits/optical").splits.values()
    images, labels = (np.concatenate([getattr(s, name)[:] for s in target]) for name in ("images", "labels"))
    np.savez(path, xs=source.images[:2000], ys=source.labels[:2000], xt=images, yt=labels)


def train_tlkit(method: str, seed: int, xs: Any, ys: Any, xt: Any, clock: Any) -> Any:
    """Return class probabilities of the target."""
    import keras

    from tlkit import DomainAdapter, build_classifier, pair
    from tlkit.techniques.domain_adaptation import find

    keras.utils.set_random_seed(seed)
    model = build_classifier("LeNet", classes=10, weights=None, dropout=0.0)
    adapter = DomainAdapter(model, find(METHODS[method]).build())
    adapter.compile(keras.optimizers.Adam(STEP_SIZE), loss="sparse_categorical_crossentropy")
    pairs = pair((xs, ys), xt, batch_size=BATCH, seed=seed)
    watch = keras.callbacks.LambdaCallback(on_epoch_end=clock)
    adapter.fit(pairs, epochs=EPOCHS, verbose=0, callbacks=[watch])
    return model.predict(xt, verbose=0)


def train_adapt(method: str, seed: int, xs: Any, ys: Any, xt: Any, clock: Any) -> Any:
    """Return the same of ADAPT, as its documentation uses it."""
    import adapt.feature_based
    import tensorflow as tf

    tf.keras.utils.set_random_seed(seed)
    layers = tf.keras.layers
    encoder = tf.keras.Sequential([tf.keras.Input((28, 28, 3))])
    for filters in (32, 48):
        encoder.add(layers.Conv2D(filters, 5, padding="same", activation="relu"))
        encoder.add(layers.MaxPooling2D())
    encoder.add(layers.Flatten())
    for _ in range(2):
        encoder.add(layers.Dense(100, activation="relu"))
    task = tf.keras.Sequential([layers.Dense(10, activation="softmax")])
    critic = tf.keras.Sequential(
        [layers.Dense(100, activation="relu"), layers.Dense(1, activation="sigmoid")]
    )
    parts = {"encoder": encoder, "task": task}
    if method == "DANN":
        parts["discriminator"] = critic
    xs, xt = (x.astype("float32") / 255 for x in (xs, xt))
    optimizer = tf.keras.optimizers.Adam(STEP_SIZE)
    model = getattr(adapt.feature_based, method)(
        **parts, Xt=xt, loss="categorical_crossentropy", optimizer=optimizer, copy=False, verbose=0
    )
    watch = tf.keras.callbacks.LambdaCallback(on_epoch_end=clock)
    labels = tf.keras.utils.to_categorical(ys, 10)
    model.fit(xs, labels, epochs=EPOCHS, batch_size=BATCH, verbose=0, callbacks=[watch])
    return model.predict(xt, verbose=0)


def run(side: str, method: str, seed: str, data: str) -> None:
    """Train once, and print what came of it."""
    import numpy as np

    given, ends = np.load(data), []
    train = {"tlkit": train_tlkit, "adapt": train_adapt}[side]
    images = (given[name] for name in ("xs", "ys", "xt"))
    p = np.asarray(train(method, int(seed), *images, lambda *_: ends.append(time.perf_counter())))
    accuracy = float((p.argmax(axis=1) == given["yt"]).mean())
    print(json.dumps({"accuracy": accuracy, "seconds": float(np.diff(ends).min())}))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    elif len(sys.argv) == 5:
        run(*sys.argv[1:])
    else:
        sys.exit(__doc__)
