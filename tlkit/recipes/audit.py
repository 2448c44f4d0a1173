"""Audit: find images that probably have a wrong label, and near-duplicates.

A classifier on frozen features predicts each image by cross-validation, without its label. A label is suspect
if the classifier is confident of another class. Near-duplicates are images with similar features. Look at the
files before you change anything: both lists contain false alarms, and neither is complete.

Northcutt, Jiang & Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels".
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

DATA = "path/of/folder"  # one sub-folder for each class
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
# Offline: run `tlkit.load_backbone("EfficientNetLite0", image_size=224).save("backbone.keras")` once and set
# WEIGHTS = "backbone.keras". This file replaces BACKBONE and PREPROCESS: it includes its preprocessing.
IMAGE_SIZE = 224
BATCH_SIZE = 32
FOLDS, REPEATS = 5, 5  # of the cross-validation; its probabilities are averaged over the repeats
STRENGTH = 0.01  # of the fit (C of scikit-learn); small values suit many features and few images
SIMILARITY = 0.95  # least cosine of the features of near-duplicates: raise it if the list is full of false
# alarms; lower it if the list ends with copies
LISTED = 50  # near-duplicates that are printed, at most
SEED = 0


def apply_backbone(images: Any) -> tuple[Any, keras.Model]:
    """Return the features `(n, d)` of raw pixels (0 to 255), and the backbone that extracts them."""
    if str(WEIGHTS).endswith(".keras"):  # a whole network, up to its feature maps
        backbone = keras.models.load_model(WEIGHTS)
        return keras.layers.GlobalAveragePooling2D()(backbone(images)), backbone
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    return backbone(PREPROCESS(images)), backbone


def near_duplicates(features: np.ndarray) -> list[tuple[float, int, int]]:
    """Return the cosine and the rows of each pair of near-duplicates, the most similar pair first."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    pairs = []
    for row in range(len(unit) - 1):  # one row at a time, to save memory
        cosines = unit[row + 1 :] @ unit[row]
        pairs += [(float(cosines[i]), row, int(row + 1 + i)) for i in np.flatnonzero(cosines >= SIMILARITY)]
    return sorted(pairs, reverse=True)


def group(pairs: list[tuple[float, int, int]], n: int) -> np.ndarray:
    """Return a group number for each of n images; chains of near-duplicates share a number."""
    rows = np.array([(one, another) for _, one, another in pairs], int).reshape(-1, 2).T
    graph = coo_array((np.ones(rows.shape[1]), tuple(rows)), (n, n))
    return connected_components(graph, directed=False)[1]


def predict_held_out(features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return probabilities `(n, classes)`, each from classifiers that saw no image of the same group.

    Otherwise a copy of an image, with the same wrong label, would confirm that label.
    """
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
    options: dict[str, Any] = {"groups": groups, "method": "predict_proba"}
    repeats = [StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED + i) for i in range(REPEATS)]
    found = [cross_val_predict(classifier, features, labels, cv=folds, **options) for folds in repeats]
    return np.mean(found, axis=0)


def find_suspects(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of suspect labels, the most suspect first, and a suggested class for each.

    The classifier is confident of a class if its probability reaches the mean of this probability over the
    images with this label. The rank is the margin by which the suggested class exceeds the label.
    """
    classes = range(probabilities.shape[1])
    thresholds = np.array([probabilities[labels == each, each].mean() for each in classes])
    suggested = np.where(probabilities >= thresholds, probabilities, -1).argmax(axis=1)
    confident = (probabilities >= thresholds).any(axis=1)
    rows = np.arange(len(labels))
    margins = probabilities[rows, suggested] - probabilities[rows, labels]
    suspects = np.flatnonzero(confident & (margins > 0))
    suspects = suspects[np.argsort(-margins[suspects], kind="stable")]
    return suspects, suggested[suspects]


def main() -> None:
    """Print the suspect labels, the most suspect first, and the pairs of near-duplicates."""
    keras.utils.set_random_seed(SEED)
    dataset = keras.utils.image_dataset_from_directory(
        DATA, image_size=(IMAGE_SIZE, IMAGE_SIZE), batch_size=BATCH_SIZE, shuffle=False
    )
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")
    extractor = keras.Model(images, apply_backbone(images)[0])
    features = extractor.predict(dataset.map(lambda pixels, _: pixels), verbose=0)
    labels = np.concatenate([batch for _, batch in dataset.as_numpy_iterator()])
    files = [Path(path).relative_to(DATA).as_posix() for path in dataset.file_paths]
    pairs = near_duplicates(features)
    probabilities = predict_held_out(features, labels, group(pairs, len(files)))

    suspects, suggested = find_suspects(probabilities, labels)
    agreement = np.mean(probabilities.argmax(axis=1) == labels)
    print(f"the classifier agrees with {agreement:.0%} of the labels; the fewer, the more false alarms below")
    print(f"{len(suspects)} suspect labels among {len(files)} images, the most suspect first")
    for row, other in zip(suspects, suggested, strict=True):
        chances = f"{probabilities[row, other]:.0%}, its label {probabilities[row, labels[row]]:.0%}"
        print(f"  {files[row]}: perhaps {dataset.class_names[other]} ({chances})")
    print(f"{len(pairs)} pairs of near-duplicates, the most similar first")
    for cosine, one, another in pairs[:LISTED]:
        print(f"  {cosine:.3f}  {files[one]}  {files[another]}")


if __name__ == "__main__":
    main()
