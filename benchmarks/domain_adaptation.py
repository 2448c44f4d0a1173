"""Compare every method of domain adaptation with the source alone and the ceiling, on eight tasks.

    .venv/bin/python benchmarks/domain_adaptation.py [--seeds 5] [--arms mcc,auto] [--tasks digits]

- Digits: LeNetBN from random weights, trained end to end on 1,000 images per domain.
- Emoji (297 images per domain) and solar cells: the head alone, on features of a frozen EfficientNetLite0
  at 128 pixels. The test splits of solar cells are drawn by the seed.

Each method is run with the defaults of `tlkit.adapt(source, target, method=...)`, and `auto` is the default
of `tlkit.adapt`. Nothing is chosen for a single task. The last epoch counts.

- `source only`: on features, a regularised logistic regression on the source (`tlkit.solve_head`); for
  digits, the same network, trained on the source for as many steps as the methods.
- `ceiling`: the same, trained on the labels of the target's training images.
- `auto end to end` runs only on request (`--arms "auto end to end" --tasks emoji,solar`), because it takes
  minutes. It compares EfficientNetLite0, fine-tuned on the source, without and with adaptation.

Labels of the target serve only the ceiling and the evaluation. But `auto` was developed on these tasks, on
the digits too, so its figures are no held-out test.

The committed `domain_adaptation.csv` has five seeds of the emoji and solar cells, and one of the digits and
of `auto end to end`.

`cpu_seconds` is the processor time of a run on one core, with the training on the source where the method
starts from it. The script appends each run to `domain_adaptation.csv` and skips runs that are already
recorded. It prints a table and draws `domain_adaptation.png`.
"""

import os
import time
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
HERE = Path(__file__)
IMAGES, SIZE = 1000, 128
TASKS = [
    ("digits/mnist", "digits/mnist-m"),
    ("digits/mnist", "digits/optical"),
    ("digits/optical", "digits/mnist"),
    ("emoji/twemoji", "emoji/openmoji"),
    ("emoji/twemoji", "emoji/line"),
    ("emoji/openmoji", "emoji/line"),
    ("solar/mono", "solar/poly"),
    ("solar/poly", "solar/mono"),
]
CONTROL, CEILING, AUTO, END_TO_END = "source only", "ceiling", "auto", "auto end to end"
COMBINED = ("cdan-e+mcc", "dann+mcc", "adamatch+mcc", "pseudo-label+mcc", "cdan-e+pseudo-label")


def main(seeds: int, arms: list[str], tasks: list[str], workers: int) -> None:
    import pandas as pd

    import tlkit

    tables = [
        tlkit.compare(
            {name: partial(cell, name) for name in arms},
            seeds=[seed],  # one seed of everything before the next
            settings={"task": [name(*task) for task in TASKS if task[0].startswith(tuple(tasks))]},
            keep=HERE.with_suffix(".csv"),
            workers=workers,
            progress=True,
        ).table
        for seed in range(seeds)
    ]
    table = pd.concat(tables)
    if END_TO_END in arms:
        print(fine_tuned(table[table["arm"] == END_TO_END]))
        return
    print(markdown(table))
    draw(table)


def name(source: str, target: str) -> str:
    """Return what a task is called."""
    return f"{source} to {target.split('/')[1]}"


def cell(arm: str, seed: int, task: str) -> dict[str, float]:
    """Train one arm, and return accuracy and balanced accuracy (0 to 1) on the target's test images."""
    from tlkit.reports.measures import point_measures

    source, target = next(pair for pair in TASKS if name(*pair) == task)
    labelled, others = load(source, seed), load(target, seed)
    digits = source.startswith("digits")
    began = time.process_time()
    if arm in (AUTO, END_TO_END):
        predicted, more = by_vote(labelled, others, digits, seed, on_features=arm == AUTO)
    else:
        more = {}
        run = by_network if digits or arm not in (CONTROL, CEILING) else by_solved_head
        predicted = run(arm, labelled, others, digits, seed)
    more["cpu_seconds"] = time.process_time() - began
    return point_measures(others.test.labels, predicted) | more


def load(name: str, seed: int) -> Any:
    """Return a data set without a validation split: its images are part of the training images."""
    from dataclasses import replace

    import tlkit
    from tlkit.experiments.adaptation_arms import with_all_labels

    if not name.startswith("digits"):
        return with_all_labels(tlkit.load(name, image_size=SIZE, seed=seed))
    data = tlkit.load(name)
    parts = {part: each.subset(slice(IMAGES)) for part, each in data.splits.items() if part != "validation"}
    return replace(data, **parts, validation=None)


def by_vote(
    source: Any, target: Any, digits: bool, seed: int, on_features: bool
) -> tuple[Any, dict[str, float]]:
    """Adapt with the defaults of `tlkit.adapt`; return the classes and the accuracy of its own control."""
    from dataclasses import replace

    import tlkit

    test = replace(target, train=target.test, validation=None, test=None)
    options: dict[str, Any] = {"on_features": on_features}
    if digits:
        options = {"backbone": "LeNetBN", "weights": None, "minutes": None}
    found = tlkit.adapt(source, target, evaluate=test, seed=seed, **options)
    predicted = found.probabilities["target"].argmax(axis=1)
    return predicted, {"control": found.accuracies["source_only"], "best_voter": found.accuracies["oracle"]}


def by_solved_head(arm: str, source: Any, target: Any, digits: bool, seed: int) -> Any:
    """Return the classes by a logistic regression on the features of the source or the target."""
    from tlkit.techniques.logistic_regression import solve

    known = source if arm == CONTROL else target
    head = solve(features(known.train), known.train.labels, len(source.class_names))
    return head.predict(features(target.test)).argmax(axis=1)


def by_network(arm: str, source: Any, target: Any, digits: bool, seed: int) -> Any:
    """Return the classes by a network that one method trained, or the source or the target alone."""
    import tlkit
    from tlkit.experiments.adaptation_arms import COMPILE, Arms
    from tlkit.techniques.domain_adaptation import METHODS, DomainAdapter

    backbone = tlkit.load_backbone("LeNetBN", weights=None) if digits else network()
    arms = Arms(backbone, len(source.class_names), not digits, not digits, None, seed, 0)
    _, trained = arms.build()
    known = (target if arm == CEILING else source).train
    pairs = arms.pairs(arms.inputs(known), known.labels, arms.inputs(target.train))
    if arm in (CONTROL, CEILING):
        arms.fit(trained, (arms.inputs(known), known.labels), pairs)
    else:
        adapter, epochs = DomainAdapter(trained, METHODS.find(arm).build()), arms.epochs_for(len(pairs))
        if adapter.alignment.starts_from_source:
            arms.fit(trained, (arms.inputs(known), known.labels), pairs)
        adapter.compile(arms.optimizer(epochs * len(pairs)), **COMPILE)
        adapter.fit(pairs, epochs=epochs, source_epochs=0, verbose=0)
    return trained.predict(arms.inputs(target.test), verbose=0).argmax(axis=1)


def network() -> Any:
    """Return the backbone whose features are used."""
    import tlkit

    return tlkit.load_backbone("EfficientNetLite0", image_size=SIZE)


def features(split: Any) -> Any:
    """Return the features of a split, float32 `(n, d)`."""
    import tlkit

    return tlkit.extract(network(), split)


def gaps(table: Any) -> tuple[Any, Any]:
    """Return the fraction of the gap that each arm closes on each task, and whether it differs from 0.

    The gap is that from source only to ceiling, in the mean over the seeds. It differs from 0 if the 95 %
    interval of the difference to source only, paired by seed, excludes 0.
    """
    import tlkit

    mean = table.groupby(["arm", "task"])["accuracy"].mean().unstack()
    low, high = mean.loc[CONTROL], mean.loc[CEILING]
    gains = tlkit.paired(table, CONTROL, by="task").reset_index()
    gains["clear"] = (gains["low"] > 0) | (gains["high"] < 0)
    shown = [arm for arm in mean.index if arm not in (CONTROL, CEILING)]
    closed = ((mean - low) / (high - low)).loc[shown]
    order = closed.mean(axis=1).sort_values(ascending=False).index
    names = [name(*task) for task in TASKS if name(*task) in mean.columns]
    clear = gains.pivot(index="arm", columns="task", values="clear")
    return closed.loc[order, names], clear.loc[order, names]


def markdown(table: Any) -> str:
    """Return a table in Markdown: mean accuracy in percent and half of its 95 % interval, over the seeds.

    `regret` is by how many points an arm is below the best single method of each task, in the mean and in
    the worst case. `s` is the median of the seconds on one core, for digits and for features.
    """
    from tlkit.reports.statistics import mean_interval

    closed, clear = gaps(table)
    mean = 100 * table.groupby(["arm", "task"])["accuracy"].mean().unstack()[closed.columns]
    singles = [arm for arm in closed.index if arm != AUTO]
    regret = mean.loc[singles].max() - mean
    seconds = table.assign(digits=table["task"].str.startswith("digits")).pivot_table(
        index="arm", columns="digits", values="cpu_seconds", aggfunc="median"
    )
    head = ["arm", *closed.columns, "gap closed", "regret, mean", "worst", *("s" for _ in seconds)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for arm in [CONTROL, *closed.index, CEILING]:
        cells = []
        for task in closed.columns:
            values = 100 * table.query("arm == @arm and task == @task")["accuracy"].to_numpy()
            low, high = mean_interval(values)
            sign = ("" if clear.loc[arm, task] else " ?") if arm in closed.index else ""
            cells.append(f"{values.mean():.1f} ± {(high - low) / 2:.1f}{sign}")
        part = f"{closed.loc[arm].mean():.0%}" if arm in closed.index else ""
        worst = [f"{regret.loc[arm].mean():.1f}", f"{regret.loc[arm].max():.1f}"]
        times = [f"{seconds.loc[arm, each]:.1f}" for each in seconds]
        lines.append(f"| {' | '.join([arm, *cells, part, *worst, *times])} |")
    return "\n".join(lines)


def fine_tuned(table: Any) -> str:
    """Return a Markdown table: accuracy in percent without and with adaptation, and the gain."""
    import pandas as pd

    from tlkit.reports.statistics import mean_interval

    rows = []
    for task, found in table.groupby("task", sort=False):
        low, high = mean_interval(100 * (found["accuracy"] - found["control"]).to_numpy())
        before, after = 100 * found["control"].mean(), 100 * found["accuracy"].mean()
        gain = f"{after - before:+.1f} ({low:+.1f} to {high:+.1f})"
        rows.append({"task": task, "fine-tuned on the source": before, "adapted": after, "gain": gain})
    return str(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".1f"))


def draw(table: Any) -> None:
    """Draw how much of the gap between source only and ceiling each method closes on each task."""
    import matplotlib.pyplot as plt
    import numpy as np

    closed, clear = gaps(table)
    mean = table.groupby(["arm", "task"])["accuracy"].mean().unstack()
    figure = plt.figure(figsize=(10, 8.5), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(closed, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (row, column), fraction in np.ndenumerate(closed.to_numpy()):
        if np.isnan(fraction):
            continue  # not run
        said = f"{fraction:.0%}" if clear.iloc[row, column] else f"({fraction:.0%})"
        colour = "white" if abs(fraction) > 0.6 else "black"
        ax.text(column, row, said, ha="center", va="center", fontsize=8, color=colour)
    headings = [
        f"{task.split('/')[1]}\n{mean.loc[CONTROL, task]:.0%} to {mean.loc[CEILING, task]:.0%}".replace(
            " to ", "\nto ", 1
        )
        for task in closed.columns
    ]
    ax.set_xticks(range(len(headings)), headings, fontsize=8)
    ax.set_yticks(range(len(closed)), closed.index)
    for label in ax.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == AUTO else "normal")
    figure.colorbar(image, label="fraction of the gap from source only to ceiling that is closed")
    figure.savefig(HERE.with_suffix(".png"), dpi=110)


def every_arm() -> list[str]:
    """Return the names of all arms but `auto end to end`; the slowest comes last."""
    from tlkit.techniques.domain_adaptation.methods import METHODS

    return [CONTROL, CEILING, *METHODS.names, *COMBINED, AUTO]


if __name__ == "__main__":
    parser = ArgumentParser(description="Compare the methods of domain adaptation on eight tasks.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", default=",".join(every_arm()))
    parser.add_argument("--tasks", default="digits,emoji,solar", help="families of tasks")
    parser.add_argument("--workers", type=int, default=2, help="processes at once, each on one core")
    given = parser.parse_args()
    if END_TO_END in given.arms and "digits" in given.tasks:
        parser.error(f"{END_TO_END!r} needs a pretrained network: --tasks emoji,solar")
    arms = dict.fromkeys([CONTROL, CEILING, *given.arms.split(",")])  # the gap needs both
    main(given.seeds, list(arms), given.tasks.split(","), given.workers)
