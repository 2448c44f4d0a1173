"""Compare every self-supervised method with random and ImageNet weights: digits and emoji, five seeds.

    .venv/bin/python benchmarks/self_supervised.py

Digits: 20 pixels, 4,000 images without labels (train and validation). Emoji: 32 pixels, 1,179 images of all
three styles. The network is LeNetBN. Each method has the same epochs, learning rate, batch size and views,
and its own defaults; the last epoch counts. Only the `redundancy` of Barlow Twins was chosen on these
digits. Frozen features are evaluated on the test images by 5 nearest neighbours and by a linear probe that
learned all train labels. With few labels, four arms are compared: a linear head on the features of SimCLR;
the whole network fine-tuned from there (linear probing, then fine-tuning: Kumar et al. 2022); and both from
random weights. ImageNet weights of EfficientNetLite0 on larger images (digits 64 pixels, emoji 128) serve as
a reference. The seconds of one processor are for the whole pretraining. The script writes
`self_supervised.json` beside this file after each arm and skips the arms in it; delete it to start again. It
draws the figure `self_supervised.png` from the results.
"""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
RESULTS = Path(__file__).with_suffix(".json")
SEEDS, BATCH, LEARNING_RATE = range(5), 128, 2e-3
NETWORK = "LeNetBN"
FAMILIES = {"digits": ("digits/mnist", 20, 64), "emoji": ("emoji/styles", 32, 128)}
EPOCHS = {"digits": 15, "emoji": 20}
LABELS = {"digits": (1, 5, 10, 50), "emoji": (1, 5, 10)}
RANDOM, IMAGENET, FROM = "random weights", "ImageNet weights", "simclr"
FROZEN, TUNED = "SimCLR, frozen", "SimCLR, fine-tuned"
SCRATCH, CEILING = "random weights, fine-tuned", "random weights, all labels"
TUNING = {"steps": 300, "batch": 32}


def main() -> None:
    from joblib import cpu_count
    from tqdm import tqdm

    from tlkit.techniques.self_supervised import METHODS

    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"frozen": [], "few": []}
    arms = [RANDOM, IMAGENET, *(method.name for method in METHODS)]
    done = {(row["family"], row["arm"]) for row in found["frozen"]}
    jobs = [(family, arm) for family in FAMILIES for arm in arms if (family, arm) not in done]
    with ProcessPoolExecutor(cpu_count(), get_context("spawn"), one_thread) as pool:
        running = [pool.submit(measure, *job) for job in jobs]
        for future in tqdm(as_completed(running), total=len(running), unit="arm"):
            for name, rows in future.result().items():
                found[name] += rows
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found, arms))
    draw(found, arms)


def one_thread() -> None:
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"


def measure(family: str, arm: str) -> dict[str, list[dict[str, Any]]]:
    """Pretrain by one method with every seed and evaluate the features; fine-tune those of SimCLR."""
    frozen, few = [], []
    for seed, backbone, seconds in pretrained(family, arm):
        size = FAMILIES[family][2 if arm == IMAGENET else 1]
        frozen.append(
            {
                "family": family,
                "arm": arm,
                "seed": seed,
                **evaluated(backbone, family, size),
                "seconds": seconds,
            }
        )
        if arm == FROM:
            few += fine_tuned(family, seed, backbone)
    return {"frozen": frozen, "few": few}


def pretrained(family: str, arm: str) -> Iterator[tuple[int, Any, float]]:
    """Yield for every seed the backbone as the method left it, and how long that took."""
    import keras

    import tlkit
    from tlkit.optimizers import warmup_cosine
    from tlkit.techniques import self_supervised as ss

    _, size, large = FAMILIES[family]
    if arm == IMAGENET:
        yield 0, tlkit.load_backbone("EfficientNetLite0", image_size=large), 0.0
        return
    backbone = network(size)
    if arm == RANDOM:
        for seed in SEEDS:
            keras.utils.set_random_seed(seed)
            yield seed, network(size), 0.0
        return
    images, method = unlabelled(family), ss.METHODS.find(arm)
    digits = {"flip": False, "colour": 0, "grey": 0}
    views = ss.random_views(crop=0.4, turn=0.06, **(digits if family == "digits" else {}))
    reconstructs = issubclass(method.target, ss.Reconstruction)
    objective = method.build() if reconstructs else method.build(views)
    learner = ss.SelfSupervised(backbone, objective)
    schedule = warmup_cosine(LEARNING_RATE, EPOCHS[family] * (len(images) // BATCH))
    learner.compile(keras.optimizers.Adam(schedule))
    learner.fit(images[:BATCH], batch_size=BATCH, verbose=0)  # builds the graph
    for seed in SEEDS:
        keras.utils.set_random_seed(seed)
        tlkit.reinitialize(learner)
        start = time.process_time()
        learner.fit(images, batch_size=BATCH, epochs=EPOCHS[family], seed=seed, verbose=0)
        yield seed, backbone, time.process_time() - start


def network(size: int) -> Any:
    import tlkit
    from tlkit.models import normalizations

    backbone = tlkit.load_backbone(NETWORK, weights=None, image_size=size)
    for layer in normalizations(backbone):
        layer.momentum = 0.9  # as in tlkit.pretrain: there are hundreds of steps, not tens of thousands
    return backbone


@cache
def data(family: str, size: int) -> Any:
    import tlkit

    return tlkit.load(FAMILIES[family][0], image_size=size)


def unlabelled(family: str) -> Any:
    import numpy as np

    splits = data(family, FAMILIES[family][1])
    return np.concatenate([splits.train.images, splits.validation.images])


def evaluated(backbone: Any, family: str, size: int) -> dict[str, float]:
    """Return accuracies on the test images, and the effective rank of their features."""
    import tlkit
    from tlkit.techniques import few_shot
    from tlkit.techniques.self_supervised import effective_rank

    splits = data(family, size)
    x, test = (tlkit.extract(backbone, split, keep=False) for split in (splits.train, splits.test))
    y, answers = splits.train.labels, splits.test.labels
    knn, probe = (few_shot.head(name).fit(x, y) for name in ("nearest neighbours", "logistic regression"))
    return {
        "knn": knn.score(test, answers),
        "probe": probe.score(test, answers),
        "effective_rank": effective_rank(test),
    }


def fine_tuned(family: str, seed: int, backbone: Any) -> list[dict[str, Any]]:
    """Train with few labels from these weights and from random ones; and from random ones with all."""
    splits, start = data(family, FAMILIES[family][1]), backbone.get_weights()
    rows = []
    for labels in LABELS[family]:
        few = splits.train.few(labels, seed=seed)
        frozen, tuned = probed_then_tuned(family, seed, few, start)
        scratch = probed_then_tuned(family, seed, few, None)[1]
        found = {FROZEN: frozen, TUNED: tuned, SCRATCH: scratch}
        rows += [{"arm": arm, "labels": labels, "accuracy": accuracy} for arm, accuracy in found.items()]
    ceiling = probed_then_tuned(family, seed, splits.train, None, times=5)[1]
    rows.append({"arm": CEILING, "labels": None, "accuracy": ceiling})
    return [{"family": family, "seed": seed} | row for row in rows]


def probed_then_tuned(family: str, seed: int, few: Any, start: Any, times: int = 1) -> tuple[float, float]:
    """Return the test accuracy of a linear head on these weights, and after the whole was fine-tuned."""
    import keras
    import numpy as np

    import tlkit
    from tlkit.models import backbone_of
    from tlkit.techniques import few_shot

    test, model = data(family, FAMILIES[family][1]).test, classifier(family)
    body, head = backbone_of(model), model.get_layer("head")
    keras.utils.set_random_seed(seed)
    tlkit.reinitialize(model)
    if start is not None:
        body.set_weights(start)
    x, unseen = (tlkit.extract(body, split, keep=False) for split in (few, test))
    probe = few_shot.head("logistic regression").fit(x, few.labels)
    head.set_weights(few_shot.keras_head(probe).get_weights())
    drawn = np.random.default_rng(seed).integers(0, len(few), times * TUNING["steps"] * TUNING["batch"])
    model.fit(few.images[drawn], few.labels[drawn], batch_size=TUNING["batch"], shuffle=False, verbose=0)
    right = model.predict(test.images, batch_size=256, verbose=0).argmax(axis=1) == test.labels
    return probe.score(unseen, test.labels), float(right.mean())


@cache
def classifier(family: str) -> Any:
    """Return one network for all few-label trainings, so that its graph is built once."""
    import keras

    import tlkit

    backbone, classes = network(FAMILIES[family][1]), len(data(family, FAMILIES[family][1]).class_names)
    head = keras.Sequential(
        [
            keras.Input(backbone.output_shape[1:]),
            keras.layers.UnitNormalization(),
            keras.layers.Dense(classes, activation="softmax"),
        ],
        name="head",
    )
    model = tlkit.attach_head(backbone, head)
    model.compile("adam", loss="sparse_categorical_crossentropy", steps_per_execution=25)
    return model


def table(found: dict[str, Any], arms: list[str]) -> str:
    """Return tables in Markdown: frozen features by method, and accuracy by labels."""
    import pandas as pd

    frozen, few, lines = pd.DataFrame(found["frozen"]), pd.DataFrame(found["few"]), []

    def cell(values: Any, digits: int = 3) -> str:
        spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
        return f"{values.mean():.{digits}f}{spread}"

    for family in FAMILIES:
        lines += [f"| {family}, frozen | k-NN | linear probe | effective rank | s |", "|---|---|---|---|---|"]
        for arm in arms:
            own = frozen[(frozen["family"] == family) & (frozen["arm"] == arm)]
            cells = [
                cell(own["knn"]),
                cell(own["probe"]),
                cell(own["effective_rank"], 1),
                cell(own["seconds"], 0),
            ]
            lines.append(f"| {arm} | {' | '.join(cells)} |")
        own = few[few["family"] == family]
        labels = [each for each in own["labels"].unique() if each == each]
        lines += ["", f"| {family}, labels per class | {' | '.join(f'{each:.0f}' for each in labels)} |"]
        lines += ["|---" * (len(labels) + 1) + "|"]
        for arm in (FROZEN, TUNED, SCRATCH):
            cells = [cell(own[(own["arm"] == arm) & (own["labels"] == each)]["accuracy"]) for each in labels]
            lines.append(f"| {arm} | {' | '.join(cells)} |")
        lines += [f"| {CEILING} | {cell(own[own['arm'] == CEILING]['accuracy'])} |", ""]
    return "\n".join(lines)


def draw(found: dict[str, Any], arms: list[str]) -> None:
    """Draw the k-NN accuracy of every method above, accuracy by the number of labels below."""
    import matplotlib.pyplot as plt
    import pandas as pd

    from tlkit import plots

    frozen, few = pd.DataFrame(found["frozen"]), pd.DataFrame(found["few"])
    figure, axes = plt.subplots(2, 2, figsize=(11, 8.5), layout="constrained", height_ratios=(5, 3))
    for (above, below), family in zip(axes.T, FAMILIES, strict=True):
        own = frozen[frozen["family"] == family].set_index("arm")
        shown = {arm: own.loc[[arm], "knn"].tolist() for arm in arms}
        plots.compare_arms(shown, above, quantity="test accuracy of 5 nearest neighbours, frozen features")
        above.set_title(family)
        own = few[few["family"] == family]
        plots.curves(own.dropna(), "labels", ax=below, setting="labels per class", quantity="test accuracy")
        ceiling = own[own["arm"] == CEILING]["accuracy"].mean()
        below.axhline(ceiling, color=plots.PALETTE["grey"], linestyle="--", label="all labels")
        below.legend(frameon=False, fontsize=9, loc="lower right")
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
