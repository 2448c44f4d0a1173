"""Compare every way to balance tasks with one network per task: MultiMNIST and emoji, five seeds.

    .venv/bin/python benchmarks/multi_task.py

MultiMNIST: LeNet from random weights, 3,000 images, left and right digit. Emoji: a shared layer of 256 units
on the features of a frozen EfficientNetLite0, 891 images, four tasks; three in five images have a hue. All
arms have the same epochs, learning rate and batch size; nothing is tuned, and the last epoch counts. The
mixture of experts and the cross-stitch network have layers of their own, which the single networks lack. The
seconds of an epoch are those of its steps, measured afterwards with all arms in turn. The script writes
`multi_task.json` beside this file after each arm and skips the arms in it; delete it to start again. It
draws the figure `multi_task.png` from the results.
"""

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
RESULTS = Path(__file__).with_suffix(".json")
SEEDS, ROUNDS, STEPS, LEARNING_RATE, IMAGES = range(5), 15, 6, 1e-3, 3000
FAMILIES = {"multi-mnist": ("left", "right"), "emoji": ("group", "subgroup", "style", "hue")}
EPOCHS, BATCH = {"multi-mnist": 6, "emoji": 20}, {"multi-mnist": 64, "emoji": 32}
SHARING = ("mixture of experts", "cross-stitch")


def main() -> None:
    from tqdm import tqdm

    from tlkit.techniques.multi_task import BALANCINGS

    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"runs": [], "seconds": []}
    done = {(row["family"], row["arm"]) for row in found["runs"]}
    arms = [*BALANCINGS.names, *SHARING]
    jobs = [
        (family, arm) for family, tasks in FAMILIES.items() for arm in [*(f"only {t}" for t in tasks), *arms]
    ]
    jobs = [job for job in jobs if job not in done]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), one_thread) as pool:
        running = [pool.submit(measure, *job) for job in jobs]
        for future in tqdm(as_completed(running), total=len(running), unit="arm"):
            found["runs"] += future.result()
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    for family in FAMILIES:
        if not any(row["family"] == family for row in found["seconds"]):
            found["seconds"] += epochs_in_turn(family, arms)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found, arms))
    draw(found, arms)


def one_thread() -> None:
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"


def measure(family: str, arm: str) -> list[dict[str, Any]]:
    """Train one arm with every seed, and measure its tasks on the test images."""
    import keras

    import tlkit

    learner = learner_of(family, arm)
    x, y = examples(family, "train")
    test, labels = examples(family, "test")
    names = list(learner.task_table)
    rows = []
    for seed in SEEDS:  # one graph for all of them
        keras.utils.set_random_seed(seed)
        tlkit.reinitialize(learner)
        shown = {"batch_size": BATCH[family], "epochs": EPOCHS[family], "verbose": 0}
        history = learner.fit(x, {name: y[name] for name in names}, **shown).history
        evaluated = learner.evaluate(
            test, {name: labels[name] for name in names}, verbose=0, return_dict=True
        )
        reached = {name: evaluated[f"{name}_{task.measure}"] for name, task in learner.task_table.items()}
        cosines = {key: values for key, values in history.items() if key.startswith("cosine_")}
        parameters = learner.network.count_params()
        rows.append(
            {"family": family, "arm": arm, "seed": seed, "parameters": parameters, **reached, **cosines}
        )
    return rows


def learner_of(family: str, arm: str) -> Any:
    import keras

    from tlkit.techniques import multi_task as mt

    tasks = tasks_of(family)
    if arm.startswith("only "):
        tasks = {arm.removeprefix("only "): tasks[arm.removeprefix("only ")]}
    sharing: Any = mt.HardSharing(256 if family == "emoji" else None)
    sharing = {"mixture of experts": mt.MixtureOfExperts(), "cross-stitch": mt.CrossStitch()}.get(
        arm, sharing
    )
    if family == "emoji":
        model = mt.build_multi_task(backbone(), tasks, sharing=sharing).get_layer("head")
    else:
        model = mt.build_multi_task("LeNet", tasks, sharing=sharing, weights=None, dropout=0.0)
    rule = mt.BALANCINGS.find(arm).build() if arm in mt.BALANCINGS else None
    learner = mt.MultiTask(model, tasks, rule)
    learner.compile(keras.optimizers.Adam(LEARNING_RATE))
    return learner


@cache
def backbone() -> Any:
    import tlkit

    return tlkit.load_backbone("EfficientNetLite0", image_size=128)


@cache
def tasks_of(family: str) -> dict[str, Any]:
    import numpy as np

    from tlkit.techniques.multi_task import Classification, Regression

    if family == "multi-mnist":
        return {"left": Classification(10), "right": Classification(10)}
    _, labels = examples(family, "train")
    classes = {name: np.unique(labels[name]).tolist() for name in FAMILIES[family][:-1]}
    return {**{n: Classification(each) for n, each in classes.items()}, "hue": Regression.of(labels["hue"])}


@cache
def examples(family: str, part: str) -> tuple[Any, dict[str, Any]]:
    """Return inputs and labels by task; a hue is a place on the circle, so that 359 lies beside 0."""
    import numpy as np

    import tlkit

    if family == "multi-mnist":
        split = tlkit.load("digits/multi-mnist").splits[part]
        count = IMAGES if part == "train" else len(split)
        return split.images[:count], {name: split.attributes[name][:count] for name in FAMILIES[family]}
    split = tlkit.load("emoji/styles").splits[part]
    angle = np.deg2rad(split.attributes["hue"])
    labels = {name: split.attributes[name] for name in FAMILIES[family]}
    return tlkit.extract(backbone(), split), labels | {
        "hue": np.stack([np.cos(angle), np.sin(angle)], axis=1)
    }


def epochs_in_turn(family: str, arms: list[str]) -> list[dict[str, Any]]:
    """Measure the seconds of an epoch's steps of every arm, in turns: what slows the machine slows all."""
    x, y = examples(family, "train")
    steps = -(-len(x) // BATCH[family])
    jobs = {}
    for arm in [*(f"only {t}" for t in FAMILIES[family]), *arms]:
        learner = learner_of(family, arm)
        labels = {name: task.encode(y[name])[: BATCH[family]] for name, task in learner.task_table.items()}
        jobs[arm] = partial(learner.train_on_batch, x[: BATCH[family]], labels)
        jobs[arm]()  # builds the graph

    def epoch(job: Any) -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            job()
        return (time.perf_counter() - start) / STEPS * steps

    rounds = [{arm: epoch(job) for arm, job in jobs.items()} for _ in range(ROUNDS)]
    return [{"family": family, "round": i, **seconds} for i, seconds in enumerate(rounds)]


def gains(found: dict[str, Any], family: str, arms: list[str]) -> Any:
    """Return delta-m in percent against one network per task: a row for each arm, a column for each seed."""
    import pandas as pd

    from tlkit.techniques.multi_task import delta_m

    runs = pd.DataFrame(found["runs"]).query("family == @family").set_index(["arm", "seed"])
    tasks = tasks_of(family)
    alone = {seed: {name: runs.loc[(f"only {name}", seed), name] for name in tasks} for seed in SEEDS}
    return pd.DataFrame(
        {seed: {arm: delta_m(runs.loc[(arm, seed)], alone[seed], tasks) for arm in arms} for seed in SEEDS}
    )


def table(found: dict[str, Any], arms: list[str]) -> str:
    """Return a table in Markdown for each family: measures and delta-m with their spread; seconds."""
    import pandas as pd

    runs, lines = pd.DataFrame(found["runs"]), []
    for family, names in FAMILIES.items():
        tasks, own = tasks_of(family), runs[runs["family"] == family].set_index("arm")
        headings = [f"{name} ({tasks[name].measure})" for name in names]
        lines += [f"| {family} | {' | '.join(headings)} | delta-m % | parameters | s per epoch |"]
        lines += ["|---" * (len(names) + 4) + "|"]
        timed = pd.DataFrame(found["seconds"]).query("family == @family")
        separate = timed[[f"only {name}" for name in names]].sum(axis=1)
        change = gains(found, family, arms)
        for arm in ["one network per task", *arms]:
            of_task = {name: f"only {name}" if arm not in arms else arm for name in names}
            cells = [
                f"{own.loc[of_task[name], name].mean():.3f} ± {own.loc[of_task[name], name].std():.3f}"
                for name in names
            ]
            parts = sorted(set(of_task.values()))
            size = sum(own.loc[part, "parameters"].iloc[0] for part in parts)
            seconds = timed[parts].sum(axis=1)
            cells.append(
                "0" if arm not in arms else f"{change.loc[arm].mean():+.1f} ± {change.loc[arm].std():.1f}"
            )
            cells += [f"{size:,}", f"{seconds.median():.2f} ({(seconds / separate).median():.2f})"]
            lines.append(f"| {arm} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def draw(found: dict[str, Any], arms: list[str]) -> None:
    """Draw delta-m of every arm: a point for each seed."""
    import matplotlib.pyplot as plt

    from tlkit import plots

    figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained", sharey=True)
    for ax, family in zip(axes, FAMILIES, strict=True):
        change = gains(found, family, arms)
        quantity = "change against one network per task (delta-m), %"
        plots.compare_arms({arm: change.loc[arm].tolist() for arm in arms}, ax, quantity=quantity)
        ax.axvline(0, color=plots.PALETTE["grey"], linewidth=1)
        ax.set_title(family)
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
