"""Compare every method of domain adaptation with the source alone and the ceiling, on six tasks.

    .venv/bin/python benchmarks/domain_adaptation.py

Digits: LeNetBN, trained end to end on 1,000 images per domain. Emoji: the head alone, on features of a
frozen EfficientNetLite0, 297 images per domain. All methods have the same epochs, learning rate and batch
size; nothing is tuned to a task, and the last epoch counts. Target labels serve to train the ceiling and to
evaluate. The script writes `domain_adaptation.json` beside this file after each method and skips the methods
in it; delete it to start again. It draws the figure `domain_adaptation.png` from the results.
"""

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
RESULTS = Path(__file__).with_suffix(".json")
SEEDS, IMAGES, BATCH, LEARNING_RATE = range(5), 1000, 32, 2e-3
TASKS = {
    "digits": [("mnist", "mnist-m"), ("mnist", "optical"), ("optical", "mnist")],
    "emoji": [("twemoji", "openmoji"), ("twemoji", "line"), ("openmoji", "line")],
}
EPOCHS = {"digits": 6, "emoji": 40}
NAMES = [f"{source} -> {target}" for family in TASKS.values() for source, target in family]
BASELINES = ("source only", "ceiling")


def main() -> None:
    from tqdm import tqdm

    from tlkit.techniques.domain_adaptation.methods import METHODS

    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(row["family"], row["method"]) for row in rows}
    arms = [*BASELINES, *(method.name for method in METHODS)]
    jobs = [(family, arm) for family in TASKS for arm in arms if (family, arm) not in done]
    # small convolutions gain little from a second thread: a process a core instead
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), one_thread) as pool:
        running = [pool.submit(measure, *job) for job in jobs]
        for future in tqdm(as_completed(running), total=len(running), unit="method"):
            rows += future.result()
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows, arms))
    draw(rows)


def one_thread() -> None:
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"


def measure(family: str, arm: str) -> list[dict[str, Any]]:
    """Train one arm on the family's tasks with every seed, and evaluate it on the target's test images."""
    import keras

    import tlkit
    from tlkit.techniques.domain_adaptation import METHODS, DomainAdapter, pair

    loss: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    plain = network(family)
    trained = plain if arm in BASELINES else network(family)
    adapter = None if arm in BASELINES else DomainAdapter(trained, METHODS.find(arm).build())
    rows = []
    for source, target in TASKS[family]:
        labelled, (t, target_labels) = examples(family, source, "train"), examples(family, target, "train")
        test, test_labels = examples(family, target, "test")
        shown = (t, target_labels) if arm == "ceiling" else labelled
        steps = EPOCHS[family] * -(-max(len(shown[1]), len(t)) // BATCH)
        schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
        options = {"epochs": EPOCHS[family], "verbose": 0}
        plain.compile(keras.optimizers.Adam(schedule), **loss)
        if adapter is not None:
            adapter.compile(keras.optimizers.Adam(schedule), **loss)
        for seed in SEEDS:  # one graph for all of them: building it takes as long as an epoch
            start = time.perf_counter()
            keras.utils.set_random_seed(seed)
            tlkit.reinitialize(plain)
            if adapter is None or adapter.alignment.starts_from_source:
                plain.fit(*shown, batch_size=BATCH, **options)
            if adapter is not None:
                start = time.perf_counter()  # the network that knows the source is there already
                tlkit.reinitialize(adapter)
                trained.set_weights(plain.get_weights())
                pairs = pair(labelled, t, batch_size=BATCH, seed=seed)
                adapter.fit(pairs, source_epochs=0, **options)
            seconds = time.perf_counter() - start
            accuracy = float((trained.predict(test, verbose=0).argmax(axis=1) == test_labels).mean())
            rows.append({"family": family, "task": f"{source} -> {target}", "method": arm, "seed": seed})
            rows[-1] |= {"accuracy": accuracy, "seconds": seconds}
    return rows


def network(family: str) -> Any:
    import tlkit

    if family == "digits":
        return tlkit.build_classifier("LeNetBN", 10, weights=None, dropout=0.0)
    model = tlkit.build_classifier("EfficientNetLite0", 12, image_size=128, bottleneck=256)
    return model.get_layer("head")


def examples(family: str, name: str, split: str) -> tuple[Any, Any]:
    """Return inputs and labels of a split: pixels of digits, features of emoji."""
    import tlkit

    part = tlkit.load(f"{family}/{name}").splits[split]
    if family == "digits":
        return part.images[:IMAGES], part.labels[:IMAGES]
    return tlkit.extract(tlkit.load_backbone("EfficientNetLite0", image_size=128), part), part.labels


def table(rows: list[dict[str, Any]], arms: list[str]) -> str:
    """Return a table in Markdown: accuracy in percent, mean and standard deviation over the seeds; seconds.

    A star marks what closes half of the gap from source only to ceiling, a minus what is below source only.
    """
    import pandas as pd

    frame = pd.DataFrame(rows)
    over_seeds = frame.groupby(["task", "method"])["accuracy"].agg(["mean", "std"]) * 100
    seconds = frame.groupby(["family", "method"])["seconds"].median()
    lines = [f"| method | {' | '.join(NAMES)} | s digits | s emoji |", "|---" * (len(NAMES) + 3) + "|"]
    for arm in arms:
        cells = []
        for task in NAMES:
            mean, spread = over_seeds.loc[(task, arm)]
            low, high = (over_seeds.loc[(task, each), "mean"] for each in BASELINES)
            sign = " *" if mean >= (low + high) / 2 else " -" if mean < low else ""
            cells.append(f"{mean:.1f} ± {spread:.1f}{'' if arm in BASELINES else sign}")
        times = [f"{seconds[family, arm]:.1f}" for family in TASKS]
        lines.append(f"| {arm} | {' | '.join([*cells, *times])} |")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw how much of the gap between source only and ceiling each method closes on each task."""
    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd

    mean = pd.DataFrame(rows).groupby(["method", "task"])["accuracy"].mean().unstack()[NAMES]
    low, high = (mean.loc[each] for each in BASELINES)
    closed = ((mean - low) / (high - low)).drop(list(BASELINES))
    closed = closed.loc[closed.mean(axis=1).sort_values(ascending=False).index]
    figure = plt.figure(figsize=(8, 7), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(closed, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (row, column), fraction in np.ndenumerate(closed.to_numpy()):
        colour = "white" if abs(fraction) > 0.6 else "black"
        ax.text(column, row, f"{fraction:.0%}", ha="center", va="center", fontsize=8, color=colour)
    headings = [f"{task}\n{low[task]:.0%} to {high[task]:.0%}".replace("-> ", "\n-> ") for task in NAMES]
    ax.set_xticks(range(len(NAMES)), headings, fontsize=8)
    ax.set_yticks(range(len(closed)), closed.index)
    figure.colorbar(image, label="fraction of the gap from source only to ceiling that is closed")
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
