"""Which method of domain adaptation should be the default? Every method on every pair of domains.

    TLKIT_DATA=../shared/data .venv/bin/python benchmarks/domain_adaptation.py [--seeds 3] [--kind features]

- `features`: a head on features of a frozen EfficientNetLite0 at 128 pixels. Pairs of emoji vendors, of solar
  cells, and of clothing photographs with their renderings as edges, as a pencil sketch, with other colours,
  and tiny. `*` marks targets whose classes are unbalanced, up to 12 to 1.
- `end to end`: LeNetBN from random weights on 1,000 images per domain. Digits, and MNIST over photographs,
  with colours, and with noise.

Each method runs with the settings of `tlkit.adapt(source, target, method=...)`; no setting is chosen here.
Settings may be tried on the pairs in TUNED; the others are reported apart. Source and target never show the
same thing: the images of a set are divided by the seed. Accuracy is that on the unlabelled target
images.

The script appends to `domain_adaptation.csv` after each pair, skips what it has, prints a summary and draws
`domain_adaptation.png`. The columns are:

    pair, kind, arm, seed          the pair of domains; `features` or `end to end`; the method; the seed
    accuracy, balanced_accuracy    on the target, 0 to 1
    classes_used                   classes that are predicted at least a tenth as often as the average class
    entropy, snd                   validators, which need no target labels; higher is better
    seconds                        of the training
"""

import os
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import pandas as pd
from scipy import ndimage

HERE = Path(__file__)
TABLE = HERE.with_suffix(".csv")
SOURCE_ONLY, FEATURES, END_TO_END = "source only", "features", "end to end"
ARMS = {
    FEATURES: ["mcc", "cdan-e+mcc", "adamatch+mcc", "jan", "cdan-e", "dann", "entropy"],
    END_TO_END: ["adamatch+mcc", "pseudo-label+mcc", "mcc"],
}
STYLES = ("twemoji", "openmoji", "line")
PHOTOS = "clothing photos"
PAIRS = {
    FEATURES: [
        *((f"emoji/{one}", f"emoji/{other}") for one in STYLES for other in STYLES if one != other),
        ("solar/mono", "solar/poly"),
        ("solar/poly", "solar/mono"),
        *((PHOTOS, kind) for kind in ("edges", "sketch", "colours", "tiny", "edges*", "sketch*", "colours*")),
    ],
    END_TO_END: [
        ("digits/mnist", "digits/mnist-m"),
        ("digits/mnist", "digits/optical"),
        ("digits/optical", "digits/mnist"),
        ("digits/mnist", "coloured"),
        ("digits/mnist", "noise"),
    ],
}
TUNED = {
    *("emoji/twemoji to emoji/openmoji", "emoji/twemoji to emoji/line", "solar/poly to solar/mono"),
    *(f"{PHOTOS} to edges", f"{PHOTOS} to colours*"),
    *("digits/mnist to digits/mnist-m", "digits/mnist to digits/optical"),
}
SIZE, IMAGES = 128, 1000


def main(seeds: int, kinds: list[str]) -> None:
    for seed in range(seeds):
        for kind in kinds:
            for names in PAIRS[kind]:
                done = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=["pair", "seed"])
                pair = " to ".join(names)
                if not ((done["pair"] == pair) & (done["seed"] == seed)).any():
                    rows = pd.DataFrame(measure(kind, names, seed))
                    rows.insert(0, "pair", pair)
                    rows.to_csv(TABLE, mode="a", header=not TABLE.exists(), index=False)
                    print(rows.to_string(header=False), flush=True)
    found = pd.read_csv(TABLE)
    print(summary(found))
    draw(found)


def measure(kind: str, names: tuple[str, str], seed: int) -> list[dict[str, Any]]:
    """Adapt by every method; return a row for each, and one for source only."""
    import tlkit
    from tlkit.reports.measures import point_measures

    source, target = domains(names, seed)
    options: dict[str, Any] = {} if kind == FEATURES else {"backbone": "LeNetBN", "weights": None}
    first, *others = ARMS[kind]
    result = tlkit.adapt(
        source, target.train, method=first, compare=others, evaluate=target, seed=seed, **options
    )
    labels, classes, rows = target.train.labels, len(source.class_names), []
    control = tlkit.reports.adaptation.Compared(SOURCE_ONLY, result.before.argmax(axis=1), {}, 0.0)
    for arm in [control, *result.compared]:
        used = int(np.sum(np.bincount(arm.predicted, minlength=classes) >= 0.1 * len(labels) / classes))
        reached = point_measures(labels, arm.predicted)
        rows.append(
            {"kind": kind, "arm": arm.name, "seed": seed}
            | {name: round(reached[name], 4) for name in ("accuracy", "balanced_accuracy")}
            | {"classes_used": used}
            | {name: round(value, 4) for name, value in arm.scores.items()}
            | {"seconds": round(arm.seconds, 1)}
        )
    return rows


def domains(names: tuple[str, str], seed: int) -> tuple[Any, Any]:
    """Return source and target: data sets that have a training split only."""
    import tlkit
    from tlkit.data.corruptions import corrupt

    rng = np.random.default_rng(seed)
    if names[0] == PHOTOS:
        photos = joined(tlkit.load("clothing", image_size=SIZE))
        order = rng.permutation(len(photos.train))
        half = len(order) // 2
        target = photos.train.subset(order[half:])
        if names[1].endswith("*"):
            target = target.subset(unbalanced(target.labels, rng))
        rendered = tlkit.data.Split(RENDERINGS[names[1].rstrip("*")](target.images[:]), target.labels)
        return only(photos, photos.train.subset(order[:half])), only(photos, rendered, names[1])
    if not names[0].startswith("digits"):
        both = [joined(tlkit.load(name, image_size=SIZE)) for name in names]
        if names[0].startswith("emoji"):  # the same things in both styles: half of them in each domain
            order = rng.permutation(len(both[0].train))
            parts = np.array_split(order, 2)
            both = [only(data, data.train.subset(part)) for data, part in zip(both, parts, strict=True)]
        return both[0], both[1]
    first = tlkit.load(names[0])
    data = tlkit.load(names[1] if names[1].startswith("digits") else "digits/mnist")
    rows = [
        part[:IMAGES] for part in np.array_split(rng.permutation(min(len(first.train), len(data.train))), 2)
    ]
    source, target = first.train.subset(rows[0]), data.train.subset(rows[1])
    if names[1] == "noise":
        target = tlkit.data.Split(corrupt(target.images[:], "noise", 5), target.labels)
    if names[1] == "coloured":
        target = tlkit.data.Split(coloured(target.images[:], rng), target.labels)
    return only(first, source), only(data, target, names[1])


def joined(data: Any) -> Any:
    """Return a data set with all images in its training split."""
    import tlkit

    parts = list(data.splits.values())
    pixels = np.concatenate([part.images[:] for part in parts])
    return only(data, tlkit.data.Split(pixels, np.concatenate([part.labels for part in parts])))


def only(data: Any, split: Any, name: str = "") -> Any:
    card = replace(data.card, name=name) if name else data.card
    return replace(data, train=split, validation=None, test=None, card=card)


def unbalanced(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return rows whose class counts fall from the largest class to a twelfth of it, in a random order."""
    counts, order = np.bincount(labels), rng.permutation(labels.max() + 1)
    wanted = counts.max() * 12.0 ** -np.linspace(0, 1, len(counts))
    rows = [np.flatnonzero(labels == label)[: int(n)] for label, n in zip(order, wanted, strict=True)]
    return np.sort(np.concatenate(rows))


def edges(images: np.ndarray) -> np.ndarray:
    """Return dark edges on white: the length of the Sobel gradient."""
    grey = ndimage.gaussian_filter(images.astype("float32").mean(axis=-1), (0, 1, 1))
    slope = np.hypot(ndimage.sobel(grey, axis=1), ndimage.sobel(grey, axis=2))
    slope /= np.maximum(np.percentile(slope, 99, axis=(1, 2), keepdims=True), 1)
    return in_grey(255 * (1 - np.clip(slope, 0, 1)))


def sketch(images: np.ndarray) -> np.ndarray:
    """Return a pencil sketch: the grey image divided by its blurred negative ("colour dodge")."""
    grey = images.astype("float32").mean(axis=-1)
    blurred = ndimage.gaussian_filter(255 - grey, (0, 3, 3))
    return in_grey(np.clip(255 * grey / np.maximum(255 - blurred, 1), 0, 255))


def colours(images: np.ndarray) -> np.ndarray:
    """Return the negative with exchanged channels, darkened."""
    return (255 * (1 - images[..., [2, 0, 1]] / 255) ** 1.5).astype("uint8")


def tiny(images: np.ndarray) -> np.ndarray:
    """Return the images as thumbnails of 24 pixels, enlarged again."""
    from PIL import Image

    small = [Image.fromarray(image).resize((24, 24), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for image in small])


def in_grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1).astype("uint8")


def coloured(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return digits in a random bright colour on a random dark one."""
    bright, dark = (
        rng.integers(128, 256, (len(images), 1, 1, 3)),
        rng.integers(0, 128, (len(images), 1, 1, 3)),
    )
    mask = images / 255
    return (mask * bright + (1 - mask) * dark).astype("uint8")


RENDERINGS = {"edges": edges, "sketch": sketch, "colours": colours, "tiny": tiny}


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy minus that of source only, in points; the mean of the seeds."""
    means = table.groupby(["kind", "pair", "arm"])["accuracy"].mean().unstack()
    return 100 * means.sub(means[SOURCE_ONLY], axis=0)


def summary(table: pd.DataFrame) -> str:
    """Return a Markdown table of the mean gain over pairs, with the 95 % interval of the reported ones."""
    from tlkit._internal.intervals import mean_interval

    rows = []
    for kind, found in gains(table).groupby(level="kind"):
        tuned = found.index.get_level_values("pair").isin(TUNED)
        for arm in found.columns.drop(SOURCE_ONLY):
            values = found.loc[~tuned, arm].dropna()
            if len(values):
                low, high = mean_interval(values.to_numpy())
                rows.append(
                    {
                        "kind": kind,
                        "arm": arm,
                        "tuned": found.loc[tuned, arm].mean(),
                        "reported": values.mean(),
                    }
                    | {"interval": f"{low:+.1f} to {high:+.1f}", "worst pair": found[arm].min()}
                )
    order = pd.DataFrame(rows).sort_values(["kind", "tuned"], ascending=False)
    return str(order.to_markdown(index=False, floatfmt="+.1f"))


def chosen_by(table: pd.DataFrame, score: str, kind: str = FEATURES) -> pd.Series:
    """Return by how many points the method with the best score is above the default, for each pair.

    The mean of the seeds; the best score is found for each seed.
    """
    found = table[(table["kind"] == kind) & (table["arm"] != SOURCE_ONLY)]
    best = found.loc[found.groupby(["pair", "seed"])[score].idxmax()].groupby("pair")["accuracy"].mean()
    default = found[found["arm"] == ARMS[kind][0]].groupby("pair")["accuracy"].mean()
    return 100 * (best - default)


def draw(table: pd.DataFrame) -> None:
    """Draw the gain of each method over source only on each pair."""
    import matplotlib.pyplot as plt

    parts = [
        part.droplevel("kind").drop(columns=SOURCE_ONLY).dropna(axis=1)
        for _, part in gains(table).groupby("kind")
    ]
    heights = [len(part) for part in parts]
    figure, axes = plt.subplots(
        len(parts), 1, figsize=(8, 2 + 0.36 * sum(heights)), layout="constrained", height_ratios=heights
    )
    for ax, part, kind in zip(np.atleast_1d(axes), parts, sorted(set(table["kind"])), strict=True):
        part = part[[arm for arm in ARMS[kind] if arm in part]]
        image = ax.imshow(part, cmap="RdBu", vmin=-30, vmax=30, aspect="auto")
        for (row, column), value in np.ndenumerate(part.to_numpy()):
            color = "white" if abs(value) > 20 else "black"
            ax.text(column, row, f"{value:+.0f}", ha="center", va="center", fontsize=8, color=color)
        ax.set_xticks(range(part.shape[1]), part.columns, fontsize=8, rotation=20)
        ax.set_yticks(range(len(part)), part.index, fontsize=8)
        ax.set_title(kind, fontsize=10, loc="left")
    figure.colorbar(image, ax=axes, label="accuracy minus source only, in points", shrink=0.6)
    figure.savefig(HERE.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kind", choices=PAIRS, default=None)
    given = parser.parse_args()
    main(given.seeds, [given.kind] if given.kind else list(PAIRS))
