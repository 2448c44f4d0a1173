"""Deep CORAL: adapt to unlabelled images by matching feature covariances.

The training is simpler and more stable than adversarial training. Evaluate the result on a few labelled
target images (LABELLED_TARGET): the accuracy on the source says nothing about the target.

Sun & Saenko 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation".
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf  # reads the images; Keras may train on any backend
from keras import ops

SOURCE = "path/of/labelled"  # one sub-folder for each class
TARGET = "path/of/other/kind"  # only images, at any depth
LABELLED_TARGET = None  # or a folder of a few labelled target images, only for the report; classes as SOURCE
OUT = "model.keras"
BACKBONE = keras.applications.EfficientNetV2B0  # another network needs its own preprocessing:
PREPROCESS = keras.applications.efficientnet_v2.preprocess_input
WEIGHTS = "imagenet"  # downloaded once; or the path of a weights file of BACKBONE; or None for random weights
# Offline: run `tlkit.load_backbone("EfficientNetLite0", image_size=224).save("backbone.keras")` once and set
# WEIGHTS = "backbone.keras". This file replaces BACKBONE and PREPROCESS: it includes its preprocessing.
IMAGE_SIZE = 224
BATCH_SIZE = 32  # of each domain
EPOCHS = 20
LEARNING_RATE = 1e-4
WEIGHT = 1.0  # of the distance; the weighted distance should end about as large as the classification loss
SEED = 0


def apply_backbone(images: Any) -> tuple[Any, keras.Model]:
    """Return the features `(n, d)` of raw pixels (0 to 255), and the backbone that extracts them."""
    if str(WEIGHTS).endswith(".keras"):  # a whole network, up to its feature maps
        backbone = keras.models.load_model(WEIGHTS)
        return keras.layers.GlobalAveragePooling2D()(backbone(images)), backbone
    backbone = BACKBONE(include_top=False, weights=WEIGHTS, input_shape=images.shape[1:], pooling="avg")
    return backbone(PREPROCESS(images)), backbone


def covariance(x: Any) -> Any:
    """Return the covariance matrix `(d, d)` of features `(n, d)`, with n at least 2."""
    centred = x - ops.mean(x, axis=0)
    return ops.matmul(ops.transpose(centred), centred) / ops.cast(ops.shape(x)[0] - 1, x.dtype)


def coral(source: Any, target: Any) -> Any:
    """Return the distance `|C_s - C_t|_F^2 / (4 d^2)` between covariances of features `(n, d)`, `(m, d)`."""
    difference = covariance(source) - covariance(target)
    return ops.sum(ops.square(difference)) / (4 * source.shape[-1] ** 2)


class Coral(keras.layers.Layer):
    """Add the weighted distance to the loss, report it in every epoch, and return the source features."""

    def __init__(self) -> None:
        super().__init__()
        self.distance = keras.metrics.Mean("coral")

    def call(self, source: Any, target: Any) -> Any:
        distance = WEIGHT * coral(source, target)
        self.distance.update_state(distance)
        self.add_loss(distance)
        return source


def report(classifier: keras.Model, validation: Any, target: Any, class_names: list[str]) -> None:
    """Print the accuracy on the source, the predictions on the target, and the accuracy on LABELLED_TARGET.

    Compare the target images per class with what you expect. If a class has none or most of them, the
    adaptation has probably failed.
    """
    classifier.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    _, accuracy = classifier.evaluate(validation, verbose=0)
    print(f"{OUT}: validation accuracy on the source {accuracy:.1%} on {len(validation.file_paths)} images")
    predicted = classifier.predict(target, verbose=0).argmax(axis=1)
    counts = np.bincount(predicted, minlength=len(class_names))
    found = ", ".join(f"{name} {count}" for name, count in zip(class_names, counts, strict=True))
    print(f"target images per predicted class: {found}")
    if LABELLED_TARGET:
        labelled = keras.utils.image_dataset_from_directory(
            LABELLED_TARGET, class_names=class_names, image_size=(IMAGE_SIZE, IMAGE_SIZE)
        )
        _, accuracy = classifier.evaluate(labelled, verbose=0)
        print(f"accuracy on the target {accuracy:.1%} on {len(labelled.file_paths)} labelled images")


def predict(path: str) -> None:
    """Print the most probable class of an image file, by the saved model."""
    model = keras.models.load_model(OUT)
    class_names = json.loads(Path(OUT).with_suffix(".classes.json").read_text("utf-8"))
    pixels = keras.utils.img_to_array(keras.utils.load_img(path))
    pixels = keras.ops.image.resize(pixels, model.input_shape[1:3])  # bilinear, as in training
    probabilities = model.predict(pixels[None], verbose=0)[0]
    best = probabilities.argmax()
    print(f"{path}: {class_names[best]} ({probabilities[best]:.1%})")


def main() -> None:
    """Train on both domains at once, and save the classifier."""
    keras.utils.set_random_seed(SEED)
    options: dict[str, Any] = {"image_size": (IMAGE_SIZE, IMAGE_SIZE), "batch_size": BATCH_SIZE, "seed": SEED}
    load = keras.utils.image_dataset_from_directory
    train, validation = load(SOURCE, validation_split=0.2, subset="both", **options)
    target = load(TARGET, labels=None, **options)
    # both repeat, so the smaller one does not run out and all batches are full: one image has no covariance
    full = (each.repeat().rebatch(BATCH_SIZE) for each in (train, target))
    pairs = tf.data.Dataset.zip(*full).map(lambda s, t: ({"source": s[0], "target": t}, s[1])).prefetch(2)

    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), name="images")  # raw pixels, 0 to 255
    features, backbone = apply_backbone(images)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # keeps its statistics, which are then the same for both domains
    encoder = keras.Model(images, keras.layers.Dense(256, activation="relu")(features))
    head = keras.layers.Dense(len(train.class_names), activation="softmax", name="head")

    both = {name: keras.Input(images.shape[1:], name=name) for name in ("source", "target")}
    model = keras.Model(both, head(Coral()(encoder(both["source"]), encoder(both["target"]))))
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(pairs, epochs=EPOCHS, steps_per_epoch=max(len(train), len(target)), verbose=2)

    classifier = keras.Model(images, head(encoder(images)))
    classifier.save(OUT)
    Path(OUT).with_suffix(".classes.json").write_text(json.dumps(train.class_names), "utf-8")
    report(classifier, validation, target, train.class_names)


if __name__ == "__main__":
    predict(sys.argv[1]) if len(sys.argv) > 1 else main()  # `python THIS_FILE image.jpg` predicts
