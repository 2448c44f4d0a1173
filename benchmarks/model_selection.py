"""Do transferability scores rank nine backbones as accuracy does? Six data sets, two or three seeds.

    .venv/bin/python benchmarks/model_selection.py

Backbones: EfficientNetLite0, 1 and 2 with ImageNet and with random weights (64 pixels, two seeds); LeNet
with random weights, and trained here on digits/mnist or emoji/twemoji (28 pixels, three seeds), where it is
not evaluated again. A seed draws 240 labelled train images and the random weights.

The scores use the features and the labels of these images. The accuracy is measured on the validation and
test images together, at most 400: (a) with a linear head on the frozen features, trained on the 240; (b)
with the whole network, fine-tuned on them from this head for 30 steps of 32 images (four epochs). As in
`tlkit.train`, BatchNormalization learns if the weights are random and stays frozen if they are pretrained.
The head is the logistic regression that `linear-probe` cross-validates, so (a) suits this score best.

For each data set and seed, the benchmark computes Kendall's rank correlation of a score's values with the
accuracies (means over the seeds), weighted so that the best backbones count most
(`scipy.stats.weightedtau`): 1 for the same order, about 0 for chance. LEEP and NCE need a source head, so
they rank only the three networks that have one. Scores are rounded to six decimals first, so that equal ones
tie. 30 steps are too few for the Lites with random weights, so the correlations are also computed
without these. The script writes `model_selection.json` beside this file
after each job and skips the jobs in it; delete it to start again. It draws the figure `model_selection.png`
from the results, and `tlkit/course/results/model_selection-six.csv`, which lesson 11 reads: one row per score
(`arm`), seed, data set, kind of accuracy (`truth`) and `candidates`, with the correlation `tau`.
"""

import json
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
RESULTS = Path(__file__).with_suffix(".json")
STORED = Path(__file__).parents[1] / "tlkit" / "course" / "results" / "model_selection-six.csv"
DATA = (
    *("emoji/twemoji", "emoji/openmoji", "emoji/line"),
    *("digits/optical", "digits/mnist", "digits/mnist-m"),
)
SOURCES = {"digits/mnist": 10, "emoji/twemoji": 60}  # epochs of LeNet's own training
IMAGENET, RANDOM = "ImageNet", "random"
NETWORKS = {"LeNet": 28, "EfficientNetLite0": 64, "EfficientNetLite1": 64, "EfficientNetLite2": 64}
SEEDS = {"EfficientNetLite0": 2, "EfficientNetLite1": 2, "EfficientNetLite2": 2, "LeNet": 3}
LABELS, UNSEEN, STEPS, BATCH = 240, 400, 30, 32
TRUTHS = {"probe": "a linear head", "tuned": "fine-tuning"}


def main() -> None:
    from joblib import cpu_count
    from tqdm import tqdm

    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(row["network"], row["weights"], row["data"].split("/")[0]) for row in found}
    kinds = [(network, weights) for network in NETWORKS for weights in weights_of(network)]
    jobs = [(*kind, family) for kind in kinds for family in ("emoji", "digits")]
    with ProcessPoolExecutor(cpu_count(), get_context("spawn"), one_thread) as pool:
        running = [pool.submit(measured, *job) for job in jobs if job not in done]
        for future in tqdm(as_completed(running), total=len(running), unit="job"):
            found += future.result()
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    draw(found)
    store(found)


def one_thread() -> None:
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"


def weights_of(network: str) -> list[str]:
    return [IMAGENET, RANDOM] if network != "LeNet" else [RANDOM, *SOURCES]


def measured(network: str, weights: str, family: str) -> list[dict[str, Any]]:
    """Score and train a network from one kind of weights, on each data set of a family with each seed."""
    model, pooled = classifier(network, family, weights)
    return [
        {"network": network, "weights": weights, "data": name, "seed": seed}
        | evaluated(model, pooled, network, weights, name, seed)
        for name in DATA
        if name.startswith(family) and weights != name
        for seed in range(SEEDS[network])
    ]


def evaluated(
    model: Any, pooled: Any, network: str, weights: str, name: str, seed: int
) -> dict[str, dict[str, float] | float]:
    import keras
    import numpy as np

    import tlkit
    from tlkit.backbones import source_head
    from tlkit.challenges.dataset_size import nested_subsets
    from tlkit.challenges.model_selection import scores
    from tlkit.models import backbone_of
    from tlkit.techniques import few_shot

    start = time.process_time()
    train, images, answers = splits(name, NETWORKS[network])
    few = nested_subsets(train, [LABELS], seed=seed)[LABELS]
    keras.utils.set_random_seed(seed)
    tlkit.reinitialize(model)
    if weights != RANDOM:
        backbone_of(model).set_weights(pretrained(network, weights, seed))
    x, unseen = (pooled.predict(each, batch_size=BATCH, verbose=0) for each in (few.images, images))
    theta = source_head(network).predict(x, verbose=0) if weights == IMAGENET else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scores that say they have too few examples
        scored = scores(x, few.labels, source_probabilities=theta)
    head = few_shot.head("logistic regression").fit(x, few.labels)
    model.get_layer("head").set_weights(few_shot.keras_head(head).get_weights())
    epochs = np.tile(np.arange(LABELS), (STEPS * BATCH // LABELS, 1))
    drawn = np.random.default_rng(seed).permuted(epochs, axis=1).ravel()
    model.fit(few.images[drawn], few.labels[drawn], shuffle=False, verbose=0)
    tuned = model.predict(images, batch_size=BATCH, verbose=0).argmax(axis=1) == answers
    return {
        "scores": {each: None if v != v else v for each, v in scored["value"].items()},
        "seconds": {each: None if v != v else v for each, v in scored["seconds"].items()},
        "probe": float(head.score(unseen, answers)),
        "tuned": float(tuned.mean()),
        "cpu": time.process_time() - start,
    }


@cache
def splits(name: str, size: int) -> tuple[Any, Any, Any]:
    """Return the train split, and images and labels that nothing is trained on."""
    import numpy as np

    import tlkit

    data = tlkit.load(name, image_size=size)
    images = np.concatenate([data.test.images, data.validation.images])
    labels = np.concatenate([data.test.labels, data.validation.labels])
    chosen = np.random.default_rng(0).permutation(len(labels))[:UNSEEN]
    return data.train, images[chosen], labels[chosen]


@cache
def pretrained(network: str, weights: str, seed: int) -> list[Any]:
    """Return the weights of a backbone after ImageNet, or after its training on another data set here."""
    import keras

    import tlkit
    from tlkit.models import backbone_of

    size = NETWORKS[network]
    if weights == IMAGENET:
        return tlkit.load_backbone(network, image_size=size).get_weights()
    source = tlkit.load(weights, image_size=size).train
    keras.utils.set_random_seed(seed)
    model = tlkit.build_classifier(network, int(source.labels.max()) + 1, weights=None, image_size=size)
    model.compile("adam", loss="sparse_categorical_crossentropy", steps_per_execution=10)
    model.fit(source.images, source.labels, epochs=SOURCES[weights], verbose=0)
    return backbone_of(model).get_weights()


def classifier(network: str, family: str, weights: str) -> tuple[Any, Any]:
    """Return one network for all trainings from these weights, compiled once; and its pooled features."""
    import keras

    import tlkit
    from tlkit.models import normalizations, pooled
    from tlkit.optimizers import warmup_cosine

    backbone = tlkit.load_backbone(network, weights=None, image_size=NETWORKS[network])
    for layer in normalizations(backbone):
        layer.trainable, layer.momentum = weights == RANDOM, 0.9  # there are tens of steps, not thousands
    features = pooled(backbone)
    classes = 12 if family == "emoji" else 10
    head = keras.Sequential(
        [
            keras.Input(features.output_shape[1:]),
            keras.layers.UnitNormalization(),
            keras.layers.Dense(classes, activation="softmax"),
        ],
        name="head",
    )
    model = tlkit.attach_head(backbone, head)
    model.compile(keras.optimizers.Adam(warmup_cosine(1e-3, STEPS)), loss="sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    return model, features


def correlations(found: list[dict[str, Any]]) -> Any:
    """Return weighted Kendall's tau of each score, data set, seed and truth; chance where all are alike."""
    import numpy as np
    import pandas as pd
    from scipy.stats import weightedtau

    table = pd.DataFrame(found)
    table["backbone"] = table["network"] + " " + table["weights"]
    values = pd.DataFrame(table.pop("scores").tolist(), dtype=float)
    rows = []
    for name, own in table.groupby("data", sort=False):
        truth = own.groupby("backbone")[list(TRUTHS)].mean()
        for seed in range(min(SEEDS.values())):
            here = own[own["seed"] == seed]
            for score in values:
                known = here.assign(value=values.loc[here.index, score].round(6)).dropna(subset="value")
                for kind in TRUTHS:
                    tau = weightedtau(known["value"], truth.loc[known["backbone"], kind]).statistic
                    rows.append((name, seed, score, kind, float(np.nan_to_num(tau)), len(known)))
    return pd.DataFrame(rows, columns=["data", "seed", "score", "truth", "tau", "backbones"])


def table(found: list[dict[str, Any]]) -> str:
    """Return tables in Markdown: each score's correlation and seconds, and the accuracies behind them."""
    import pandas as pd

    taus, rows = correlations(found), pd.DataFrame(found)
    seconds = pd.DataFrame(rows["seconds"].tolist(), dtype=float).median()
    by_data = taus.groupby(["score", "truth", "data"], sort=False)["tau"].mean().unstack("data")
    mean, std = by_data.mean(axis=1).unstack("truth"), by_data.std(axis=1).unstack("truth")
    lines = [f"| score | backbones | {' | '.join(TRUTHS.values())} | median s |", "|---|---|---|---|---|"]
    for score in mean.sort_values("tuned", ascending=False).index:
        cells = [f"{mean.loc[score, kind]:.2f} ± {std.loc[score, kind]:.2f}" for kind in TRUTHS]
        most = taus[taus["score"] == score]["backbones"].max()
        lines.append(f"| {score} | {most} | {' | '.join(cells)} | {seconds[score]:.3f} |")
    for kind, said in TRUTHS.items():
        means = rows.groupby(["network", "weights", "data"], sort=False)[kind].mean().unstack("data")
        lines += ["", f"| {said} | {' | '.join(DATA)} |", "|---" * (len(DATA) + 1) + "|"]
        for place, own in means.iterrows():
            cells = ["–" if value != value else f"{value:.3f}" for value in own[list(DATA)]]
            lines.append(f"| {' '.join(place)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def store(found: list[dict[str, Any]]) -> None:
    """Write the correlations in the format of `tlkit.course.results.stored_results`, without predictions."""
    import pandas as pd

    learned = [row for row in found if row["network"] == "LeNet" or row["weights"] != RANDOM]
    rows = {"all": correlations(found), "without random Lites": correlations(learned)}
    taus = pd.concat(rows, names=["candidates"]).reset_index("candidates").rename(columns={"score": "arm"})
    taus["tau"] = taus["tau"].round(4)
    pd.concat([pd.DataFrame([{"arm": "labels"}]), taus.assign(test="")]).to_csv(STORED, index=False)


def draw(found: list[dict[str, Any]]) -> None:
    """Draw each score's correlation with both truths: a point a data set, the mean over them as a tick."""
    import matplotlib.pyplot as plt

    from tlkit import plots

    taus = correlations(found)
    by_data = taus.groupby(["truth", "score", "data"], sort=False)["tau"].mean()
    order = by_data["tuned"].groupby("score").mean().sort_values(ascending=False).index
    figure, axes = plt.subplots(1, 2, figsize=(11, 6.2), sharey=True, layout="constrained")
    for ax, (kind, said) in zip(axes, TRUTHS.items(), strict=True):
        few = {each: " (3 backbones)" if each in ("leep", "nce") else "" for each in order}
        shown = {each + few[each]: by_data[kind][each].tolist() for each in order}
        plots.compare_arms(shown, ax, quantity="weighted Kendall's tau with accuracy")
        ax.axvline(0, color=plots.PALETTE["grey"], linewidth=1)
        ax.set_title(f"accuracy of {said}", fontsize=11)
    figure.savefig(RESULTS.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
