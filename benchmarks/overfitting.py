"""Compare every regulariser with plain fine-tuning: 5 and up to 20 labels per class of emoji, five seeds.

    .venv/bin/python benchmarks/overfitting.py

The data are Twemoji images of 12 classes at 64 pixels; the network is EfficientNetLite0 with ImageNet
weights, of which block 6 and all above it learn. The frozen part below runs once for each image, and the
arms train on its feature maps (mixed and augmented images are made first, as images). Each training has 30
steps of 32 images and the settings of `tlkit.fine_tune`: Adam with warm-up and cosine, BatchNormalization
frozen. All arms of a seed have the same labels, the same order and the same head, a logistic regression that
was trained on the frozen features. So plain fine-tuning (`none`) is LP-FT here. The arm `random head` shows
what the trained head is worth, and `frozen`, the trained head alone, shows what fine-tuning is worth. No
validation images are used, because with few labels theirs would count as labels as well; both held-out
splits (192 images) are measured once, at the end. The strengths are the defaults of tlkit, and nothing was
tuned. `delta` with channel attention is left out, because the attention alone takes longer than a training.
The seconds of processor time are those of the training. Small classes have fewer than 20 training images, so
the larger setting has 214 labels. The script writes `overfitting.csv` beside this file after each cell and
skips the cells in it; delete it to start again. It draws the figure `overfitting.png` from the table.
"""

import os
import time
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# small steps: two threads would wait for each other
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
RESULTS = Path(__file__).with_suffix(".csv")
SEEDS, LABELS = range(5), (5, 20)
SIZE, STEPS, BATCH, LEARNING_RATE, BACKBONE, BELOW = 64, 30, 32, 1e-3, "EfficientNetLite0", "block5"
CONTROL, RANDOM_HEAD, FROZEN = "none", "random head", "frozen"
OMITTED = ("delta", "lp-ft")


def main() -> None:
    import tlkit
    from tlkit.challenges.overfitting import REGULARIZERS

    names = [each.name for each in REGULARIZERS if each.name not in OMITTED]
    names += [RANDOM_HEAD, FROZEN]
    arms = {name: partial(cell, name) for name in names}
    found = tlkit.compare(arms, seeds=SEEDS, settings={"labels": LABELS}, keep=RESULTS, progress=True)
    print(markdown(found.table))
    draw(found.table)


def cell(name: str, seed: int, labels: int) -> dict[str, float]:
    """Train one arm, and measure it on the training and on the held-out images."""
    import numpy as np

    from tlkit.challenges.overfitting import expected_calibration_error

    few = chosen(labels, seed)
    began = time.process_time()
    model = trained(name, seed, labels)
    cpu_seconds = time.process_time() - began
    maps, answers = held_out()
    known = model.predict(below(few.images), batch_size=256, verbose=0).argmax(axis=1) == few.labels
    p = model.predict(maps, batch_size=256, verbose=0)
    return {
        "accuracy": float(np.mean(p.argmax(axis=1) == answers)),
        "train_accuracy": float(known.mean()),
        "ece": expected_calibration_error(p, answers),
        "cpu_seconds": cpu_seconds,
    }


def trained(name: str, seed: int, labels: int) -> Any:
    """Return the classifier of maps of an arm after its training with these labels."""
    import keras

    few = chosen(labels, seed)
    model, learner, options, start = network(name, (labels, seed) if name == "co-tuning" else None)
    learner.set_weights(start)
    head = random_head(seed) if name == RANDOM_HEAD else probe(labels, seed)
    model.get_layer("head").set_weights(head)
    if name == FROZEN:
        return model
    before = model.get_weights()
    for variable in learner.optimizer.variables:  # the learning rate is a schedule: all of them start at zero
        variable.assign(keras.ops.zeros_like(variable))
    keras.utils.set_random_seed(seed)
    learner.fit(*shown(few, seed, name, options), batch_size=BATCH, shuffle=False, verbose=0)
    if name == "wise-ft":
        model.set_weights([(a + b) / 2 for a, b in zip(before, model.get_weights(), strict=True)])
    return model


def shown(few: Any, seed: int, name: str, options: Any) -> tuple[Any, Any]:
    """Return the maps and labels of all steps, in order."""
    import numpy as np

    import tlkit

    rng = np.random.default_rng(seed)
    epochs = -(-STEPS * BATCH // len(few))
    order = np.concatenate([rng.permutation(len(few)) for _ in range(epochs)])[: STEPS * BATCH]
    y = few.labels[order]
    if options.get("mix") or options.get("loss"):
        y = np.eye(len(data().class_names), dtype="float32")[y]
    if name == "augmentation":
        return below(np.array(tlkit.augmentation()(few.images[order].astype("float32"), training=True))), y
    if mix := options.get("mix"):
        starts = range(0, len(order), BATCH)
        pairs = [mix(few.images[order[i : i + BATCH]], y[i : i + BATCH]) for i in starts]
        x, y = (np.concatenate(each) for each in zip(*pairs, strict=True))
        return below(x), y
    return below(few.images)[order], y


@lru_cache(maxsize=1)
def network(name: str, of: tuple[int, int] | None) -> tuple[Any, Any, Any, list[Any]]:
    """Return classifier of maps, learner, options of training and first weights: a graph for an arm.

    Co-tuning has a graph for each choice of labels (`of`), since its relation of the classes comes from them.
    """
    import keras

    import tlkit
    from tlkit import backbones
    from tlkit.challenges.overfitting import REGULARIZERS, CoTuning, class_relationship
    from tlkit.optimizers import adam

    keras.utils.set_random_seed(0)
    model = tlkit.build_classifier(halves()[1], len(data().class_names), dropout=0.0)
    model.get_layer(BACKBONE).set_weights(pretrained())
    own = None if name in (RANDOM_HEAD, FROZEN) else REGULARIZERS.find(name)
    options = own.training() if own else {}
    learner = model
    if of:
        head, few = backbones.source_head(BACKBONE), chosen(*of)
        relationship = class_relationship(head.predict(features(*of), verbose=0), few.labels, 12)
        learner = CoTuning(model, head, relationship)
    elif own and name != "augmentation":
        learner = own.apply(model, None, None)
    tlkit.unfreeze(learner)
    optimizer = options.get("optimizer", adam)(STEPS, LEARNING_RATE)
    loss = "categorical_crossentropy" if "mix" in options else "sparse_categorical_crossentropy"
    learner.compile(optimizer, loss=options.get("loss", loss))
    optimizer.build(learner.trainable_variables)
    return model, learner, options, learner.get_weights()


def halves() -> tuple[Any, Any]:
    """Return the part of the backbone that is frozen, and a new copy of the part that learns."""
    import keras

    import tlkit
    from tlkit import backbones

    whole = tlkit.load_backbone(BACKBONE, image_size=SIZE)
    cut = backbones.stages(whole)[BELOW][-1].output
    return keras.Model(whole.inputs, cut), keras.Model(cut, whole.outputs[0], name=BACKBONE)


@cache
def pretrained() -> list[Any]:
    return halves()[1].get_weights()


@cache
def frozen_part() -> Any:
    return halves()[0]


def below(images: Any) -> Any:
    return frozen_part().predict(images, batch_size=64, verbose=0)


@cache
def data() -> Any:
    import tlkit

    return tlkit.load("emoji/twemoji", image_size=SIZE)


@cache
def held_out() -> tuple[Any, Any]:
    import numpy as np

    splits = data().validation, data().test
    return below(np.concatenate([s.images for s in splits])), np.concatenate([s.labels for s in splits])


@cache
def chosen(labels: int, seed: int) -> Any:
    """Return training images, so many of each class or all that it has; the fewer lie in the more."""
    import numpy as np

    train = data().train
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(train.labels == each))[:labels] for each in range(12)]
    return train.subset(np.sort(np.concatenate(members)))


@cache
def features(labels: int, seed: int) -> Any:
    import tlkit

    return tlkit.extract(tlkit.load_backbone(BACKBONE, image_size=SIZE), chosen(labels, seed))


@cache
def probe(labels: int, seed: int) -> list[Any]:
    """Return kernel and bias of a logistic regression on frozen features: the head that is trained first."""
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(max_iter=1000).fit(features(labels, seed), chosen(labels, seed).labels)
    return [fit.coef_.T.astype("float32"), fit.intercept_.astype("float32")]


@cache
def random_head(seed: int) -> list[Any]:
    import keras

    keras.utils.set_random_seed(seed)
    layer = keras.layers.Dense(len(data().class_names))
    layer.build((None, 1280))
    return layer.get_weights()


def markdown(table: Any) -> str:
    """Return a table in Markdown: means over the seeds, and differences from plain fine-tuning by pairs."""
    import tlkit

    mean = table.groupby(["labels", "arm"], sort=False).mean(numeric_only=True)
    pairs = tlkit.paired(table, CONTROL, by="labels")
    lines = []
    for labels in LABELS:
        lines += [
            f"| {labels} labels per class | accuracy | difference | train | ECE | CPU s |",
            "|---|---|---|---|---|---|",
        ]
        for arm in dict.fromkeys(table["arm"]):
            row, difference = mean.loc[labels, arm], "control"
            if arm != CONTROL:
                pair = pairs.loc[labels, arm]
                difference = f"{pair['difference']:+.3f} ({pair['low']:+.3f} to {pair['high']:+.3f})"
            lines.append(
                f"| {arm} | {row['accuracy']:.3f} | {difference} | {row['train_accuracy']:.3f} "
                f"| {row['ece']:.3f} | {row['cpu_seconds']:.1f} |"
            )
        lines.append("")
    return "\n".join(lines)


def draw(table: Any) -> None:
    """Draw for each arm the paired differences in accuracy and in calibration error, a colour a setting."""
    import matplotlib.pyplot as plt

    import tlkit
    from tlkit import plots

    table = table.rename(columns={"labels": "labels per class"})
    figure, axes = plt.subplots(1, 2, figsize=(11, 7), sharey=True, layout="constrained")
    for ax, (value, quantity) in zip(
        axes, {"accuracy": "accuracy", "ece": "calibration error (ECE)"}.items(), strict=True
    ):
        pairs = tlkit.paired(table, CONTROL, value, by="labels per class")
        plots.differences(pairs, ax, quantity=f"{quantity}: difference from plain fine-tuning")
        ax.get_legend().set_loc("lower left")
    axes[1].get_legend().remove()
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
