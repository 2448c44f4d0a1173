"""Multi-task learning: train one network for several tasks, with some labels missing.

The loss of a task is the mean over the images that have a label for it. An image without a label for one task
still contributes to the other tasks.

Caruana 1997, "Multitask Learning".
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf  # reads the images; Keras may train on any backend

DATA = "path/of/folder"  # images at any depth
LABELS = "labels.csv"  # column "file" with paths below DATA, then one column per task; empty cells: no label
OUT = "model.keras"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
# Offline: run `tlkit.load_backbone("EfficientNetLite0", image_size=224).save("backbone.keras")` once and set
# WEIGHTS = "backbone.keras". This file replaces BACKBONE and PREPROCESS: it includes its preprocessing.
IMAGE_SIZE = 224
BATCH_SIZE = 32
EPOCHS = 20
LEARNING_RATE = 1e-4
SEED = 0


def read_labels(files: list[str]) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
    """Return, for each task, its class names, and the labels `(n,)` of the files; -1 is a missing label."""
    with Path(LABELS).open(encoding="utf-8", newline="") as table:
        rows = {row.pop("file"): row for row in csv.DictReader(table)}
    class_names: dict[str, list[str]] = {}
    labels: dict[str, np.ndarray] = {}
    for task in next(iter(rows.values())):
        names = class_names[task] = sorted({row[task] for row in rows.values()} - {""})
        index = {name: i for i, name in enumerate(names)}
        labels[task] = np.array([index.get(rows.get(file, {}).get(task, ""), -1) for file in files])
    return class_names, labels


def load_splits() -> tuple[Any, Any, Any, dict[str, list[str]]]:
    """Return batches `(images, {task: labels}, {task: weights})` of three splits, and the class names.

    The splits are training (70 %), validation (15 %), which decides when to stop, and test (15 %), which is
    only reported. The files are drawn at random by SEED, and each is in one split. The weight of a label is
    1, or 0 if the label is missing.
    """
    options: dict[str, Any] = {"image_size": (IMAGE_SIZE, IMAGE_SIZE), "verbose": False}
    paths = keras.utils.image_dataset_from_directory(DATA, labels=None, shuffle=False, **options).file_paths
    class_names, labels = read_labels([Path(path).relative_to(DATA).as_posix() for path in paths])
    print(f"{len(paths)} images; labelled:", {task: int((y >= 0).sum()) for task, y in labels.items()})

    def with_labels(images: Any, rows: Any) -> tuple[Any, dict, dict]:
        found = {task: tf.gather(values, rows) for task, values in labels.items()}
        known = {task: tf.cast(values >= 0, "float32") for task, values in found.items()}
        return images, {task: tf.maximum(values, 0) for task, values in found.items()}, known

    # Keras passes one integer with each image: here, the row of its labels
    train, held_out = keras.utils.image_dataset_from_directory(
        DATA,
        labels=list(range(len(paths))),
        batch_size=None,
        validation_split=0.3,
        subset="both",
        seed=SEED,
        **options,
    )
    half = len(held_out) // 2  # always the same images, because Keras shuffles only `train` in each epoch
    splits = train, held_out.take(half), held_out.skip(half)
    return *(each.batch(BATCH_SIZE).map(with_labels).prefetch(2) for each in splits), class_names


def apply_backbone(images: Any) -> tuple[Any, keras.Model]:
    """Return the features `(n, d)` of raw pixels (0 to 255), and the backbone that extracts them."""
    if str(WEIGHTS).endswith(".keras"):  # a whole network, up to its feature maps
        backbone = keras.models.load_model(WEIGHTS)
        return keras.layers.GlobalAveragePooling2D()(backbone(images)), backbone
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    return backbone(PREPROCESS(images)), backbone


def predict(path: str) -> None:
    """Print the most probable class of an image file for each task, by the saved model."""
    model = keras.models.load_model(OUT)
    class_names = json.loads(Path(OUT).with_suffix(".classes.json").read_text("utf-8"))
    pixels = keras.utils.img_to_array(keras.utils.load_img(path))
    pixels = keras.ops.image.resize(pixels, model.input_shape[1:3])  # bilinear, as in training
    for task, [probabilities] in model.predict(pixels[None], verbose=0).items():
        best = probabilities.argmax()
        print(f"{path}: {task} {class_names[task][best]} ({probabilities[best]:.1%})")


def main() -> None:
    """Train one network with a head for each task, and save it."""
    keras.utils.set_random_seed(SEED)
    train, validation, test, class_names = load_splits()
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")  # raw pixels, 0 to 255
    features, backbone = apply_backbone(images)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # keeps the statistics of the many pretraining images
    features = keras.layers.Dropout(0.2)(features)
    heads = {
        task: keras.layers.Dense(len(names), activation="softmax", name=f"head_{i}")(features)
        for i, (task, names) in enumerate(class_names.items())
    }
    model = keras.Model(images, heads)
    # the mean over the existing labels; the default would divide by all images of the batch
    loss = keras.losses.SparseCategoricalCrossentropy
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        loss={task: loss(reduction="mean_with_sample_weight") for task in heads},
        weighted_metrics={task: ["accuracy"] for task in heads},
    )
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    model.fit(train, validation_data=validation, epochs=EPOCHS, callbacks=[stop], verbose=2)

    model.save(OUT)
    Path(OUT).with_suffix(".classes.json").write_text(json.dumps(class_names), "utf-8")
    measured = model.evaluate(test, return_dict=True, verbose=0)
    for task, names in class_names.items():
        labelled = sum(int(weights[task].sum()) for *_, weights in test.as_numpy_iterator())
        accuracy = measured[f"{task}_accuracy"]
        print(f"{task}: test accuracy {accuracy:.1%} on {labelled} images; classes {', '.join(names)}")


if __name__ == "__main__":
    predict(sys.argv[1]) if len(sys.argv) > 1 else main()  # `python THIS_FILE image.jpg` predicts
