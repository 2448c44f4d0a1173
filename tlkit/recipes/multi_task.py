"""Multi-task learning: train one network for several tasks, with some labels missing.

The loss of a task is the mean over the images that have a label for it. An image without a label for one task
still contributes to the other tasks.

Caruana 1997, "Multitask Learning".
"""

import csv
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


def load_data() -> tuple[Any, Any, dict[str, list[str]]]:
    """Return training and validation batches `(images, {task: labels}, {task: weights})` and class names.

    The weight of a label is 1, or 0 if the label is missing.
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
    split = keras.utils.image_dataset_from_directory(
        DATA,
        labels=list(range(len(paths))),
        batch_size=BATCH_SIZE,
        validation_split=0.2,
        subset="both",
        seed=SEED,
        **options,
    )
    train, validation = (each.map(with_labels).prefetch(2) for each in split)
    return train, validation, class_names


def main() -> None:
    """Train one network with a head for each task, and save it."""
    keras.utils.set_random_seed(SEED)
    train, validation, class_names = load_data()
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")  # raw pixels, 0 to 255
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # keeps the statistics of the many pretraining images
    features = keras.layers.Dropout(0.2)(backbone(PREPROCESS(images)))
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
    measured = model.evaluate(validation, return_dict=True, verbose=0)
    for task, names in class_names.items():
        print(f"{task}: validation accuracy {measured[f'{task}_accuracy']:.1%}; classes {', '.join(names)}")


if __name__ == "__main__":
    main()
