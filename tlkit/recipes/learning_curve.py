"""Learning curve: measure the accuracy for several numbers of labels per class.

A classifier on frozen features trains on nested random subsets: each subset contains the smaller ones. The
test images are set aside first and are the same for all points. The interval covers the random choice of the
training images, not of the test images. If the curve still rises at its end, more labels would probably help.

Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically": the power law.
"""

from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

DATA = "path/of/folder"  # one sub-folder for each class
OUT = "learning_curve.png"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
# Offline: run `tlkit.load_backbone("EfficientNetLite0", image_size=224).save("backbone.keras")` once and set
# WEIGHTS = "backbone.keras". This file replaces BACKBONE and PREPROCESS: it includes its preprocessing.
IMAGE_SIZE = 224
BATCH_SIZE = 32
COUNTS = (1, 2, 5, 10, 20, 50, 100)  # labels per class; those above the smallest class are left out
SEEDS = 10  # random subsets for each count, at least 2
TEST = 0.3  # fraction of the images for the test


def apply_backbone(images: Any) -> tuple[Any, keras.Model]:
    """Return the features `(n, d)` of raw pixels (0 to 255), and the backbone that extracts them."""
    if str(WEIGHTS).endswith(".keras"):  # a whole network, up to its feature maps
        backbone = keras.models.load_model(WEIGHTS)
        return keras.layers.GlobalAveragePooling2D()(backbone(images)), backbone
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    return backbone(PREPROCESS(images)), backbone


def nested_subsets(labels: np.ndarray, counts: list[int], seed: int) -> list[np.ndarray]:
    """Return, for each count, the rows of that many images per class; smaller subsets are in larger ones."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(np.flatnonzero(labels == each)) for each in np.unique(labels)]
    return [np.concatenate([order[:count] for order in orders]) for count in counts]


def measure(features: np.ndarray, labels: np.ndarray) -> tuple[list[int], np.ndarray, int]:
    """Return the counts, accuracies `(seeds, counts)` on the test images, and the number of these."""
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST, stratify=labels, random_state=0)
    smallest = np.unique(labels[train], return_counts=True)[1].min()
    counts = [count for count in COUNTS if count <= smallest]
    accuracies = np.empty((SEEDS, len(counts)))
    for seed in range(SEEDS):
        for i, rows in enumerate(nested_subsets(labels[train], counts, seed)):
            classifier = make_pipeline(Normalizer(), LogisticRegression(C=10.0, max_iter=1000))
            classifier.fit(features[train[rows]], labels[train[rows]])
            accuracies[seed, i] = classifier.score(features[test], labels[test])
    return counts, accuracies, len(test)


def fit_power_law(counts: list[int], errors: np.ndarray) -> tuple[float, float] | None:
    """Return a and b of `error = a n^-b`, fitted to the logarithms, if three errors are positive."""
    positive = errors > 0
    if positive.sum() < 3:
        return None
    slope, intercept = np.polyfit(np.log(np.array(counts)[positive]), np.log(errors[positive]), 1)
    return float(np.exp(intercept)), float(-slope)


def main() -> None:
    """Print the accuracy for each number of labels, and save the figure."""
    keras.utils.set_random_seed(0)
    dataset = keras.utils.image_dataset_from_directory(
        DATA, image_size=(IMAGE_SIZE, IMAGE_SIZE), batch_size=BATCH_SIZE, shuffle=False
    )
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    extractor = keras.Model(images, apply_backbone(images)[0])
    batches = [(extractor.predict_on_batch(x), y) for x, y in dataset.as_numpy_iterator()]
    counts, accuracies, tested = measure(*(np.concatenate(part) for part in zip(*batches, strict=True)))

    means = accuracies.mean(axis=0)
    half = stats.t.ppf(0.975, SEEDS - 1) * accuracies.std(axis=0, ddof=1) / SEEDS**0.5
    print(f"labels per class, test accuracy on {tested} images, and its 95 % interval over {SEEDS} subsets")
    for count, mean, width in zip(counts, means, half, strict=True):
        print(f"{count:6d}  {mean:6.1%}  ± {width:.1%}")
    law = fit_power_law(counts, 1 - means)
    if law:
        print(f"error = {law[0]:.3f} n^{-law[1]:.2f}; doubling n multiplies it by {2 ** -law[1]:.2f}")

    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.errorbar(counts, means, half, marker="o", capsize=3)
    axes.set(xscale="log", xlabel="labels per class", ylabel=f"accuracy on {tested} test images")
    figure.savefig(OUT)
    print(f"{OUT}: the figure")


if __name__ == "__main__":
    main()
