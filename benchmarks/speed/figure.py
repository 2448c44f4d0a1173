"""One figure of the ratios that the benchmarks of speed measured, from their JSON."""

import json
from pathlib import Path

import matplotlib as mpl
from measuring import RESULTS, Comparison

mpl.use("Agg")
from matplotlib import pyplot as plt

FIGURE = Path(__file__).parents[1] / "speed.png"
AHEAD, BEHIND = "#0072B2", "#D55E00"
# benchmark; words of the comparison's title; peer; what the figure calls them
ROWS = (
    ("frozen_features", "Features of", "predict", "frozen features: Keras predict"),
    ("frozen_features", "Features of", "torch", "frozen features: PyTorch, channels last"),
    ("frozen_features", "in bfloat16 beside", "float32", "features in bfloat16: in float32"),
    ("frozen_features", "within a point", "usual fit", "a head, to the same accuracy: fit of a frozen base"),
    ("frozen_trunk", "all of it", "fit, same views", "top two stages, all epochs: fit"),
    ("frozen_trunk", "within a point", "fit, same views", "top two stages, to the same accuracy: fit"),
    ("scores", "LogME, 10,000", "as published", "LogME, n = 10,000: as published"),
    ("scores", "H-score, 10,000", "as published", "H-score, n = 10,000: as published"),
    ("scores", "LEEP, 10,000", "as published", "LEEP, n = 10,000: as published"),
    ("domain_adaptation", "DANN, LeNet", "ADAPT 0.4.5", "DANN, an epoch on digits: ADAPT"),
    ("domain_adaptation", "DANN, LeNet", "tf.function loop", "DANN, an epoch on digits: tf.function loop"),
    ("domain_adaptation", "DANN, a head", "ADAPT 0.4.5", "DANN, an epoch on features: ADAPT"),
    ("domain_adaptation", "DANN, a head", "tf.function loop", "DANN, an epoch on features: tf.function loop"),
    (
        "training_loop",
        "LeNet, 28 pixels, batches of 64, jax",
        "hand-written loop",
        "training LeNet: JAX loop",
    ),
    ("training_loop", "EfficientNetLite0, 64", "hand-written loop", "training Lite0: tf.function loop"),
    ("input_pipeline", "batches alone", "torch", "JPEG files: torchvision, Pillow images"),
    ("input_pipeline", "batches alone", "torch, tensors", "JPEG files: torchvision, tensors"),
    ("input_pipeline", "to 224 pixels", "Keras, cropped", "JPEG files: Keras, which aliases"),
    ("start_up", "first prediction", "plain Keras", "first prediction: a script of Keras"),
    ("start_up", "--help", "click alone", "--help: click alone"),
)


def draw(results: Path = RESULTS, figure: Path = FIGURE) -> None:
    """Draw a row for each peer that was there: median ratio, and the smallest and largest."""
    rows = []
    for name, words, side, label in ROWS:
        path = results / f"{name}.json"
        written = json.loads(path.read_text("utf-8"))["comparisons"] if path.exists() else []
        found = [Comparison(**each) for each in written if words in each["title"]]
        rows += [(label, *each.ratios(side)) for each in found[:1] if side in each.values]
    _, ax = plt.subplots(figsize=(10, 0.27 * len(rows) + 1), layout="constrained")
    for y, (_, middle, low, high) in enumerate(rows):
        colour = AHEAD if middle >= 1 else BEHIND
        ax.plot([low, high], [y, y], color=colour, lw=2.5, alpha=0.45, solid_capstyle="round")
        ax.plot(middle, y, "o", color=colour, ms=6)
        ax.annotate(
            f"{middle:.2f}",
            (1, y),
            (4, 0),
            ("axes fraction", "data"),
            textcoords="offset points",
            va="center",
        )
    ax.axvline(1, color="0.5", lw=1, zorder=0)
    ax.set(xscale="log", ylim=(len(rows) - 0.4, -0.6))
    ax.set_xlabel("times as fast as the peer (median of five rounds, least and most); 1: the same")
    ax.set_yticks(range(len(rows)), [label for label, *_ in rows])
    low, high = ax.get_xlim()
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 4, 8, 16) if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    plt.savefig(figure, dpi=110)
    plt.close()


if __name__ == "__main__":
    draw()
